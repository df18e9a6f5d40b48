"""Square crops around a face and the affine maps that place them.

Pixel centres lie at +0.5: the matrix of a `CropTransform` maps continuous frame coordinates to continuous crop
coordinates, so a crop of side `S` covers `[0, S]`.
"""

from __future__ import annotations

import math

import numpy as np

from portrait_anim.face.landmarks import (
    EYE_CORNERS,
    LEFT_EYE_OUTER,
    RIGHT_EYE_OUTER,
    image_size_of,
)
from portrait_anim.types import (
    CropTransform,
    FaceObservation,
    Float64Array,
    UInt8Array,
)

PORTRAIT_SIDE = 2.466  # side of the portrait crop, in eye distances
PORTRAIT_DROP = 0.062  # its centre below the eye midpoint, in eye distances
MOTION_SIDE = 1.9
MOTION_DROP = 0.35
_ROI_MARGIN_PX = 4  # what cubic interpolation reaches beyond the crop


def eye_midpoint(obs: FaceObservation) -> Float64Array:
    """Mean of the four eye corners, which stays put when the eyes blink.

    Args:
        obs: Face with 478 landmarks.

    Returns:
        `(2,)` float64 [px].
    """
    return np.asarray(obs.landmarks[list(EYE_CORNERS)].mean(axis=0), dtype=np.float64)


def eye_distance(obs: FaceObservation) -> float:
    """Distance of the outer eye corners in three dimensions, which hardly changes when the head turns.

    Depth counts only where the observation knows the size of its image (those made by `portrait_anim.face` do);
    otherwise the distance is that in the image plane.

    Args:
        obs: Face with 478 landmarks.

    Returns:
        Distance [px].
    """
    offset = obs.landmarks[RIGHT_EYE_OUTER] - obs.landmarks[LEFT_EYE_OUTER]
    size = image_size_of(obs)
    if obs.depth is None or size is None:
        return float(np.hypot(offset[0], offset[1]))
    depth = float(obs.depth[RIGHT_EYE_OUTER] - obs.depth[LEFT_EYE_OUTER]) * size[0]
    return float(math.sqrt(offset[0] ** 2 + offset[1] ** 2 + depth**2))


def portrait_transform(obs: FaceObservation, size_px: int) -> CropTransform:
    """Map of the portrait crop: whole head, upright, side 2.466 eye distances.

    Args:
        obs: Face with 478 landmarks.
        size_px: Side of the crop [px].

    Returns:
        Frame px -> crop px.
    """
    return portrait_transform_from(eye_midpoint(obs), eye_distance(obs), size_px)


def portrait_transform_from(centre: Float64Array, scale: float, size_px: int) -> CropTransform:
    """Map of the portrait crop from (smoothed) eye geometry.

    Args:
        centre: Eye midpoint, `(2,)` [px].
        scale: Eye distance [px], see `eye_distance`.
        size_px: Side of the crop [px].

    Returns:
        Frame px -> crop px.
    """
    return square_transform(centre + np.array([0.0, PORTRAIT_DROP * scale]), PORTRAIT_SIDE * scale, size_px)


def motion_transform(obs: FaceObservation, size_px: int) -> CropTransform:
    """Map of the motion crop: face only, upright, side 1.9 eye distances.

    Args:
        obs: Face with 478 landmarks.
        size_px: Side of the crop [px].

    Returns:
        Frame px -> crop px.
    """
    return motion_transform_from(eye_midpoint(obs), eye_distance(obs), size_px)


def motion_transform_from(centre: Float64Array, scale: float, size_px: int) -> CropTransform:
    """Map of the motion crop from (smoothed) eye geometry.

    Args:
        centre: Eye midpoint, `(2,)` [px].
        scale: Eye distance [px], see `eye_distance`.
        size_px: Side of the crop [px].

    Returns:
        Frame px -> crop px.
    """
    return square_transform(centre + np.array([0.0, MOTION_DROP * scale]), MOTION_SIDE * scale, size_px)


def square_transform(centre: Float64Array, side_px: float, size_px: int) -> CropTransform:
    """Map of an upright square of the frame onto a crop.

    Args:
        centre: Centre of the square, `(2,)` [frame px].
        side_px: Side of the square [frame px].
        size_px: Side of the crop [crop px].

    Returns:
        Frame px -> crop px.

    Raises:
        ValueError: If a side is not positive.
    """
    if not (side_px > 0 and size_px > 0):
        raise ValueError(f"expected positive sides, got side_px={side_px}, size_px={size_px}")
    zoom = size_px / side_px
    shift = size_px / 2 - zoom * np.asarray(centre, dtype=np.float64)
    return CropTransform(matrix=np.array([[zoom, 0.0, shift[0]], [0.0, zoom, shift[1]]]), size_px=size_px)


def crop(image: UInt8Array, transform: CropTransform) -> UInt8Array:
    """Cut the square that a transform describes; what lies outside the frame repeats its border.

    Shrinking averages areas (no aliasing), enlarging is cubic.

    Args:
        image: Frame, `(H, W, 3)` uint8 sRGB.
        transform: Frame px -> crop px.

    Returns:
        Crop, `(S, S, 3)` uint8 sRGB, writable.

    Raises:
        ValueError: If `image` is not `(H, W, 3)` uint8.
    """
    import cv2

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected an image (H, W, 3) uint8, got {image.shape} {image.dtype}")
    size = transform.size_px
    left, top, right, bottom = covered_region(transform, image.shape[1], image.shape[0])
    region = image[top:bottom, left:right]
    matrix = transform.matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ np.array([left, top], dtype=np.float64)
    zoom = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
    if zoom < 1:
        width = max(1, round(region.shape[1] * zoom))
        height = max(1, round(region.shape[0] * zoom))
        matrix[:, 0] *= region.shape[1] / width
        matrix[:, 1] *= region.shape[0] / height
        region = cv2.resize(region, (width, height), interpolation=cv2.INTER_AREA)
    warped = cv2.warpAffine(
        np.ascontiguousarray(region),
        at_pixel_indices(matrix),
        (size, size),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, dtype=np.uint8)


def covered_region(transform: CropTransform, width: int, height: int) -> tuple[int, int, int, int]:
    """Pixels of the frame that a crop can depend on.

    Args:
        transform: Frame px -> crop px.
        width: Frame width [px].
        height: Frame height [px].

    Returns:
        Left, top, right, bottom; within the frame and never empty (the nearest border pixels when the crop lies
        outside altogether).
    """
    size = transform.size_px
    inverse = np.linalg.inv(transform.matrix[:, :2])
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], dtype=np.float64)
    points = (corners - transform.matrix[:, 2]) @ inverse.T
    zoom = math.sqrt(abs(float(np.linalg.det(transform.matrix[:, :2]))))
    margin = math.ceil(_ROI_MARGIN_PX * max(1.0, 1.0 / zoom))
    low = np.floor(points.min(axis=0)) - margin
    high = np.ceil(points.max(axis=0)) + margin
    left, top = (int(np.clip(low[i], 0, (width, height)[i] - 1)) for i in (0, 1))
    right, bottom = (int(np.clip(high[i], (left, top)[i] + 1, (width, height)[i])) for i in (0, 1))
    return left, top, right, bottom


def at_pixel_indices(matrix: Float64Array) -> Float64Array:
    """The same map for coordinates whose origin is the centre of the first pixel, as OpenCV counts.

    Args:
        matrix: `(2, 3)`, continuous coordinates (pixel centres at +0.5).

    Returns:
        `(2, 3)`, pixel indices to pixel indices.
    """
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    return shifted
