"""Above the side that the networks work at, a portrait's own fine detail is moved along.

Shapes: B frames, S output side.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from portrait_anim.models.lite.composite import warp
from portrait_anim.models.lite.warp import LiteWarpOutput


def add_detail(low: torch.Tensor, mask: torch.Tensor, field: LiteWarpOutput, sharp: torch.Tensor) -> torch.Tensor:
    """Carry the portrait's own fine detail to where it is still visible.

    Args:
        low: Generated frames `(B, 3, 256, 256)`.
        mask: Paint mask `(B, 1, 256, 256)`.
        field: Warp of the frames.
        sharp: Portrait crop at output size `(1, 3, S, S)`.

    Returns:
        Frames `(B, 3, S, S)`.
    """
    size = (sharp.shape[-1], sharp.shape[-1])
    batch = len(low)
    fine_flow = F.interpolate(field.flow, size=size, mode="bicubic", align_corners=False)
    moved = warp(sharp.expand(batch, -1, -1, -1), fine_flow)
    blurred = F.interpolate(moved, size=low.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
    detail = moved - F.interpolate(blurred, size=size, mode="bicubic", align_corners=False)
    interior = F.interpolate(field.interior[:, 3:], size=mask.shape[-2:], mode="bilinear", align_corners=False)
    bare = F.interpolate(field.bare, size=mask.shape[-2:], mode="bilinear", align_corners=False)
    keep = F.interpolate(
        (1 - mask) * (1 - interior) * (1 - bare), size=size, mode="bilinear", align_corners=False
    )
    return F.interpolate(low, size=size, mode="bicubic", antialias=True, align_corners=False) + keep * detail
