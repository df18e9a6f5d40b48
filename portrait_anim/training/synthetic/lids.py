"""Eyelids that meet: the rims are brought together as they close, the lid is skin, and a lash line marks the seam.

The expression shapes close the average eye. On a fitted head the landmark correction and the identity move the rims
apart again, so a closed eye would let the eyeball through in places. Here the gap that is left between opposite points
of the two rims is measured on the posed head and taken away as the lid closes.

Shape legend: B pictures, V mesh vertices, K points along each rim, n vertices of the upper lids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from portrait_anim.training.synthetic.camera import constant, smoothstep
from portrait_anim.training.synthetic.shading import luminance

RIM_POINTS: Final = 15
_RIM_SPAN: Final = (0.16, 0.86)  # the rims are found between these places from the inner to the outer corner
_CLOSES_FROM: Final = 0.30  # closure from which the measured gap is taken away; all of it is gone at `SHUT`
SHUT: Final = 0.92
_OVERLAP_CM: Final = (0.0, -0.05, 0.06)  # how far a shut upper lid comes over the lower one
_LID_CM: Final = 0.70  # height above the rim up to which the lid follows it
_UPPER_LASH_CM: Final = 0.13  # reach of the lash line above the seam
_LOWER_LASH_CM: Final = 0.24  # and below it: lashes of a shut eye hang over the lower lid
_LASH_DARKNESS: Final = 0.85
FAR_FROM_LASHES: Final = 4.0  # distance, in reaches, at which nothing of the line is left
_COLOUR_CM: Final = 0.35  # distance over which lid skin takes its colour from the skin around the eye
_REDNESS: Final = (0.97, 0.92, 0.90)  # thin skin of a shut lid


@dataclass(frozen=True, kw_only=True, slots=True)
class LidMap:
    """Where the lids are on the shared head.

    Attributes:
        upper: `(2, K)` vertices along the upper rims, subject's left eye first.
        lower: `(2, K)` the opposite vertices of the lower rims.
        rows: `(n,)` vertices of the upper lids.
        follow: `(n, 2 K)` how far each of them follows each rim point.
        lash: `(2, V)` distance from the seam in reaches of the lash line, above it and below it; `FAR_FROM_LASHES`
            elsewhere.
        skin: `(V,)` 1 on lid skin that shows only when the eye shuts, fading out around it.
        donors: `(m,)` vertices around the eyes that are skin without lashes.
        colour: `(n', m)` shares of the donors in the colour of each of the vertices `skinned`.
        skinned: `(n',)` vertices that `skin` covers.
    """

    upper: Tensor
    lower: Tensor
    rows: Tensor
    follow: Tensor
    lash: Tensor
    skin: Tensor
    donors: Tensor
    colour: Tensor
    skinned: Tensor


def map_lids(neutral: Tensor, skin: Tensor, eyes: tuple[Tensor, Tensor]) -> LidMap:
    """Find the rims of the eye openings.

    Args:
        neutral: `(V, 3)` average head [cm].
        skin: Vertices of the outer skin.
        eyes: Vertices of the left and of the right eye opening.

    Returns:
        The map.
    """
    V = len(neutral)
    upper: list[Tensor] = []
    lower: list[Tensor] = []
    rows: list[Tensor] = []
    follow: list[Tensor] = []
    bare = torch.zeros(V, dtype=torch.bool, device=neutral.device)
    lash, lid = neutral.new_full((2, V), FAR_FROM_LASHES), neutral.new_zeros(V)
    for side, opening in enumerate(eyes):
        rim = opening[torch.isin(opening, skin)]
        t, height = _along(neutral, neutral[rim])
        front = neutral[:, 2] > neutral[rim, 2].min() - 0.2
        near = front & (t > -0.10) & (t < 1.10) & (height.abs() < 2.0)
        is_skin = torch.zeros(V, dtype=torch.bool, device=neutral.device).index_fill_(0, skin, True)
        top, bottom = _rim(t, height, near & is_skin)
        over, under = _between(t, t[top], height[top]), _between(t, t[bottom], height[bottom])
        above = torch.stack([height - over, under - height])
        is_upper = near & (height > (over + under) / 2)
        mine = (is_upper & (above[0] < _LID_CM)).nonzero()[:, 0]
        fall = smoothstep(1 - above[0, mine] / _LID_CM)
        inside = t[mine, None].clamp(t[top].min(), t[top].max())
        hats = (1 - (inside - t[top]).abs() * (RIM_POINTS - 1)).clamp(min=0) + 1e-6
        fall = fall * smoothstep((t[mine] + 0.10) / 0.2) * smoothstep((1.08 - t[mine]) / 0.18)
        weights = torch.zeros(len(mine), 2 * RIM_POINTS, device=neutral.device)
        weights[:, side * RIM_POINTS : (side + 1) * RIM_POINTS] = hats / hats.sum(1, keepdim=True) * fall[:, None]
        away = torch.where(is_upper, above[0], 1.4 * above[1]).clamp(min=0)
        ends = (0.06 - t).clamp(min=0) + (t - 0.97).clamp(min=0)
        for k, (mask, reach) in enumerate(((is_upper, _UPPER_LASH_CM), (~is_upper, _LOWER_LASH_CM))):
            lash[k] = torch.where(near & mask, (away / reach + 14 * ends).clamp(max=FAR_FROM_LASHES), lash[k])
        covered = torch.where(is_upper, smoothstep(2.2 - away / 0.35), smoothstep(1.2 - away / 0.25))
        lid = torch.maximum(lid, near * covered * smoothstep((t + 0.10) / 0.1) * smoothstep((1.18 - t) / 0.14))
        beyond = torch.where(is_upper, (above[0] > 0.42) & (above[0] < 1.0), (above[1] > 0.3) & (above[1] < 0.9))
        bare |= near & is_skin & beyond & (t > 0) & (t < 1)
        for store, value in ((upper, top), (lower, bottom), (rows, mine), (follow, weights)):
            store.append(value)
    return LidMap(
        upper=torch.stack(upper),
        lower=torch.stack(lower),
        rows=torch.cat(rows),
        follow=torch.cat(follow),
        lash=lash,
        skin=lid,
        **_colour_shares(neutral, lid, bare),
    )


def _colour_shares(neutral: Tensor, lid: Tensor, bare: Tensor) -> dict[str, Tensor]:
    """From which skin around the eyes each lid vertex takes its colour: `donors`, `colour` and `skinned`."""
    donors, skinned = bare.nonzero()[:, 0], (lid > 0).nonzero()[:, 0]
    distance = torch.cdist(neutral[skinned], neutral[donors])
    shares = torch.exp(-0.5 * (distance / _COLOUR_CM) ** 2) + 1e-9
    return {"donors": donors, "skinned": skinned, "colour": shares / shares.sum(1, keepdim=True)}


def lid_colour(lids: LidMap, fill: Tensor) -> Tensor:
    """Fill colours `(N, V, 3)` with lids of plain skin: the photograph shows lashes and shadow there.

    Args:
        lids: Where the lids are.
        fill: `(N, V, 3)` colour of every vertex in [0, 1].

    Returns:
        `(N, V, 3)`.
    """
    out = fill.clone()
    plain = lids.colour @ fill[:, lids.donors] * constant(_REDNESS, fill)
    out[:, lids.skinned] = torch.lerp(out[:, lids.skinned], plain, lids.skin[lids.skinned, None])
    return out


def _along(vertices: Tensor, rim: Tensor) -> tuple[Tensor, Tensor]:
    """Position between the inner (0) and the outer (1) corner of an eye and height above their line [cm], `(V,)`."""
    mirror = torch.stack([rim[:, 0].mean().sign(), torch.ones_like(rim[0, 0])])
    mirrored, corners = vertices[:, :2] * mirror, rim[:, :2] * mirror
    first, last = corners[corners[:, 0].argmin()], corners[corners[:, 0].argmax()]
    line = last - first
    length = line.norm()
    offset = mirrored - first
    t = (offset @ line) / (length * length)
    return t, (offset[:, 1] * line[0] - offset[:, 0] * line[1]) / length


def _rim(t: Tensor, height: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Vertices `(K,)` of the upper and the lower rim: those next to the opening at K places between its corners."""
    places = torch.linspace(*_RIM_SPAN, RIM_POINTS, device=t.device)
    top, bottom = [], []
    for place in places:
        half = 0.15 + 0.8 * (4 * place * (1 - place)).sqrt()  # brows and bags are further away than this
        column = (candidates & ((t - place).abs() < 0.055) & ((height - 0.12).abs() < half)).nonzero()[:, 0]
        column = column[height[column].argsort()]
        widest = height[column].diff().argmax()
        bottom.append(column[widest])
        top.append(column[widest + 1])
    return torch.stack(top), torch.stack(bottom)


