"""Tongues on rendered faces, which teach what a tongue looks like (`synthetic.lip_edges` renders the faces).

Every picture gets another tongue each time it is used: another length, shape, colour and direction, or none. Fingers of
skin colour across mouth and chin teach what is no tongue.

Shapes: B pictures, S picture side [px], P = 11 points of a lip edge.
"""

from __future__ import annotations

from typing import TypeVar

import torch

from portrait_anim.models.lite.edges import below_edge, window_around
from portrait_anim.models.lite.tongue import TongueLook, draw_tongue
from portrait_anim.models.lite.tongue_shape import (
    THICKNESS,
    WIDTH,
    TongueBody,
    TonguePose,
    build_tongue,
    place_tongue,
)
from portrait_anim.training.draws import Draws, normal, uniform
from portrait_anim.training.step import Batch
from portrait_anim.training.synthetic import camera
from portrait_anim.training.synthetic.crops import WINDOW, crop_renderer
from portrait_anim.training.synthetic.lip_edges import draw_lip_pictures
from portrait_anim.training.synthetic.renderer import Renderer

_OUT, _FINGER, _PAINTED = 0.5, 0.12, 0.5  # shares of the pictures
_STRAIGHT, _HANGING, _FLAT = 0.4, 0.75, 0.35  # shares of the tongues
_COLOUR = (0.86, 0.50, 0.51)  # of a tongue in full light
_Columns = TypeVar("_Columns", TonguePose, TongueLook)


def draw_lips(renderer: Renderer, count: int, generator: torch.Generator) -> Batch:
    """Faces with known lip edges as stored samples."""
    return draw_lip_pictures(crop_renderer(renderer), count, generator).as_dict()


def mirrored(stored: Batch, flip: torch.Tensor) -> Batch:
    """Stored faces with some of them mirrored, `picture` as float in [0, 1].

    Args:
        stored: Arrays of `synthetic.lip_edges.LipPictures`.
        flip: Which, `(B,)` bool.
    """
    picture, lips = stored["picture"].float() / 255, stored["lips"].float()
    across = lips.new_tensor([-1.0, 1.0, 1.0])
    return {
        "picture": torch.where(flip[:, None, None, None], picture.flip(-1), picture),
        "lips": torch.where(flip[:, None, None, None], lips.flip(2) * across, lips),
        "head": torch.where(flip[:, None], stored["head"] * across.new_tensor([-1, 1, -1]), stored["head"]),
        "anchor": torch.where(flip[:, None], stored["anchor"] * across, stored["anchor"]),
    }


