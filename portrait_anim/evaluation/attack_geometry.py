"""Attacks on place, size and shape: crops, scaling, turns, frames around the picture, filming a screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from portrait_anim.types import Float64Array, UInt8Array

_BACKDROP_SIDE_PX: Final = 720


def crop(
    frames: Sequence[UInt8Array], rng: np.random.Generator, *, area: float, aspect: float = 1.0
) -> list[UInt8Array]:
    """Keep a rectangle at any place, the same in all frames.

    Args:
        frames: Frames.
        rng: Chooses the place.
        area: Share of the area that is kept.
        aspect: Factor on width over height.

    Returns:
        Smaller frames.
    """
    height, width = frames[0].shape[:2]
    new_width = min(width, round(width * np.sqrt(area * aspect)))
    new_height = min(height, round(height * np.sqrt(area / aspect)))
    left, top = int(rng.integers(0, width - new_width + 1)), int(rng.integers(0, height - new_height + 1))
    return [image[top : top + new_height, left : left + new_width].copy() for image in frames]


def scale(image: UInt8Array, *, factor: float, other: float | None = None) -> UInt8Array:
    """Resize.

    Args:
        image: Picture.
        factor: Of the width.
        other: Of the height; `None` takes the same.

    Returns:
        Resized picture.
    """
    height, width = image.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * (factor if other is None else other)))
    method = cv2.INTER_AREA if size[0] < width else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=method))


def rotate(image: UInt8Array, *, angle_deg: float, fill: bool = False) -> UInt8Array:
    """Turn about the centre, counter-clockwise; `fill` zooms in until no corner is empty."""
    height, width = image.shape[:2]
    angle = np.radians(abs(angle_deg))
    zoom = np.cos(angle) + np.sin(angle) * max(width / height, height / width) if fill else 1.0
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, float(zoom))
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR))


def quarter_turn(image: UInt8Array) -> UInt8Array:
    """Turn by 90 degrees."""
    return np.ascontiguousarray(np.rot90(image))


def mirror(image: UInt8Array) -> UInt8Array:
    """Flip left and right."""
    return np.ascontiguousarray(image[:, ::-1])


def letterbox(image: UInt8Array, *, aspect: float) -> UInt8Array:
    """Add black bars until width over height is `aspect`."""
    height, width = image.shape[:2]
    across, down = max(0, round(height * aspect) - width), max(0, round(width / aspect) - height)
    bars = (down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0)
    return np.pad(image, bars)


def backdrop(rng: np.random.Generator, height: int, width: int) -> UInt8Array:
    """Draw something busy that is nobody's picture: coloured shapes, texture and lines.

    Args:
        rng: Draws the shapes.
        height: Height [px].
        width: Width [px].

    Returns:
        `(height, width, 3)` uint8.
    """
    coarse = rng.integers(0, 256, (9, 16, 3)).astype(np.float32)
    values = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = cv2.GaussianBlur(rng.standard_normal((height, width), dtype=np.float32), (0, 0), 1.2)
    image = np.clip(values + 25 * grain[..., None], 0, 255).astype(np.uint8)
    for _ in range(24):
        points = [(int(x), int(y)) for x, y in rng.integers(0, (width, height), (2, 2))]
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            cv2.line(image, points[0], points[1], colour, int(rng.integers(1, 6)), cv2.LINE_AA)
        else:
            cv2.circle(image, points[0], int(rng.integers(8, 70)), colour, -1, cv2.LINE_AA)
    return np.asarray(image)


def picture_in_picture(
    frames: Sequence[UInt8Array], rng: np.random.Generator, *, share: float = 0.6
) -> list[UInt8Array]:
    """Paste into a larger still picture, at `share` of its height, at any place."""
    behind = backdrop(rng, _BACKDROP_SIDE_PX, _BACKDROP_SIDE_PX * 16 // 9)
    height, width = frames[0].shape[:2]
    new_height = round(_BACKDROP_SIDE_PX * share)
    new_width = min(behind.shape[1], round(width * new_height / height))
    top = int(rng.integers(0, behind.shape[0] - new_height + 1))
    left = int(rng.integers(0, behind.shape[1] - new_width + 1))
    result = []
    for image in frames:
        pasted = behind.copy()
        small = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA)
        pasted[top : top + new_height, left : left + new_width] = small
        result.append(pasted)
    return result


def _tilt(rng: np.random.Generator, width: int, height: int, reach: float) -> Float64Array:
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    moved = corners + rng.uniform(-reach, reach, (4, 2)).astype(np.float32) * np.array([width, height], np.float32)
    return np.asarray(cv2.getPerspectiveTransform(corners, moved.astype(np.float32)))


def perspective(frames: Sequence[UInt8Array], rng: np.random.Generator, *, reach: float = 0.05) -> list[UInt8Array]:
    """Move each corner by up to `reach` of the side."""
    height, width = frames[0].shape[:2]
    matrix = _tilt(rng, width, height, reach)
    return [np.asarray(cv2.warpPerspective(image, matrix, (width, height))) for image in frames]


def slow_zoom(frames: Sequence[UInt8Array], rng: np.random.Generator, *, most: float = 1.15) -> list[UInt8Array]:
    """Zoom in steadily about the centre."""
    height, width = frames[0].shape[:2]
    result = []
    for index, image in enumerate(frames):
        zoom = 1 + (most - 1) * index / max(1, len(frames) - 1)
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0.0, zoom)
        result.append(np.asarray(cv2.warpAffine(image, matrix, (width, height))))
    return result


def shake(
    frames: Sequence[UInt8Array], rng: np.random.Generator, *, reach_px: float = 4.0, turn_deg: float = 0.5
) -> list[UInt8Array]:
    """Move and turn each frame a little, as a hand does."""
    height, width = frames[0].shape[:2]
    result = []
    for image in frames:
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), rng.uniform(-turn_deg, turn_deg), 1.03)
        matrix[:, 2] += rng.uniform(-reach_px, reach_px, 2)
        result.append(np.asarray(cv2.warpAffine(image, matrix, (width, height))))
    return result


def screen_recording(
    frames: Sequence[UInt8Array], rng: np.random.Generator, *, reach: float = 0.04
) -> list[UInt8Array]:
    """Film a screen: tilt, the screen's pixel grid and its moire, a gradient of light, blur and sensor noise."""
    height, width = frames[0].shape[:2]
    matrix = _tilt(rng, width, height, reach)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    frequency = rng.uniform(0.02, 0.06, 2)
    moire = np.cos(2 * np.pi * (frequency[0] * x + frequency[1] * y) + 3 * np.sin(2 * np.pi * y / height))
    grid = 1 + 0.035 * moire + 0.03 * np.cos(2 * np.pi * x / 3) + 0.03 * np.cos(2 * np.pi * y / 3)
    light = 0.85 + 0.3 * (x / width * rng.uniform(0.3, 1) + y / height * rng.uniform(0, 0.5))
    factor = (grid * light).astype(np.float32)[..., None]
    result = []
    for image in frames:
        tilted = cv2.warpPerspective(image, matrix, (width, height), borderValue=(24, 24, 28)).astype(np.float32)
        values = cv2.GaussianBlur(255 * (tilted / 255) ** 1.1 * factor, (0, 0), 0.7)
        values += 3 * rng.standard_normal(values.shape, dtype=np.float32)
        result.append(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    return result
