"""Reads the message once the geometry is known: lay all tiles over each other, find their position, decode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import scipy.fft

from portrait_anim.provenance import watermark_code, watermark_pattern
from portrait_anim.provenance.watermark_pattern import NUM_CARRIERS, NUM_PILOTS, TILE_PX, Complex64Array
from portrait_anim.provenance.watermark_sync import Geometry
from portrait_anim.types import Float32Array, Float64Array

_LARGEST_TILES: Final = 32
_FINENESS: Final = 2  # positions tried per pattern pixel
_NUM_POSITIONS: Final = 4 * TILE_PX * TILE_PX  # upright or turned by 180 degrees, positive or negative
_FIRST_STEP: Final = 0.004
_LIMIT: Final = 4.0  # largest carrier [noise amplitudes]
_FALLS: Final = np.linspace(0.0, 0.4, 21)  # per wave of a tile
_LEAST_EXCESS: Final = 0.1
_RING: Final = 2.0  # width of the rings over which noise is averaged, waves per tile


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """The most likely message under a geometry.

    Attributes:
        render_id: 48-bit number.
        valid: Whether its check holds.
        pilot_z: How clearly the pilots agree with the position [standard deviations].
        log10_pilots: Chance that any position of noise agrees that well, as a power of ten.
        half_turn: Whether the pattern is turned by 180 degrees more than the geometry says, which spectra cannot show.
    """

    render_id: int
    valid: bool
    pilot_z: float
    log10_pilots: float
    half_turn: bool


def fold(residual: Float32Array, geometry: Geometry, *, fine: bool = True) -> Float32Array:
    """Undo the geometry and add up all tiles.

    Args:
        residual: `(H, W)` float32.
        geometry: How the picture lies over the pattern.
        fine: Whether to interpolate well rather than fast.

    Returns:
        `(TILE_PX, TILE_PX)` float32 sum.
    """
    height, width = residual.shape
    centre = np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1]], dtype=np.float64)
    matrix = np.eye(3)
    matrix[:2, :2], matrix[2, :2] = geometry.linear, geometry.tilt
    matrix = matrix @ centre
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]], dtype=np.float64)
    mapped = corners @ matrix.T
    mapped = mapped[:, :2] / mapped[:, 2:]
    low = np.floor(mapped.min(axis=0) / TILE_PX) * TILE_PX
    tiles = np.ceil((mapped.max(axis=0) + 1 - low) / TILE_PX).astype(int).clip(1, _LARGEST_TILES)
    shift = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]])
    flat = cv2.warpPerspective(
        residual,
        shift @ matrix,
        (int(tiles[0]) * TILE_PX, int(tiles[1]) * TILE_PX),
        flags=cv2.INTER_CUBIC if fine else cv2.INTER_LINEAR,
    )
    folded: Float32Array = flat.reshape(tiles[1], TILE_PX, tiles[0], TILE_PX).sum(axis=(0, 2))
    return folded


def find_message(folded: Float32Array, *, tries: int, least_z: float) -> tuple[Message | None, float, int]:
    """Look for the message in a folded tile, both ways up.

    Args:
        folded: `(TILE_PX, TILE_PX)` float32.
        tries: Positions to decode at most.
        least_z: Pilots below this are not decoded [standard deviations].

    Returns:
        The message, preferably one whose check holds; the best agreement of the pilots; the positions decoded.
    """
    received, weights = _carriers(scipy.fft.fft2(folded))
    positions = [
        (z, position, sign, side)
        for side, values in enumerate((received, received.conj()))
        for z, position, sign in _positions(values, weights, tries)
    ]
    positions.sort(key=lambda item: -item[0])
    best: Message | None = None
    done = 0
    for z, position, sign, side in positions[:tries]:
        if z < least_z:
            break
        values = received.conj() if side else received
        aligned = values * np.conj(watermark_pattern.phases()) * _ramp(position) * np.float32(sign)
        done += 1
        soft = watermark_pattern.soft_bits(aligned[NUM_PILOTS:], _trust(aligned[:NUM_PILOTS].real))
        render_id, valid = watermark_code.decode(soft)
        message = Message(
            render_id=render_id, valid=valid, pilot_z=z, log10_pilots=log10_chance(z), half_turn=bool(side)
        )
        best = message if best is None or valid else best
        if valid:
            break
    return best, positions[0][0], done


def log10_chance(z: float) -> float:
    """Bound the chance that pilots of random phases agree that well at any position, as a power of ten.

    Hoeffding's bound for a sum of cosines, times the positions; above 0 it says nothing.

    Args:
        z: Agreement [standard deviations].
    """
    return float(-z * z / 2 / np.log(10) + np.log10(_NUM_POSITIONS))


def pilot_z(residual: Float32Array, geometry: Geometry) -> tuple[float, bool]:
    """Say how well the pilots agree under a geometry, at their best position, as it is or mirrored.

    Args:
        residual: `(H, W)` float32.
        geometry: How the picture lies over the pattern.

    Returns:
        The agreement [standard deviations], and whether it is that of the mirrored picture.
    """
    spectrum = scipy.fft.fft2(fold(residual, geometry, fine=False))
    best = []
    for mirrored in (False, True):
        if mirrored:
            spectrum = np.roll(spectrum[:, ::-1], 1, axis=1)
        received, weights = _carriers(spectrum)
        surfaces = [_surface(values, weights, 1) for values in (received, received.conj())]
        best.append(max(float(np.abs(surface).max()) for surface in surfaces))
    return max(best), best[1] > best[0]


def refine_by_pilots(residual: Float32Array, geometry: Geometry) -> tuple[Geometry, int]:
    """Climb to the geometry under which the pilots agree best.

    Args:
        residual: `(H, W)` float32.
        geometry: Where to begin.

    Returns:
        The best geometry, and how many were tried.
    """
    best, tried = geometry, 1
    highest, _ = pilot_z(residual, best)
    step = _FIRST_STEP
    for _ in range(3):
        for move in ([[1, 0], [0, 1]], [[0, 1], [-1, 0]], [[1, 0], [0, -1]], [[0, 1], [1, 0]]):
            for sign in (1.0, -1.0):
                linear = best.linear @ (np.eye(2) + sign * step * np.array(move))
                trial = Geometry(linear=linear, tilt=best.tilt, score=best.score)
                z, mirrored = pilot_z(residual, trial)
                tried += 1
                if z > highest and not mirrored:
                    best, highest = trial, z
                    break
        step /= 2
    return best, 2 * tried


def _carriers(spectrum: Complex64Array) -> tuple[Complex64Array, Float32Array]:
    """Values of the carriers in units of the noise, and how much each counts.

    The noise is that of the unused waves of like length; what the used ones have more is the signal.
    """
    waves = watermark_pattern.lattice()
    values = spectrum[waves[:, 1], waves[:, 0]]
    length = np.hypot(waves[:, 0], waves[:, 1])
    power = np.minimum(np.abs(values[NUM_CARRIERS:]) ** 2, 8 * np.median(np.abs(values[NUM_CARRIERS:]) ** 2))
    near = np.exp(-(((length[:NUM_CARRIERS, None] - length[NUM_CARRIERS:]) / _RING) ** 2))
    noise = (near @ power) / near.sum(axis=1) + 1e-9
    white = values[:NUM_CARRIERS] / np.sqrt(noise)
    size = np.abs(white)
    white *= np.minimum(1, _LIMIT / np.maximum(size, 1e-9))  # one wave of the content must not outweigh all others
    alike = np.exp(-(((length[:NUM_CARRIERS, None] - length[:NUM_CARRIERS]) / _RING) ** 2))
    excess = (alike @ np.minimum(size, _LIMIT) ** 2) / alike.sum(axis=1) - 1
    weights = np.sqrt(np.maximum(excess, _LEAST_EXCESS))
    return white.astype(np.complex64), weights.astype(np.float32)


def _trust(pilots: Float32Array) -> Float32Array:
    """How much each data carrier counts: its amplitude, taken to fall with the wave number as the pilots' does."""
    waves = watermark_pattern.carriers()
    length = np.hypot(waves[:, 0], waves[:, 1])
    fall = np.exp(-_FALLS[:, None] * length)  # (F, K)
    match = fall[:, :NUM_PILOTS] @ pilots / np.sqrt((fall[:, :NUM_PILOTS] ** 2).sum(axis=1))
    chosen: Float32Array = fall[int(match.argmax()), NUM_PILOTS:].astype(np.float32)
    return chosen


