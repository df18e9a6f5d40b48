"""Power spectra of blocks of a picture, whitened so that the carriers of the watermark stand out as spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft

from portrait_anim.types import Float32Array, Float64Array

_WHITEN_BINS: Final = 17
_SPIKE_CAP: Final = 6.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Spectra:
    """Whitened power spectra of blocks of a picture.

    Attributes:
        power: `(B, F, F / 2 + 1)` float32 of mean 0; axis 1 is -0.5 to 0.5 waves per pixel in y, axis 2 is 0 to 0.5
            in x.
        spread: Standard deviation of `power`.
        centres: `(B, 2)` float64 centres of the blocks relative to the centre of the picture [px].
        corners: `(B, 2)` int64 left and top of the blocks [px].
    """

    power: Float32Array
    centres: Float64Array
    corners: npt.NDArray[np.int64]
    spread: float

    def block(self, index: int) -> Spectra:
        """One block alone, as if it were the picture."""
        power = self.power[index : index + 1]
        corners = self.corners[index : index + 1]
        return Spectra(power=power, centres=np.zeros((1, 2)), corners=corners, spread=float(power.std()))

    def mean(self) -> Spectra:
        """The mean over all blocks, as one block in the centre."""
        mean = self.power.mean(axis=0, keepdims=True)
        return Spectra(power=mean, centres=np.zeros((1, 2)), corners=self.corners[:1], spread=float(mean.std()))


def block_spectra(residual: Float32Array, block_px: int) -> Spectra:
    """Compute spectra of half overlapping blocks.

    Args:
        residual: `(H, W)` float32.
        block_px: Side of a block; a smaller picture is one block.

    Returns:
        The spectra.
    """
    height, width = residual.shape
    rows, columns = _offsets(height, block_px), _offsets(width, block_px)
    block_height, block_width = min(height, block_px), min(width, block_px)
    window = np.outer(_window(block_height), _window(block_width))
    size = int(2 * scipy.fft.next_fast_len(max(block_height, block_width), real=True))
    power, centres, corners = [], [], []
    for top in rows:
        for left in columns:
            block = residual[top : top + block_height, left : left + block_width] * window
            spectrum = scipy.fft.rfft2(block, s=(size, size))
            power.append(_whiten(scipy.fft.fftshift(np.square(np.abs(spectrum)), axes=0)))
            corners.append((left, top))
            centres.append((left + (block_width - width) / 2, top + (block_height - height) / 2))
    stacked = np.stack(power)
    return Spectra(
        power=stacked, centres=np.array(centres, dtype=np.float64), corners=np.array(corners, dtype=np.int64),
        spread=float(stacked[0].std()),
    )  # fmt: skip


def _offsets(length: int, block: int) -> list[int]:
    if length <= block:
        return [0]
    count = int(np.ceil((length - block) / (block / 2))) + 1
    return [round(index * (length - block) / (count - 1)) for index in range(count)]


def _window(length: int) -> Float32Array:
    values: Float32Array = np.sin(np.pi * (np.arange(length) + 0.5) / length).astype(np.float32)
    return values


def _whiten(power: Float32Array) -> Float32Array:
    logarithm = np.log(power + 1e-6)
    level = cv2.blur(logarithm, (_WHITEN_BINS, _WHITEN_BINS), borderType=cv2.BORDER_REFLECT)
    white: Float32Array = np.minimum(np.exp(logarithm - level), _SPIKE_CAP)
    white -= white.mean()
    return white
