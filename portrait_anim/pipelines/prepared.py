"""What the `lite` pipeline keeps of a portrait, and of frames before they are painted.

Shapes: B frames of one chunk, L tokens, C channels, K coefficients, S side of a crop, H W portrait.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from portrait_anim.face.crop import crop
from portrait_anim.media.image import to_tensor
from portrait_anim.models.lite.composite import Surrounded
from portrait_anim.models.lite.expression_field import ExpressionField
from portrait_anim.models.lite.eyes import LiteEyes, ShownEyes, show_eyes
from portrait_anim.models.lite.lips import LiteLips
from portrait_anim.models.lite.reference_encoder import LiteReferenceFeatures
from portrait_anim.models.lite.tongue import ShownTongue, TongueLook, show_tongue
from portrait_anim.models.lite.warp import HeadMotion, LitePortraitGeometry, LiteWarpField, LiteWarpOutput
from portrait_anim.pipelines.motion import StillMotion
from portrait_anim.types import CropTransform, FaceObservation, UInt8Array

_REACH = 1.25  # how far around a crop frames may look: further than the warp field ever does [half crop sides]


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedPortrait:
    """Everything about the portrait that every frame needs.

    Attributes:
        image: Full portrait `(H, W, 3)` uint8.
        transform: Portrait pixels to the output crop.
        crop: Output crop before animation `(S, S, 3)` uint8.
        sharp: The same as `(1, 3, S, S)` in [-1, 1].
        low: The same at network resolution.
        sharp_around: The output crop with what the photograph shows around it.
        low_around: The same at network resolution.
        features: Reference features, batch 1.
        geometry: Geometry of the face, batch 1.
        plate: What is beside and behind the head, at network resolution `(1, 3, 256, 256)` in [-1, 1].
        eyes: Eyeballs taken out of the portrait, batch 1.
        lips: Inner lip edges of the portrait, batch 1.
        tongue: How its tongue looks, batch 1.
        still: Motion state.
    """

    image: UInt8Array
    transform: CropTransform
    crop: UInt8Array
    sharp: torch.Tensor
    low: torch.Tensor
    sharp_around: Surrounded
    low_around: Surrounded
    features: LiteReferenceFeatures
    geometry: LitePortraitGeometry
    plate: torch.Tensor
    eyes: LiteEyes
    lips: LiteLips
    tongue: TongueLook
    still: StillMotion


@dataclass(frozen=True, kw_only=True, slots=True)
class WarpedFrames:
    """Frames before they are painted.

    Attributes:
        field: Their warp, batch B.
        features: Features of the portrait, batch B.
        tokens: Motion latents of frames and portrait `(B, 2, L, C)`.
        eyes: Their eyeballs, at network resolution.
        coefficients: What they show `(B, K)`.
        change: Change of the coefficients since the portrait `(B, K)`.
        head: Head motion since the portrait.
    """

    field: LiteWarpOutput
    features: LiteReferenceFeatures
    tokens: torch.Tensor
    eyes: ShownEyes
    coefficients: torch.Tensor
    change: torch.Tensor
    head: HeadMotion

    def eyes_at(self, prepared: PreparedPortrait, field: ExpressionField, size: int) -> ShownEyes:
        """The eyeballs at another side of the frame [px]."""
        if size == self.eyes.colour.shape[-1]:
            return self.eyes
        return turn_eyes(prepared, field, self.change, self.head, size)

    def tongue_at(
        self, prepared: PreparedPortrait, field: ExpressionField, tongue: torch.Tensor, size: int
    ) -> ShownTongue:
        """The tongue, which does what `tongue` `(B, 3)` says, at side `size` of the frame [px]."""
        batch, geometry = len(tongue), prepared.geometry
        return show_tongue(
            prepared.tongue.expand(batch),
            prepared.lips.expand(batch),
            field,
            self.change,
            tongue,
            geometry.rotation.expand(batch, 3, 3),
            geometry.scale.expand(batch),
            self.head.parts,
            size,
        )

    def mouth_at(self, prepared: PreparedPortrait, warp_field: LiteWarpField, size: int) -> torch.Tensor:
        """What shows between the lips at another side of the frame [px]: colour and opacity `(B, 4, size, size)`."""
        batch = len(self.change)
        lips, geometry = prepared.lips.expand(batch), prepared.geometry.expand(batch)
        own_teeth = self.field.own_teeth
        return warp_field.look_between(lips, geometry, self.change, self.coefficients, self.head, own_teeth, size)


def turn_eyes(
    prepared: PreparedPortrait, field: ExpressionField, change: torch.Tensor, head: HeadMotion, size: int
) -> ShownEyes:
    """Eyeballs of frames.

    Args:
        prepared: The portrait.
        field: Field over the canonical face.
        change: Change of the coefficients since the portrait `(B, K)`.
        head: Head motion since the portrait, batch B.
        size: Side of the frame [px].
    """
    eyes = prepared.eyes.expand(len(change))
    return show_eyes(eyes, field, change, head.rotation, head.anchor_target, head.scale, size)


def landmarks_in_crop(face: FaceObservation, transform: CropTransform) -> torch.Tensor:
    """Landmarks `(478, 2)` float32 of a face in a crop, [-1, 1]."""
    placed = face.landmarks @ transform.matrix[:, :2].T + transform.matrix[:, 2]
    return torch.from_numpy(placed * 2 / transform.size_px - 1).float()


def look_around(photograph: UInt8Array, transform: CropTransform, device: torch.device) -> Surrounded:
    """A crop with what the photograph `(H, W, 3)` shows around it."""
    size = 2 * round(_REACH * transform.size_px / 2)
    matrix = transform.matrix.copy()
    matrix[:, 2] += (size - transform.size_px) / 2
    wide = crop(photograph, CropTransform(matrix=matrix, size_px=size))
    reach = size / transform.size_px
    top = float(np.clip(transform.matrix[1, 2] * 2 / transform.size_px - 1, -reach, -1))
    return Surrounded(image=to_tensor(wide[None]).to(device) * 2 - 1, reach=reach, top=top)
