"""How strongly each place of a picture may carry the invisible watermark: strong in texture, faint where it is flat.

In flat areas the mark is fainter than a grey level. Rounded as it is, it would show there as blobs with edges of one
level; with blue noise added before rounding it becomes a grain finer than the eye looks for.
"""

from __future__ import annotations

import functools
from typing import Final

import cv2
import numpy as np

from portrait_anim.types import Float32Array, UInt8Array

_FLOOR: Final = 0.42  # strength where nothing hides the mark [grey levels, standard deviation]
_GAIN: Final = 1.5  # per grey level of local contrast
_CEILING: Final = 2.1
_LOUDEST: Final = 1.9  # mean square over the picture; keeps the signal-to-noise ratio above 42 dB
_LARGEST_LOSS: Final = 0.024  # of the structural similarity by this estimate, which is over twice the truth
_SSIM_C2: Final = (0.03 * 255) ** 2
_VARIANCE_OF_SPREAD: Final = 2 * 1.57  # twice the variance of a normal distribution with a mean deviation of 1
_WINDOW_PX: Final = 9
_DARK: Final = 24.0  # grey level below which the mark fades: steps show there, and black cuts half of them off
_DARKEST_SHARE: Final = 0.15
_DITHER: Final = 0.8  # share of a grey level over which the blue noise spreads
_DITHER_PX: Final = 96
_DITHER_ROUNDS: Final = 12
_BLUE_FROM: Final = 0.18  # waves per pixel; the mark itself has at most 0.09


def strength(luma: UInt8Array) -> Float32Array:
    """Find the strength for every pixel.

    The contrast at a place is the smallest in its neighbourhood, so that the flat side of an edge stays clean.

    Args:
        luma: `(H, W)` uint8.

    Returns:
        `(H, W)` float32 standard deviation of the mark [grey levels].
    """
    height, width = luma.shape
    small = cv2.resize(luma, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA).astype(np.float32)
    window = (_WINDOW_PX // 2 + 1, _WINDOW_PX // 2 + 1)
    mean = cv2.blur(small, window)
    dark = np.minimum(mean / np.float32(_DARK) + np.float32(_DARKEST_SHARE), np.float32(1))
    spread = cv2.blur(cv2.absdiff(small, mean), window)
    contrast = cv2.blur(cv2.erode(spread, np.ones(window, np.uint8)), window)
    np.multiply(contrast, _GAIN, out=contrast)
    np.add(contrast, _FLOOR, out=contrast)
    np.minimum(contrast, _CEILING, out=contrast)
    np.multiply(contrast, dark, out=contrast)
    power = cv2.multiply(contrast, contrast)
    loudest = min(1.0, _LOUDEST / float(np.sqrt(cv2.mean(power)[0])))
    # What the mark takes from the structural similarity (SSIM), about: its power over that of the content.
    cv2.multiply(spread, spread, dst=spread, scale=_VARIANCE_OF_SPREAD)
    np.add(spread, _SSIM_C2, out=spread)
    loss = float(cv2.mean(cv2.divide(power, spread))[0])
    np.multiply(contrast, min(loudest, float(np.sqrt(_LARGEST_LOSS / loss))), out=contrast)
    result: Float32Array = cv2.resize(contrast, (width, height), interpolation=cv2.INTER_LINEAR)
    return result


@functools.lru_cache(maxsize=1)
def _blue_noise() -> Float32Array:
    """Draw evenly spread values with hardly any of the long waves that carry the mark: noise, filtered and ranked."""
    values = np.random.default_rng(0).random((_DITHER_PX, _DITHER_PX))
    waves = np.hypot(*np.meshgrid(np.fft.fftfreq(_DITHER_PX), np.fft.fftfreq(_DITHER_PX)))
    high_pass = 1 - np.exp(-((waves / _BLUE_FROM) ** 2) / 2)
    for _ in range(_DITHER_ROUNDS):
        filtered = np.fft.ifft2(np.fft.fft2(values) * high_pass).real
        values = np.argsort(np.argsort(filtered, axis=None)).reshape(values.shape) / (values.size - 1)
    return np.asarray(values - 0.5, dtype=np.float32)


def dither(size: tuple[int, int]) -> Float32Array:
    """Give the blue noise for pictures of one size; the same in all frames, so that nothing flickers.

    Args:
        size: Width and height [px].

    Returns:
        `(H, W)` float32 [grey levels].
    """
    width, height = size
    repeats = (-(-height // _DITHER_PX), -(-width // _DITHER_PX))
    return np.ascontiguousarray(np.tile(_DITHER * _blue_noise(), repeats)[:height, :width])


def add_pattern(image: UInt8Array, pattern: Float32Array, noise: Float32Array) -> UInt8Array:
    """Add the pattern to a picture with the strength that each place can hide.

    Args:
        image: `(H, W, 3)` uint8 sRGB.
        pattern: `(H, W)` float32 of standard deviation 1.
        noise: `(H, W)` float32, see `dither`.

    Returns:
        Marked copy.
    """
    image = np.ascontiguousarray(image)
    change = strength(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    np.multiply(change, pattern, out=change)
    np.add(change, noise, out=change)
    marked: UInt8Array = cv2.add(image, cv2.merge([change, change, change]), dtype=cv2.CV_8U)
    return marked
