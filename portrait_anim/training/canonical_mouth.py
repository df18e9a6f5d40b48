"""Coloured points of the average mouth interior, from the ICT head.

Shapes: V vertices, T triangles, P points, J jaw coefficients.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from portrait_anim.models.lite.mouth_interior import JAW, MouthInterior
from portrait_anim.training.canonical_face import IctHead
from portrait_anim.types import Float32Array

_SOCKET, _GUMS, _TEETH = 2, 5, 6  # triangle groups of the ICT mesh
_COLOUR: Final = {_SOCKET: (0.44, 0.18, 0.20), _GUMS: (0.75, 0.42, 0.44), _TEETH: (0.96, 0.91, 0.83)}  # in full light
# Light in a mouth has been reflected by red walls: the less of it there is, the redder it is.
_FADING: Final = (0.8, 1.1, 1.2)  # powers of the shade, per colour
# Edges of the teeth from the middle outwards [10 cm], and how dark and wide they are.
_EDGES_ABOVE: Final = (0.0, 0.085, 0.152, 0.228, 0.296)
_EDGES_BELOW: Final = (0.0, 0.054, 0.114, 0.182, 0.252)
_EDGE_SHADE, _EDGE_WIDTH = 0.35, 0.011
_LOWER_SHADE: Final = 0.7  # the lower row lies in the shadow of the upper lip
_REACH: Final = {_SOCKET: 0.16, _GUMS: 0.24, _TEETH: 0.50}  # depth at which light has fallen to 1/e [10 cm]
_LIPS_DEPTH: Final = 1.14  # where the lips are on the average face [10 cm]
_UPPER_DROP: Final = (0.0, -0.014, 0.005)  # the upper row shows below a resting lip [10 cm]


def build_mouth(head: IctHead) -> MouthInterior:
    """Collect what can be seen between opened lips.

    Args:
        head: The ICT head.

    Returns:
        Points that face the viewer, shaded by their angle and their depth behind the lips.
    """
    facing = vertex_facing(head)
    parts = []
    for group in (_SOCKET, _GUMS, _TEETH):
        vertices = np.unique(head.triangles[head.group == group])
        vertices = vertices[facing[vertices] > 0.05]
        behind = np.maximum(_LIPS_DEPTH - 0.06 - head.vertices[vertices, 2], 0)
        shade = (0.5 + 0.5 * facing[vertices]) * np.exp(-behind / _REACH[group])
        points = head.vertices[vertices].copy()
        jaw = head.shapes[list(JAW)][:, vertices]
        upper = np.abs(jaw[2, :, 1]) < 0.01  # opening the jaw does not move the upper row
        if group == _TEETH:
            shade *= _between_teeth(points[:, 0], upper) * np.where(upper, 1.0, _LOWER_SHADE)
        colour = np.asarray(_COLOUR[group]) * 2 * shade[:, None] ** np.asarray(_FADING) - 1
        if group != _SOCKET:
            points[upper] += np.asarray(_UPPER_DROP, np.float32)
        parts.append((points, colour, jaw))
    points, colours = (np.concatenate([p[k] for p in parts]) for k in (0, 1))
    mouth = MouthInterior(num_points=len(points))
    mouth.points.copy_(torch.from_numpy(points))
    mouth.colours.copy_(torch.from_numpy(colours))
    mouth.jaw.copy_(torch.from_numpy(np.concatenate([p[2] for p in parts], axis=1)))
    return mouth


def _between_teeth(x: Float32Array, upper: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Float32Array:
    """Shade `(P,)` that draws the edges between teeth at distances `x` `(P,)` from the middle [10 cm]."""
    nearest = [np.abs(np.abs(x)[:, None] - np.asarray(edges)).min(1) for edges in (_EDGES_ABOVE, _EDGES_BELOW)]
    distance: Float32Array = np.where(upper, nearest[0], nearest[1])
    return np.asarray(1 - _EDGE_SHADE * np.exp(-np.square(distance / _EDGE_WIDTH)), dtype=np.float32)


def vertex_facing(head: IctHead) -> Float32Array:
    """How much each vertex of the average head faces the viewer `(V,)`, the z part of its unit normal."""
    corners = head.vertices[head.triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(head.vertices)
    for k in range(3):
        np.add.at(total, head.triangles[:, k], normal)
    length = np.linalg.norm(total, axis=1)
    return np.asarray(total[:, 2] / np.maximum(length, 1e-12), dtype=np.float32)
