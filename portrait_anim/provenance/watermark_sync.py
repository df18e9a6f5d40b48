"""Finds how a picture was scaled, turned, mirrored or tilted since it was marked, from the spectrum of its residual.

The carriers of the mark are spikes in the power spectrum, wherever the picture was cut. In log-polar coordinates
scaling and turning are shifts, so one correlation looks at all of them; the best candidates are then refined as a
projective map, of which each block of the picture sees the local linear part.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft

from portrait_anim.provenance import watermark_pattern
from portrait_anim.provenance.watermark_spectra import Spectra
from portrait_anim.types import Float32Array, Float64Array

_NUM_ANGLES: Final = 384  # over half a turn
_NUM_RADII: Final = 384
_RADIUS_MIN: Final = 0.016  # waves per pixel
_RADIUS_MAX: Final = 0.5
_LOG_STEP: Final = float(np.log(_RADIUS_MAX / _RADIUS_MIN) / _NUM_RADII)
_SCALE_MIN, _SCALE_MAX = 0.33, 2.0
_HALVINGS: Final = 6
_ROUNDS: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """A guess how the picture lies over the pattern: `pattern = B d / (1 + p d)`, `d` from the centre of the picture.

    Attributes:
        linear: `(2, 2)` float64 `B`, pattern pixels per picture pixel.
        tilt: `(2,)` float64 `p` [1/px].
        score: How clearly the carriers stand out [standard deviations].
    """

    linear: Float64Array
    tilt: Float64Array
    score: float

    def turned(self) -> Geometry:
        """The same with the pattern turned by 180 degrees."""
        return Geometry(linear=-self.linear, tilt=self.tilt, score=self.score)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A picture pulled in one direction.

    Attributes:
        factor: How much longer it became.
        direction_deg: In which direction, from x towards y [deg].
    """

    factor: float
    direction_deg: float = 0.0

    def undone(self) -> Float64Array:
        """The `(2, 2)` symmetric matrix that gives the picture, and its frequencies, their old shape."""
        angle = np.radians(self.direction_deg)
        along = np.array([np.cos(angle), np.sin(angle)])
        return np.asarray(np.eye(2) + (1 / self.factor - 1) * np.outer(along, along))


NO_STRETCH: Final = Stretch(factor=1.0)


