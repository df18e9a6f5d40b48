"""Eyeballs of the `lite` profile: what lids uncover and a turned gaze brings into view.

A portrait shows a part of each eyeball. Warping alone can only stretch that part: an iris that looks aside smears, and
a lid that opens wider uncovers nothing. So the eyeball is taken out of the portrait once and completed: hidden iris
from the visible iris, which looks alike all around its axis, and hidden white from the white beside it. For every frame
the ball is turned by head and gaze and shown between the lids, whose edges are the portrait's own lid landmarks,
displaced like the skin around them. There is nothing to learn here.

Shapes: B batch, E = 2 eyes, P = 9 points of a lid edge, n side of an eyeball's picture, S side of the frame. Axes are
those of `geometry`: x right, y down, z away from the viewer, half crop sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F

from portrait_anim.models.lite.edges import below_edge, displace_edges, window_around
from portrait_anim.models.lite.expression_field import ExpressionField
from portrait_anim.models.lite.geometry import fill_holes, move_positions

# MediaPipe's lid edges from image left to image right; the ends are the corners. Upper edge, lower edge, iris.
LIDS = (
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133)),
    ((362, 398, 384, 385, 386, 387, 388, 466, 263), (362, 382, 381, 380, 374, 373, 390, 249, 263)),
)
IRIS = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))  # centre, then four points of the rim
# Of the eyeballs that gaze was learnt from [10 cm]; a living one has 0.12 and turns further for the same way.
RADIUS = 0.15
# Centre of the eyeball behind the middle of its two corners on the average face [10 cm], head axes (z to the viewer).
_BEHIND_CORNERS = ((0.0073, 0.0251, -0.1044), (-0.0073, 0.0251, -0.1044))
GAZE_UNIT = math.radians(20.0)  # of the two gaze coefficients
_ASIDE = 0.03  # where the lid skin is, beside the edge across which displacement jumps [10 cm]
_REACH = 1.1  # side of an eyeball's picture [radii from the centre]
_IRIS_ANGLE = (math.radians(18.0), math.radians(28.0))  # half angle under which an iris is seen from the ball's centre
_WHITE_FROM = 1.2  # [iris radii]
_LIGHTEST, _PALE = 0.75, 0.5  # which quantile of what seems white is white, and how far it loses its tint
_LASHES = (0.22, 0.10)  # share of the opening at its upper and lower edge that lashes and shadows cover
_LEAST_OPENING = 0.10  # of the lids, height over width; below, an eye counts as closed and cannot be taken out
_SOFT_EDGE = 1.4 / 128  # of the lids [half crop sides]
_BINS = 12  # of the iris, from its centre outwards


@dataclass
class LiteEyes:
    """Eyeballs and lids of a portrait, computed once and reused for every frame.

    Attributes:
        picture: `(B, E, 3, n, n)` completed eyeballs in [-1, 1], as the portrait turns them.
        own: `(B, E, 1, n, n)` in [0, 1], where the portrait shows the ball.
        usable: `(B, E)` 1 where the eye could be taken out, else 0.
        lash: `(B, E, 2, 3)` colour beside the upper and the lower lid edge, of lashes and shadows.
        margin: `(B, E, 2)` how far it reaches [half crop sides].
        centre: `(B, 3, E)` position and depth of the balls.
        lid: `(B, 3, E * 2 * P)` position and depth of the lid edges: per eye the upper, then the lower.
        lid_place: `(B, 3, E * 2 * P)` their places on the canonical face, on their own skin [10 cm].
        rotation: `(B, 3, 3)` head pose of the portrait, image axes.
        scale: `(B,)` head size [half crop sides per 10 cm].
        anchor: `(B, 2)` midpoint between the eyeballs.
    """

    picture: torch.Tensor
    own: torch.Tensor
    usable: torch.Tensor
    lash: torch.Tensor
    margin: torch.Tensor
    centre: torch.Tensor
    lid: torch.Tensor
    lid_place: torch.Tensor
    rotation: torch.Tensor
    scale: torch.Tensor
    anchor: torch.Tensor

    def expand(self, batch: int) -> LiteEyes:
        """Repeat the eyes of one portrait for `batch` frames without copying."""
        return LiteEyes(**{f.name: (v := getattr(self, f.name)).expand(batch, *v.shape[1:]) for f in fields(self)})


@dataclass
class ShownEyes:
    """Eyeballs of frames.

    Attributes:
        colour: `(B, 3, S, S)` in [-1, 1], meaningless where `opacity` is 0.
        opacity: `(B, 1, S, S)` in [0, 1], 1 between the lids.
    """

    colour: torch.Tensor
    opacity: torch.Tensor

    def over(self, image: torch.Tensor) -> torch.Tensor:
        """The eyes on `image` `(B, 3, S, S)`."""
        return torch.lerp(image, self.colour, self.opacity)


@torch.no_grad()
def take_out(
    image: torch.Tensor,
    landmarks: torch.Tensor,
    depth: torch.Tensor,
    field: ExpressionField,
    rotation: torch.Tensor,
    scale: torch.Tensor,
    anchor: torch.Tensor,
) -> LiteEyes:
    """Take the eyeballs out of one portrait and complete them.

    Args:
        image: `(1, 3, S, S)` in [-1, 1].
        landmarks: `(478, 2)` in the crop, [-1, 1].
        depth: `(1, 1, f, f)` of the portrait [half crop sides].
        field: Field over the canonical face.
        rotation: `(1, 3, 3)` head pose of the portrait, image axes.
        scale: `(1,)` head size [half crop sides per 10 cm].
        anchor: `(1, 2)` midpoint between the eyeballs.

    Returns:
        The eyes, batch 1.
    """
    numbers = [n for eye in LIDS for edge in eye for n in edge]
    edges = landmarks[numbers]  # (E * 2 * P, 2)
    deep = F.grid_sample(depth, edges[None, None], padding_mode="border", align_corners=False)[0, 0, 0]
    lid = torch.cat([edges, deep[:, None]], dim=1).T[None]
    aside = torch.tensor([_ASIDE, -_ASIDE], device=edges.device).repeat_interleave(len(LIDS[0][0])).repeat(2)
    place = field.landmarks[numbers].clone()
    place[:, 1] += aside
    corners = lid.unflatten(2, (2, 2, -1))[:, :, :, :, [0, -1]].mean((3, 4))  # (1, 3, E)
    flip = scale.new_tensor([1.0, -1.0, -1.0])
    behind = torch.einsum("ij,ej->ie", rotation[0], scale.new_tensor(_BEHIND_CORNERS) * flip) * scale
    centre = corners + behind[None]
    pictures, own, lashes, openings, usable = [], [], [], [], []
    size = 64 * 2 ** max(0, math.ceil(math.log2(image.shape[-1] / 256)))
    for eye in range(2):
        iris = landmarks[list(IRIS[eye])]
        upper, lower = edges.unflatten(0, (2, 2, -1))[eye]
        picture, seen, lash = _complete(image, centre[0, :2, eye], float(RADIUS * scale), iris, upper, lower, size)
        width, opening = (upper[-1] - upper[0]).norm(), (lower[4] - upper[4]).norm()
        pictures.append(picture)
        own.append(seen)
        lashes.append(lash)
        openings.append(opening)
        usable.append((opening / width.clamp(min=1e-6) > _LEAST_OPENING).float())
    return LiteEyes(
        picture=torch.cat(pictures)[None],
        own=torch.cat(own)[None],
        usable=torch.stack(usable)[None],
        lash=torch.stack(lashes)[None],
        margin=(torch.stack(openings)[:, None] * scale.new_tensor(_LASHES))[None],
        centre=centre,
        lid=lid,
        lid_place=place.T[None],
        rotation=rotation,
        scale=scale,
        anchor=anchor,
    )


def show_eyes(
    eyes: LiteEyes,
    field: ExpressionField,
    change: torch.Tensor,
    rotation: torch.Tensor,
    anchor: torch.Tensor,
    scale: torch.Tensor,
    size: int,
) -> ShownEyes:
    """Turn the eyeballs and show them between the lids.

    Args:
        eyes: Of the portrait, batch B.
        field: Field over the canonical face.
        change: Change of the coefficients `(B, K)`; the last two are gaze right and down [20 degrees].
        rotation: `(B, 3, 3)` head rotation relative to the portrait, image axes.
        anchor: `(B, 2)` midpoint between the eyeballs in the frame.
        scale: `(B,)` head size relative to the portrait.
        size: Side S of the frame.

    Returns:
        The eyes as pictures.
    """
    batch = len(change)
    head = (rotation, eyes.anchor, anchor, scale)
    moved = displace_edges(eyes.lid, eyes.lid_place, field, change, eyes.rotation, eyes.scale, head)
    edges = moved.unflatten(2, (2, 2, -1)).movedim(1, -1)  # (B, E, 2, P, 2)
    rigid = torch.ones_like(eyes.centre[:, :1])
    centre, _ = move_positions(eyes.centre[:, :2], eyes.centre[:, 2:], torch.zeros_like(eyes.centre), rigid, *head)
    centre = centre.transpose(1, 2)  # (B, E, 2)
    turn = rotation @ eyes.rotation @ gaze_rotation(change[:, -2:]) @ eyes.rotation.transpose(1, 2)
    radius = RADIUS * eyes.scale * scale
    colour = change.new_zeros(batch, 3, size, size)
    opacity = change.new_zeros(batch, 1, size, size)
    rows = torch.arange(batch, device=change.device)[:, None, None]
    for eye in range(2):
        place, at = window_around(edges[:, eye], size)
        upper, lower = (below_edge(edges[:, eye, k], place) for k in (0, 1))
        # a little inside the edges, so that nothing shows between closed lids and beyond their corners
        inside = (upper / _SOFT_EDGE).clamp(0, 1) * (-lower / _SOFT_EDGE).clamp(0, 1)
        inside = inside * eyes.usable[:, eye, None, None]
        ball = (place - centre[:, eye, None, None]) / radius[:, None, None, None]
        seen = _turned(eyes.picture[:, eye], ball, turn)  # (B, 3, h, w)
        for edge, away in ((1, -lower), (0, upper)):
            near = (1 - away / (eyes.margin[:, eye, edge] * scale)[:, None, None].clamp(min=1e-6)).clamp(0, 1)
            seen = torch.lerp(seen, eyes.lash[:, eye, edge, :, None, None].expand_as(seen), near[:, None].sqrt())
        colour[rows, :, at[..., 1], at[..., 0]] = seen.movedim(1, -1)
        opacity[rows, 0, at[..., 1], at[..., 0]] = inside
    return ShownEyes(colour=colour, opacity=opacity)


def gaze_rotation(gaze: torch.Tensor) -> torch.Tensor:
    """Rotation of an eyeball that looks straight ahead to a gaze.

    Args:
        gaze: `(B, 2)` right and down [20 degrees].

    Returns:
        `(B, 3, 3)` in image axes, about the axis across the gaze (Listing's law).
    """
    angle = gaze.norm(dim=1) * GAZE_UNIT
    right, down = (gaze / gaze.norm(dim=1, keepdim=True).clamp(min=1e-6)).unbind(1)
    zero, sine, rest = torch.zeros_like(right), angle.sin()[:, None, None], (1 - angle.cos())[:, None, None]
    # Rodrigues' formula; the axis (down, -right, 0) turns (0, 0, -1), towards the viewer, to (right, down, 0).
    rows = [zero, zero, -right, zero, zero, -down, right, down, zero]
    cross = torch.stack(rows, dim=1).unflatten(1, (3, 3))
    turn: torch.Tensor = torch.eye(3, device=gaze.device, dtype=gaze.dtype) + sine * cross + rest * (cross @ cross)
    return turn


def _turned(picture: torch.Tensor, ball: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Colour `(B, 3, h, w)` at places `(B, h, w, 2)` [radii from the centre] of balls that were turned."""
    point = _on_ball(ball)
    before = torch.einsum("bji,bhwj->bhwi", turn, point)  # undo the turn
    # what was on the back of the ball is white like its rim
    behind = (before[..., 2:] > 0).to(before) * 10
    flat = before[..., :2]
    flat = flat * torch.where(behind > 0, 1 / flat.norm(dim=-1, keepdim=True).clamp(min=1e-6), 1.0)
    return F.grid_sample(picture, flat / _REACH, padding_mode="border", align_corners=False)


def _on_ball(place: torch.Tensor) -> torch.Tensor:
    """Points `(..., 3)` of the unit sphere's visible side at `(..., 2)`; beyond the rim, the nearest of the rim."""
    length = place.norm(dim=-1, keepdim=True)
    place = place / length.clamp(min=1.0)
    return torch.cat([place, -(1 - place.square().sum(-1, keepdim=True)).clamp(min=0).sqrt()], dim=-1)


def _complete(
    image: torch.Tensor,
    centre: torch.Tensor,
    radius: float,
    iris: torch.Tensor,
    upper: torch.Tensor,
    lower: torch.Tensor,
    size: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One eyeball `(1, 3, n, n)` without lids, where the portrait shows it `(1, 1, n, n)`, lash colours `(2, 3)`."""
    axis = ((torch.arange(size, device=image.device) + 0.5) * (2 / size) - 1) * _REACH
    ball = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)[None]  # (1, n, n, 2) [radii]
    place = centre + radius * ball
    colour = F.grid_sample(image, place, padding_mode="border", align_corners=False)
    above, below = below_edge(upper[None], place), -below_edge(lower[None], place)
    opening = (above + below).clamp(min=1e-6)
    between = (above > 0) & (below > 0)
    visible = (between & (above > _LASHES[0] * opening) & (below > _LASHES[1] * opening)).float()[:, None]
    looks = _on_ball((iris[:1] - centre) / radius)[0]  # (3,)
    rim = ((iris[1:] - iris[:1]).norm(dim=1).mean() / radius).clamp(math.sin(_IRIS_ANGLE[0]), math.sin(_IRIS_ANGLE[1]))
    away = torch.acos((_on_ball(ball) @ looks).clamp(-1, 1))[:, None] / torch.asin(rim)  # (1, 1, n, n) [iris radii]
    white = _white(colour, visible * (away > _WHITE_FROM), visible)
    within = ((_WHITE_FROM - away) / (_WHITE_FROM - 1)).clamp(0, 1)
    completed = torch.lerp(white, _iris(colour, visible, away), within)
    soft = F.avg_pool2d(F.pad(visible, (2, 2, 2, 2)), 5, 1) * visible
    own = ((soft - 0.4) / 0.6).clamp(0, 1)
    edges = [between & (d < 0.7 * share * opening) for d, share in zip((above, below), _LASHES, strict=True)]
    lash = torch.stack([(colour * edge[:, None]).sum((0, 2, 3)) / edge.sum().clamp(min=1) for edge in edges])
    return torch.lerp(completed, colour, own), own, lash


def _white(colour: torch.Tensor, weight: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """The white of an eyeball `(1, 3, n, n)`, continued from where it is seen.

    Lashes, shadows and the rim of the iris darken most of the little that shows, so only its lightest part counts;
    where next to nothing shows, the lightest of the whole eye does.
    """
    lightness = colour.mean(1, keepdim=True)
    pool = weight if float(weight.sum()) > 0.08 * float(visible.sum()) else visible
    if float(pool.sum()) == 0:
        return colour.mean((2, 3), keepdim=True).expand_as(colour)
    chosen = pool * (lightness >= torch.quantile(lightness[pool > 0], _LIGHTEST))
    mean = (colour * chosen).sum((2, 3), keepdim=True) / chosen.sum()
    mean = torch.lerp(mean, mean.mean(1, keepdim=True), _PALE)
    return torch.lerp(mean.expand_as(colour), fill_holes(colour, chosen), 0.3)


def _iris(colour: torch.Tensor, visible: torch.Tensor, away: torch.Tensor) -> torch.Tensor:
    """An iris that looks alike all around `(1, 3, n, n)`: the median of what is seen so far from its centre."""
    bins = (away / _WHITE_FROM * _BINS).long().clamp(max=_BINS - 1)[0, 0]
    profile: list[torch.Tensor | None] = []
    for k in range(_BINS):
        chosen = (bins == k) & (visible[0, 0] > 0)
        profile.append(colour[0, :, chosen].median(dim=1).values if int(chosen.sum()) > 3 else None)
    known = [k for k, value in enumerate(profile) if value is not None]
    if not known:
        return colour
    table = torch.stack([profile[min(known, key=lambda j, k=k: abs(j - k))] for k in range(_BINS)])  # type: ignore[misc]
    position = (away / _WHITE_FROM * _BINS - 0.5).clamp(0, _BINS - 1)[0, 0]
    first = position.floor().long().clamp(max=_BINS - 2)
    mixed = torch.lerp(table[first], table[first + 1], (position - first)[..., None])
    return mixed.movedim(-1, 0)[None]
