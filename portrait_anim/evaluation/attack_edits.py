"""Attacks by what people do to a clip before they share it: bars, tickers, collages, filters, pan and zoom, bending."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from portrait_anim.evaluation.attack_geometry import backdrop
from portrait_anim.types import UInt8Array

_TICKER: Final = "BREAKING: nobody knows who said this +++ more at eleven +++ "
_BARS_BLUR_PX: Final = 24.0


def blurred_bars(image: UInt8Array, *, aspect: float = 9 / 16) -> UInt8Array:
    """Put the picture into an upright frame that it fills in width, over an enlarged and blurred copy of itself.

    Args:
        image: Picture.
        aspect: Width over height of the frame.

    Returns:
        `(H', W, 3)` picture of the same width.
    """
    height, width = image.shape[:2]
    tall = max(height, round(width / aspect))
    large = cv2.resize(image, (round(width * tall / height), tall), interpolation=cv2.INTER_LINEAR)
    left = (large.shape[1] - width) // 2
    framed = np.ascontiguousarray(cv2.GaussianBlur(large[:, left : left + width], (0, 0), _BARS_BLUR_PX))
    top = (tall - height) // 2
    framed[top : top + height] = image
    return framed


def ticker(frames: Sequence[UInt8Array], rng: np.random.Generator, *, share: float = 0.12) -> list[UInt8Array]:
    """Let a line of text run through a band at the bottom, `share` of the height."""
    height, width = frames[0].shape[:2]
    band = round(height * share)
    result = []
    for index, image in enumerate(frames):
        written = image.copy()
        written[height - band :] = (150, 16, 20)
        place = (width // 4 - round(index * width / 60), height - band // 3)
        cv2.putText(written, _TICKER * 3, place, cv2.FONT_HERSHEY_SIMPLEX, band / 45, (255, 255, 255), 2, cv2.LINE_AA)
        result.append(written)
    return result


def collage(frames: Sequence[UInt8Array], rng: np.random.Generator) -> list[UInt8Array]:
    """Put something else of the same size beside it, on either side."""
    height, width = frames[0].shape[:2]
    other = backdrop(rng, height, width)
    left = bool(rng.random() < 0.5)
    return [np.hstack([other, image] if left else [image, other]) for image in frames]


def vignette(image: UInt8Array) -> UInt8Array:
    """Warm the colours and darken the corners, as a filter of a social network does."""
    height, width = image.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    light = (1.08 - 0.28 * (x * x + y * y))[..., None] * np.array([1.05, 1.0, 0.88], np.float32)
    filtered: UInt8Array = np.clip(image * light + 6, 0, 255).astype(np.uint8)
    return filtered


def pan_zoom(frames: Sequence[UInt8Array], rng: np.random.Generator, *, most: float = 1.3) -> list[UInt8Array]:
    """Zoom in from all to `1 / most` of the side, steadily, towards a corner."""
    height, width = frames[0].shape[:2]
    corner = rng.integers(0, 2, 2)
    result = []
    for index, image in enumerate(frames):
        zoom = 1 + (most - 1) * index / max(1, len(frames) - 1)
        free = np.array([width, height]) * (zoom - 1) * corner
        matrix = np.array([[zoom, 0, -free[0]], [0, zoom, -free[1]]], dtype=np.float64)
        result.append(np.asarray(cv2.warpAffine(image, matrix, (width, height))))
    return result


def bend(frames: Sequence[UInt8Array], rng: np.random.Generator, *, reach_px: float = 1.5) -> list[UInt8Array]:
    """Bend the picture smoothly at random, the same in all frames, as the attacks of StirMark do.

    Args:
        frames: Frames.
        rng: Draws the bends.
        reach_px: Standard deviation of the displacement [px].

    Returns:
        Bent frames of the same size.
    """
    height, width = frames[0].shape[:2]
    coarse = rng.standard_normal((2, 5, 5)).astype(np.float32) * reach_px
    dx, dy = (cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC) for values in coarse)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return [
        np.asarray(cv2.remap(image, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))
        for image in frames
    ]


def average(frames: Sequence[UInt8Array], rng: np.random.Generator, *, count: int = 3) -> list[UInt8Array]:
    """Blend each frame with those before it."""
    result = []
    for index in range(len(frames)):
        recent = np.stack(frames[max(0, index - count + 1) : index + 1])
        result.append(np.rint(recent.mean(axis=0)).astype(np.uint8))
    return result


def non_local_means(image: UInt8Array) -> UInt8Array:
    """Remove noise by averaging patches that look alike."""
    return np.asarray(cv2.fastNlMeansDenoising(image, None, 5.0, 5, 11))
