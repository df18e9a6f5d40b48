"""From a summed residual to a reading: guess the geometry, decode, and say how sure the result is.

Guesses come cheap ones first: the picture as it was marked, then what the spectrum of the whole picture shows, and in a
`thorough` search what parts of it show, stretched pictures, and scales and turns so faint that only the phases of the
pilots show them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from portrait_anim.provenance import watermark_code, watermark_fold, watermark_guess
from portrait_anim.provenance.watermark_fold import Message
from portrait_anim.provenance.watermark_guess import Guess
from portrait_anim.provenance.watermark_residual import ResidualSum, reading_scale
from portrait_anim.provenance.watermark_sync import Geometry

LOG10_FALSE_POSITIVE: Final = -6.0  # a reading that chance explains more often than this is not given

_CLEAR_SCORE: Final = 4.6  # of a guess by spectrum that is worth following before all frames are there
_TRIES: Final = 2  # positions decoded per geometry
_LEAST_PILOT_Z: Final = 4.7
_PROMISING_PILOT_Z: Final = 5.1  # worth a closer look at the geometry


@dataclass(frozen=True, kw_only=True, slots=True)
class WatermarkReading:
    """A watermark that was read.

    Attributes:
        render_id: The 48-bit number.
        log10_false_positive: Chance that an unmarked file gives a reading like this, as a power of ten.
        frames_used: Frames that were needed.
        mirrored: Whether the picture was mirrored since it was marked.
        scale: Size of the picture relative to the marked one, as far as the pattern shows it (1 for a marked
            picture with a shorter side of up to 512 px; larger ones carry a larger pattern).
        rotation_deg: Turn since it was marked, clockwise as seen [deg], -180 to 180.
    """

    render_id: int
    log10_false_positive: float
    frames_used: int
    mirrored: bool
    scale: float
    rotation_deg: float


class Search:
    """Looks for the mark in growing sums of the same frames, and counts its tries, which weaken the evidence.

    Args:
        deadline_s: When to give up, on the monotonic clock [s]; `None` is never.

    Attributes:
        best_guess: The most likely id so far, whether or not it passed; for measurements only.
    """

    def __init__(self, deadline_s: float | None = None) -> None:
        self._deadline_s = deadline_s
        self._folds = 0
        self._decodings = 0
        self._guess_z = 0.0
        self.best_guess: int | None = None
        self._highest_z = 0.0

    @property
    def log10_pilots(self) -> float:
        """Bound for the chance of pilots as good as the best so far, tries counted, as a power of ten."""
        return watermark_fold.log10_chance(self._highest_z) + float(np.log10(max(1, self._folds)))

    @property
    def expired(self) -> bool:
        """Whether the time is over."""
        return self._deadline_s is not None and time.monotonic() > self._deadline_s

    def read(self, total: ResidualSum, *, thorough: bool) -> WatermarkReading | None:
        """Look for the mark.

        Args:
            total: Sum of residuals.
            thorough: Whether to try what takes seconds.

        Returns:
            The reading if there is one.
        """
        for guess in self._guesses(total, thorough):
            if self.expired:
                break
            reading = self._follow(guess, total)
            if reading is not None:
                return reading
        return None

    def _guesses(self, total: ResidualSum, thorough: bool) -> Iterator[Guess]:
        levels = total.levels()
        if not levels[-1].any():  # one colour all over
            return
        yield from watermark_guess.unchanged(levels, total.size)
        least = 0.0 if thorough else _CLEAR_SCORE
        yield from watermark_guess.from_spectrum(levels, count=10 if thorough else 4, least_score=least)
        if thorough:
            yield from watermark_guess.from_parts(levels)
            yield from watermark_guess.stretched(levels)
            yield from watermark_guess.tilted(levels)
            for guess, num_folds in watermark_guess.from_pilots(levels, total.size):
                self._folds += num_folds
                yield guess

    def _follow(self, guess: Guess, total: ResidualSum) -> WatermarkReading | None:
        geometry = guess.refined()
        message, highest = self._decode(guess, geometry)
        if (message is None or not message.valid) and highest >= _PROMISING_PILOT_Z:
            geometry, num_folds = watermark_fold.refine_by_pilots(guess.residual, geometry)
            self._folds += num_folds
            message, _ = self._decode(guess, geometry)
        if message is None or not message.valid:
            return None
        chance = (
            np.log10(self._decodings) - watermark_code.CHECK_BITS * np.log10(2.0)
            + min(0.0, message.log10_pilots + np.log10(self._folds))
        )  # fmt: skip
        if chance > LOG10_FALSE_POSITIVE:
            return None
        if message.half_turn:
            geometry = geometry.turned()
        factor = 2**guess.level / reading_scale(total.size)
        return _reading(message.render_id, float(chance), total.num_frames, geometry, factor)

    def _decode(self, guess: Guess, geometry: Geometry) -> tuple[Message | None, float]:
        self._folds += 1
        folded = watermark_fold.fold(guess.residual, geometry)
        message, highest, tries = watermark_fold.find_message(folded, tries=_TRIES, least_z=_LEAST_PILOT_Z)
        self._decodings += tries
        self._highest_z = max(self._highest_z, highest)
        if message is not None and message.pilot_z > self._guess_z:
            self.best_guess, self._guess_z = message.render_id, message.pilot_z
        return message, highest


def _reading(render_id: int, chance: float, frames: int, geometry: Geometry, factor: float) -> WatermarkReading:
    linear = np.linalg.inv(geometry.linear)  # picture per pattern
    mirrored = bool(np.linalg.det(linear) < 0)
    if mirrored:
        linear = linear @ np.diag([-1.0, 1.0])
    angle = float(np.degrees(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])))
    return WatermarkReading(
        render_id=render_id, log10_false_positive=chance, frames_used=frames, mirrored=mirrored,
        scale=float(np.sqrt(abs(np.linalg.det(linear)))) * factor, rotation_deg=angle,
    )  # fmt: skip
