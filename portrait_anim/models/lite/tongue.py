"""A tongue that leaves the mouth, drawn over lips and chin.

A portrait does not show its tongue, and warping cannot make one. So a tongue is built in the axes of the head
(`tongue_shape`), and every pixel takes the ellipsoid that is nearest to the viewer: silhouette, surface and light
follow from it at any side of the frame. What lies behind the lips shows between their inner edges only. There is
nothing to learn here; how far the tongue is out is what the motion encoder reads.

Shapes: B batch, K ellipsoids, P points of a lip edge, S side of the frame, h w sides of a window of it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F

from portrait_anim.models.lite.edges import below_edge, displace_edges, window_around
from portrait_anim.models.lite.expression_field import ExpressionField
from portrait_anim.models.lite.lips import LiteLips
from portrait_anim.models.lite.tongue_shape import TongueBody, TonguePose, build_tongue, half_depth, place_tongue

_FREE = 0.04  # beyond, a tip that rises lies before the upper lip [10 cm]
_BLEND = 0.012  # over which depths neighbouring ellipsoids blend [half crop sides]
_LIGHT = (0.12, -0.55, -0.83)
_REACH = 0.16  # light falls off so fast behind the lips [10 cm]
_CHEEKS = (50, 205, 187, 280, 425, 411)  # MediaPipe
_LOWER_LIP = (84, 17, 314, 85, 16, 315)
_COLOUR = (1.10, 0.66, 0.68)  # of a tongue over its brightness
_BRIGHTNESS = (0.34, 0.52)  # of a tongue on black skin, and what white skin adds
_LIKE_LIPS = 0.25  # share of the lips' own tint
_SKIN, _CAST = (1.24, 0.94, 0.82), 0.25  # skin in white light over its brightness, and how far a tongue shares its cast
_GROOVE, _WET, _SHADOW = 0.11, 0.55, 0.45


@dataclass
class TongueLook:
    """How a tongue looks.

    Attributes:
        colour: `(B, 3)` in [0, 1].
        groove: `(B,)` how dark its middle line is, in [0, 1].
        wet: `(B,)` strength of its highlights, in [0, 1].
        shadow: `(B,)` darkness of its shadow, in [0, 1].
    """

    colour: torch.Tensor
    groove: torch.Tensor
    wet: torch.Tensor
    shadow: torch.Tensor

    def expand(self, batch: int) -> TongueLook:
        """Repeat the look of one portrait for `batch` frames without copying."""
        return TongueLook(**{f.name: (v := getattr(self, f.name)).expand(batch, *v.shape[1:]) for f in fields(self)})


@dataclass
class ShownTongue:
    """Tongues of frames.

    Attributes:
        colour: `(B, 3, S, S)` in [-1, 1], meaningless where `opacity` is 0.
        opacity: `(B, 1, S, S)` in [0, 1].
        shade: `(B, 1, S, S)` in [0, 1], light that its shadow takes from what is around.
    """

    colour: torch.Tensor
    opacity: torch.Tensor
    shade: torch.Tensor

    def over(self, image: torch.Tensor) -> torch.Tensor:
        """The tongue on `image` `(B, 3, S, S)` in [-1, 1]."""
        return torch.lerp((image + 1) * (1 - self.shade) - 1, self.colour, self.opacity)


@torch.no_grad()
def look_of(image: torch.Tensor, landmarks: torch.Tensor) -> TongueLook:
    """A tongue in the light of a portrait, with some of the tint of its lips.

    Args:
        image: `(1, 3, S, S)` in [-1, 1].
        landmarks: `(478, 2)` in the crop, [-1, 1].

    Returns:
        The look, batch 1.
    """
    soft = F.avg_pool2d(image, max(1, image.shape[-1] // 64))

    def seen(numbers: tuple[int, ...]) -> torch.Tensor:
        place = landmarks[list(numbers)][None, None]
        values = F.grid_sample(soft, place, padding_mode="border", align_corners=False)
        return values[0, :, 0].median(dim=1).values / 2 + 0.5  # (3,)

    skin, lip = seen(_CHEEKS), seen(_LOWER_LIP)
    bright = _BRIGHTNESS[0] + _BRIGHTNESS[1] * skin.mean()
    own = lip / lip.mean().clamp(min=0.05) * image.new_tensor(_COLOUR).mean()
    cast = (skin / skin.mean().clamp(min=0.05) / image.new_tensor(_SKIN)).clamp(0.5, 2) ** _CAST
    colour = (bright * cast * torch.lerp(image.new_tensor(_COLOUR), own, _LIKE_LIPS)).clamp(0, 1)
    groove, wet, shadow = (image.new_tensor([v]) for v in (_GROOVE, _WET, _SHADOW))
    return TongueLook(colour=colour[None], groove=groove, wet=wet, shadow=shadow)


def show_tongue(
    look: TongueLook,
    lips: LiteLips,
    field: ExpressionField,
    change: torch.Tensor,
    reading: torch.Tensor,
    pose: torch.Tensor,
    size: torch.Tensor,
    head: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    side: int,
) -> ShownTongue:
    """Tongues that come out between the moved lips of a portrait.

    Args:
        look: Of the portrait, batch B.
        lips: Of the portrait, batch B.
        field: Field over the canonical face.
        change: Change of the coefficients `(B, K)`.
        reading: What to show `(B, 3)`, as `LiteMotionOutput.tongue`.
        pose: `(B, 3, 3)` head pose of the portrait, image axes.
        size: `(B,)` head size of the portrait [half crop sides per 10 cm].
        head: Relative rotation, anchor in portrait and frame, relative scale, as `move_positions` takes them.
        side: Side S of the frame.

    Returns:
        The tongues as pictures.
    """
    moved = displace_edges(lips.edge, lips.place, field, change, pose, size, head)
    edges = moved.unflatten(2, (2, -1)).movedim(1, -1)  # (B, 2, P, 2)
    turn, now = head[0] @ pose, size * head[3]
    corners = (edges[:, 0, -1] - edges[:, 0, 0]).norm(dim=1)
    width = corners / (turn[:, :2, 0].norm(dim=1).clamp(min=0.5) * now)  # seen from its front
    does = TonguePose.of(reading)
    middle = edges[:, 1, edges.shape[2] // 2]
    root = torch.cat([middle, torch.zeros_like(middle[:, :1])], dim=1)
    body = place_tongue(build_tongue(does, width), turn, root, now)
    return draw_tongue(body, does.up, look, edges, now, side, does.presence)


def draw_tongue(
    body: TongueBody,
    up: torch.Tensor,
    look: TongueLook,
    edges: torch.Tensor,
    size: torch.Tensor,
    side: int,
    presence: torch.Tensor | None = None,
) -> ShownTongue:
    """Draw tongues.

    Args:
        body: Of the frames, from `place_tongue`.
        up: `(B,)` as `TonguePose.up`.
        look: How they look.
        edges: `(B, 2, P, 2)` inner edges of upper and lower lip in the frames, [-1, 1].
        size: `(B,)` head size in the frames [half crop sides per 10 cm].
        side: Side S of the frames.
        presence: `(B,)` factor on their opacity; `None` draws them as they are.

    Returns:
        The tongues as pictures.
    """
    batch = len(edges)
    colour, (opacity, shade) = edges.new_zeros(batch, 3, side, side), edges.new_zeros(2, batch, 1, side, side)
    shown = ShownTongue(colour=colour, opacity=opacity, shade=shade)
    presence = torch.ones_like(size) if presence is None else presence
    if not bool((presence > 0).any()):
        return shown
    reach = body.form[..., :2, :2].diagonal(dim1=-2, dim2=-1).sqrt() + (0.1 * size)[:, None, None]
    around = torch.cat([body.centre[..., :2] - reach, body.centre[..., :2] + reach], dim=1)
    place, at = window_around(around[:, None], side)
    under, over = (below_edge(edges[:, k], place) for k in (0, 1))
    light, cover, near = _surface(body, up, look, place, (under, -over), size, 2 / side)
    rows = torch.arange(batch, device=edges.device)[:, None, None]
    cover = cover * presence[:, None, None]
    fall = 1 - 0.45 * torch.exp(-under.clamp(min=0) / (0.05 * size)[:, None, None]) * (1 - near)  # under the upper lip
    colour[rows, :, at[..., 1], at[..., 0]] = ((light * fall[:, None]).clamp(0, 1) * 2 - 1).movedim(1, -1)
    opacity[rows, 0, at[..., 1], at[..., 0]] = cover
    around_it = _soft_shadow(cover, float(size.mean()) * side / 2) * (under > 0)
    shade[rows, 0, at[..., 1], at[..., 0]] = look.shadow[:, None, None] * around_it
    return shown


def _surface(
    body: TongueBody,
    up: torch.Tensor,
    look: TongueLook,
    place: torch.Tensor,
    inside: tuple[torch.Tensor, torch.Tensor],
    size: torch.Tensor,
    pixel: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Colour `(B, 3, h, w)`, coverage `(B, h, w)` and how far what shows lies before the lips `(B, h, w)`.

    `inside` is how far places `(B, h, w, 2)` lie below the upper and above the lower lip edge, `pixel` a pixel's side.
    """
    x, y = (place[:, None] - body.centre[:, :, None, None, :2]).unbind(-1)  # (B, K, h, w), from each centre
    form = body.form[..., None, None]  # (B, K, 3, 3, 1, 1)
    area = form[:, :, 0, 0] * form[:, :, 1, 1] - form[:, :, 0, 1] ** 2
    pulled_x = (form[:, :, 1, 1] * x - form[:, :, 0, 1] * y) / area
    pulled_y = (form[:, :, 0, 0] * y - form[:, :, 0, 1] * x) / area
    q = x * pulled_x + y * pulled_y  # 1 on the silhouette
    root = q.clamp(min=1e-6).sqrt()
    cover = ((1 - root) * root / (pulled_x**2 + pulled_y**2).clamp(min=1e-12).sqrt() / pixel + 0.5).clamp(0, 1)
    window = [(v / pixel + 0.5).clamp(0, 1)[:, None] for v in inside]
    behind = (body.along < 0)[..., None, None]
    free = (body.along > _FREE)[..., None, None] & (up > 0.3)[:, None, None, None]
    cover = cover * torch.where(free, 1.0, window[0]) * torch.where(behind, window[1], 1.0)
    # the near side of an ellipsoid, from its centre
    z = (
        form[:, :, 2, 0] * pulled_x
        + form[:, :, 2, 1] * pulled_y
        - ((1 - q).clamp(min=0) * half_depth(body)[..., None, None]).sqrt()
    )
    depth = body.centre[..., 2, None, None] + z
    weight = cover * torch.exp(((depth.amin(1, keepdim=True) - depth) / _BLEND).clamp(min=-60))
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-12)
    x, y, z = (v * weight for v in (x, y, z))
    point = torch.stack([v.flatten(2) for v in (x, y, z)], dim=1).flatten(1, 2)  # (B, 3 K, h w)
    rows = torch.stack([body.across, *body.curved.unbind(2)], dim=1).transpose(2, 3).flatten(2)  # (B, 4, 3 K)
    across, *normal = (rows @ point).unflatten(2, x.shape[2:]).unbind(1)
    normal = F.normalize(torch.stack(normal, dim=-1), dim=-1)  # (B, h, w, 3)
    along, tip = torch.einsum("nbk,bkhw->nbhw", torch.stack([body.along, body.tip]), weight)
    colour = _shaded(look, normal, across, along, tip)
    return colour, cover.amax(1), (along / 0.1).clamp(0, 1)


