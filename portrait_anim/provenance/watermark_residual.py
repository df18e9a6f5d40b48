"""What is left of pictures when their content is taken away as well as can be: where the reader looks for the mark."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from portrait_anim.types import Float32Array, UInt8Array

LARGEST_SIDE_PX: Final = 1080  # shorter side; larger pictures carry a larger pattern and are reduced first
SMALLEST_SIDE_PX: Final = 48
_NEXT_LEVEL_SIDE_PX: Final = 200
_HIGH_PASS_SIGMA_PX: Final = 1.5  # steep: what is left of the content is then white, as the mark's neighbours are
_CONTRAST_SIGMA_PX: Final = 3.0
_QUIET: Final = 0.45  # contrast below which a place is not amplified further [grey levels]
_QUIET_SUM: Final = 0.5  # the same, of a sum whose terms have a contrast of about 1
_CLIP: Final = 2.5


class ResidualSum:
    """Adds up the normalised residuals of frames of one size, at full, half, quarter ... resolution.

    Args:
        size: Width and height of the frames [px].

    Attributes:
        num_frames: Frames added so far.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.num_frames = 0
        self._sums: list[Float32Array] = []

    def add(self, image: UInt8Array) -> list[Float32Array]:
        """Add a frame.

        Args:
            image: `(H, W, 3)` uint8 sRGB of the size given to the constructor.

        Returns:
            Its residual at each resolution, for other sums.
        """
        levels = [_residual(level) for level in _pyramid(image)]
        self.add_residual(levels)
        return levels

    def add_residual(self, levels: list[Float32Array]) -> None:
        """Add what `add` of another sum of the same size gave."""
        if not self._sums:
            self._sums = levels
        else:
            self._sums = [total + level for total, level in zip(self._sums, levels, strict=True)]
        self.num_frames += 1

    def levels(self) -> list[Float32Array]:
        """Give the sums, `(H, W)` float32 of local standard deviation near 1, from full resolution downwards."""
        return [_flatten(total / self.num_frames, _QUIET_SUM) for total in self._sums]


def reading_scale(size: tuple[int, int]) -> float:
    """Give the factor by which frames are reduced before they are read, at most 1."""
    return min(1.0, LARGEST_SIDE_PX / min(size))


def _pyramid(image: UInt8Array) -> list[Float32Array]:
    luma = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    height, width = luma.shape
    scale = reading_scale((width, height))
    if scale < 1:
        luma = cv2.resize(luma, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    levels = [luma.astype(np.float32)]
    while min(levels[-1].shape) >= 2 * _NEXT_LEVEL_SIDE_PX:
        height, width = levels[-1].shape
        levels.append(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return levels


def _residual(luma: Float32Array) -> Float32Array:
    smooth = cv2.GaussianBlur(luma, (0, 0), _HIGH_PASS_SIGMA_PX)
    return _flatten(luma - smooth, _QUIET)


def _flatten(residual: Float32Array, quiet: float) -> Float32Array:
    """Bring every place to the same contrast, so that the strong edges of the content do not drown the mark."""
    power = cv2.GaussianBlur(residual * residual, (0, 0), _CONTRAST_SIGMA_PX)
    flat: Float32Array = residual / np.sqrt(power + quiet * quiet)
    return np.clip(flat, -_CLIP, _CLIP, out=flat)
