"""Pictures of the average mouth interior, drawn once from the head of the synthetic people.

`python -m portrait_anim.training.canonical_mouth --pack PACK --weights FOLDER` writes them into a pipeline folder.

Shapes: V vertices, T triangles, n m sides of the pictures, J jaw coefficients.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from portrait_anim.models.lite.geometry import fill_holes
from portrait_anim.models.lite.mouth_interior import BOTTOM, JAW, LEFT, RIGHT, TOP, MouthInterior
from portrait_anim.training.export import replace_tensors
from portrait_anim.training.synthetic.mesh import GUMS, SOCKET, TEETH, HeadMesh, load_mesh
from portrait_anim.training.synthetic.mouth import LOOK, shade_mouth
from portrait_anim.training.synthetic.pack import read_pack
from portrait_anim.training.synthetic.raster import interpolate, rasterize

_FINER: Final = 4  # sub-pixels per pixel and direction
_LIPS_DEPTH: Final = 1.14  # where the lips are on the average face [10 cm]
_UPPER_DROP: Final = (0.0, -0.006, 0.005)  # the upper row shows below a resting lip [10 cm]
_FRONT: Final = 0.15  # teeth so far from the middle say how their row moves [10 cm]
_LIGHT: Final = (1.0, 0.78, 0.94)  # of flesh, of the lower row, which lies in the shadow of the upper lip, of the upper
_PALATE: Final = -0.32  # gums above belong to the palate [10 cm]
_GUM_BELOW, _GUM_ABOVE = -0.45, -0.238  # below and above, nothing shows between the roots of a row [10 cm]
_SMOOTH: Final = 31  # side of the square that depth and gums are averaged over [px]
_TONGUE_FOLLOWS: Final = 0.6  # of what the lower row does


def build_mouth(mesh: HeadMesh) -> MouthInterior:
    """Draw what can be seen between opened lips.

    Args:
        mesh: The head of the synthetic people.

    Returns:
        The flesh, the lower and the upper row of the average mouth, each alone and from the front.
    """
    mouth = MouthInterior()
    upper = mesh.weights["upper"]
    of_tooth_row = (mesh.inner.is_tooth + mesh.inner.is_gum).clamp(max=1) * (1 - mesh.weights["tongue"])
    in_row = of_tooth_row[mesh.tris].amin(1) > 0.5
    above = upper[mesh.tris].mean(1) > 0.5
    inside = (mesh.part == SOCKET) | (mesh.part == GUMS) | (mesh.part == TEETH)
    height = mesh.neutral[mesh.tris, 1].mean(1) / 10
    tooth = mesh.inner.is_tooth[mesh.tris].amin(1) > 0.5
    rows = inside & in_row & ~above & (tooth | (height < _PALATE)), inside & in_row & above
    chosen = (inside & ~rows[0] & ~rows[1], *rows)
    vertices = mesh.neutral / 10 + upper[:, None] * of_tooth_row[:, None] * mesh.neutral.new_tensor(_UPPER_DROP)
    values = _attributes(mesh, vertices)
    for layer, triangles in enumerate(chosen):
        solid = (BOTTOM, TOP) if layer == 0 else (BOTTOM, _GUM_BELOW) if layer == 1 else (_GUM_ABOVE, TOP)
        picture, depth = _draw(vertices, values, mesh.tris[triangles], tuple(mouth.depths.shape[-2:]), solid)
        if layer > 0:  # gums are smooth where the mesh has roots of teeth
            gum = slice(*(round((TOP - y) / (TOP - BOTTOM) * picture.shape[1]) for y in reversed(solid)))
            picture[:3, gum] = _smooth(picture[:3, gum])
        picture[:3] = (picture[:3] + picture[3:]) * _LIGHT[layer] - picture[3:]
        mouth.pictures[layer], mouth.depths[layer] = picture, _smooth(depth)
    mouth.jaw[1] = _lower_row(mesh, of_tooth_row * (1 - upper))
    mouth.jaw[0] = _TONGUE_FOLLOWS * mouth.jaw[1]
    return mouth


def _lower_row(mesh: HeadMesh, weight: Tensor) -> Tensor:
    """Displacement `(J, 3)` [10 cm] of the front of the lower row per jaw coefficient."""
    front = weight * (mesh.neutral[:, 0].abs() < 10 * _FRONT) * mesh.inner.is_tooth
    shapes = mesh.expression_basis.unflatten(1, (-1, 3))[list(JAW)] / 10  # (J, V, 3)
    mean: Tensor = (shapes * front[:, None]).sum(1) / front.sum()
    return mean


def _attributes(mesh: HeadMesh, vertices: Tensor) -> Tensor:
    """Values `(V, 11)` that `shade_mouth` needs, of the average head in even light."""
    teeth = mesh.inner.teeth
    gum = (1 - mesh.inner.is_tooth) * mesh.inner.is_gum * (1 - mesh.weights["tongue"])
    corners = vertices[mesh.normal_tris]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = torch.zeros_like(vertices).index_add_(0, mesh.normal_tris.flatten(), normal.repeat_interleave(3, 0))
    facing = F.normalize(total, dim=1)[:, 2].abs()
    depth = 10 * (_LIPS_DEPTH - 0.04 - vertices[:, 2]).clamp(0, 0.9)
    return torch.stack(
        [mesh.inner.is_tooth, teeth.across, teeth.height, teeth.size, teeth.place, gum, mesh.weights["tongue"], depth,
         facing, mesh.neutral[:, 0], torch.ones_like(facing)], 1
    )  # fmt: skip


def _draw(
    vertices: Tensor, values: Tensor, tris: Tensor, size: tuple[int, ...], solid: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Some triangles from the front: colour times opacity and opacity `(4, n, m)`, and depth `(1, n, m)`.

    Between the heights `solid` [10 cm] nothing shows through: colours continue from around.
    """
    height, width = (_FINER * s for s in size)
    x = (vertices[:, 0] - LEFT) / (RIGHT - LEFT) * width
    y = (TOP - vertices[:, 1]) / (TOP - BOTTOM) * height
    found, equations = rasterize(torch.stack([x, y], 1)[None], 5 - vertices[None, :, 2], tris, (height, width))
    stack = torch.cat([values, vertices[:, 2:]], 1)[None]
    drawn = interpolate(stack, found[:, 0], equations, tris)[0].flatten(0, 1)  # (H W, 12)
    seen = (found[0, 0] >= 0).flatten()
    colour = torch.zeros(height * width, 3)
    n = int(seen.sum())
    colour[seen] = shade_mouth(drawn[seen, :11], torch.zeros(n, LOOK), torch.ones(n), torch.full((n, 3), torch.nan))
    planes = torch.cat([2 * colour - 1, drawn[:, 11:]], 1).T.unflatten(1, (height, width))[None]
    weight = seen.float().view(1, 1, height, width)
    mean = F.avg_pool2d(planes * weight, _FINER)
    opacity = F.avg_pool2d(weight, _FINER)
    whole = _fill(mean / opacity.clamp(min=1e-6), (opacity > 0).float())
    first, last = (round((TOP - y) / (TOP - BOTTOM) * size[0]) for y in reversed(solid))
    opacity[:, :, first:last] = 1
    return torch.cat([whole[:, :3] * opacity, opacity], 1)[0], whole[0, 3:]


