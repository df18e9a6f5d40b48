"""Attacks on the values of pixels, on parts of the picture, and on the order of frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from portrait_anim.evaluation.attack_codecs import FPS
from portrait_anim.types import Float32Array, UInt8Array

_LUMA: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def _to_uint8(values: Float32Array) -> UInt8Array:
    rounded: UInt8Array = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


def adjust(image: UInt8Array, *, gain: float = 1.0, offset: float = 0.0) -> UInt8Array:
    """Contrast about mid grey, then brightness [grey levels]."""
    return _to_uint8((image.astype(np.float32) - 128) * gain + 128 + offset)


def gamma(image: UInt8Array, *, exponent: float) -> UInt8Array:
    """Power law; above 1 darkens."""
    curve = _to_uint8(255 * (np.arange(256, dtype=np.float32) / 255) ** exponent)
    return curve[image]


def saturation(image: UInt8Array, *, factor: float) -> UInt8Array:
    """Distance from grey times a factor."""
    values = image.astype(np.float32)
    grey = (values @ _LUMA)[..., None]
    return _to_uint8(grey + (values - grey) * factor)


def hue(image: UInt8Array, *, turn_deg: float) -> UInt8Array:
    """Turn all hues."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int32) + round(turn_deg / 2)) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def negative(image: UInt8Array) -> UInt8Array:
    """Invert all values."""
    return np.bitwise_not(image)


def blur(image: UInt8Array, *, sigma_px: float) -> UInt8Array:
    """Gaussian blur."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px))


def sharpen(image: UInt8Array, *, amount: float = 1.5, sigma_px: float = 1.5) -> UInt8Array:
    """Unsharp mask."""
    values = image.astype(np.float32)
    return _to_uint8(values + amount * (values - cv2.GaussianBlur(values, (0, 0), sigma_px)))


def median(image: UInt8Array, *, size_px: int) -> UInt8Array:
    """Median filter, odd size."""
    return np.asarray(cv2.medianBlur(image, size_px))


def denoise(image: UInt8Array) -> UInt8Array:
    """Smooth what is not an edge."""
    return np.asarray(cv2.bilateralFilter(image, 7, 20, 7))


def posterise(image: UInt8Array) -> UInt8Array:
    """Keep 32 levels per channel."""
    return _to_uint8(image // 8 * 8 + 4.0)


def noise(frames: Sequence[UInt8Array], rng: np.random.Generator, *, sigma: float) -> list[UInt8Array]:
    """Gaussian noise [grey levels], new in each frame."""
    return [_to_uint8(image + sigma * rng.standard_normal(image.shape, dtype=np.float32)) for image in frames]


def sticker(frames: Sequence[UInt8Array], rng: np.random.Generator, *, area: float = 0.3) -> list[UInt8Array]:
    """Cover a share of the area by a flat ellipse with a rim, at the same place in all frames."""
    height, width = frames[0].shape[:2]
    axes = np.sqrt(area / np.pi) * np.array([width, height])
    place = axes + rng.random(2) * (np.array([width, height]) - 2 * axes)
    colour = tuple(int(value) for value in rng.integers(40, 256, 3))
    centre, radii = (int(place[0]), int(place[1])), (int(axes[0]), int(axes[1]))
    result = []
    for image in frames:
        covered = image.copy()
        cv2.ellipse(covered, centre, radii, 0, 0, 360, colour, -1, cv2.LINE_AA)
        cv2.ellipse(covered, centre, radii, 0, 0, 360, (255, 255, 255), 3, cv2.LINE_AA)
        result.append(covered)
    return result


def caption(image: UInt8Array) -> UInt8Array:
    """Write two lines of white text with a dark rim, as social networks do."""
    written = image.copy()
    size = image.shape[1] / 512
    for line, text in enumerate(("when you see it", "again and again")):
        place = (int(0.08 * image.shape[1]), int((0.12 + 0.75 * line) * image.shape[0]))
        for colour, thickness in (((0, 0, 0), 8), ((255, 255, 255), 3)):
            cv2.putText(
                written, text, place, cv2.FONT_HERSHEY_SIMPLEX, 1.6 * size, colour, max(1, round(thickness * size)),
                cv2.LINE_AA,
            )  # fmt: skip
    return written


def change_rate(frames: Sequence[UInt8Array], rng: np.random.Generator, *, factor: float) -> list[UInt8Array]:
    """Take the nearest frames at another rate."""
    count = max(1, round(len(frames) * factor))
    return [frames[min(len(frames) - 1, int(index / factor))] for index in range(count)]


def blend_rate(frames: Sequence[UInt8Array], rng: np.random.Generator, *, factor: float) -> list[UInt8Array]:
    """Blend neighbours at another rate."""
    times = np.arange(round(len(frames) * factor)) / factor
    result = []
    for time in times:
        before, share = int(time), float(time % 1)
        after = min(before + 1, len(frames) - 1)
        result.append(np.asarray(cv2.addWeighted(frames[before], 1 - share, frames[after], share, 0)))
    return result


def trim(frames: Sequence[UInt8Array], rng: np.random.Generator, *, duration_s: float = 1.0) -> list[UInt8Array]:
    """Keep some second."""
    count = min(len(frames), round(duration_s * FPS))
    first = int(rng.integers(0, len(frames) - count + 1))
    return list(frames[first : first + count])


def reverse(frames: Sequence[UInt8Array], rng: np.random.Generator) -> list[UInt8Array]:
    """Play backwards."""
    return list(frames[::-1])
