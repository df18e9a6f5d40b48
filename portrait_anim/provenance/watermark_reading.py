"""From a summed residual to a reading: search the geometry, decode, and say how sure the result is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from portrait_anim.provenance import watermark_code, watermark_fold, watermark_sync
from portrait_anim.provenance.watermark_residual import ResidualSum, reading_scale
from portrait_anim.provenance.watermark_sync import Geometry, Spectra
from portrait_anim.types import Float32Array

LOG10_FALSE_POSITIVE: Final = -6.0  # a reading that chance explains more often than this is not given

_BLOCK_PX: Final = 256
_CANDIDATES: Final = 6
_TRIES: Final = 2  # positions decoded per geometry
_LEAST_PILOT_Z: Final = 4.0
_SEARCHES: Final = 500  # geometries looked at, for the statistic


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


def read_sum(total: ResidualSum, *, deadline_s: float | None, spent: int) -> tuple[WatermarkReading | None, int]:
    """Look for the mark in a sum of residuals.

    Args:
        total: The sum.
        deadline_s: When to give up, on the monotonic clock [s].
        spent: Decodings done before on the same frames; they count in the statistic.

    Returns:
        The reading if there is one, and the number of decodings done here.
    """
    levels = total.levels()
    done = 0
    for number, spectra, geometry in _candidates(levels):
        if deadline_s is not None and time.monotonic() > deadline_s:
            break
        better = watermark_sync.refine(spectra, geometry, tilted=False, reach_px=_BLOCK_PX / 2)
        better = watermark_sync.refine(spectra, better, tilted=True, reach_px=_BLOCK_PX / 2)
        folded = watermark_fold.fold(levels[number], better)
        found, tries = watermark_fold.messages(folded, tries=_TRIES, least_z=_LEAST_PILOT_Z)
        done += tries
        for message in found:
            chance = (
                np.log10(spent + done) - watermark_code.CHECK_BITS * np.log10(2.0)
                + min(0.0, message.log10_pilots + np.log10(_SEARCHES))
            )  # fmt: skip
            if chance <= LOG10_FALSE_POSITIVE:
                scale = reading_scale(total.size)
                lay = better.turned() if message.half_turn else better
                return _reading(message.render_id, float(chance), total.num_frames, lay, number, scale), done
    return None, done


def _candidates(levels: list[Float32Array]) -> list[tuple[int, Spectra, Geometry]]:
    found = []
    for number, level in enumerate(levels):
        spectra = watermark_sync.block_spectra(level, _BLOCK_PX)
        for geometry, _ in watermark_sync.search(spectra.power.mean(axis=0), count=_CANDIDATES):
            found.append((number, spectra, geometry))
    return sorted(found, key=lambda item: -item[2].score)[: 2 * _CANDIDATES]


def _reading(
    render_id: int, chance: float, frames: int, geometry: Geometry, level: int, reduced: float
) -> WatermarkReading:
    linear = np.linalg.inv(geometry.linear)  # picture per pattern
    scale = float(np.sqrt(abs(np.linalg.det(linear)))) * 2**level / reduced
    mirrored = bool(np.linalg.det(linear) < 0)
    if mirrored:
        linear = linear @ np.diag([-1.0, 1.0])
    angle = float(np.degrees(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])))
    return WatermarkReading(
        render_id=render_id, log10_false_positive=chance, frames_used=frames, mirrored=mirrored, scale=scale,
        rotation_deg=angle,
    )  # fmt: skip
