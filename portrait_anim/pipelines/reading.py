"""Reading a face several times: nearer and farther, turned and mirrored, because errors of single readings cancel.

What a small encoder answers changes a little with where the crop happens to lie. The mean over a few crops is steadier
and costs some runs of the smallest network. Views come in mirrored pairs, so that neither side of a face is preferred.

Shapes: V views, L tokens, C token channels, S side of a crop [px].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from portrait_anim.face.crop import crop
from portrait_anim.media.image import to_tensor
from portrait_anim.models import LiteMotionEncoder
from portrait_anim.models.lite.expressions import ExpressionHeads, mirrored_coefficients
from portrait_anim.models.lite.motion_encoder import LiteMotionOutput
from portrait_anim.models.lite.tongue_reader import mirrored_tongue
from portrait_anim.types import CropTransform, Float32Array, UInt8Array


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """How a face crop is looked at.

    Attributes:
        side: Side of what is seen, in sides of the crop.
        turn: Angle by which the axes turn clockwise on screen [rad].
        mirrored: Whether left and right are then exchanged.
    """

    side: float
    turn: float
    mirrored: bool

    @property
    def partner(self) -> View:
        """The view that sees in a mirrored picture what this one sees in the picture."""
        return View(side=self.side, turn=-self.turn, mirrored=not self.mirrored)


_NEAR = View(side=0.9, turn=0.08, mirrored=False)  # both lie within the jitter of training
_FAR = View(side=1.15, turn=-0.08, mirrored=False)
VIEWS: Final = (_NEAR, _NEAR.partner, _FAR, _FAR.partner)


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceReading:
    """What one face shows, and where.

    Attributes:
        latent: Motion latent `(L, C)` float32.
        rotation: Head yaw, pitch, roll `(3,)` float32 [rad].
        tongue: `(3,)` float32, see `LiteMotionOutput.tongue`.
        anchor: Midpoint between the eyeballs `(2,)` float32 [frame px].
        scale: Scale of the head [frame px per 10 cm].
    """

    latent: Float32Array
    rotation: Float32Array
    tongue: Float32Array
    anchor: Float32Array
    scale: float


def view_transform(transform: CropTransform, view: View) -> CropTransform:
    """Map of a view of a crop.

    Args:
        transform: Frame px -> px of the crop, upright.
        view: How to look at it.

    Returns:
        Frame px -> px of the view.
    """
    cos, sin = np.cos(view.turn), np.sin(view.turn)
    look = np.array([[cos, sin], [-sin, cos]]) / view.side
    if view.mirrored:
        look[0] *= -1
    half = transform.size_px / 2
    matrix = look @ transform.matrix
    matrix[:, 2] += half - look.sum(axis=1) * half  # the centre stays where it is
    return CropTransform(matrix=matrix, size_px=transform.size_px)


@torch.inference_mode()
def read_face(
    encoder: LiteMotionEncoder, heads: ExpressionHeads, image: UInt8Array, transform: CropTransform
) -> FaceReading:
    """Read one face, the mean over `VIEWS`.

    Args:
        encoder: The motion encoder, in evaluation mode.
        heads: Its heads, which know what mirroring does to a latent.
        image: Frame `(H, W, 3)` uint8 sRGB.
        transform: Frame px -> px of the motion crop, whose side is the encoder's.

    Returns:
        The reading; that of a mirrored frame is the mirrored reading.
    """
    transforms = [view_transform(transform, view) for view in VIEWS]
    crops = to_tensor(np.stack([crop(image, t) for t in transforms]))
    out = encoder(crops.to(next(encoder.parameters()).device) * 2 - 1)
    flipped = torch.tensor([view.mirrored for view in VIEWS], device=out.latent.device)[:, None]
    anchor, scale = _mean_place(out, transforms)
    tongue = torch.where(flipped, mirrored_tongue(out.tongue), out.tongue).mean(dim=0)
    return FaceReading(
        latent=_array(_mean_latent(heads, out.latent, flipped)),
        rotation=_mean_rotation(out, flipped),
        tongue=_array(tongue),
        anchor=anchor,
        scale=scale,
    )


def _mean_latent(heads: ExpressionHeads, latent: torch.Tensor, flipped: torch.Tensor) -> torch.Tensor:
    """First of the latents `(V, L, C)`, moved to the mean coefficients; `flipped` is `(V, 1)`."""
    read = heads(latent)
    turned_back = torch.where(flipped, mirrored_coefficients(read), read)
    moved: torch.Tensor = latent[0] + heads.lift((turned_back.mean(dim=0) - read[0])[None])[0]
    return moved


def _mean_rotation(out: LiteMotionOutput, flipped: torch.Tensor) -> Float32Array:
    """Mean yaw, pitch, roll `(3,)` of the head in the frame."""
    sides = out.rotation.new_tensor([-1.0, 1.0, -1.0])
    rotation = torch.where(flipped, out.rotation * sides, out.rotation)
    mean = _array(rotation.mean(dim=0))
    mean[2] -= np.float32(np.mean([view.turn for view in VIEWS]))
    return mean


def _mean_place(out: LiteMotionOutput, transforms: list[CropTransform]) -> tuple[Float32Array, float]:
    """Mean anchor [frame px] and head scale [frame px per 10 cm]."""
    anchors, scales = [], []
    for placement, transform in zip(out.placement.double().cpu().numpy(), transforms, strict=True):
        half = transform.size_px / 2
        into_frame = np.linalg.inv(transform.matrix[:, :2])
        anchors.append(into_frame @ ((placement[:2] + 1) * half - transform.matrix[:, 2]))
        scales.append(placement[2] + np.log(half * np.sqrt(abs(np.linalg.det(into_frame)))))
    return np.mean(anchors, axis=0).astype(np.float32), float(np.exp(np.mean(scales)))


def _array(tensor: torch.Tensor) -> Float32Array:
    return tensor.float().cpu().numpy()
