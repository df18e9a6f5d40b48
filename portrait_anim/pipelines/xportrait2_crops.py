"""Which parts of portrait and driving frames the `xportrait2` networks see, as in the published script.

Boxes are left, top, right, bottom [px]; sizes are height, width [px].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from scipy import ndimage

from portrait_anim.types import CropTransform, Float32Array, UInt8Array

Box: TypeAlias = tuple[float, float, float, float]

MOTION_GROWTH = 1.1
PORTRAIT_SIDE_PX = 512
_SMOOTHING_FRAMES = 5.0


def grow_box(box: Box, size: tuple[int, int], factor: float = MOTION_GROWTH) -> Box:
    """Make a box square and larger; one that would leave the picture stays as it is.

    Args:
        box: Face box.
        size: Height and width of the picture [px].
        factor: New side in longer sides of the box.
    """
    left, top, right, bottom = box
    half = max(right - left, bottom - top) * factor / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    grown = (x - half, y - half, x + half, y + half)
    if grown[0] < 0 or grown[1] < 0 or grown[2] > size[1] - 1 or grown[3] > size[0] - 1:
        return box
    return grown


def cut(image: UInt8Array, box: Box) -> UInt8Array:
    """Cut a box, its corners truncated to whole pixels."""
    left, top, right, bottom = (int(value) for value in box)
    return image[top:bottom, left:right]


def portrait_box(box: Box, size: tuple[int, int]) -> tuple[Box, bool]:
    """Square of twice the longer side of the face box, moved inside the picture if that takes one move.

    Args:
        box: Face box.
        size: Height and width of the picture [px].

    Returns:
        The square, in whole pixels, and whether it still leaves the picture.
    """
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    # In this order of operations, as the result is truncated.
    across = max(0.5, (2 * height - width) / (2 * width)) * width
    down = max(0.5, (2 * width - height) / (2 * height)) * height
    square = [int(left - across), int(top - down), int(right + across), int(bottom + down)]
    overhang = [max(-square[0], 0), max(-square[1], 0), max(square[2] - size[1], 0), max(square[3] - size[0], 0)]
    fits = square[2] - square[0] <= size[1] and square[3] - square[1] <= size[0]
    if sum(value > 0 for value in overhang) == 1 and fits:
        dx, dy = overhang[0] - overhang[2], overhang[1] - overhang[3]
        square = [square[0] + dx, square[1] + dy, square[2] + dx, square[3] + dy]
        overhang = [0, 0, 0, 0]
    return (square[0], square[1], square[2], square[3]), max(overhang) > 0


def portrait_crop(image: UInt8Array, box: Box, side_px: int = PORTRAIT_SIDE_PX) -> UInt8Array:
    """Cut the portrait that the appearance networks see; what lies outside the picture is black.

    Args:
        image: Portrait `(H, W, 3)` uint8 sRGB.
        box: Face box.
        side_px: Side of the result [px].

    Returns:
        `(S, S, 3)` uint8 sRGB.
    """
    size = image.shape[0], image.shape[1]
    square, outside = portrait_box(box, size)
    if outside:
        pad = int(max(-square[0], -square[1], square[2] - size[1], square[3] - size[0]))
        image = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        square = (square[0] + pad, square[1] + pad, square[2] + pad, square[3] + pad)
    return shrink(cut(image, square), side_px)


def shrink(image: UInt8Array, side_px: int) -> UInt8Array:
    """Resize linearly, after a Gaussian blur where the picture gets smaller (scikit-image's `resize`).

    Args:
        image: `(H, W, 3)` uint8 sRGB.
        side_px: Side of the square result [px].

    Returns:
        `(S, S, 3)` uint8 sRGB.
    """
    values = image * (1 / 255)
    factors = np.array([image.shape[0] / side_px, image.shape[1] / side_px, 1.0])
    sigma = np.maximum(0, (factors - 1) / 2)
    if sigma.any():
        values = ndimage.gaussian_filter(values, sigma, mode="mirror")
    resized = ndimage.zoom(values, 1 / factors, order=1, mode="mirror", grid_mode=True)
    resized = resized.clip(values.min(), values.max())
    return np.asarray(np.rint(resized * 255), dtype=np.uint8)


def motion_boxes(boxes: Sequence[Box], size: tuple[int, int]) -> list[Box]:
    """Boxes of the motion crops of a clip: one size for all frames, smoothed centres, inside the frame.

    Args:
        boxes: Face box of every frame.
        size: Height and width of the frames [px].

    Returns:
        One box per frame.
    """
    first = grow_box(boxes[0], size)
    width, height = (round(side) // 2 * 2 for side in (first[2] - first[0], first[3] - first[1]))
    placed = [first, *boxes[1:]]
    centres = np.array([((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in placed], np.float32)
    return [place_box(centre, (width, height), size) for centre in smooth_centres(centres)]


def smooth_centres(centres: Float32Array) -> Float32Array:
    """Smooth face centres `(T, 2)` over time."""
    smooth: Float32Array = ndimage.gaussian_filter1d(centres, sigma=_SMOOTHING_FRAMES, axis=0)
    return smooth


def place_box(centre: Sequence[float] | Float32Array, sides: tuple[float, float], size: tuple[int, int]) -> Box:
    """Put a box of given width and height around a centre, moved back where it leaves the frame."""
    edges = []
    for middle, side, limit in zip(centre, sides, (size[1], size[0]), strict=True):
        low, high = float(middle) - side / 2, float(middle) + side / 2
        move = 0.0
        if low < 0 or high > limit - 1:
            move = max(-low, 0.0) + min(limit - 1 - high, 0.0)
        edges.append((low + move, high + move))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


def square_transform(square: Box, size_px: int) -> CropTransform:
    """Map frame pixels to the pixels of a generated crop.

    Args:
        square: What the crop shows [px].
        size_px: Side of the crop [px].
    """
    left, top, right, bottom = square
    across, down = size_px / (right - left), size_px / (bottom - top)
    matrix = np.array([[across, 0.0, -across * left], [0.0, down, -down * top]])
    return CropTransform(matrix=matrix, size_px=size_px)