def _between(t: Tensor, at: Tensor, value: Tensor) -> Tensor:
    """Values `(V,)` at positions `t`, linear between the known ones `(K,)`, constant outside."""
    order = at.argsort()
    at, value = at[order], value[order]
    k = torch.searchsorted(at, t.contiguous()).clamp(1, len(at) - 1)
    phase = ((t - at[k - 1]) / (at[k] - at[k - 1]).clamp(min=1e-4)).clamp(0, 1)
    return torch.lerp(value[k - 1], value[k], phase)


def shut(lids: LidMap, vertices: Tensor, closure: Tensor, rotation: Tensor) -> Tensor:
    """Displacement of the upper lids that takes away the gap between the rims.

    Args:
        lids: Where the lids are.
        vertices: `(B, V, 3)` heads that show the expression already [cm].
        closure: `(B, 2)` lid closure, left and right.
        rotation: `(B, 3, 3)` head to the space of `vertices`.

    Returns:
        `(B, n, 3)` for the vertices `lids.rows` [cm].
    """
    share = smoothstep((closure - _CLOSES_FROM) / (SHUT - _CLOSES_FROM))[..., None, None]  # (B, 2, 1, 1)
    over = (rotation @ constant(_OVERLAP_CM, rotation))[:, None, None]
    gap = (vertices[:, lids.lower] - vertices[:, lids.upper] + over) * share  # (B, 2, K, 3)
    return lids.follow @ gap.flatten(1, 2)