def _smooth(values: Tensor) -> Tensor:
    """Mean `(C, n, m)` over the surroundings of every pixel.

    Depth is smoothed so that it has no steps: across one, a pixel could not tell which side of it it shows.
    """
    reach = _SMOOTH // 2
    return F.avg_pool2d(F.pad(values[None], (reach,) * 4, mode="replicate"), _SMOOTH, 1)[0]


def _fill(value: Tensor, weight: Tensor) -> Tensor:
    """`fill_holes` of a picture of any size."""
    height, width = value.shape[-2:]
    side = 1 << (max(height, width) - 1).bit_length()
    pad = (0, side - width, 0, side - height)
    return fill_holes(F.pad(value, pad), F.pad(weight, pad))[..., :height, :width]


def main(argv: list[str] | None = None) -> int:
    """Write the pictures into the warp field's weights of a pipeline folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pack", type=Path, required=True, help="training pack, such as omi_pack.npz")
    parser.add_argument("--weights", type=Path, required=True, help="pipeline folder, such as weights/lite")
    arguments = parser.parse_args(argv)
    mouth = build_mouth(load_mesh(read_pack(arguments.pack), torch.device("cpu")))
    tensors = {f"mouth.{k}": v for k, v in mouth.state_dict().items()}
    replace_tensors(arguments.weights, "warp_field", tensors, part="mouth.")
    sys.stdout.write(f"pictures of the mouth interior in {arguments.weights}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
