"""Guesses how a picture lies over the pattern of the watermark, most likely ones first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from portrait_anim.provenance import watermark_fold, watermark_pattern, watermark_sync
from portrait_anim.provenance.watermark_residual import reading_scale
from portrait_anim.provenance.watermark_spectra import Spectra, block_spectra
from portrait_anim.provenance.watermark_sync import NO_STRETCH, Geometry, Stretch
from portrait_anim.types import Float32Array, Float64Array

_BLOCK_PX: Final = 384
_PART_PX: Final = 320
_TILTED_PX: Final = 256  # blocks in which perspective is seen
_PART_LEVEL_PX: Final = 720  # parts are looked at where the shorter side is at most this
_LEAST_PART_SCORE: Final = 4.2
_MOST_PARTS: Final = 4
_PART_MARGINS_PX: Final = (0, 96)  # a part is read alone, and with its surroundings
_STRETCHES: Final = tuple(Stretch(factor=float(np.exp(step * 0.045))) for step in range(-9, 10) if step)
_SLANTS: Final = (
    NO_STRETCH,
    *(Stretch(factor=factor, direction_deg=angle) for angle in (0.0, 45.0, 90.0, 135.0) for factor in (1.05, 1.1)),
)
_SLIGHT: Final = tuple(stretch for stretch in _SLANTS if stretch.factor < 1.1)
_MOST_BLOCKS: Final = 9
_MOST_PER_BLOCK: Final = 4
_TILTS: Final = tuple((x, y) for x in (-0.08, -0.04, 0.0, 0.04, 0.08) for y in (-0.08, -0.04, 0.0, 0.04, 0.08))
_MOST_TILTED: Final = 10
_SCALES: Final = tuple(float(np.exp(step * 0.01)) for step in range(-110, 81))
_TURNS_DEG: Final = tuple(0.6 * step for step in range(-20, 21) if step)
_MIRROR: Final = np.diag([-1.0, 1.0])


@dataclass(frozen=True, kw_only=True, slots=True)
class Guess:
    """A guess, and what is needed to follow it.

    Attributes:
        residual: `(H, W)` float32, the residual at some resolution.
        level: How often that resolution was halved.
        geometry: How the residual lies over the pattern.
        spectra: Spectra of the blocks, to improve the geometry with; `None` takes it as it is.
    """

    residual: Float32Array
    level: int
    geometry: Geometry
    spectra: Spectra | None = None

    def refined(self) -> Geometry:
        """The best geometry near the guess."""
        if self.spectra is None:
            return self.geometry
        if len(self.spectra.power) == 1:
            return watermark_sync.refine(self.spectra, self.geometry, tilted=False)
        if self.geometry.tilt.any():
            return watermark_sync.refine(self.spectra, self.geometry, tilted=True)
        geometry = watermark_sync.refine(self.spectra.mean(), self.geometry, tilted=False)
        return watermark_sync.refine(self.spectra, geometry, tilted=True)


def unchanged(levels: Sequence[Float32Array], size: tuple[int, int]) -> Iterator[Guess]:
    """Guess that the picture has its marked size; also mirrored.

    Args:
        levels: Residuals from full resolution downwards.
        size: Width and height of the frames before they were reduced for reading [px].

    Yields:
        Guesses.
    """
    for level, linear in _marked_size(levels, size):
        for mirror in (np.eye(2), _MIRROR):
            geometry = Geometry(linear=mirror @ linear, tilt=np.zeros(2), score=0.0)
            yield Guess(residual=levels[level], level=level, geometry=geometry)


def _marked_size(levels: Sequence[Float32Array], size: tuple[int, int]) -> list[tuple[int, Float64Array]]:
    """The map for a picture of its marked size, at the level where the pattern is nearest to its own size."""
    zoom = watermark_pattern.TILE_PX / watermark_pattern.period_for(size) / reading_scale(size)
    level = int(np.clip(round(np.log2(1 / zoom)), 0, len(levels) - 1))
    return [(level, np.eye(2) * zoom * 2**level)]


def from_spectrum(levels: Sequence[Float32Array], *, count: int, least_score: float) -> Iterator[Guess]:
    """Guess from the mean spectrum of the picture, at every resolution.

    Args:
        levels: Residuals.
        count: Guesses at most.
        least_score: Guesses whose carriers stand out less are left out [standard deviations].

    Yields:
        Guesses, those with the clearest carriers first.
    """
    found = []
    for level, residual in enumerate(levels):
        spectra = block_spectra(residual, _BLOCK_PX)
        for geometry in watermark_sync.search(spectra.mean().power[0], count=max(2, count // 2)):
            found.append(Guess(residual=residual, level=level, geometry=geometry, spectra=spectra))
    found = [guess for guess in found if guess.geometry.score >= least_score]
    yield from sorted(found, key=lambda guess: -guess.geometry.score)[:count]


def from_parts(levels: Sequence[Float32Array]) -> Iterator[Guess]:
    """Guess from single blocks, for pictures within pictures and strong perspective.

    Args:
        levels: Residuals.

    Yields:
        Guesses from blocks that show something.
    """
    level, residual = _working_level(levels, _PART_LEVEL_PX)
    spectra = block_spectra(residual, _PART_PX)
    if len(spectra.power) == 1:
        return
    found = []
    for index in range(len(spectra.power)):
        part = spectra.block(index)
        found += [(part, geometry) for geometry in watermark_sync.search(part.power[0], count=1)]
    found = [item for item in found if item[1].score >= _LEAST_PART_SCORE]
    for part, geometry in sorted(found, key=lambda item: -item[1].score)[:_MOST_PARTS]:
        for margin in _PART_MARGINS_PX:
            left, top = part.corners[0] - margin
            reach = _PART_PX + 2 * margin
            window = residual[max(0, top) : max(0, top + reach), max(0, left) : max(0, left + reach)]
            yield Guess(residual=window, level=level, geometry=geometry, spectra=part)


def stretched(levels: Sequence[Float32Array]) -> Iterator[Guess]:
    """Guess from the spectrum that width and height were scaled differently.

    Args:
        levels: Residuals.

    Yields:
        The clearest guesses.
    """
    level, residual = _working_level(levels, _PART_LEVEL_PX)
    spectra = block_spectra(residual, _BLOCK_PX)
    power = spectra.mean().power[0]
    found = []
    for stretch in _STRETCHES:
        for geometry in watermark_sync.search(power, count=1, stretch=stretch):
            found.append(Guess(residual=residual, level=level, geometry=geometry, spectra=spectra))
    yield from sorted(found, key=lambda guess: -guess.geometry.score)[:4]


def tilted(levels: Sequence[Float32Array]) -> Iterator[Guess]:
    """Guess perspective: what the mean spectrum and single blocks show, under all tilts, by how well it fits.

    Args:
        levels: Residuals.

    Yields:
        The guesses that fit best.
    """
    level, residual = _working_level(levels, _PART_LEVEL_PX)
    spectra = block_spectra(residual, _TILTED_PX)
    if len(spectra.power) == 1:
        return
    extent_px = float(np.abs(spectra.centres).max())
    found = []
    for local, centre in _local_maps(spectra):
        for tilt in np.array(_TILTS) / extent_px:
            depth = 1 + tilt @ centre
            linear = depth**2 * local @ np.linalg.inv(depth * np.eye(2) - np.outer(centre, tilt))
            fit = watermark_sync.score(spectra, np.concatenate([linear.ravel(), tilt]))
            found.append(Geometry(linear=linear, tilt=tilt, score=fit))
    for geometry in sorted(found, key=lambda item: -item.score)[:_MOST_TILTED]:
        yield Guess(residual=residual, level=level, geometry=geometry, spectra=spectra)


def _local_maps(spectra: Spectra) -> Iterator[tuple[Float64Array, Float64Array]]:
    """Likely linear parts of the map, and the places where they hold [px]: of the whole picture, then of blocks."""
    for stretch in _SLANTS:
        for geometry in watermark_sync.search(spectra.mean().power[0], count=2, stretch=stretch):
            yield geometry.linear, np.zeros(2)
    chosen = np.linspace(0, len(spectra.power) - 1, min(_MOST_BLOCKS, len(spectra.power))).round().astype(int)
    for index in chosen:
        power = spectra.power[index]
        found = [item for slant in _SLIGHT for item in watermark_sync.search(power, count=1, stretch=slant)]
        for geometry in sorted(found, key=lambda item: -item.score)[:_MOST_PER_BLOCK]:
            yield geometry.linear, spectra.centres[index]


def from_pilots(levels: Sequence[Float32Array], size: tuple[int, int]) -> Iterator[tuple[Guess, int]]:
    """Guess scales and turns by the phases of the pilots, which show where magnitudes no longer do.

    Args:
        levels: Residuals.
        size: Width and height of the frames before they were reduced for reading [px].

    Yields:
        Guesses, and how many geometries were looked at for each.
    """
    ((level, linear),) = _marked_size(levels, size)
    angles = np.radians(_TURNS_DEG)
    trials = [linear * scale for scale in _SCALES]
    trials += [linear @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) for a in angles]
    found = []
    for trial in trials:
        z, mirrored = watermark_fold.pilot_z(levels[level], Geometry(linear=trial, tilt=np.zeros(2), score=0.0))
        found.append((z, _MIRROR @ trial if mirrored else trial))
    found.sort(key=lambda item: -item[0])
    for number, (z, trial) in enumerate(found[:3]):
        geometry = Geometry(linear=trial, tilt=np.zeros(2), score=z)
        yield Guess(residual=levels[level], level=level, geometry=geometry), 2 * len(trials) if number == 0 else 0


def _working_level(levels: Sequence[Float32Array], side_px: int) -> tuple[int, Float32Array]:
    for level, residual in enumerate(levels):
        if min(residual.shape) <= side_px:
            return level, residual
    return len(levels) - 1, levels[-1]
