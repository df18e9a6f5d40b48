"""How large expressions are in photographs: `python -m portrait_anim.training.amplitude --portraits DIR --weights W`.

The coefficients that training samples are labelled with come from a face model fitted to photographs, and part of a
photographed smile goes into the fit's identity: a coefficient of 0.5 may stand for a smile that is broader than half
the model's. A network that reads drivers perfectly in those units then moves faces too little. Here portraits of people
who do not exist are read by the motion encoder, their landmarks are laid over the average face, and per group of
coefficients the heads are enlarged until what they say moves landmarks as far as the photographs show.

Shapes: N portraits, K coefficients, L landmarks.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich.progress import track

from portrait_anim.errors import InputError
from portrait_anim.models.lite.expression_field import NUM_LANDMARKS, ExpressionField
from portrait_anim.models.lite.expressions import EXPRESSIONS, NUM_COEFFICIENTS
from portrait_anim.training.calibration import enlarge_heads
from portrait_anim.training.crops import BROWS, CHIN, LIDS, LIPS, displacement
from portrait_anim.training.export import replace_tensors
from portrait_anim.training.networks import LiteNetworks, load_pipeline_weights
from portrait_anim.types import Float64Array

logger = logging.getLogger(__name__)

LEAST_PORTRAITS: Final = 50
_LEAST_CORRELATION: Final = 0.5  # below, landmarks and coefficients hardly speak of the same thing
# Eye corners, nose, temples, forehead: what keeps its place when a face moves.
_RIGID: Final = (33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 10, 151, 9, 8, 127, 356, 234, 454, 98, 327)


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Coefficients that share one gain.

    Attributes:
        prefixes: Beginnings of their names.
        landmarks: Where their effect is looked for.
        largest: Gain at most. Where faces at rest differ much (brows), part of what is read is identity.
    """

    prefixes: tuple[str, ...]
    landmarks: tuple[int, ...]
    largest: float


GROUPS: Final = {
    "jaw": Group(prefixes=("jawOpen",), landmarks=LIPS + CHIN, largest=1.5),
    "smile": Group(prefixes=("mouthSmile", "mouthDimple"), landmarks=LIPS, largest=2.0),
    "stretch": Group(prefixes=("mouthStretch",), landmarks=LIPS, largest=2.0),
    "round": Group(prefixes=("mouthFunnel", "mouthPucker"), landmarks=LIPS, largest=2.0),
    "upper lip": Group(prefixes=("mouthUpperUp",), landmarks=LIPS, largest=2.0),
    "lower lip": Group(prefixes=("mouthLowerDown",), landmarks=LIPS, largest=2.0),
    "lids": Group(prefixes=("eyeBlink",), landmarks=LIDS, largest=1.5),
    "brows up": Group(prefixes=("browInnerUp", "browOuterUp"), landmarks=BROWS, largest=1.4),
    "brows down": Group(prefixes=("browDown",), landmarks=BROWS, largest=1.4),
}


def members(group: Group) -> list[int]:
    """Positions of a group's coefficients."""
    return [k for k, name in enumerate(EXPRESSIONS) if name.startswith(group.prefixes)]


def align(landmarks: Float64Array, average: Float64Array) -> Float64Array:
    """Lay a face over the average one by rotation, scale and shift of its rigid points (Umeyama 1991).

    Args:
        landmarks: `(L, 3)`, y up, z towards the viewer, any unit.
        average: `(L, 3)` [10 cm].

    Returns:
        `(L, 3)` [10 cm].
    """
    here, there = landmarks[list(_RIGID)], average[list(_RIGID)]
    mean_here, mean_there = here.mean(0), there.mean(0)
    u, singular, vt = np.linalg.svd((here - mean_here).T @ (there - mean_there))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = (singular * sign).sum() / ((here - mean_here) ** 2).sum()
    out: Float64Array = scale * (landmarks - mean_here) @ rotation + mean_there
    return out


