"""Put a generated face crop back into the full frame so that no seam shows.

The crop rarely has the frame's resolution, so a plain blend would soften the face. Instead the *change* of the crop
(generated minus original) is enlarged and added to the frame, which keeps the frame's own fine detail; where
the change is large, that detail no longer belongs there and gives way to the generated pixels. Where nothing
changed, the frame stays bit for bit what it was.
"""

from __future__ import annotations

import math

import numpy as np

from portrait_anim.face.crop import at_pixel_indices, covered_region
from portrait_anim.face.crop import crop as cut
from portrait_anim.types import CropTransform, Float32Array, UInt8Array

_CHANGE_LOW, _CHANGE_HIGH = 3.0, 16.0  # local change [grey levels] at which the frame's detail fades out
_CHANGE_REACH = 1 / 40  # neighbourhood over which change is judged, in crop sides


def soft_mask(size_px: int, *, feather: float = 0.12) -> Float32Array:
    """Blend weights that keep the middle of a crop and fade to nothing at its border.

    Args:
        size_px: Side of the crop [px].
        feather: Width of the fade, in crop sides, within (0, 0.5].

    Returns:
        `(S, S, 1)` float32 in [0, 1]: 1 inside, 0 at the border, corners rounded.

    Raises:
        ValueError: If `feather` or `size_px` is out of range.
    """
    if not 0 < feather <= 0.5:
        raise ValueError(f"expected feather in (0, 0.5], got {feather}")
    if size_px < 1:
        raise ValueError(f"expected size_px >= 1, got {size_px}")
    # 0 in the middle, 1 in the outermost pixels; from whole numbers, so that both sides are exactly alike
    position = np.abs(2.0 * np.arange(size_px) - (size_px - 1)) / (size_px - 1) if size_px > 1 else np.ones(1)
    beyond = np.maximum(position - (1 - 2 * feather), 0) / (2 * feather)  # 0 to 1 within the fade
    inside = np.clip(1 - np.hypot(beyond[None, :], beyond[:, None]), 0, 1)
    inside[(position == 1)[:, None] | (position == 1)[None, :]] = 0  # whatever rounding did
    mask = inside * inside * (3 - 2 * inside)
    return np.asarray(mask[:, :, None], dtype=np.float32)


def paste_back(
    crop: UInt8Array,
    frame: UInt8Array,
    transform: CropTransform,
    mask: Float32Array,
    *,
    reference_crop: UInt8Array | None = None,
) -> UInt8Array:
    """Blend a generated face crop into the full frame.

    Pixels where the mask is 0, and all pixels when the crop did not change, keep their exact values. Only the region
    the crop covers is computed; it may lie partly or wholly outside the frame.

    Args:
        crop: Generated face, `(S, S, 3)` uint8 sRGB.
        frame: Frame to write into, `(H, W, 3)` uint8 sRGB; not modified.
        transform: Affine map from frame pixels to crop pixels.
        mask: Blend weight, `(S, S, 1)` float32; 1 keeps the crop, 0 keeps the frame.
        reference_crop: What `portrait_anim.face.crop.crop(frame, transform)` gives, `(S, S, 3)` uint8; computed when
            absent. Pass it when many crops go into one frame.

    Returns:
        New frame, `(H, W, 3)` uint8 sRGB.

    Raises:
        ValueError: If `crop`, `mask`, `reference_crop` and `transform` differ in side length.
    """
    size = transform.size_px
    original = cut(frame, transform) if reference_crop is None else reference_crop
    for name, array, channels in (("crop", crop, 3), ("mask", mask, 1), ("reference_crop", original, 3)):
        if array.shape != (size, size, channels):
            raise ValueError(f"expected {name} of shape {(size, size, channels)}, got {array.shape}")
    result = frame.copy()
    change = crop.astype(np.float32) - original
    if not change.any():
        return result
    left, top, right, bottom = covered_region(transform, frame.shape[1], frame.shape[0])
    area = (left, top, right, bottom)
    moved = _to_frame(change, transform, area)
    detail = _to_frame(original.astype(np.float32), transform, area)
    fade, weight = np.split(
        _to_frame(np.concatenate([_fade_of_detail(change), mask], axis=2), transform, area, smooth=False), 2, axis=2
    )
    region = frame[top:bottom, left:right]
    np.subtract(region, detail, out=detail)  # in place: these arrays are as large as the face in the frame
    detail *= fade
    moved -= detail
    moved *= weight
    moved += region
    np.rint(moved, out=moved)
    result[top:bottom, left:right] = np.clip(moved, 0, 255, out=moved).astype(np.uint8)
    return result


def _fade_of_detail(change: Float32Array) -> Float32Array:
    """How far the frame's own detail must give way, `(S, S, 1)` in [0, 1], from the local change."""
    import cv2

    reach = 2 * max(1, round(change.shape[0] * _CHANGE_REACH)) + 1
    strongest = np.ascontiguousarray(np.abs(change).max(axis=2))
    spread = cv2.dilate(strongest, np.ones((reach, reach), np.uint8))
    local = cv2.blur(spread, (reach, reach), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip((local - _CHANGE_LOW) / (_CHANGE_HIGH - _CHANGE_LOW), 0, 1)[:, :, None], dtype=np.float32)


def _to_frame(
    layers: Float32Array, transform: CropTransform, region: tuple[int, int, int, int], *, smooth: bool = True
) -> Float32Array:
    """Warp `(S, S, C)` crop layers, C <= 4, to a region of the frame; zero beyond the crop.

    Smooth (cubic) sampling overshoots a little; otherwise it is linear and never leaves the range of its input.
    """
    import cv2

    left, top, right, bottom = region
    matrix = transform.matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ np.array([left, top], dtype=np.float64)
    zoom = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
    if zoom > 1:  # the crop is finer than the frame: average before sampling
        side = max(1, round(layers.shape[0] / zoom))
        matrix *= side / layers.shape[0]
        layers = np.atleast_3d(cv2.resize(layers, (side, side), interpolation=cv2.INTER_AREA))
    warped = cv2.warpAffine(
        np.ascontiguousarray(layers),
        at_pixel_indices(matrix),
        (right - left, bottom - top),
        flags=(cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return np.asarray(np.atleast_3d(warped), dtype=np.float32)
