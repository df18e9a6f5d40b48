"""The opening between a portrait's own lips.

A warp whose cells are two pixels wide loses the small openings of talking. The inner edges of the lips are therefore
curves: the portrait's own landmarks, displaced like the skin of their lip. Between them the mouth is open, however
little, and what `mouth_interior` draws shows through.

Shapes: B batch, P = 11 points of an edge, S side of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F

from portrait_anim.models.lite.edges import below_edge, displace_edges, window_around
from portrait_anim.models.lite.expression_field import ExpressionField

# MediaPipe's inner lip edges from image left to image right; the ends are the corners. Upper edge, lower edge.
UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
_ASIDE = 0.03  # where a lip's skin is, beside the line across which displacement jumps [10 cm]
_SOFT_EDGE = 1.2 / 128  # of the lips [half crop sides]
_LIT = (9, 151, 6, 195, 50, 205, 280, 425)  # forehead, nose, cheeks
_TEETH_OVER_SKIN = 1.5  # brightness of teeth over that of light skin
_LIGHT = (0.75, 1.0)
_TINT = 0.3  # how far the colour of skin is believed to be that of the light
_SKIN = (1.24, 0.96, 0.84)  # usual colour of skin over its brightness, in white light
_CORNERS = 0.35  # share of the light that is lost at the corners of the mouth
_SHADE = (0.025, 0.45)  # how far an upper lip's shadow reaches down [10 cm], and how much light it takes


@dataclass
class LiteLips:
    """Inner lip edges of a portrait, computed once and reused for every frame.

    Attributes:
        edge: `(B, 3, 2 * P)` position and depth: the upper edge, then the lower [half crop sides].
        place: `(B, 3, 2 * P)` their places on the canonical face, on their own lip [10 cm].
        light: `(B, 3)` in [0, 1], light on this face by colour: teeth of a dim face are dim, in warm light warm.
    """

    edge: torch.Tensor
    place: torch.Tensor
    light: torch.Tensor

    def expand(self, batch: int) -> LiteLips:
        """Repeat the lips of one portrait for `batch` frames without copying."""
        return LiteLips(**{f.name: (v := getattr(self, f.name)).expand(batch, *v.shape[1:]) for f in fields(self)})


@dataclass
class PartedLips:
    """The window of frames around their mouths, of h w pixels.

    Attributes:
        place: `(B, h, w, 2)` positions of its pixels in [-1, 1].
        at: `(B, h, w, 2)` column and row of its pixels.
        opening: `(B, h, w)` in [0, 1], 1 between the lips.
        light: `(B, 3, h, w)` in [0, 1], what falls into the mouth.
    """

    place: torch.Tensor
    at: torch.Tensor
    opening: torch.Tensor
    light: torch.Tensor

    def spread(self, values: torch.Tensor, side: int) -> torch.Tensor:
        """Values in the window `(B, C, h, w)` as pictures `(B, C, side, side)`, 0 elsewhere."""
        out = values.new_zeros(*values.shape[:2], side, side)
        rows = torch.arange(len(values), device=values.device)[:, None, None]
        out[rows, :, self.at[..., 1], self.at[..., 0]] = values.movedim(1, -1)
        return out


@torch.no_grad()
def find_lips(
    image: torch.Tensor, landmarks: torch.Tensor, depth: torch.Tensor, field: ExpressionField, *, opened: bool
) -> LiteLips:
    """The inner lip edges of one portrait.

    Args:
        image: `(1, 3, S, S)` in [-1, 1].
        landmarks: `(478, 2)` in the crop, [-1, 1].
        depth: `(1, 1, f, f)` of the portrait [half crop sides].
        field: Field over the canonical face.
        opened: Whether the portrait shows the inside of its mouth. Of closed lips, whose edges a tracker places a
            little apart or across each other, only the line between them is kept.

    Returns:
        The lips, batch 1.
    """
    numbers = [*UPPER, *LOWER]
    edges = landmarks[numbers]
    if not opened:
        edges = edges.unflatten(0, (2, -1)).mean(0).repeat(2, 1)
    deep = F.grid_sample(depth, edges[None, None], padding_mode="border", align_corners=False)[0, 0, 0]
    aside = torch.tensor([_ASIDE, -_ASIDE], device=edges.device).repeat_interleave(len(UPPER))
    aside[[0, len(UPPER) - 1, len(UPPER), -1]] = 0  # both lips share their corners
    place = field.landmarks[numbers].clone()
    place[:, 1] += aside
    return LiteLips(
        edge=torch.cat([edges, deep[:, None]], dim=1).T[None],
        place=place.T[None],
        light=_light_on(image, landmarks[list(_LIT)]),
    )


def _light_on(image: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Light on a face `(1, 3)` in [0, 1], judged by its lighter places of `(N, 2)`; dark skin may be brightly lit."""
    side = max(1, image.shape[-1] // 32)
    seen = F.grid_sample(F.avg_pool2d(image, side), places[None, None], padding_mode="border", align_corners=False)
    skin = (seen[0, :, 0] / 2 + 0.5).quantile(0.75, dim=1).clamp(min=0.02)  # (3,)
    brightness = (_TEETH_OVER_SKIN * skin.mean()).clamp(*_LIGHT)
    tint = (skin / skin.mean() / skin.new_tensor(_SKIN)) ** _TINT
    return (brightness * tint / tint.amax())[None]


def part_lips(
    lips: LiteLips,
    field: ExpressionField,
    change: torch.Tensor,
    pose: torch.Tensor,
    size: torch.Tensor,
    head: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    side: int,
) -> PartedLips:
    """Where a frame shows the inside of the mouth.

    Args:
        lips: Of the portrait, batch B.
        field: Field over the canonical face.
        change: Change of the coefficients `(B, K)`.
        pose: `(B, 3, 3)` head pose of the portrait, image axes.
        size: `(B,)` head size of the portrait [half crop sides per 10 cm].
        head: Relative rotation, anchor in portrait and frame, relative scale, as `move_positions` takes them.
        side: Side S of the frame.

    Returns:
        The opening, in a window of the frame.
    """
    moved = displace_edges(lips.edge, lips.place, field, change, pose, size, head)
    edges = moved.unflatten(2, (2, -1)).movedim(1, -1)  # (B, 2, P, 2)
    place, at = window_around(edges, side)
    under, over = below_edge(edges[:, 0], place), -below_edge(edges[:, 1], place)
    inside = (under / _SOFT_EDGE).clamp(0, 1) * (over / _SOFT_EDGE).clamp(0, 1)
    reach = (_SHADE[0] * size * head[3])[:, None, None]
    shade = _SHADE[1] * torch.exp(-under.clamp(min=0) / reach)
    first, last = edges[:, 0, 0], edges[:, 0, -1]
    along = ((place - ((first + last) / 2)[:, None, None]) * (last - first)[:, None, None]).sum(-1)
    along = 2 * along / (last - first).square().sum(-1).clamp(min=1e-8)[:, None, None]  # -1 and 1 at the corners
    falls = (1 - shade) * (1 - _CORNERS * along.square().clamp(max=1))
    light = lips.light[:, :, None, None] * falls[:, None]
    return PartedLips(place=place, at=at, opening=inside, light=light)