@functools.lru_cache(maxsize=48)
def _polar_map(size: int, stretch: Stretch) -> tuple[Float32Array, Float32Array]:
    angle = (np.arange(_NUM_ANGLES) / _NUM_ANGLES - 0.5) * np.pi
    radius = _RADIUS_MIN * np.exp(_LOG_STEP * np.arange(_NUM_RADII)) * size
    across, down = np.tensordot(stretch.undone(), np.stack([np.cos(angle), np.sin(angle)]), axes=1)
    sign = np.where(across < 0, -1.0, 1.0)
    x = np.outer(across * sign, radius).astype(np.float32)
    y = (np.outer(down * sign, radius) + size // 2).astype(np.float32)
    return x, y


@functools.lru_cache(maxsize=2)
def _polar_template(mirrored: bool) -> npt.NDArray[np.complex64]:
    """Conjugate spectrum of the carriers in log-polar coordinates: used waves positive, unused ones negative."""
    waves = watermark_pattern.lattice() / watermark_pattern.TILE_PX
    x, y = (-waves[:, 0] if mirrored else waves[:, 0]), waves[:, 1]
    flip = np.where(x < 0, -1.0, 1.0)
    row = (np.arctan2(y * flip, x * flip) / np.pi + 0.5) * _NUM_ANGLES
    column = np.log(np.hypot(x, y) / _RADIUS_MIN) / _LOG_STEP
    image = np.zeros((_NUM_ANGLES, 2 * _NUM_RADII), dtype=np.float32)
    weight = _weights()
    for dy in (0, 1):
        for dx in (0, 1):
            share = np.abs(1 - dy - row % 1) * np.abs(1 - dx - column % 1)
            np.add.at(image, ((row.astype(int) + dy) % _NUM_ANGLES, column.astype(int) + dx), weight * share)
    image = cv2.GaussianBlur(image, (5, 5), 0.8, borderType=cv2.BORDER_REFLECT)
    spectrum: npt.NDArray[np.complex64] = scipy.fft.rfft2(image)
    return spectrum.conj()


@functools.lru_cache(maxsize=1)
def _weights() -> Float32Array:
    """Weight of each wave of the lattice in a score; they add up to 0."""
    used = watermark_pattern.NUM_CARRIERS
    unused = len(watermark_pattern.lattice()) - used
    values: Float32Array = np.concatenate([np.ones(used), np.full(unused, -used / unused)]).astype(np.float32)
    return values


def search(power: Float32Array, *, count: int, stretch: Stretch = NO_STRETCH) -> list[Geometry]:
    """Look through all scales and angles, also mirrored.

    Args:
        power: `(F, F / 2 + 1)` whitened power spectrum.
        count: Number of candidates per handedness.
        stretch: How the picture is taken to be stretched.

    Returns:
        Candidates, best first.
    """
    x, y = _polar_map(power.shape[0], stretch)
    polar = cv2.remap(power, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    spectrum = scipy.fft.rfft2(polar, s=(_NUM_ANGLES, 2 * _NUM_RADII))
    first = round(np.log(1 / _SCALE_MAX) / _LOG_STEP)
    last = round(np.log(1 / _SCALE_MIN) / _LOG_STEP)
    found: list[Geometry] = []
    for mirrored in (False, True):
        surface = scipy.fft.irfft2(spectrum * _polar_template(mirrored), s=(_NUM_ANGLES, 2 * _NUM_RADII))
        surface = np.concatenate([surface[:, first:], surface[:, : last + 1]], axis=1)
        surface -= surface.mean(axis=0)
        surface /= surface.std(axis=0) + 1e-6
        for row, column in _peaks(surface, count):
            angle = row / _NUM_ANGLES * np.pi
            zoom = np.exp((column + first) * _LOG_STEP)  # pattern pixels per picture pixel
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            linear = zoom * (np.diag([-1.0, 1.0]) if mirrored else np.eye(2)) @ turn @ stretch.undone()
            found.append(Geometry(linear=linear, tilt=np.zeros(2), score=float(surface[row, column])))
    return sorted(found, key=lambda item: -item.score)


def _peaks(surface: Float32Array, count: int) -> list[tuple[int, int]]:
    surface = surface.copy()
    found = []
    for _ in range(count):
        row, column = np.unravel_index(int(surface.argmax()), surface.shape)
        found.append((int(row), int(column)))
        rows = np.arange(row - 4, row + 5) % surface.shape[0]
        surface[rows, max(0, column - 4) : column + 5] = -np.inf
    return found


def score(spectra: Spectra, parameters: Float64Array) -> float:
    """Say how clearly the carriers stand out under a geometry.

    Args:
        spectra: Spectra of blocks.
        parameters: `(6,)` the four numbers of `B` by rows, then `p`.

    Returns:
        Score in standard deviations of what chance gives, about.
    """
    linear, tilt = parameters[:4].reshape(2, 2), parameters[4:]
    waves = watermark_pattern.lattice() / watermark_pattern.TILE_PX
    weights = _weights()
    num_blocks, size, half = spectra.power.shape
    depth = 1 + spectra.centres @ tilt  # (B,)
    slope = (spectra.centres @ linear.T)[:, :, None] * tilt  # (B, 2, 2)
    jacobian = (linear * depth[:, None, None] - slope) / depth[:, None, None] ** 2
    places = (waves @ jacobian) * size  # (B, M, 2)
    places *= np.where(places[..., :1] < 0, -1.0, 1.0)
    x = places[..., 0].clip(0, half - 1.001)
    y = (places[..., 1] + size // 2).clip(0, size - 1.001)
    column, row = x.astype(np.int64), y.astype(np.int64)
    fx, fy = x - column, y - row
    power = spectra.power.reshape(-1)
    corner = (np.arange(num_blocks)[:, None] * size + row) * half + column
    upper = power.take(corner) * (1 - fx) + power.take(corner + 1) * fx
    lower = power.take(corner + half) * (1 - fx) + power.take(corner + half + 1) * fx
    total = float(((upper * (1 - fy) + lower * fy) @ weights).sum())
    return total / max(spectra.spread * float(np.sqrt(num_blocks * (weights**2).sum())), 1e-9)


def refine(spectra: Spectra, geometry: Geometry, *, tilted: bool) -> Geometry:
    """Climb to the best geometry near a guess.

    Args:
        spectra: Spectra of blocks.
        geometry: Where to begin.
        tilted: Whether to look for perspective too.

    Returns:
        The best geometry found.
    """
    best = np.concatenate([geometry.linear.ravel(), geometry.tilt])
    zoom = float(np.sqrt(abs(np.linalg.det(geometry.linear))))
    highest = score(spectra, best)
    size = spectra.power.shape[1]
    turns = _directions(geometry.linear, tilted, float(np.abs(spectra.centres).max()) + size / 4)
    step = 2.0 * watermark_pattern.TILE_PX / (watermark_pattern.OUTER_RADIUS * size * zoom)  # two bins at the rim
    for _ in range(_HALVINGS):
        for _ in range(_ROUNDS):
            moved = False
            for direction in turns:
                for sign in (1.0, -1.0):
                    trial = best + sign * step * direction
                    value = score(spectra, trial)
                    if value > highest:
                        best, highest, moved = trial, value, True
                        break
            if not moved:
                break
        step *= 0.5
    return Geometry(linear=best[:4].reshape(2, 2), tilt=best[4:], score=highest)


def _directions(linear: Float64Array, tilted: bool, extent_px: float) -> list[Float64Array]:
    """Zoom, turn, stretch and shear of a map, then the two tilts, each of about the same effect at the border."""
    basis = ([[1, 0], [0, 1]], [[0, 1], [-1, 0]], [[1, 0], [0, -1]], [[0, 1], [1, 0]])
    moves = [np.concatenate([(linear @ np.array(item, dtype=float)).ravel(), np.zeros(2)]) for item in basis]
    if tilted:
        moves += [np.array([0, 0, 0, 0, 1, 0]) / extent_px, np.array([0, 0, 0, 0, 0, 1]) / extent_px]
    return moves
