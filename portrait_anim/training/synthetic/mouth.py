"""The inside of the mouth, shaded per pixel: separate teeth in gums, tongue and a cavity that darkens with depth.

The mesh brings the teeth as separate closed pieces, each with its root. A vertex of a tooth therefore knows how far it
is from the middle of its tooth and from the biting edge; both are interpolated over the picture, and colour follows
from them. Proportions are those of anatomy: crowns about 1.2 times as high as a central incisor is wide, yellower near
the gum, bluish and translucent at the edge, canines a shade darker than incisors.

Shape legend: B pictures, V vertices, n pixels inside mouths, L = 12 numbers of a look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from portrait_anim.training.synthetic.camera import constant, smoothstep
from portrait_anim.training.synthetic.shading import luminance

if TYPE_CHECKING:
    from portrait_anim.training.synthetic.mesh import HeadMesh
    from portrait_anim.training.synthetic.people import People
    from portrait_anim.training.synthetic.posing import PosedHead

LOOK: Final = 12  # numbers, standard normal, that say how somebody's mouth looks inside
ENAMEL_RGB: Final = (0.98, 0.92, 0.84)
GUM_RGB: Final = (0.74, 0.41, 0.41)
CAVITY_RGB: Final = (0.30, 0.10, 0.10)
TONGUE_RGB: Final = (0.78, 0.42, 0.41)
_CROWN_CM: Final = 1.15  # height of a crown at the middle of the tooth


@dataclass(frozen=True, kw_only=True, slots=True)
class ToothMap:
    """Where each vertex lies on its tooth; zero elsewhere.

    Attributes:
        across: `(V,)` from -1 to 1 over the width of the tooth.
        height: `(V,)` distance from the biting edge [cm].
        size: `(V,)` 1 for a central incisor, smaller crowns towards the back.
        place: `(V,)` where its tooth is along the row of teeth [cm], the same for all vertices of a tooth.
    """

    across: Tensor
    height: Tensor
    size: Tensor
    place: Tensor


def map_teeth(vertices: Tensor, tris: Tensor, upper: Tensor) -> ToothMap:
    """Find the separate teeth of a mesh and measure on them.

    Args:
        vertices: `(V, 3)` average head [cm].
        tris: `(t, 3)` int64 triangles of the teeth.
        upper: `(V,)` 1 on the upper row.

    Returns:
        The map. A tooth is a piece of the mesh that hangs together.
    """
    V = len(vertices)
    label = torch.arange(V, device=vertices.device)
    for _ in range(64):  # spread the lowest vertex number; pieces are a few dozen vertices
        lowest = label[tris].amin(1, keepdim=True).expand(-1, 3).reshape(-1)
        label = label.scatter_reduce(0, tris.reshape(-1), lowest, "amin")
    used = torch.zeros(V, device=vertices.device).index_fill_(0, tris.reshape(-1), 1.0)
    arch = torch.atan2(vertices[:, 0], (vertices[:, 2] - 6.0).clamp(min=0.3)) * 4.0  # [cm] along a row of teeth

    def extreme(values: Tensor, how: str) -> Tensor:
        return torch.zeros_like(values).scatter_reduce(0, label, values, how, include_self=False)[label]

    low, high = extreme(arch, "amin"), extreme(arch, "amax")
    bite = torch.where(upper > 0.5, extreme(vertices[:, 1], "amin"), extreme(vertices[:, 1], "amax"))
    across = (2 * (arch - low) / (high - low).clamp(min=1e-3) - 1) * used
    size = (1.0 - 0.05 * ((low + high) / 2).abs()).clamp(0.6, 1.0) * torch.where(upper > 0.5, 1.0, 0.85)
    place = (low + high) / 2 * used
    return ToothMap(across=across, height=(vertices[:, 1] - bite).abs() * used, size=size * used, place=place)


def person_look(number: Tensor) -> Tensor:
    """How the mouths of the people with these numbers `(B,)` look inside, `(B, 12)`, about standard normal."""
    k = torch.arange(1, LOOK + 1, device=number.device)
    spread = (number[:, None].double() * (0.6180339887 + 0.0173 * k) + 0.37 * k) % 1.0
    look: Tensor = torch.special.ndtri(spread.clamp(0.02, 0.98)).float()
    return look


def mouth_attributes(mesh: HeadMesh, people: People, who: Tensor, head: PosedHead, normals: Tensor) -> Tensor:
    """Per-vertex values that `shade_mouth` needs.

    Args:
        mesh: The shared head.
        people: Everybody.
        who: `(B,)` rows.
        head: Posed heads.
        normals: `(B, V, 3)`.

    Returns:
        `(B, V, 11)`: tooth, across, height, size, place, gum, tongue, depth behind the lips [cm], how far it faces the
        camera, sideways [cm], light on it.
    """
    teeth, B = mesh.inner.teeth, len(who)
    gum = (1 - mesh.inner.is_tooth) * mesh.inner.is_gum * (1 - mesh.weights["tongue"])
    fixed = [mesh.inner.is_tooth, teeth.across, teeth.height, teeth.size, teeth.place, gum, mesh.weights["tongue"]]
    depth = (head.vertices[:, mesh.lips, 2].mean(1, keepdim=True) - 0.4 - head.vertices[..., 2]).clamp(0, 9)
    outwards = normals * normals[..., 2:].sign()
    lamp = people.lamp[who]
    front = luminance(constant((0.0, 0.0, 1.0), outwards).expand(B, 1, 3), lamp)
    lit = (luminance(outwards, lamp) / front).clamp(0.5, 1.3)
    moving = torch.stack([depth, outwards[..., 2], mesh.neutral[:, 0].expand(B, -1), lit], -1)
    return torch.cat([torch.stack(fixed, -1).expand(B, -1, -1), moving], -1)


def shade_mouth(values: Tensor, look: Tensor, light: Tensor, enamel: Tensor) -> Tensor:
    """Colour of the mouth interior, pixel by pixel.

    Args:
        values: `(n, 11)` interpolated `mouth_attributes`.
        look: `(n, 12)` how the mouth of each pixel looks.
        light: `(n,)` brightness of the mouth.
        enamel: `(n, 3)` photographed colour of the teeth, not a number where none is known.

    Returns:
        `(n, 3)` in [0, 1].
    """
    tooth, across, height, size, place, gum, tongue, depth, facing, aside, lit = values.split(1, 1)
    k = look.clamp(-2.2, 2.2).split(1, 1)  # 12 x (n, 1)
    light = light[:, None]
    ownwhite = constant(ENAMEL_RGB, values) * (1.06 + 0.06 * k[3]) * light
    base = torch.where(enamel.isnan(), ownwhite, enamel * 1.04)
    white, line, gap = _enamel(across, height / size.clamp(min=0.5), place, k)
    white = white * base * (1 - 0.03 * aside.abs())
    flesh = constant(GUM_RGB, values) * (1 + 0.10 * k[4]) * _red(1 + 0.06 * k[5]) * light
    groove = 1 - 0.22 * torch.exp(-((aside / 0.16) ** 2)) + 0.05 * torch.sin(9 * depth) * torch.cos(13 * aside)
    muscle = constant(TONGUE_RGB, values) * (1 + 0.10 * k[6]) * groove * light
    muscle = muscle + 0.10 * facing**6 * light  # wet
    cavity = constant(CAVITY_RGB, values) * light
    colour = torch.lerp(cavity, flesh, gum.clamp(0, 1))
    colour = torch.lerp(colour, muscle, tongue.clamp(0, 1))
    solid = (2 * tooth - 0.5).clamp(0, 1)
    colour = torch.lerp(colour, torch.lerp(white * (1 - gap) + 0.35 * cavity * gap, flesh, line), solid)
    reach = 1.3 + 1.3 * gum + 2.7 * tongue + 2.2 * tooth
    behind = (depth - 1.0 * tooth - (2.1 + 0.4 * k[7]) * tongue).clamp(min=0)
    fall = torch.exp(-behind / (reach * (1 + 0.10 * k[7])))
    red = torch.cat([fall, fall**1.3, fall**1.25], 1)  # light that reaches the depth has met flesh on the way
    shaded: Tensor = colour * (0.78 + 0.24 * facing) * red * lit
    return shaded.clamp(0, 1)


def _enamel(across: Tensor, height: Tensor, place: Tensor, k: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Shade of the enamel `(n, 3)`, how far a pixel is gum, and how far it is a gap between teeth, `(n, 1)` each.

    Teeth differ from each other and between people: longer or shorter crowns, slimmer ones with gaps between them, a
    gap in the middle, edges that are not in line, one tooth darker than the next.
    """
    odd = torch.sin(7.3 * place + 5 * k[11])  # a number per tooth
    crown = _CROWN_CM * (1 + 0.10 * k[0] + 0.03 * odd * k[10].abs())
    scallop = crown * (1 - 0.28 * across**2)  # the gum line is an arch over every tooth
    line = smoothstep((height - scallop) / 0.14 + 0.5)
    neck = (height / _CROWN_CM).clamp(0, 1) ** 2
    edge = torch.exp(-height / 0.14)
    warm = 0.016 * k[1]  # how yellow this person's enamel is
    tint = torch.cat([1 - 0.25 * warm, 1 - 0.8 * warm, 1 - 2.2 * warm], 1)
    neck_tint = torch.cat([1 - 0.03 * neck, 1 - 0.06 * neck, 1 - 0.11 * neck], 1)
    edge_tint = torch.cat([1 - 0.16 * edge, 1 - 0.11 * edge, 1 - 0.06 * edge], 1)
    round_off = 1 - 0.12 * across.abs() ** 2 - (0.28 + 0.06 * k[2]) * across.abs() ** 9  # dark between the teeth
    gloss = 0.07 * torch.exp(-(((across + 0.15) / 0.3) ** 2) - ((height - 0.45) / 0.3) ** 2)
    shadow = 1 - 0.18 * smoothstep((height - scallop + 0.18) / 0.18)  # beside the gum
    shade = tint * neck_tint * edge_tint * round_off * shadow * (1 + 0.03 * odd) + gloss
    narrow = 0.04 * (k[9] - 0.4).clamp(min=0) + 0.10 * (k[8] - 0.9).clamp(min=0) * (place.abs() < 0.6)
    worn = 0.05 * k[10].abs() * (0.5 + 0.5 * odd)  # [cm] by which an edge stays behind
    gap = torch.maximum(smoothstep((across.abs() - 1 + narrow) / 0.08), 1 - smoothstep(height / worn.clamp(min=0.01)))
    return shade, line, gap


def _red(other: Tensor) -> Tensor:
    """Factor `(n, 3)` that leaves red and multiplies green and blue."""
    return torch.cat([torch.ones_like(other), other, other], 1)
