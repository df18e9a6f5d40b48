"""How strongly each place of a picture may carry the invisible watermark: strong in texture, faint where it is flat."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from portrait_anim.types import Float32Array, UInt8Array

_FLOOR: Final = 0.5  # strength where nothing hides the mark [grey levels, standard deviation]
_GAIN: Final = 0.36  # per grey level of local contrast
_CEILING: Final = 3.2
_LOUDEST: Final = 1.88  # mean square over the picture; keeps the signal-to-noise ratio above 42 dB
_WINDOW_PX: Final = 9


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
    contrast = cv2.blur(cv2.absdiff(small, mean), window)
    contrast = cv2.erode(contrast, np.ones(window, np.uint8))
    contrast = cv2.blur(contrast, window)
    np.multiply(contrast, _GAIN, out=contrast)
    np.add(contrast, _FLOOR, out=contrast)
    np.minimum(contrast, _CEILING, out=contrast)
    loudness = float(np.sqrt(cv2.mean(cv2.multiply(contrast, contrast))[0]))
    np.multiply(contrast, min(1.0, _LOUDEST / loudness), out=contrast)
    result: Float32Array = cv2.resize(contrast, (width, height), interpolation=cv2.INTER_LINEAR)
    return result


def add_pattern(image: UInt8Array, pattern: Float32Array) -> UInt8Array:
    """Add the pattern to a picture with the strength that each place can hide.

    Args:
        image: `(H, W, 3)` uint8 sRGB.
        pattern: `(H, W)` float32 of standard deviation 1.

    Returns:
        Marked copy.
    """
    image = np.ascontiguousarray(image)
    change = strength(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) * pattern
    marked: UInt8Array = cv2.add(image, cv2.merge([change, change, change]), dtype=cv2.CV_8U)
    return marked
