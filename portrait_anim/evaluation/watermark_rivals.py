"""Marks that can be measured against each other: ours, and those of the package `invisible-watermark` if installed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from portrait_anim.provenance.watermark import Watermarker, read_frames
from portrait_anim.provenance.watermark_code import ID_BITS
from portrait_anim.provenance.watermark_reading import Search
from portrait_anim.types import UInt8Array

RIVAL_MODULE: Final = "imwatermark"
MAX_READ_FRAMES: Final = 100
_RIVAL_FRAMES: Final = {"dwtDct": 8, "rivaGan": 1}  # read alone, then a vote; RivaGAN takes seconds for each
_MOST_FALSE_POSITIVES: Final = 1e-6

BitArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came back from attacked frames.

    Attributes:
        bit_accuracy: Share of the payload's bits that are right; 0.5 is chance.
        detected: Whether the mark counts as found, at one false positive in a million.
        log10_false_positive: Chance of such a result without a mark, as a power of ten; `None` when not detected.
    """

    bit_accuracy: float
    detected: bool
    log10_false_positive: float | None


class Mark(Protocol):
    """A way to mark frames and to read them back."""

    name: str

    def mark(self, frames: Sequence[UInt8Array]) -> list[UInt8Array]:
        """Mark frames of one size."""
        ...

    def read(self, frames: Sequence[UInt8Array]) -> Outcome:
        """Look for the mark."""
        ...


class OwnMark:
    """The mark of `provenance.watermark`.

    Args:
        render_id: 48-bit number.
    """

    name = "portrait_anim"

    def __init__(self, render_id: int) -> None:
        self.render_id = render_id

    def mark(self, frames: Sequence[UInt8Array]) -> list[UInt8Array]:
        """Mark frames of one size."""
        height, width = frames[0].shape[:2]
        marker = Watermarker(self.render_id, (width, height))
        return [marker.mark(frame) for frame in frames]

    def read(self, frames: Sequence[UInt8Array]) -> Outcome:
        """Look for the mark; another id than ours counts as not detected."""
        search = Search()
        reading = read_frames(evenly(frames, MAX_READ_FRAMES), search=search)
        if reading is not None and reading.render_id == self.render_id:
            return Outcome(bit_accuracy=1.0, detected=True, log10_false_positive=reading.log10_false_positive)
        guess = search.best_guess
        wrong = ID_BITS / 2 if guess is None else (guess ^ self.render_id).bit_count()
        return Outcome(bit_accuracy=1 - wrong / ID_BITS, detected=False, log10_false_positive=None)


class RivalMark:
    """A mark of the package `invisible-watermark`: `"dwtDct"` with 48 bits or `"rivaGan"` with 32.

    Args:
        method: Name in that package.
        payload: The first bits of this number are hidden.

    Raises:
        ImportError: If the package is not installed.
    """

    def __init__(self, method: str, payload: int) -> None:
        package = importlib.import_module(RIVAL_MODULE)  # optional, and without types
        self.name = method
        length = 32 if method == "rivaGan" else ID_BITS
        self._bits: BitArray = np.array([(payload >> index) & 1 for index in range(length)], dtype=np.uint8)
        self._encoder: Any = package.WatermarkEncoder()
        self._decoder: Any = package.WatermarkDecoder("bits", length)
        if method == "rivaGan":
            package.WatermarkEncoder.loadModel()
            package.WatermarkDecoder.loadModel()
        self._encoder.set_watermark("bits", [int(bit) for bit in self._bits])

    def mark(self, frames: Sequence[UInt8Array]) -> list[UInt8Array]:
        """Mark frames of one size."""
        return [np.ascontiguousarray(self._encoder.encode(_reversed(frame), self.name)[..., ::-1]) for frame in frames]

    def read(self, frames: Sequence[UInt8Array]) -> Outcome:
        """Read some frames and let them vote."""
        votes = [self._decode(frame) for frame in evenly(frames, _RIVAL_FRAMES[self.name])]
        voted = np.mean(votes, axis=0) > 0.5
        right = int((voted == self._bits.astype(bool)).sum())
        chance = _chance_of(right, len(self._bits))
        detected = chance <= _MOST_FALSE_POSITIVES
        return Outcome(
            bit_accuracy=right / len(self._bits), detected=detected,
            log10_false_positive=float(np.log10(chance)) if detected else None,
        )  # fmt: skip

    def _decode(self, frame: UInt8Array) -> npt.NDArray[np.float64]:
        if min(frame.shape[:2]) < 256:  # the package refuses smaller pictures
            return np.full(len(self._bits), 0.5)
        return np.asarray(self._decoder.decode(_reversed(frame), self.name), dtype=np.float64)


def evenly(frames: Sequence[UInt8Array], count: int) -> list[UInt8Array]:
    """Take at most `count` frames, spread over all."""
    places = np.linspace(0, len(frames) - 1, min(count, len(frames)))
    return [frames[round(place)] for place in places]


def _reversed(frame: UInt8Array) -> UInt8Array:
    return np.ascontiguousarray(frame[..., ::-1])


def _chance_of(right: int, length: int) -> float:
    """Chance that coin tosses give at least so many right bits."""
    from scipy.stats import binom

    return float(binom.sf(right - 1, length, 0.5))
