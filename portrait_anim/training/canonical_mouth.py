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
        colour = np.asarray(_COLOUR[group]) * 2 * shade[:, None] - 1
        points = head.vertices[vertices].copy()
        jaw = head.shapes[list(JAW)][:, vertices]
        if group != _SOCKET:
            fixed = np.abs(jaw[2, :, 1]) < 0.01  # opening the jaw does not move the upper row
            points[fixed] += np.asarray(_UPPER_DROP, np.float32)
        parts.append((points, colour, jaw))
    points, colours = (np.concatenate([p[k] for p in parts]) for k in (0, 1))
    mouth = MouthInterior(num_points=len(points))
    mouth.points.copy_(torch.from_numpy(points))
    mouth.colours.copy_(torch.from_numpy(colours))
    mouth.jaw.copy_(torch.from_numpy(np.concatenate([p[2] for p in parts], axis=1)))
    return mouth


def vertex_facing(head: IctHead) -> Float32Array:
    """How much each vertex of the average head faces the viewer `(V,)`, the z part of its unit normal."""
    corners = head.vertices[head.triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(head.vertices)
    for k in range(3):
        np.add.at(total, head.triangles[:, k], normal)
    length = np.linalg.norm(total, axis=1)
    return np.asarray(total[:, 2] / np.maximum(length, 1e-12), dtype=np.float32)