def put_out_tongues(ready: Batch, draws: Draws, share: float = _OUT) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw tongues, and fingers that are none.

    Args:
        ready: From `mirrored`.
        draws: Source of randomness.
        share: Share of the pictures that get a tongue.

    Returns:
        Pictures `(B, 3, S, S)` in [0, 1], and what they show `(B, 3)`: out, and aside and up each times out.
    """
    picture = ready["picture"].clone()
    count = len(picture)
    draw = uniform(draws, picture, count, 8)
    flat = draw[:, 7] < _FLAT  # lies on the lower lip, as broad as the mouth
    pose = TonguePose(
        out=torch.where(flat, 0.1 + 0.32 * draw[:, 0], 0.12 + 0.93 * draw[:, 0] ** 0.8),
        aside=torch.where(draw[:, 1] < _STRAIGHT, 0.15, 1.0) * (2 * draw[:, 2] - 1),
        up=torch.where(draw[:, 3] < _HANGING, 0.25, 1.0) * draw[:, 4],
    )
    shown = draw[:, 5] < share
    painted = uniform(draws, picture, count) < _PAINTED
    if bool(painted.any()):
        picture[painted] = _with_painted_lips(_rows(ready, painted), draws)
        ready = {**ready, "picture": picture.clone()}
    look = _any_look(ready, draws)
    finger = draw[:, 6] < _FINGER
    if bool(shown.any()):
        chosen = _rows(ready, shown), _take(pose, shown), _take(look, shown), flat[shown]
        picture[shown] = _with_tongues(*chosen, draws)
    if bool(finger.any()):
        picture[finger] = _with_fingers(picture[finger], _rows(ready, finger), draws)
    values = torch.stack([pose.out, pose.aside * pose.out, pose.up * pose.out], dim=1)
    return picture, values * shown[:, None]


def lip_geometry(ready: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lip edges `(B, 2, P, 2)` in the pictures, [-1, 1]; root `(B, 3)`, head pose `(B, 3, 3)`, head size `(B,)`."""
    lips = ready["lips"]
    edges = WINDOW.to_grid(camera.project(lips))
    middle = lips[:, 1, lips.shape[2] // 2]
    size = 10 * camera.FOCAL / -middle[:, 2] * (2 / WINDOW.span)
    root = torch.cat([WINDOW.to_grid(camera.project(middle)), torch.zeros_like(middle[:, :1])], dim=1)
    flip = lips.new_tensor([1.0, -1.0, -1.0])
    turn = camera.euler(*ready["head"].unbind(1)) * flip[:, None] * flip[None, :]
    return edges, root, turn, size


def _with_tongues(ready: Batch, pose: TonguePose, look: TongueLook, flat: torch.Tensor, draws: Draws) -> torch.Tensor:
    edges, root, turn, size = lip_geometry(ready)
    draw = normal(draws, root, len(root), 2)
    corners = ready["lips"][:, 0, [0, -1]] / 10
    body = build_tongue(
        pose,
        (corners[:, 1] - corners[:, 0]).norm(dim=1),
        width=WIDTH * torch.exp(0.15 * draw[:, 0] - 0.05) * (1 + 0.4 * flat),
        thickness=THICKNESS * torch.exp(0.2 * draw[:, 1]),
    )
    body = place_tongue(body, turn, root, size)
    image = ready["picture"] * 2 - 1
    shown = draw_tongue(body, pose.up, look, edges, size, image.shape[-1])
    return (shown.over(image) + 1) / 2


def _any_look(ready: Batch, draws: Draws) -> TongueLook:
    """Tongues of any colour in the light of each picture."""
    picture = ready["picture"]
    draw, rand = normal(draws, picture, len(picture), 4), uniform(draws, picture, len(picture), 3)
    edges, *_ = lip_geometry(ready)
    (x, y), side = ((edges.mean((1, 2)) + 1) / 2 * picture.shape[-1]).long().unbind(1), picture.shape[-1]
    around = [(x + dx).clamp(0, side - 1) for dx in (-22, 22, 0)], [(y + dy).clamp(0, side - 1) for dy in (0, 0, 16)]
    rows = torch.arange(len(picture), device=picture.device)
    skin = torch.stack([picture[rows, :, v, u] for u, v in zip(*around, strict=True)]).mean(0)  # (B, 3)
    bright = (0.36 + 0.82 * skin.mean(1, keepdim=True)) * torch.exp(0.13 * draw[:, :1])
    hue = picture.new_tensor(_COLOUR) * torch.exp(draw[:, 1:] * picture.new_tensor([0.05, 0.09, 0.09]))
    pale = 0.35 * rand[:, :1]
    colour = bright * torch.lerp(hue, skin / skin.mean(1, keepdim=True).clamp(min=0.05) * 0.62, pale)
    return TongueLook(
        colour=colour, groove=0.35 * rand[:, 1], wet=0.9 * rand[:, 2] ** 2, shadow=0.15 + 0.5 * rand[:, 0]
    )


def _with_painted_lips(ready: Batch, draws: Draws) -> torch.Tensor:
    """Lips of another colour and thickness: a red, thick lower lip is no tongue."""
    edges, _, _, size = lip_geometry(ready)
    image = ready["picture"]
    count, side = len(image), image.shape[-1]
    draw, hue = uniform(draws, image, count, 3, 1, 1), uniform(draws, image, count, 3)
    margin = 0.14 * size[:, None, None, None]
    place, at = window_around(torch.cat([edges - margin, edges + margin], dim=2), side)
    middle, reach = edges.mean((1, 2)), (edges[:, 0, -1] - edges[:, 0, 0]).norm(dim=1) / 2
    across = ((place - middle[:, None, None]).norm(dim=-1) / (1.15 * reach)[:, None, None]).clamp(0, 1)
    thick = (0.05 + 0.08 * draw[:, 0]) * size[:, None, None] * (1 - across**2).clamp(min=0).sqrt()
    pixel = 2 / side
    band = torch.zeros_like(across)
    for edge, sign, share in ((0, -1.0, 0.7), (1, 1.0, 1.0)):
        away = sign * below_edge(edges[:, edge], place)
        starts, ends = away / pixel + 0.5, (share * thick - away) / (2 * pixel) + 0.5
        band = torch.maximum(band, starts.clamp(0, 1) * ends.clamp(0, 1))
    rows = torch.arange(count, device=image.device)[:, None, None]
    seen = image[rows, :, at[..., 1], at[..., 0]]  # (B, h, w, 3)
    tint = image.new_tensor([1.0, 0.45, 0.45]) + image.new_tensor([0.15, 0.35, 0.35]) * (hue - 0.3)
    bright = seen.mean((1, 2, 3))[:, None, None] * (0.9 + 0.7 * draw[:, 1])
    colour = bright[..., None] * tint[:, None, None]
    out = image.clone()
    out[rows, :, at[..., 1], at[..., 0]] = torch.lerp(seen, colour, (band * (0.25 + 0.6 * draw[:, 2]))[..., None])
    return out.clamp(0, 1)


def _with_fingers(image: torch.Tensor, ready: Batch, draws: Draws) -> torch.Tensor:
    """A finger from below or aside that ends on chin, lips or cheek."""
    edges, _, _, size = lip_geometry(ready)
    count, steps = len(edges), 14
    draw = uniform(draws, edges, count, 6)
    mouth = edges.mean((1, 2))
    tip = mouth + (torch.stack([1.6 * draw[:, 0] - 0.8, 1.1 * draw[:, 1] - 0.2], 1) * 0.6) * size[:, None]
    start = tip + torch.stack([1.6 * draw[:, 2] - 0.8, 0.5 + draw[:, 3]], 1) * size[:, None]
    share = torch.linspace(0, 1, steps, device=edges.device)[None, :, None]
    centre = torch.cat(
        [torch.lerp(start[:, None], tip[:, None], share), torch.zeros_like(share).expand(count, -1, 1)], 2
    )
    radius = (0.06 + 0.05 * draw[:, 4]) * size
    eye = torch.eye(3, device=edges.device)
    along = torch.full((count, steps), 0.3, device=edges.device)
    body = TongueBody(
        centre=centre,
        form=(radius**2)[:, None, None, None] * eye.expand(count, steps, 3, 3),
        curved=eye.expand(count, steps, 3, 3),
        across=(eye[0] / radius[:, None])[:, None].expand(-1, steps, -1),
        along=along,
        tip=along,
    )
    skin = image.mean((2, 3)) * (0.8 + 0.8 * draw[:, 5:])
    zero = torch.zeros_like(radius)
    look = TongueLook(colour=skin, groove=zero, wet=zero, shadow=zero + 0.3)
    return (draw_tongue(body, zero + 1, look, edges, size, image.shape[-1]).over(image * 2 - 1) + 1) / 2


def _rows(batch: Batch, chosen: torch.Tensor) -> Batch:
    return {k: v[chosen] for k, v in batch.items()}


def _take(values: _Columns, chosen: torch.Tensor) -> _Columns:
    return type(values)(**{k: v[chosen] for k, v in vars(values).items()})