def _shaded(
    look: TongueLook, normal: torch.Tensor, across: torch.Tensor, along: torch.Tensor, tip: torch.Tensor
) -> torch.Tensor:
    """Colour `(B, 3, h, w)` of a wet tongue where it faces `normal` `(B, h, w, 3)`."""
    groove, wet = look.groove[:, None, None], look.wet[:, None, None]
    toward = F.normalize(normal.new_tensor(_LIGHT), dim=0)
    half = F.normalize(toward + normal.new_tensor([0.0, 0.0, -1.0]), dim=0)
    facing = (normal @ toward).clamp(min=0)
    line = torch.exp(-((across / 0.09) ** 2)) * (tip / 0.18).clamp(0, 1)
    rough = 1 + 0.02 * torch.sin(61 * along + 3 * torch.sin(5 * across)) * torch.sin(9 * across + 23 * along)
    light = (0.62 + 0.42 * facing) * (1 - groove * line) * rough * torch.exp(along.clamp(max=0) / _REACH)
    light = light * (1 - 0.15 * (across.abs() - 0.6).clamp(min=0))
    spots = 0.6 + 0.4 * torch.sin(19 * along + 5 * across) * torch.sin(6 * across - 11 * along)
    gloss = wet * (normal @ half).clamp(min=0) ** 18 * spots * (1 - line)
    return look.colour[:, :, None, None] * light[:, None] + 0.45 * gloss[:, None]


def _soft_shadow(cover: torch.Tensor, unit: float) -> torch.Tensor:
    """Shadow `(B, h, w)` of a coverage, a little below it; `unit` is 10 cm in pixels."""
    drop, blur = max(1, round(0.035 * unit)), 2 * max(1, round(0.03 * unit)) + 1
    fallen = F.pad(cover[:, None], (0, 0, drop, 0))[:, :, : cover.shape[1]]
    for _ in range(2):
        fallen = F.avg_pool2d(fallen, blur, 1, blur // 2)
    out: torch.Tensor = fallen[:, 0]
    return out