def covering(lids: LidMap, blink: Tensor) -> Tensor:
    """How far painted lid skin replaces the photograph, `(B, V)`, for the closure `(B, V)` of each vertex."""
    return smoothstep(blink / 0.75) * lids.skin


def bulge(lids: LidMap, vertices: Tensor, eye_centre: Tensor, left: Tensor, light: Tensor) -> Tensor:
    """Relighting of a shut lid as of the ball beneath it, `(B, n')` for the vertices `lids.skinned`, about 1.

    Args:
        lids: Where the lids are.
        vertices: `(B, V, 3)` posed head [cm].
        eye_centre: `(B, 2, 3)` eyeballs, left and right [cm].
        left: `(V,)` 1 on the subject's left half.
        light: `(B, 9)` spherical harmonics.
    """
    left = left[lids.skinned, None]
    centre = eye_centre[:, :1] * left + eye_centre[:, 1:] * (1 - left)
    brightness = luminance(F.normalize(vertices[:, lids.skinned] - centre, dim=-1), light)
    return (brightness / brightness.mean(1, keepdim=True)).clamp(0.7, 1.25)


def lash_distance(lids: LidMap, blink: Tensor) -> Tensor:
    """Distance of every vertex from the lash line, `(B, V)` in reaches of the line.

    The upper line is there as soon as painted skin replaces the photographed lashes, the lower one when both meet. A
    line that is not there yet is far away, so that one interpolated number is enough; see `lash_shade`.

    Args:
        lids: Where the lids are.
        blink: `(B, V)` closure of the vertex's side.
    """
    upper = lids.lash[0] + FAR_FROM_LASHES * (1 - smoothstep(blink / 0.5))
    lower = lids.lash[1] + FAR_FROM_LASHES * (1 - smoothstep((blink - 0.7) / 0.25))
    return torch.minimum(upper, lower)


def lash_shade(distance: Tensor) -> Tensor:
    """Factor on the colour of the skin from 1 (no lashes) down, for distances as `lash_distance` gives them."""
    return 1 - _LASH_DARKNESS * torch.exp(-(distance**2))
