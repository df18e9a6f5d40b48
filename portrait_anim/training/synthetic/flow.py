"""Exact correspondence between two pictures of one person.

Shape legend: B pictures, W picture side [px].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from portrait_anim.training.synthetic import camera
from portrait_anim.training.synthetic.glasses import FramePose, front
from portrait_anim.training.synthetic.raster import interpolate, rasterize
from portrait_anim.training.synthetic.textures import colours

if TYPE_CHECKING:
    from portrait_anim.training.synthetic.renderer import RenderedBatch, Renderer

_CLOSES: Final = 8.0  # a round trip must come back this close [photo units]: 2.3 px at 256


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """One picture per person, a render or the untouched photograph.

    Attributes:
        back: `(B, W, W, 2)` position in the photograph [photo units].
        trusted: `(B, 1, W, W)` whether the photograph shows it.
        forward: `(B, W, W, 2)` where each photo pixel is in this picture [photo units].
        rendered: `(B,)` bool, false for the untouched photograph.
        window: Part of the photo frame that the pictures show.
    """

    back: Tensor
    trusted: Tensor
    forward: Tensor
    rendered: Tensor
    window: camera.Window


def forward_map(
    renderer: Renderer,
    who: Tensor,
    grid: Tensor,
    vertices: Tensor,
    glasses: tuple[Tensor, FramePose, FramePose] | None = None,
) -> Tensor:
    """Where every photo pixel goes in a rendered picture.

    Args:
        renderer: Whose picture it is.
        who: `(B,)` rows.
        grid: `(B, G, G, 2)` as `RenderedBatch.grid`.
        vertices: `(B, V, 2)` as `RenderedBatch.vertices`.
        glasses: As `RenderedBatch.glasses`.

    Returns:
        `(B, W, W, 2)` photo units.
    """
    mesh, people, textures = renderer.cast.mesh, renderer.cast.people, renderer.cast.textures
    B, W = len(who), renderer.size_px
    here = renderer.pixels.expand(B, W, W, 2)
    span = camera.FRAME + 2 * camera.PAD
    moved = camera.look_up(grid.permute(0, 3, 1, 2), here, span=span, origin=-camera.PAD, padding="border")
    alpha = camera.look_up(colours(textures.layer, renderer.cast.pictures_of(who))[:, 3:], here)[:, 0]
    out = torch.where((alpha > 0.5)[..., None], moved.permute(0, 2, 3, 1), here)
    X = people.vertices[who]
    xy = renderer.window.to_pixels(camera.project(X), W)
    ids, equations = rasterize(xy, -X[..., 2], mesh.tris, (W, W), plane=mesh.plane, planes=2)
    face_alpha = mesh.weights["alpha"].expand(B, -1)[..., None]
    a = interpolate(torch.cat([vertices, face_alpha], -1), ids[:, 0], equations, mesh.tris)
    out = torch.where(a[..., 2:] > 0.5, a[..., :2], out)
    if glasses is None:
        return out
    worn, posed, rest = glasses
    place = rest.place(here)
    b, y, x = ((place.abs().amax(-1) < 7) & (worn[:, :1, None] > 0)).nonzero(as_tuple=True)
    at = place[b, y, x]
    on = front(worn[b], at)[0][:, 0] < 0.1  # a little wider, so that bilinear look-ups at the edge meet the frame
    on = on.nonzero()[:, 0]
    b, y, x = b[on], y[on], x[on]
    out[b, y, x] = posed.point(b, at[on])
    return out


def view(renderer: Renderer, who: Tensor, row: Tensor, frames: RenderedBatch) -> View:
    """Correspondence of one picture per person.

    Args:
        renderer: Whose pictures they are.
        who: `(B,)` rows of the cast.
        row: `(B,)` row of `frames` that is the picture, or -1 for the untouched photograph.
        frames: Rendered pictures.

    Returns:
        The view.
    """
    B, W = len(who), renderer.size_px
    here = renderer.pixels.expand(B, W, W, 2)
    back, forward = here.clone(), here.clone()
    trusted = torch.ones(B, 1, W, W, device=here.device)
    rendered = row >= 0
    b = rendered.nonzero()[:, 0]
    if len(b):
        k = row[b]
        back[b], trusted[b] = frames.back[k], frames.trusted[k]
        glasses = None
        if frames.glasses is not None:
            worn, posed, rest = frames.glasses
            glasses = (worn[k], posed.rows(k), rest.rows(k))
        forward[b] = forward_map(renderer, who[b], frames.grid[k], frames.vertices[k], glasses)
    return View(back=back, trusted=trusted, forward=forward, rendered=rendered, window=renderer.window)


def follow(source: View, target: View) -> Tensor:
    """Where each target pixel lies in the source: target to photograph to source, `(B, W, W, 2)` photo units."""
    moved = _sample(source.window, source.forward, target.back)
    return torch.where(source.rendered[:, None, None, None], moved, target.back)


def visibility(source: View, target: View, place: Tensor) -> Tensor:
    """How far the source picture shows what each target pixel shows.

    Args:
        source: The source pictures.
        target: The target pictures.
        place: `(B, W, W, 2)` as `follow` gave it [photo units].

    Returns:
        `(B, 1, W, W)` 0 to 1.
    """
    again = _sample(source.window, source.back, place)
    closes = ((again - target.back).norm(dim=-1) < _CLOSES)[:, None]
    seen = source.window.look_up(source.trusted, place)
    checked = target.trusted * closes * seen
    visible = torch.where(source.rendered[:, None, None, None], checked, target.trusted)
    inside = source.window.contains(place)
    return visible * inside[:, None]


def _sample(window: camera.Window, map_: Tensor, place: Tensor) -> Tensor:
    """Values of a picture-wide map `(B, W, W, 2)` at photo positions `(B, W, W, 2)`."""
    return window.look_up(map_.permute(0, 3, 1, 2), place).permute(0, 2, 3, 1)
