"""What is painted: the background with hair and torso, and the per-vertex attributes of skin and mouth interior.

Shape legend: B pictures, V vertices, W picture side [px], R = W * supersample.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from portrait_anim.training.synthetic import camera
from portrait_anim.training.synthetic.lids import FAR_FROM_LASHES, bulge, covering, lash_distance
from portrait_anim.training.synthetic.mesh import HeadMesh
from portrait_anim.training.synthetic.mouth import mouth_attributes
from portrait_anim.training.synthetic.people import People
from portrait_anim.training.synthetic.posing import PosedHead
from portrait_anim.training.synthetic.raster import interpolate, rasterize
from portrait_anim.training.synthetic.shading import luminance, vertex_normals
from portrait_anim.training.synthetic.textures import Textures, colours

# source x, y, trust in the photo, fill r, g, b, light, alpha, distance from the lash line, x, y on the average head
NUM_ATTRIBUTES = 11


def invert_grid(
    window: camera.Window,
    textures: Textures,
    who: Tensor,
    nodes: Tensor,
    tris: Tensor,
    moved: Tensor,
    depth: Tensor,
    pixels: Tensor,
) -> tuple[Tensor, Tensor]:
    """Backward map of the hair, head and torso layer, by drawing its grid with a z-buffer.

    Args:
        window: What part of the photo frame the picture shows.
        textures: Pictures of everybody.
        who: `(B,)` rows.
        nodes: `(G, G, 2)` nodes in the photograph [photo units].
        tris: `(T, 3)` grid triangles.
        moved: `(B, G, G, 2)` nodes in the new picture [photo units].
        depth: `(B, G, G)` their camera z [cm].
        pixels: `(W, W, 2)` pixel centres of the picture [photo units].

    Returns:
        Position in the photograph `(B, W, W, 2)` and whether the grid covers the pixel `(B, 1, W, W)`.
    """
    B, G, W = len(who), len(nodes), len(pixels)
    here = nodes.expand(B, G, G, 2)
    alpha = F.max_pool2d(camera.look_up(colours(textures.layer, who)[:, 3:], here), 3, 1, 1)[:, 0]
    distance = -depth + 500.0 * (alpha < 0.02)  # empty cells never win
    xy = window.to_pixels(moved.flatten(1, 2), W)
    ids, equations = rasterize(xy, distance.flatten(1), tris, (W, W))
    source = interpolate(here.flatten(1, 2), ids[:, 0], equations, tris)
    covered = ids[:, 0] >= 0
    return torch.where(covered[..., None], source, pixels), covered[:, None].float()


def paint_background(
    textures: Textures, who: Tensor, back: Tensor, covered: Tensor, fine_pixels: Tensor, mirror: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Paint the background plate and the hair, head and torso layer.

    Args:
        textures: Pictures of everybody.
        who: `(B,)` rows.
        back: `(B, W, W, 2)` position in the photograph.
        covered: `(B, 1, W, W)` whether the layer is there.
        fine_pixels: `(R, R, 2)` supersampled pixel centres [photo units].
        mirror: How far the mirrored photograph continues beside and above itself [photo units].

    Returns:
        Picture `(B, 3, R, R)` in [0, 1] and alpha of the layer `(B, 1, R, R)`.
    """
    R = len(fine_pixels)
    both = F.interpolate(
        torch.cat([back.permute(0, 3, 1, 2), covered], 1), size=(R, R), mode="bilinear", align_corners=False
    )
    layer = camera.look_up(colours(textures.layer, who), both[:, :2].permute(0, 2, 3, 1))
    beside = (both[:, :1] - camera.FRAME / 2).abs() - camera.FRAME / 2  # distance outside the photo:
    above = -both[:, 1:2]  # fade out, else a mirrored second person shows
    fade = (1 + (mirror[0] - beside) / 60).clamp(0, 1) * (1 + (mirror[1] - above) / 50).clamp(0, 1)
    alpha = layer[:, 3:] * both[:, 2:] * fade
    plate = camera.look_up(colours(textures.plate, who), fine_pixels.expand(len(who), R, R, 2))
    return torch.lerp(plate, layer[:, :3], alpha), alpha


def skin_attributes(mesh: HeadMesh, people: People, who: Tensor, head: PosedHead) -> Tensor:
    """Per-vertex attributes of the outer surface.

    Args:
        mesh: The shared head.
        people: Everybody.
        who: `(B,)` rows.
        head: Posed heads.

    Returns:
        `(B, V, 11)`: position in the photograph (x, y), trust in it, fill colour times (1 - trust), relighting factor,
        alpha of the face layer, distance from the lash line, x and y on the average head [cm].
    """
    weights = mesh.weights
    normals, light = vertex_normals(head.vertices, mesh.normal_tris), people.light[who]
    brightness = luminance(normals, light)
    ratio = (brightness / people.shade[who]).clamp(0.6, 1.5) ** 0.8
    painted = covering(mesh.lids, head.blink)  # a closed lid is painted skin
    ratio = 1 + (ratio - 1) * weights["alpha"] * (1 - 0.8 * weights["eye_near"])
    lid = mesh.lids.skinned
    ball = bulge(mesh.lids, head.vertices, head.eye_centre, mesh.left, light)
    ratio[:, lid] = torch.lerp(ratio[:, lid], ball, painted[:, lid])
    other_light = (luminance(normals, people.lamp[who]) / brightness).clamp(0.6, 1.6)
    ratio = ratio * torch.lerp(torch.ones_like(ratio), other_light, weights["alpha"])
    visible = (people.visible[who] * (1 - painted))[..., None]
    lash = lash_distance(mesh.lids, head.blink)[..., None]
    average = mesh.neutral[:, :2].expand(len(who), -1, -1)
    alpha = weights["alpha"].expand(len(who), -1)[..., None]
    source = camera.project(people.vertices[who])
    return torch.cat([source, visible, people.fill[who] * (1 - visible), ratio[..., None], alpha, lash, average], -1)


def inner_attributes(people: People, who: Tensor) -> Tensor:
    """The same attributes for the mouth interior, without fill: `mouth.shade_mouth` colours it.

    The photograph is trusted where it looks into the mouth; a raised lip or a lowered jaw keeps the photographed teeth
    and shows drawn ones, of the same colour, beside them.
    """
    trust = people.teeth[who][..., None]
    one = torch.ones_like(trust)
    far, nowhere = one * FAR_FROM_LASHES, torch.zeros_like(trust).expand(-1, -1, 2)
    return torch.cat(
        [camera.project(people.vertices[who]), trust, trust.expand(-1, -1, 3) * 0, one, one, far, nowhere], -1
    )


def mouth_values(mesh: HeadMesh, people: People, who: Tensor, head: PosedHead) -> Tensor:
    """Per-vertex values for shading the mouth interior, `(B, V, 11)`; see `mouth.mouth_attributes`."""
    normals = vertex_normals(head.vertices, mesh.normal_tris)
    return mouth_attributes(mesh, people, who, head, normals)