def group_gains(
    read: torch.Tensor, landmarks: torch.Tensor, field: ExpressionField
) -> dict[str, tuple[float, float, float]]:
    """Gain of every group: what landmarks show along the group's own direction, regressed on what was read.

    Noise in what was read makes the slope smaller, never larger, so the result is on the safe side.

    Args:
        read: Coefficients read from the portraits `(N, K)`.
        landmarks: Aligned landmarks of the portraits `(N, L, 3)` [10 cm].
        field: Field over the canonical face.

    Returns:
        Gain, raw slope and correlation by group name; the gain is 1 where the correlation is low.
    """
    moved = displacement(field)  # (K, 2, L)
    shown = (landmarks[..., :2] - landmarks[..., :2].mean(0)).transpose(1, 2).to(moved)  # (N, 2, L)
    said = torch.einsum("nk,kcl->ncl", (read - read.mean(0)).to(moved), moved)
    out = {}
    for name, group in GROUPS.items():
        columns, places = members(group), list(group.landmarks)
        direction = moved[columns].sum(0)[:, places]
        direction = direction / direction.norm().clamp(min=1e-9)
        true, predicted = (torch.einsum("ncl,cl->n", v[:, :, places], direction) for v in (shown, said))
        slope = float((true * predicted).mean() / predicted.square().mean().clamp(min=1e-12))
        correlation = float(torch.corrcoef(torch.stack([true, predicted]))[0, 1])
        trusted = correlation >= _LEAST_CORRELATION
        out[name] = (min(max(slope, 1.0), group.largest) if trusted else 1.0, slope, correlation)
    return out


def gain_vector(gains: dict[str, tuple[float, float, float]]) -> torch.Tensor:
    """Gains by group as one factor per coefficient `(K,)`."""
    out = torch.ones(NUM_COEFFICIENTS)
    for name, (gain, _, _) in gains.items():
        out[members(GROUPS[name])] = gain
    return out


@torch.no_grad()
def read_portraits(nets: LiteNetworks, portraits: Iterable[Path]) -> tuple[torch.Tensor, torch.Tensor]:
    """Read the expression of portraits and lay their landmarks over the average face.

    Args:
        nets: Networks in evaluation mode.
        portraits: Pictures with one face each; those without a usable one are left out and logged.

    Returns:
        Coefficients `(N, K)` and aligned landmarks `(N, L, 3)` [10 cm].

    Raises:
        InputError: If fewer than `LEAST_PORTRAITS` portraits were usable.
    """
    from portrait_anim.face.crop import crop, motion_transform
    from portrait_anim.face.detect import FaceDetector, find_face
    from portrait_anim.media.image import read_image, to_tensor

    average = nets.warp_field.field.landmarks.double().numpy()
    side = nets.motion_encoder.config.sample_size
    read, shown = [], []
    with FaceDetector() as detector:
        for path in portraits:
            picture = read_image(path)
            try:
                face = find_face(picture, detector, "largest")
            except InputError as error:
                logger.info("%s left out: %s", path.name, error)
                continue
            sample = to_tensor(crop(picture, motion_transform(face, side))[None]) * 2 - 1
            read.append(nets.warp_field.heads(nets.motion_encoder(sample).latent)[0])
            assert face.depth is not None
            place = np.column_stack([face.landmarks, face.depth * picture.shape[1]])[:NUM_LANDMARKS]
            shown.append(align(place * [1.0, -1.0, -1.0], average))
    if len(read) < LEAST_PORTRAITS:
        raise InputError(f"expected at least {LEAST_PORTRAITS} portraits with a usable face, got {len(read)}; add more")
    return torch.stack(read), torch.from_numpy(np.stack(shown))


def main(argv: list[str] | None = None) -> int:
    """Enlarge the heads of a pipeline folder by what portraits show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--portraits", type=Path, required=True, help="folder of portraits of people who do not exist")
    parser.add_argument("--weights", type=Path, required=True, help="pipeline folder, such as weights/lite")
    parser.add_argument("--leave-out", type=Path, help="text file with the file stems to leave out, such as the young")
    parser.add_argument("--count", type=int, default=400, help="portraits to use at most (default 400)")
    arguments = parser.parse_args(argv)
    absent = {int(n) for n in arguments.leave_out.read_text().split()} if arguments.leave_out else set()
    files = [f for f in sorted(arguments.portraits.glob("*.jpg")) if not (f.stem.isdigit() and int(f.stem) in absent)]
    nets = LiteNetworks().eval()
    load_pipeline_weights(nets, arguments.weights)
    chosen = files[:: max(1, len(files) // arguments.count)][: arguments.count]
    gains = group_gains(*read_portraits(nets, track(chosen, description="portraits")), nets.warp_field.field)
    enlarge_heads(nets.warp_field.heads, gain_vector(gains))
    tensors = {f"heads.{k}": v for k, v in nets.warp_field.heads.state_dict().items()}
    replace_tensors(arguments.weights, "warp_field", tensors)
    for name, (gain, slope, correlation) in gains.items():
        sys.stdout.write(f"{name:12} gain {gain:.2f}  slope {slope:.2f}  r {correlation:.2f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
