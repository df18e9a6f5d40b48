"""Build the expression field from the ICT head: `python -m portrait_anim.training.canonical_face --ict D --weights W`.

The average head is seen from the front; what each cell shows (skin or, in the lid openings, the eyeball) gives its
displacement per coefficient. A truncated singular value decomposition keeps the strongest spatial patterns.

Shapes: V vertices, T triangles, E = 53 expression shapes, K = 55 coefficients, N field side.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial import Delaunay

from portrait_anim.models.lite.expression_field import (
    FIELD_BOTTOM,
    FIELD_LEFT,
    FIELD_RIGHT,
    FIELD_TOP,
    ExpressionField,
)
from portrait_anim.models.lite.expressions import EXPRESSIONS
from portrait_anim.training.synthetic.raster import interpolate, rasterize
from portrait_anim.types import Float32Array

_SKIN: Final = (0, 1)  # triangle groups of the ICT mesh: face, head and neck
_EYES: Final = ((7, 8), (9, 10))  # sclera and iris of the left and the right eye
_GAZE_UNIT: Final = math.radians(20.0)
_FADE_CELLS: Final = 12.0  # beyond the head, displacement fades like a Gaussian


@dataclass(frozen=True, kw_only=True, slots=True)
class IctHead:
    """Average head and expression shapes.

    Attributes:
        vertices: `(V, 3)` [10 cm], x to the subject's left, y up, z forward.
        shapes: `(53, V, 3)` [10 cm] in the order of `EXPRESSIONS`.
        triangles: `(T, 3)`.
        group: `(T,)` part of the head.
        landmarks: `(468,)` vertex of each MediaPipe landmark.
    """

    vertices: Float32Array
    shapes: Float32Array
    triangles: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    group: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    landmarks: np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def read_ict(folder: Path) -> IctHead:
    """Read `ict_face.npz` and `mp468_to_ict.npz`.

    Raises:
        ValueError: If the expression shapes come in another order.
    """
    with np.load(folder / "ict_face.npz", allow_pickle=False) as file:
        if tuple(str(n) for n in file["expr_names"]) != EXPRESSIONS:
            raise ValueError("expected the 53 ICT expression shapes in their published order, got another order")
        head = {k: file[k] for k in ("neutral", "expression", "tris", "geo")}
    with np.load(folder / "mp468_to_ict.npz", allow_pickle=False) as file:
        landmarks = file["vi"].astype(np.int64)
    return IctHead(
        vertices=(head["neutral"] / 10).astype(np.float32),
        shapes=head["expression"].astype(np.float32) / 10,
        triangles=head["tris"].astype(np.int64),
        group=head["geo"],
        landmarks=landmarks,
    )


def draw_field(head: IctHead, size: int) -> tuple[Float32Array, Float32Array]:
    """Displacement of every cell.

    Args:
        head: The ICT head.
        size: Side N [cells].

    Returns:
        `(N, N, 55, 3)` [10 cm] and `(N, N)`, 1 where the cell shows an eyeball.
    """
    skin = _facing_forward(head.vertices, head.triangles[np.isin(head.group, _SKIN)])
    cells = torch.from_numpy(_cells(head.vertices, size))[None]
    depth = torch.from_numpy(-head.vertices[:, 2])[None]
    triangles = torch.from_numpy(skin)
    plane = torch.zeros(len(skin), dtype=torch.long)
    ids, equations = rasterize(cells, depth, triangles, (size, size), plane=plane, planes=1)
    values = torch.from_numpy(head.shapes).permute(1, 0, 2).flatten(1)[None]
    shapes = interpolate(values, ids[:, 0], equations, triangles)[0].numpy().reshape(size, size, 53, 3)
    seen = (ids[0, 0] >= 0).numpy()
    gaze, eyeball = _draw_gaze(head, size, seen)
    field = np.concatenate([shapes, gaze + _lids_follow(shapes)], axis=2)
    distance, nearest = distance_transform_edt(~(seen | eyeball), return_indices=True)
    field = field[nearest[0], nearest[1]] * np.exp(-((distance / _FADE_CELLS) ** 2))[..., None, None]
    return field.astype(np.float32), eyeball.astype(np.float32)


def _facing_forward(
    vertices: Float32Array, triangles: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Triangles whose outside faces the viewer; the back of the head would close the lid openings."""
    first, second, third = (vertices[triangles[:, k], :2] for k in range(3))
    edge1, edge2 = second - first, third - first
    outwards = edge1[:, 0] * edge2[:, 1] - edge2[:, 0] * edge1[:, 1]
    return np.asarray(triangles[outwards > 0], dtype=np.int64)


