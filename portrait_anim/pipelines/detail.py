"""Above the side that the networks work at, a portrait's own fine detail is moved along.

Shapes: B frames, S output side.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from portrait_anim.models.lite.composite import Surrounded
from portrait_anim.models.lite.warp import LiteWarpOutput

_SAME = 0.12  # mean difference of colour, in [-1, 1], over which detail of the portrait fades


def add_detail(low: torch.Tensor, field: LiteWarpOutput, sharp: Surrounded, size: int) -> torch.Tensor:
    """Carry the portrait's own fine detail to where the frame still shows the portrait.

    Where the frame looks like the moved portrait it gets all of its detail; where something else was painted, none.

    Args:
        low: Generated frames `(B, 3, 256, 256)` in [-1, 1].
        field: Warp of the frames.
        sharp: Portrait crop, and what is around it, at output size.
        size: Side S of the output [px].

    Returns:
        Frames `(B, 3, S, S)`.
    """
    fine_flow = F.interpolate(field.flow, size=size, mode="bicubic", align_corners=False)
    moved = sharp.look(fine_flow)
    blurred = F.interpolate(moved, size=low.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
    detail = moved - F.interpolate(blurred, size=size, mode="bicubic", align_corners=False)
    unlike = F.avg_pool2d((low - blurred).abs().mean(1, keepdim=True), 5, 1, 2, count_include_pad=False)
    keep = torch.exp(-((unlike / _SAME) ** 2))
    for hidden in (field.interior[:, 3:], field.bare):
        keep = keep * (1 - F.interpolate(hidden, size=low.shape[-2:], mode="bilinear", align_corners=False))
    keep = F.interpolate(keep, size=size, mode="bilinear", align_corners=False)
    return F.interpolate(low, size=size, mode="bicubic", antialias=True, align_corners=False) + keep * detail
