"""Landmarks of one face over a clip, measured once and kept; and the motion that goes with a driving clip.

Shape legend: T frames, 478 landmarks.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from portrait_anim.errors import NoFaceFound
from portrait_anim.evaluation.folders import NamedFile
from portrait_anim.evaluation.records import SCHEMA, digest_of
from portrait_anim.face.identity import IdentityEncoder, distance
from portrait_anim.face.landmarks import MeasuredFace, landmark_box
from portrait_anim.face.track import track
from portrait_anim.inputs import DrivingSource
from portrait_anim.media.writer import atomic_path
from portrait_anim.pipelines.motion_file import save_motion
from portrait_anim.types import Float32Array, Float64Array, Frame
from portrait_anim.weights import file_sha256

if TYPE_CHECKING:
    from portrait_anim.pipelines.portrait import PortraitAnimationPipeline

IDENTITY_FRAMES: Final = 24
"""Frames in which identity and sharpness are measured: dlib takes 0.05 s for each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceCurves:
    """Landmarks of one face in every frame of a clip.

    Attributes:
        points: `(T, 478, 3)` float32 [px]; NaN where the face was not seen.
        size: Width and height of the frames [px].
        fps: Frame rate [1/s].
    """

    points: Float32Array
    size: tuple[int, int]
    fps: float

    @property
    def seen(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """In which frames the face was seen, `(T,)`."""
        return np.asarray(np.isfinite(self.points[:, 0, 0]), dtype=np.bool_)

    def face(self, index: int) -> MeasuredFace:
        """The face of one frame in which it was seen."""
        points = self.points[index].astype(np.float64)
        return MeasuredFace(
            box=landmark_box(points[:468, :2]),
            landmarks=points[:, :2],
            score=1.0,
            time_s=index / self.fps,
            depth=points[:, 2] / self.size[0],
            image_size=self.size,
        )


def follow_face(frames: Iterable[Frame], fps: float, *, choice: str | None = "largest") -> FaceCurves:
    """Measure landmarks in every frame; a clip that never shows a face gives only NaN.

    Args:
        frames: Frames at constant rate, at least one.
        fps: That rate [1/s].
        choice: Which face, see `portrait_anim.face.choose_face`.

    Returns:
        Landmarks of the frames in which the face was really seen; bridged ones count as not seen.
    """
    rows: list[Float64Array | None] = []
    size = (0, 0)
    try:
        for tracked in track(frames, choice=choice):
            face, image = tracked.observation, tracked.frame.image
            size = (image.shape[1], image.shape[0])
            if tracked.status != "found" or face is None or face.depth is None:
                rows.append(None)
                continue
            rows.append(np.column_stack([face.landmarks, face.depth * size[0]]))
    except NoFaceFound:  # raised after the last frame
        pass
    points = np.full((len(rows), 478, 3), np.nan, np.float32)
    for index, row in enumerate(rows):
        if row is not None:
            points[index] = row
    return FaceCurves(points=points, size=size, fps=fps)


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedClip:
    """A driving clip, ready for every portrait.

    Attributes:
        name: Its name in the report.
        path: The clip.
        motion: Its motion file.
        curves: The driver's landmarks.
        motion_s: What extracting the motion took [s per frame].
        own_distances: `(N,)` identity distance (dlib) of frames of the driver to his first one.
        digest: Of the clip and the part of it that is used.
        seconds: Part that is used [s]; `None` is all of it.
    """

    name: str
    path: Path
    motion: Path
    curves: FaceCurves
    motion_s: float
    own_distances: Float64Array
    digest: str
    seconds: float | None

    def source(self) -> DrivingSource:
        """The part of the clip that is used."""
        return DrivingSource(self.path, end_s=self.seconds)


def prepare_clip(
    clip: NamedFile,
    folder: Path,
    *,
    seconds: float | None,
    face: str | None,
    weights_digest: str,
    pipeline: Callable[[], PortraitAnimationPipeline],
    profile: str,
    identity: IdentityEncoder,
) -> PreparedClip:
    """Extract motion and landmarks of a clip, or take those that an earlier run left.

    Args:
        clip: The clip.
        folder: Where motion and landmarks are kept.
        seconds: Use at most so much of it [s].
        face: Which face of it.
        weights_digest: Of the weights that read the motion.
        pipeline: Gives the pipeline when it is needed.
        profile: Its profile.
        identity: Measure of identity.

    Returns:
        The prepared clip.

    Raises:
        InputError: If the clip cannot be used.
    """
    digest = digest_of(file_sha256(clip.path), seconds, face)
    stamp = digest_of(SCHEMA, digest, weights_digest)
    motion_path, kept = folder / f"{clip.name}.motion.safetensors", folder / f"{clip.name}.face.npz"
    known = _read_kept(kept, stamp) if motion_path.is_file() else None
    if known is None:
        source = DrivingSource(clip.path, end_s=seconds)
        network = pipeline()
        start = time.perf_counter()
        with source.frames() as frames:
            motion = network.extract_motion(frames, source.fps, face=face)
        motion_s = (time.perf_counter() - start) / len(motion)
        with source.frames() as frames:
            curves = follow_face(frames, float(source.fps), choice=face)
        own = distances_to_first(source, curves, identity)
        save_motion(motion_path, motion, profile=profile)
        with atomic_path(kept) as temporary:
            np.savez(
                temporary, points=curves.points, size=np.array(curves.size), fps=curves.fps, motion_s=motion_s,
                own_distances=own, stamp=stamp,
            )  # fmt: skip
        known = curves, motion_s, own
    curves, motion_s, own = known
    return PreparedClip(
        name=clip.name, path=clip.path, motion=motion_path, curves=curves, motion_s=motion_s, own_distances=own,
        digest=digest, seconds=seconds,
    )  # fmt: skip


def distances_to_first(source: DrivingSource, curves: FaceCurves, identity: IdentityEncoder) -> Float64Array:
    """How far a living face is from itself: what a measure of identity says of one person over a clip.

    Args:
        source: The clip.
        curves: Landmarks of the face.
        identity: Measure of identity.

    Returns:
        Distances `(N,)` of at most `IDENTITY_FRAMES` frames, evenly spread, to the first that shows the face.
    """
    chosen = set(spread(np.flatnonzero(curves.seen), IDENTITY_FRAMES))
    with source.frames() as frames:
        faces = [identity.embed(f.image, curves.face(k)) for k, f in enumerate(frames) if k in chosen]
    return np.array([distance(faces[0], other) for other in faces[1:]], dtype=np.float64)


def spread(indices: Sequence[int] | np.ndarray[tuple[int, ...], np.dtype[np.intp]], count: int) -> list[int]:
    """At most `count` of the indices, evenly spread, in order."""
    if not len(indices):
        return []
    chosen = np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(int)
    return [int(indices[k]) for k in chosen]


def _read_kept(path: Path, stamp: str) -> tuple[FaceCurves, float, Float64Array] | None:
    try:
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["stamp"]) != stamp:
                return None
            size = (int(kept["size"][0]), int(kept["size"][1]))
            curves = FaceCurves(points=kept["points"], size=size, fps=float(kept["fps"]))
            return curves, float(kept["motion_s"]), kept["own_distances"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
