"""What moves in a driving clip and what is to move in a portrait. Pure arithmetic, no networks.

Shapes: T frames, L tokens, C token channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from portrait_anim.errors import InputError
from portrait_anim.types import Float32Array

STATUS = ("found", "bridged", "lost")


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionSequence:
    """Motion of one face over time; it holds no picture of anybody.

    Attributes:
        latent: `(T, L, C)` float32 motion latents.
        rotation: `(T, 3)` float32 yaw, pitch, roll [rad].
        anchor: `(T, 2)` float32 midpoint between the eyeballs [px of the driving clip].
        scale: `(T,)` float32 head size [px per 10 cm].
        status: `(T,)` uint8, index into `STATUS`.
        fps: Frame rate [1/s].
        tongue: `(T, 3)` float32, as `LiteMotionOutput.tongue`; `None` where it was not read.
    """

    latent: Float32Array
    rotation: Float32Array
    anchor: Float32Array
    scale: Float32Array
    status: np.ndarray[Any, np.dtype[np.uint8]]
    fps: Fraction
    tongue: Float32Array | None = None

    def __post_init__(self) -> None:
        """Check that all parts have the same length.

        Raises:
            InputError: If they differ, are empty or not finite.
        """
        known = [self.latent, self.rotation, self.anchor, self.scale, *([] if self.tongue is None else [self.tongue])]
        lengths = {len(self.status), *(len(a) for a in known)}
        if len(lengths) != 1 or 0 in lengths:
            raise InputError(f"expected motion arrays of one length above 0, got lengths {sorted(lengths)}")
        if not all(np.isfinite(a).all() for a in known):
            raise InputError("expected finite motion values, got NaN or infinity; extract the motion again")

    def __len__(self) -> int:
        return len(self.latent)


@dataclass(frozen=True, kw_only=True, slots=True)
class StillMotion:
    """Motion state of a portrait.

    Attributes:
        latent: `(L, C)` motion latent.
        rotation: `(3,)` yaw, pitch, roll [rad].
        anchor: `(2,)` midpoint between the eyeballs in the portrait crop, [-1, 1].
        scale: Head size [half portrait crops per 10 cm].
    """

    latent: Float32Array
    rotation: Float32Array
    anchor: Float32Array
    scale: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetMotion:
    """Motion to show on the portrait, per frame.

    Attributes:
        latent: `(T, L, C)`.
        rotation: `(T, 3, 3)` head rotation relative to the portrait, camera axes (x right, y up, z to the viewer).
        anchor: `(T, 2)` in the portrait crop, [-1, 1].
        scale: `(T,)` relative to the portrait.
        tongue: `(T, 3)`, as `LiteMotionOutput.tongue`; `None` for a tongue that stays inside.
    """

    latent: Float32Array
    rotation: Float32Array
    anchor: Float32Array
    scale: Float32Array
    tongue: Float32Array | None = None


def rotation_matrix(angles: Float32Array) -> Float32Array:
    """Yaw, pitch, roll `(..., 3)` [rad] to `(..., 3, 3)`, `Rz(roll) Ry(yaw) Rx(pitch)` in camera axes."""
    (cy, cp, cr), (sy, sp, sr) = np.moveaxis(np.cos(angles), -1, 0), np.moveaxis(np.sin(angles), -1, 0)
    rows = [cr * cy, cr * sy * sp - sr * cp, cr * sy * cp + sr * sp,
            sr * cy, sr * sy * sp + cr * cp, sr * sy * cp - cr * sp, -sy, cy * sp, cy * cp]  # fmt: skip
    return np.asarray(np.stack(rows, -1).reshape(*angles.shape[:-1], 3, 3), dtype=np.float32)


def scale_rotation(matrix: Float32Array, gain: float) -> Float32Array:
    """Multiply the angle of rotations `(T, 3, 3)` by `gain`, keeping their axes."""
    cosine = np.clip((np.trace(matrix, axis1=-2, axis2=-1) - 1) / 2, -1, 1)
    angle = np.arccos(cosine)
    skew = (matrix - np.swapaxes(matrix, -1, -2)) / 2
    sine = np.sin(angle)
    unit = np.where(sine > 1e-6, 1 / np.maximum(sine, 1e-6), 1.0)[..., None, None] * skew
    turn = (angle * gain)[..., None, None]
    return np.asarray(np.eye(3) + np.sin(turn) * unit + (1 - np.cos(turn)) * (unit @ unit), dtype=np.float32)


def smooth(values: Float32Array, sigma: float) -> Float32Array:
    """Gaussian smoothing along the first axis with reflected ends; `sigma` in frames, 0 returns the input."""
    if sigma <= 0 or len(values) < 3:
        return values
    radius = min(int(np.ceil(3 * sigma)), len(values) - 1)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(values, [(radius, radius)] + [(0, 0)] * (values.ndim - 1), mode="reflect")
    out = sum(k * padded[i : i + len(values)] for i, k in enumerate(kernel))
    return np.asarray(out, dtype=np.float32)


def smooth_sequence(motion: MotionSequence, strength: float) -> MotionSequence:
    """Remove jitter: rigid motion is smoothed twice as much as expression, so blinks survive."""
    sigma = 1.6 * strength * float(motion.fps) / 25.0
    return replace(
        motion,
        latent=smooth(motion.latent, sigma / 2),
        rotation=smooth(motion.rotation, sigma),
        anchor=smooth(motion.anchor, sigma),
        scale=smooth(motion.scale, 2 * sigma),
        tongue=None if motion.tongue is None else smooth(motion.tongue, sigma / 2),
    )


def camera_to_image(rotation: torch.Tensor) -> torch.Tensor:
    """Rotations `(B, 3, 3)` in camera axes to image axes (y down, z away)."""
    flip = rotation.new_tensor([1.0, -1.0, -1.0])
    return rotation * flip[:, None] * flip[None, :]
