"""From a warp to a picture: what the portrait shows, what its head uncovers, what its mouth opens, what is painted.

Shapes: B batch, S picture side, s flow side, f side of the portrait's geometry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from portrait_anim.models.lite.geometry import fill_holes

if TYPE_CHECKING:
    from portrait_anim.models.lite.warp import LiteWarpOutput

KEEP_INTERIOR = 0.8  # share of the mouth interior that the denoiser does not repaint
KEEP_EYES = 0.6  # the same of eyeballs: whose iris glances how can only be blurred either
BARE = (0.25, 0.45)  # cells that fewer points cover, relative to rest, show what the head has uncovered
_BORDER = 4  # rows of the portrait that are its upper border
_HEAD_RADIUS = 0.8  # of a crown with its hair [10 cm]
_CROWN_EDGE = 0.06  # how softly it ends [half crop sides]
_FOLD = 0.07  # strip of hair below the upper border that is repeated above it, mirrored [half crop sides]


@dataclass(frozen=True, kw_only=True, slots=True)
class Surrounded:
    """A picture of the portrait's crop and of what the photograph shows around it.

    Attributes:
        image: `(B, 3, N, N)` in [-1, 1], N = `reach` times the side of the crop.
        reach: Half its side [half crop sides].
        top: Upper border of the photograph [half crop sides], within [-reach, -1].
    """

    image: torch.Tensor
    reach: float = 1.0
    top: float = -1.0

    def look(self, flow: torch.Tensor) -> torch.Tensor:
        """What a backward map `(B, 2, h, w)`, in half crop sides, shows `(B, 3, h, w)`.

        A head that nods may ask for hair above the photograph. Its last row repeated would be streaks, so its uppermost
        strip is shown there, mirrored again and again.
        """
        above = (self.top - flow[:, 1:]).clamp(min=0)
        back = _FOLD - (above % (2 * _FOLD) - _FOLD).abs()
        place = torch.cat([flow[:, :1], flow[:, 1:] + above + back], dim=1)
        return warp(self.image.expand(len(flow), -1, -1, -1), place / self.reach)


def enlarge(values: torch.Tensor, size: int) -> torch.Tensor:
    """Resample a map `(B, C, h, w)` to `(B, C, size, size)`."""
    return F.interpolate(values, size=(size, size), mode="bilinear", align_corners=False)


def bare_share(covered: torch.Tensor, follows: torch.Tensor) -> torch.Tensor:
    """Where what a head uncovers shows: few points, and around them not only the head (that would be a mouth).

    Args:
        covered: Points per cell relative to rest `(B, 1, s, s)`.
        follows: Rigidity of what is there or, in gaps, around `(B, 1, s, s)`.
    """
    density = F.avg_pool2d(covered, 7, 1, 3, count_include_pad=False)
    gap = ((BARE[1] - density) / (BARE[1] - BARE[0])).clamp(0, 1)
    fringe = F.max_pool2d(gap, 9, 1, 4) * ((0.9 - follows) / 0.3).clamp(0, 1)  # what hair left standing at its old edge
    return torch.maximum(gap, fringe) * ((0.97 - follows) / 0.3).clamp(0, 1)


def beyond_crown(
    flow: torch.Tensor, rigidity: torch.Tensor, scale: torch.Tensor, top: torch.Tensor
) -> torch.Tensor:
    """Where a frame asks for what lies above the picture, and not for the part of the head that its border cuts off.

    A head goes on above the border like the cap of a circle; repeating the border's pixels further up would draw a
    column of hair.

    Args:
        flow: Backward map `(B, 2, s, s)`.
        rigidity: Of the portrait `(B, 1, f, f)`.
        scale: Head size of the portrait `(B,)` [half crop sides per 10 cm].
        top: Upper border of the picture `(B,)`, at most -1, the upper border of the crop.

    Returns:
        `(B, 1, s, s)` in [0, 1].
    """
    border = rigidity[:, 0, :_BORDER].mean(1)  # (B, f)
    place = (torch.arange(border.shape[-1], device=border.device) + 0.5) * (2 / border.shape[-1]) - 1
    share = border.sum(1, keepdim=True).clamp(min=1e-6)
    middle = ((border * place).sum(1, keepdim=True) / share)[..., None]  # (B, 1, 1)
    radius = (_HEAD_RADIUS * scale)[:, None, None]
    half = torch.minimum(border.mean(1)[:, None, None], 0.95 * radius)
    across, above = flow[:, 0] - middle, top[:, None, None] - flow[:, 1]
    cap = (radius**2 - across**2).clamp(min=0).sqrt() - (radius**2 - half**2).sqrt()
    return ((above - cap.clamp(min=0)) / _CROWN_EDGE).clamp(0, 1)[:, None]


def behind_head(rigidity: torch.Tensor) -> torch.Tensor:
    """Where a portrait shows what does not follow the head, some pixels away from it, as rigidity `(B, 1, f, f)`."""
    near = F.max_pool2d(rigidity, 9, 1, 4)
    return ((0.1 - near) / 0.1).clamp(0, 1)


def backdrop(portrait: torch.Tensor, behind: torch.Tensor) -> torch.Tensor:
    """The portrait without its head: what is beside it, continued smoothly.

    Args:
        portrait: `(B, 3, S, S)` in [-1, 1], S a power of two.
        behind: From a warp of it, `(B, 1, f, f)`.

    Returns:
        `(B, 3, S, S)` in [-1, 1].
    """
    known = enlarge(behind, portrait.shape[-1])
    seen = known.flatten(1).amax(1)[:, None, None, None] > 0  # a head that fills the crop leaves nothing to continue
    return torch.where(seen, fill_holes(portrait, known), portrait)


def show(
    portrait: torch.Tensor,
    out: LiteWarpOutput,
    plate: torch.Tensor | None = None,
    around: Surrounded | None = None,
) -> torch.Tensor:
    """The warped portrait, with the mouth interior behind its lips and its backdrop where the head has gone.

    Args:
        portrait: `(B, 3, S, S)` in [-1, 1], S a power of two.
        out: Warp of batch B.
        plate: From `backdrop`, for callers that show one portrait often; made when `None`.
        around: The portrait with what the photograph shows around it; `None` repeats the border.

    Returns:
        `(B, 3, S, S)` in [-1, 1].
    """
    size = portrait.shape[-1]
    if plate is None:
        plate = backdrop(portrait, out.behind)
    interior = enlarge(out.interior, size)
    around = around or Surrounded(image=portrait)
    moved = around.look(enlarge(out.flow, size))
    moved = torch.lerp(moved, plate, enlarge(out.bare, size))
    return torch.lerp(moved, interior[:, :3], interior[:, 3:])


def keep_interior(painted: torch.Tensor, shown: torch.Tensor, out: LiteWarpOutput) -> torch.Tensor:
    """Let teeth and eyes outlast the paint: how anybody's look cannot be predicted, only blurred.

    Args:
        painted: `(B, 3, S, S)`, what the denoiser predicts.
        shown: `(B, 3, S, S)` from `show`.
        out: Warp of batch B.

    Returns:
        `(B, 3, S, S)`.
    """
    maps = (out.interior[:, 3:], out.own_teeth, out.own_eyes)
    interior, own_teeth, own_eyes = (enlarge(v, shown.shape[-1]) for v in maps)
    kept = torch.maximum(KEEP_INTERIOR * torch.maximum(interior, own_teeth), KEEP_EYES * own_eyes)
    return torch.lerp(painted, shown, kept)


def warp(image: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Sample `image` `(B, C, H, W)` at backward map `flow` `(B, 2, h, w)` in [-1, 1] -> `(B, C, h, w)`."""
    return F.grid_sample(image, flow.permute(0, 2, 3, 1), mode="bilinear", padding_mode="border", align_corners=False)
