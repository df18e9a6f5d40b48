"""What our model must beat: the portrait left still, and the portrait bent by landmarks.

The landmark baseline is the classical way: triangles between the portrait's landmarks follow the driver's change of
landmarks, and every pixel follows its triangle. Positions are pixels with the centre of the first pixel at (0.5, 0.5).
"""

from __future__ import annotations

import numpy as np

from portrait_anim.types import Float32Array, Float64Array, UInt8Array

_LEAST_AREA = 1e-3  # of a triangle [px^2]; flatter ones have no inverse


def still_flow(size_px: int) -> Float32Array:
    """Backward map of a portrait that does not move, `(S, S, 2)` [px]."""
    line = np.arange(size_px, dtype=np.float32) + 0.5
    return np.stack(np.meshgrid(line, line), axis=-1)


def relative_landmarks(portrait: Float64Array, before: Float64Array, after: Float64Array) -> Float64Array:
    """Move a portrait's landmarks as the driver's move.

    The driver's change is turned and scaled as the similarity does that lays the driver's first landmarks over the
    portrait's.

    Args:
        portrait: `(L, 2)` [px].
        before: The driver's landmarks that go with the portrait as it is, `(L, 2)` [driver px].
        after: The driver's landmarks of the frame to show, `(L, 2)` [driver px].

    Returns:
        `(L, 2)` [px].
    """
    return np.asarray(portrait + (after - before) @ _similarity(before, portrait).T, dtype=np.float64)


def piecewise_affine_flow(source: Float64Array, target: Float64Array, size_px: int) -> Float32Array:
    """Backward map of a warp that carries triangles between landmarks along.

    Corners and middles of the picture's sides stay where they are.

    Args:
        source: Landmarks of the portrait, `(L, 2)` [px].
        target: Where they go, `(L, 2)` [px].
        size_px: Side S of the picture.

    Returns:
        Source position of every pixel, `(S, S, 2)` [px].
    """
    import cv2
    from scipy.spatial import Delaunay

    border = _border(size_px)
    start, end = np.concatenate([source, border]), np.concatenate([target, border])
    triangles = Delaunay(start).simplices  # (n, 3)
    flow = still_flow(size_px)
    owner = np.full((size_px, size_px), -1, np.int32)
    matrices = np.zeros((len(triangles), 2, 3))
    for number, triangle in enumerate(triangles):
        a, b = start[triangle], end[triangle]
        edges = np.stack([b[1] - b[0], b[2] - b[0]])
        if abs(np.linalg.det(edges)) < 2 * _LEAST_AREA:
            continue
        linear = np.linalg.solve(edges, np.stack([a[1] - a[0], a[2] - a[0]])).T
        matrices[number] = np.column_stack([linear, a[0] - linear @ b[0]])
        cv2.fillConvexPoly(owner, np.round((b - 0.5) * 16).astype(np.int32), number, shift=4)
    inside = owner >= 0
    affine = matrices[owner[inside]]
    flow[inside] = np.einsum("nij,nj->ni", affine[:, :, :2], flow[inside]) + affine[:, :, 2]
    return flow


def warp_image(image: UInt8Array, flow: Float32Array) -> UInt8Array:
    """Picture that a backward map shows.

    Args:
        image: `(S, S, 3)` uint8 sRGB.
        flow: `(S, S, 2)` [px].

    Returns:
        `(S, S, 3)` uint8 sRGB.
    """
    import cv2

    x, y = np.ascontiguousarray(flow[..., 0] - 0.5), np.ascontiguousarray(flow[..., 1] - 0.5)
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


def _border(size_px: int) -> Float64Array:
    """Corners and middles of the sides of a picture, `(8, 2)` [px]."""
    places = (0.0, size_px / 2, float(size_px))
    return np.array([(x, y) for y in places for x in places if (x, y) != (size_px / 2, size_px / 2)])


def _similarity(source: Float64Array, target: Float64Array) -> Float64Array:
    """Turn and scale `(2, 2)` that lays one set of points over another (least squares)."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    spread = max(float((a * a).sum()), 1e-12)
    cosine, sine = float((a * b).sum()) / spread, float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    return np.array([[cosine, -sine], [sine, cosine]])