def _cells(points: Float32Array, size: int) -> Float32Array:
    """Canonical points `(..., 3)` to field cells `(..., 2)`, x right and y down."""
    x = (points[..., 0] - FIELD_LEFT) / (FIELD_RIGHT - FIELD_LEFT) * size
    y = (FIELD_TOP - points[..., 1]) / (FIELD_TOP - FIELD_BOTTOM) * size
    return np.asarray(np.stack([x, y], -1), dtype=np.float32)


def _draw_gaze(
    head: IctHead, size: int, seen: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
) -> tuple[Float32Array, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """Displacement of the eyeballs by gaze right and down `(N, N, 2, 3)` per 20 degrees, and where they are seen."""
    step = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(
        FIELD_LEFT + step * (FIELD_RIGHT - FIELD_LEFT), FIELD_TOP - step * (FIELD_TOP - FIELD_BOTTOM)
    )
    field = np.zeros((size, size, 2, 3), np.float32)
    eyeball = np.zeros((size, size), bool)
    for centre, radius in _eyes(head):
        right, up = x - centre[0], y - centre[1]
        near = (right**2 + up**2 < radius**2) & ~seen
        forward = np.sqrt(np.maximum(radius**2 - right**2 - up**2, 0))
        field[..., 0, 0] += near * _GAZE_UNIT * forward
        field[..., 0, 2] -= near * _GAZE_UNIT * right
        field[..., 1, 1] -= near * _GAZE_UNIT * forward
        field[..., 1, 2] += near * _GAZE_UNIT * up
        eyeball |= near
    return field, eyeball


def _eyes(head: IctHead) -> list[tuple[Float32Array, float]]:
    """Centre `(3,)` and radius [10 cm] of both eyeballs."""
    out = []
    for groups in _EYES:
        points = head.vertices[np.unique(head.triangles[np.isin(head.group, groups)])]
        low, high = points.min(0), points.max(0)
        out.append(((low + high) / 2, float(high[0] - low[0]) / 2))
    return out


def _lids_follow(shapes: Float32Array) -> Float32Array:
    """How lids follow the eyeball `(N, N, 2, 3)` per 20 degrees; as `synthetic.motion.add_lid_coupling`, linearised."""
    column = {name: shapes[:, :, k] for k, name in enumerate(EXPRESSIONS)}
    down = sum(column["eyeLookDown" + s] - column["eyeLookUp" + s] for s in ("_L", "_R")) * (20 / 30 / 2)
    left, right = (column["eyeLookOut" + s] - column["eyeLookIn" + s] for s in ("_L", "_R"))
    return np.asarray(np.stack([(left - right) * (20 / 35 / 2), down], axis=2), dtype=np.float32)


def build_field(head: IctHead, *, rank: int = 48, size: int = 192) -> ExpressionField:
    """Fit an expression field to the ICT head.

    Args:
        head: The head.
        rank: Patterns to keep.
        size: Side of the field [cells].

    Returns:
        The field.
    """
    displacement, eyeball = draw_field(head, size)
    flat = torch.from_numpy(displacement.reshape(size * size, -1))
    left, strength, right = torch.linalg.svd(flat, full_matrices=False)
    root = strength[:rank].sqrt()
    landmarks = head.vertices[head.landmarks]
    triangles = Delaunay(landmarks[:, :2]).simplices
    field = ExpressionField(rank=rank, size=size, num_triangles=len(triangles))
    with torch.no_grad():
        field.patterns.copy_((left[:, :rank] * root).T.reshape(rank, size, size))
        field.mix.copy_((right[:rank] * root[:, None]).reshape(rank, -1, 3).permute(1, 0, 2))
    field.eyeball.copy_(torch.from_numpy(eyeball)[None])
    field.landmarks.copy_(torch.from_numpy(landmarks))
    field.triangles.copy_(torch.from_numpy(triangles))
    field.anchor.copy_(torch.from_numpy(np.mean([centre for centre, _ in _eyes(head)], axis=0)))
    return field


def main(argv: list[str] | None = None) -> int:
    """Write the field into the warp field's weights of a pipeline folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ict", type=Path, required=True, help="folder with ict_face.npz and mp468_to_ict.npz")
    parser.add_argument("--weights", type=Path, required=True, help="pipeline folder, such as weights/lite")
    arguments = parser.parse_args(argv)
    from portrait_anim.training.export import replace_tensors

    head = read_ict(arguments.ict)
    tensors = {f"field.{k}": v for k, v in build_field(head).state_dict().items()}
    replace_tensors(arguments.weights, "warp_field", tensors)
    sys.stdout.write(f"expression field in {arguments.weights}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
