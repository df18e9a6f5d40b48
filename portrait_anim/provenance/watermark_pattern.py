"""The pattern of the invisible watermark: a tile of a few hundred waves that repeats over the picture.

Every wave (*carrier*) has a whole number of periods per tile, so a tile joins itself without a seam, and any part of
the picture of a tile's size holds all of the message. Which waves of the lattice are used, and their phases, come from
a public constant: the reader needs no secret. The set itself shows scale, rotation and mirroring; 80 carriers with
known phases (*pilots*) show the position; 216 carriers hold two coded bits each.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from portrait_anim.provenance import watermark_code
from portrait_anim.types import Float32Array

PUBLIC_KEY: Final = b"portrait_anim invisible watermark, version 1"

TILE_PX: Final = 192  # period of the pattern in its own pixels
NUM_PILOTS: Final = 80
NUM_DATA: Final = watermark_code.CODED_BITS // 2
NUM_CARRIERS: Final = NUM_PILOTS + NUM_DATA
_INNER_RADIUS: Final = 6.0  # waves per tile
OUTER_RADIUS: Final = 18.0
_TILT: Final = 1.2  # long waves are stronger by this power of their length: encoders keep them longer
_PATTERN_SIDE_PX: Final = 512  # shorter side at which the pattern has its own size
_LARGEST_PEAK: Final = 2.3  # of the tile, in standard deviations

Int64Array = npt.NDArray[np.int64]
Complex64Array = npt.NDArray[np.complex64]


def _random_bytes(purpose: str, count: int) -> bytes:
    return hashlib.shake_256(PUBLIC_KEY + b": " + purpose.encode()).digest(count)


@functools.lru_cache(maxsize=1)
def lattice() -> Int64Array:
    """Give all waves that may be used: one of each pair (k, -k) within a ring.

    Returns:
        `(M, 2)` int64 waves per tile in x and y; the first `NUM_PILOTS` are the pilots, then come the data
        carriers, then the unused ones.
    """
    reach = int(OUTER_RADIUS)
    waves = [
        (kx, ky)
        for ky in range(reach + 1)
        for kx in range(-reach, reach + 1)
        if (ky > 0 or kx > 0) and _INNER_RADIUS <= np.hypot(kx, ky) <= OUTER_RADIUS
    ]
    rank = np.frombuffer(_random_bytes("carriers", 8 * len(waves)), dtype="<u8")
    return np.array(waves, dtype=np.int64)[np.argsort(rank, kind="stable")]


def carriers() -> Int64Array:
    """Give the waves in use, `(NUM_CARRIERS, 2)` int64, pilots first."""
    return lattice()[:NUM_CARRIERS]


@functools.lru_cache(maxsize=1)
def phases() -> Complex64Array:
    """Give the public phase of each carrier, `(NUM_CARRIERS,)` complex64 of unit length."""
    turns = np.frombuffer(_random_bytes("phases", 4 * NUM_CARRIERS), dtype="<u4") / 2.0**32
    values: Complex64Array = np.exp(2j * np.pi * turns).astype(np.complex64)
    return values


@functools.lru_cache(maxsize=1)
def _interleaver() -> Int64Array:
    """Order in which coded bits go to the real and imaginary parts of the data carriers."""
    rank = np.frombuffer(_random_bytes("interleaver", 8 * watermark_code.CODED_BITS), dtype="<u8")
    return np.argsort(rank, kind="stable")


def symbols(render_id: int) -> Complex64Array:
    """Give the complex amplitude of each carrier for a message, without its public phase.

    Args:
        render_id: 48-bit number.

    Returns:
        `(NUM_CARRIERS,)` complex64 of unit length.

    Raises:
        ValueError: If the number does not fit.
    """
    signs = 1.0 - 2.0 * watermark_code.encode(render_id)[_interleaver()].astype(np.float32)
    data = (signs[0::2] + 1j * signs[1::2]) / np.sqrt(2)
    values: Complex64Array = np.concatenate([np.ones(NUM_PILOTS), data]).astype(np.complex64)
    return values


def soft_bits(received: Complex64Array, weights: Float32Array) -> Float32Array:
    """Order what was received on the data carriers as the decoder wants it.

    Args:
        received: `(NUM_DATA,)` complex, public phase removed.
        weights: `(NUM_DATA,)` amplitude of the signal over power of the noise.

    Returns:
        `(432,)` float32 log likelihood ratios up to a factor.
    """
    weighted = received * weights
    soft = np.empty(watermark_code.CODED_BITS, dtype=np.float32)
    soft[_interleaver()] = np.stack([weighted.real, weighted.imag], axis=1).reshape(-1)
    return soft


def tile(render_id: int, period_px: int) -> Float32Array:
    """Draw one tile.

    Args:
        render_id: 48-bit number.
        period_px: Side of the tile [px]; `TILE_PX` is its own size.

    Returns:
        `(period_px, period_px)` float32, mean 0, standard deviation about 1.
    """
    waves = carriers()
    amplitudes = symbols(render_id) * phases() * np.hypot(waves[:, 0], waves[:, 1]) ** -_TILT
    turn = 2j * np.pi * np.arange(period_px) / period_px
    along_y = np.exp(turn[:, None] * waves[:, 1]).astype(np.complex64)  # (P, K)
    along_x = np.exp(turn[:, None] * waves[:, 0]).astype(np.complex64)
    drawn: Float32Array = ((along_y * amplitudes) @ along_x.T).real
    drawn /= drawn.std()
    return np.clip(drawn, -_LARGEST_PEAK, _LARGEST_PEAK)


def period_for(size: tuple[int, int]) -> int:
    """Choose the period of the pattern for a picture: larger pictures get a larger pattern, as they get reduced more.

    Args:
        size: Width and height [px].

    Returns:
        Period [px], at least `TILE_PX`.
    """
    return round(TILE_PX * max(1.0, min(size) / _PATTERN_SIDE_PX))
