"""How well faces are told apart: FAR, FRR and the DET curve, and what averaging over frames gains.

`python -m portrait_anim.evaluation.face_match VIEWS --out FOLDER [--strangers FOLDER] [--arcface FOLDER]`

`VIEWS` holds one folder per person with pictures named `CONDITION_N.jpg`; `portrait` and `video` are needed, every
other condition is reported by its name. `--strangers` names a folder of single portraits of other people, who widen
the crowd in which look-alikes are sought. `portrait_anim.training.synthetic.face_views` renders such views of people
who do not exist; an operator with pictures of consenting people measures those the same way.

Written: `face_match.json`, `face_match.md` (the table of docs/CONSENT.md) and `face_match.png`. Embeddings are never
written.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from portrait_anim.errors import InputError, ProfileUnavailable, WeightsMissing
from portrait_anim.evaluation.detection_error import error_curve, shares, threshold_at_far, upper_bound
from portrait_anim.evaluation.face_match_report import write_report
from portrait_anim.face.detect import FaceDetector
from portrait_anim.face.identity import IdentityEncoder, load_identity_encoder, threshold
from portrait_anim.media.image import is_image, read_image
from portrait_anim.types import Float64Array

logger = logging.getLogger(__name__)

Views: TypeAlias = dict[str, dict[str, Float64Array]]
"""By person and condition, `(n, D)` embeddings."""

TARGET_FAR: Final = 0.001
LOOK_ALIKES: Final = 5
FRAMES: Final = (1, 2, 3, 5)


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceMatchFigures:
    """What was measured with one face model.

    Attributes:
        backend: `"dlib"` or `"arcface"`.
        people: People with several views.
        strangers: Further people with one portrait.
        chosen: Threshold at a FAR of at most `TARGET_FAR` over all impostor pairs of portraits.
        current: Threshold that the program uses.
        rows: One per comparison: name, pairs, FAR or FRR at both thresholds, equal error rate.
        curves: By comparison, genuine and impostor distances; for the plot only.
        unseen: Pictures in which no face was found.
    """

    backend: str
    people: int
    strangers: int
    chosen: float
    current: float
    rows: tuple[Mapping[str, object], ...]
    curves: Mapping[str, tuple[Float64Array, Float64Array]] = field(repr=False)
    unseen: int


def embed_views(folder: Path, encoder: IdentityEncoder) -> tuple[Views, int]:
    """Measure who is on every picture of every person.

    Args:
        folder: One folder per person.
        encoder: Face model.

    Returns:
        Embeddings, and the number of pictures without a face.

    Raises:
        InputError: If fewer than two people have both a portrait and a video.
    """
    views: Views = {}
    unseen = 0
    with FaceDetector() as detector:
        for person in sorted(path for path in folder.iterdir() if path.is_dir()):
            found: dict[str, list[Float64Array]] = {}
            for path in sorted(person.iterdir()):
                vector = _embed(path, detector, encoder) if is_image(path) else None
                unseen += vector is None
                if vector is not None:
                    found.setdefault(path.stem.rsplit("_", 1)[0], []).append(vector)
            if "portrait" in found and "video" in found:
                views[person.name] = {name: np.stack(rows) for name, rows in found.items()}
            if len(views) % 10 == 0:
                logger.info("%d people measured", len(views))
    if len(views) < 2:
        raise InputError(
            f"expected folders of at least two people with portrait_0.jpg and video_0.jpg in {folder}, "
            f"got {len(views)}; render some with `python -m portrait_anim.training.synthetic.face_views`"
        )
    return views, unseen


def embed_portraits(folder: Path, encoder: IdentityEncoder, leave_out: frozenset[str]) -> Float64Array:
    """Measure single portraits, `(n, D)`; those without a face are left out.

    Args:
        folder: Folder of pictures.
        encoder: Face model.
        leave_out: File stems to leave out.
    """
    names = {name.lstrip("0") for name in leave_out}  # lists name people 8, files 0008
    paths = [path for path in sorted(folder.iterdir()) if path.stem.lstrip("0") not in names and is_image(path)]
    with FaceDetector() as detector:
        rows = [_embed(path, detector, encoder) for path in paths]
    kept = [row for row in rows if row is not None]
    return np.stack(kept) if kept else np.zeros((0, 0))


def compare_all(
    views: Views, strangers: Float64Array, *, backend: Literal["dlib", "arcface"], unseen: int = 0
) -> FaceMatchFigures:
    """Compute every figure.

    Args:
        views: Embeddings by person and condition.
        strangers: `(n, D)` portraits of others; may be empty.
        backend: Whose distances.
        unseen: Pictures without a face, to be told.

    Returns:
        The figures.

    Raises:
        ValueError: If there are too few pairs for the target FAR.
    """
    distance = _distance(backend)
    portraits = np.concatenate([view["portrait"][:1] for view in views.values()])
    crowd = np.concatenate([portraits, strangers]) if len(strangers) else portraits
    everybody = distance(crowd, crowd)[np.triu_indices(len(crowd), 1)]
    chosen, current = threshold_at_far(everybody, TARGET_FAR), threshold(backend)
    rows: list[dict[str, object]] = [_far_row("impostors: portrait against portrait", everybody, chosen, current)]
    curves: dict[str, tuple[Float64Array, Float64Array]] = {}

    def genuine(name: str, scores: Float64Array) -> None:
        curves[name] = (scores, everybody)
        rows.append(_frr_row(name, scores, everybody, chosen, current))

    for condition in sorted({name for view in views.values() for name in view} - {"portrait"}):
        genuine(f"one {condition} frame against portrait", _within(views, "portrait", condition, distance))
    for count in FRAMES[1:]:
        genuine(f"mean of {count} video frames against portrait", _template_scores(views, "portrait", count, distance))
    if all("age" in view for view in views.values()):
        for count in FRAMES:
            genuine(f"mean of {count} video frames against age photo", _template_scores(views, "age", count, distance))
    templates = np.stack([view["video"].mean(axis=0) for view in views.values()])
    against = distance(templates, crowd)
    against[np.arange(len(templates)), np.arange(len(templates))] = np.inf
    rows.append(_far_row("impostors: template against portraits", against[np.isfinite(against)], chosen, current))
    rows.append(_far_row(f"look-alikes: the {LOOK_ALIKES} nearest people", _nearest(crowd, against, distance), chosen,
                         current))  # fmt: skip
    return FaceMatchFigures(
        backend=backend,
        people=len(views),
        strangers=len(strangers),
        chosen=chosen,
        current=current,
        rows=tuple(rows),
        curves=curves,
        unseen=unseen,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the report from the command line.

    Args:
        arguments: Command line without the program's name; that of the process when `None`.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(prog="face_match", description="FAR, FRR and DET of the face models.")
    parser.add_argument("views", type=Path, help="folder with one folder of views per person")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument("--strangers", type=Path, help="folder of single portraits of other people")
    parser.add_argument("--leave-out", type=Path, help="text file with the stems of strangers to leave out")
    parser.add_argument("--arcface", type=Path, help="folder of ArcFace's weights")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    out = frozenset(options.leave_out.read_text(encoding="utf-8").split()) if options.leave_out else frozenset()
    own = frozenset(path.name for path in options.views.iterdir())
    figures = []
    for encoder in _encoders(options.arcface):
        views, unseen = embed_views(options.views, encoder)
        others = (
            embed_portraits(options.strangers, encoder, out | own) if options.strangers else np.zeros((0, 0))
        )  # fmt: skip
        figures.append(compare_all(views, others, backend=encoder.backend, unseen=unseen))
    sys.stdout.write(write_report(figures, options.out, target_far=TARGET_FAR) + "\n")
    (options.out / "face_match.json").write_text(
        json.dumps([_as_json(item) for item in figures], indent=2) + "\n", encoding="utf-8"
    )
    return 0


def _encoders(arcface: Path | None) -> Iterator[IdentityEncoder]:
    yield load_identity_encoder("dlib")
    try:
        yield load_identity_encoder("arcface", model_dir=arcface)
    except (ProfileUnavailable, WeightsMissing) as error:
        logger.warning("arcface is not measured: %s", error)


def _embed(path: Path, detector: FaceDetector, encoder: IdentityEncoder) -> Float64Array | None:
    image = read_image(path)
    faces = detector.detect(image)
    return encoder.embed(image, faces[0]).vector.astype(np.float64) if faces else None


def _distance(backend: str) -> Callable[[Float64Array, Float64Array], Float64Array]:
    """All distances `(n, m)` between rows, as `face.identity.distance` measures them."""

    def euclidean(a: Float64Array, b: Float64Array) -> Float64Array:
        squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
        result: Float64Array = np.sqrt(squares.clip(0))
        return result

    def cosine(a: Float64Array, b: Float64Array) -> Float64Array:
        norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None]
        result: Float64Array = 1.0 - (a @ b.T) / norms
        return result

    return euclidean if backend == "dlib" else cosine


def _within(
    views: Views, first: str, second: str, distance: Callable[[Float64Array, Float64Array], Float64Array]
) -> Float64Array:
    """Distances between two conditions of the same person, all together."""
    return np.concatenate([distance(v[first], v[second]).ravel() for v in views.values() if second in v])


def _template_scores(
    views: Views, first: str, count: int, distance: Callable[[Float64Array, Float64Array], Float64Array]
) -> Float64Array:
    """Distances of means over `count` video frames from a condition; windows of frames do not overlap."""
    scores = []
    for view in views.values():
        frames = view["video"]
        means = [frames[i : i + count].mean(axis=0) for i in range(0, len(frames) - count + 1, count)]
        if means:
            scores.append(distance(np.stack(means), view[first]).ravel())
    return np.concatenate(scores)


def _nearest(
    crowd: Float64Array, against: Float64Array, distance: Callable[[Float64Array, Float64Array], Float64Array]
) -> Float64Array:
    """Distances of templates `(n, m)` to the people whose portraits are nearest to each own portrait."""
    between = distance(crowd[: len(against)], crowd)
    between[np.arange(len(against)), np.arange(len(against))] = np.inf
    nearest = np.argsort(between, axis=1)[:, :LOOK_ALIKES]
    return np.take_along_axis(against, nearest, axis=1).ravel()


def _far_row(name: str, impostor: Float64Array, chosen: float, current: float) -> dict[str, object]:
    wrong = int((impostor <= chosen).sum())
    return {
        "comparison": name,
        "pairs": int(impostor.size),
        "far_chosen": wrong / impostor.size,
        "far_chosen_below": upper_bound(wrong, int(impostor.size)),
        "far_current": float((impostor <= current).mean()),
        "closest": float(impostor.min()),
    }


def _frr_row(
    name: str, genuine: Float64Array, impostor: Float64Array, chosen: float, current: float
) -> dict[str, object]:
    return {
        "comparison": name,
        "pairs": int(genuine.size),
        "frr_chosen": shares(genuine, impostor, chosen)[1],
        "frr_current": shares(genuine, impostor, current)[1],
        "equal_error_rate": error_curve(genuine, impostor).equal_error_rate,
        "median": float(np.median(genuine)),
        "worst": float(genuine.max()),
    }


def _as_json(figures: FaceMatchFigures) -> dict[str, object]:
    return {
        "backend": figures.backend,
        "people": figures.people,
        "strangers": figures.strangers,
        "target_far": TARGET_FAR,
        "threshold_chosen": figures.chosen,
        "threshold_current": figures.current,
        "pictures_without_face": figures.unseen,
        "comparisons": [dict(row) for row in figures.rows],
    }


if __name__ == "__main__":
    raise SystemExit(main())
