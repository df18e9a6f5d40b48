"""What a photograph shows of somebody's mouth: where its teeth may be used, and how light they are.

Shape legend: N people, V mesh vertices, S photo side [px].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from portrait_anim.training.synthetic import camera
from portrait_anim.training.synthetic.raster import rasterize
from portrait_anim.training.synthetic.shading import box_blur
from portrait_anim.training.synthetic.textures import colours

if TYPE_CHECKING:
    from portrait_anim.training.synthetic.mesh import HeadMesh

_VIEW_PX: Final = 96
_VIEW_SPAN: Final = 260.0  # part of the photo frame around the mouth that is looked at [photo units]
_SOCKET: Final = 2  # part number of the mouth opening
_CHUNK: Final = 16
_FEWEST: Final = 12.0  # vertices of teeth that must show before their colour is believed


@torch.no_grad()
def photographed_mouths(mesh: HeadMesh, vertices: Tensor, visible: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
    """Look into the photographed mouths.

    Args:
        mesh: The shared head.
        vertices: `(N, V, 3)` fitted heads in their photographs, camera space [cm].
        visible: `(N, V)` how far the photograph shows a vertex, 0 to 1.
        photo: `(N, 3, S, S)` uint8.

    Returns:
        Trust in the photograph on teeth and gums `(N, V)`, 0 to 1, and the colour of the teeth `(N, 3)` in [0, 1], not
        a number for people who do not show them.
    """
    hard = (mesh.inner.is_tooth + mesh.inner.is_gum).clamp(max=1) * (1 - mesh.weights["tongue"])
    rows = hard.nonzero()[:, 0]
    seen, enamel = torch.zeros_like(visible), visible.new_full((len(visible), 3), torch.nan)
    crown = mesh.inner.is_tooth[rows] * (mesh.inner.teeth.height[rows] < 0.8) * (mesh.neutral[rows, 0].abs() < 1.5)
    open_mouths = ((visible[:, rows] * crown).sum(1) > 0.5 * _FEWEST).nonzero()[:, 0]
    for k in torch.split(open_mouths, _CHUNK):
        xy = camera.project(vertices[k])
        inside = _opening(mesh, vertices[k], xy, rows) * (mesh.neutral[rows, 0].abs() < 2.2)
        seen[k[:, None], rows] = inside * camera.smoothstep(_shallow(mesh, vertices[k], rows))
        colour = camera.look_up(colours(photo, k), xy[:, None, rows])[:, :, 0]  # (n, 3, v)
        bright = colour.mean(1)
        weight = inside * crown * visible[k][:, rows] * (bright > 0.8 * bright.amax(1, keepdim=True).clamp(min=0.2))
        total = weight.sum(1, keepdim=True)
        mean = (colour * weight[:, None]).sum(2) / total.clamp(min=1e-6)
        enamel[k] = torch.where(total > _FEWEST, mean, torch.nan)
    return seen, enamel


def _opening(mesh: HeadMesh, vertices: Tensor, xy: Tensor, rows: Tensor) -> Tensor:
    """How far inside the photographed opening of the lips the vertices `rows` are, `(n, v)`."""
    middle = xy[:, mesh.lips].mean(1, keepdim=True)
    place = (xy - middle) * (_VIEW_PX / _VIEW_SPAN) + _VIEW_PX / 2
    ids, _ = rasterize(place, -vertices[..., 2], mesh.tris, (_VIEW_PX, _VIEW_PX), plane=mesh.plane, planes=2)
    mouth = ((ids[:, 0] >= 0) & (mesh.part[ids[:, 0]] == _SOCKET)).float()[:, None]
    inner = camera.smoothstep((box_blur(box_blur(mouth, 3), 3) - 0.55) / 0.4)
    grid = place[:, None, rows] * (2 / _VIEW_PX) - 1
    found = torch.nn.functional.grid_sample(inner, grid, align_corners=False)
    return found[:, 0, 0]


def _shallow(mesh: HeadMesh, vertices: Tensor, rows: Tensor) -> Tensor:
    """1 for vertices right behind the lips, falling to 0 at 2.5 cm, `(n, v)`."""
    depth = vertices[:, mesh.lips, 2].mean(1, keepdim=True) - vertices[:, rows, 2]
    return (2.5 - depth) / 0.8