def _positions(received: Complex64Array, weights: Float32Array, count: int) -> list[tuple[float, Float64Array, int]]:
    """Positions at which the pilots agree best, with their z, and whether they agree or agree to be opposite."""
    surface = _surface(received, weights, _FINENESS)
    found = []
    for sign in (1, -1):  # below zero in a negative
        found += [(z, position, sign) for z, position in _highest(sign * surface, count)]
    return found


def _surface(received: Complex64Array, weights: Float32Array, fineness: int) -> Float32Array:
    """Agreement of the pilots for all positions, `fineness` to the pattern pixel.

    The unit is the standard deviation of what the same magnitudes give with random phases, so that content which
    happens to be strong at the pilots does not look like agreement.
    """
    size = TILE_PX * fineness
    grid = np.zeros((size, size), dtype=np.complex64)
    waves = watermark_pattern.carriers()[:NUM_PILOTS]
    values = received[:NUM_PILOTS] * np.conj(watermark_pattern.phases()[:NUM_PILOTS]) * weights[:NUM_PILOTS]
    grid[waves[:, 1], waves[:, 0]] = values
    spread = float(np.sqrt((np.abs(values) ** 2).sum() / 2)) + 1e-12
    surface: Float32Array = scipy.fft.ifft2(grid).real * (size * size / spread)
    return surface


def _highest(surface: Float32Array, count: int) -> list[tuple[float, Float64Array]]:
    size = len(surface)
    found = []
    for _ in range(count):
        row, column = np.unravel_index(int(surface.argmax()), surface.shape)
        z = float(surface[row, column])
        position = _sharpen(surface, int(row), int(column)) / _FINENESS
        found.append((z, position))
        rows = np.arange(row - 3, row + 4) % size
        columns = np.arange(column - 3, column + 4) % size
        surface[np.ix_(rows, columns)] = -np.inf
    return found


def _sharpen(surface: Float32Array, row: int, column: int) -> Float64Array:
    """Vertex of the parabolas through a peak, (x, y)."""
    size = len(surface)
    result = []
    for before, after, place in (
        (surface[row, column - 1], surface[row, (column + 1) % size], column),
        (surface[row - 1, column], surface[(row + 1) % size, column], row),
    ):
        bend = before + after - 2 * surface[row, column]
        offset = (before - after) / (2 * bend) if np.isfinite(bend) and bend < 0 else 0.0
        result.append(place + float(np.clip(offset, -0.5, 0.5)))
    return np.array(result)


def _ramp(position: Float64Array) -> Complex64Array:
    turns = watermark_pattern.carriers() @ position / TILE_PX
    values: Complex64Array = np.exp(2j * np.pi * turns).astype(np.complex64)
    return values
