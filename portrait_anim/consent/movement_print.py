"""What moved in a challenge video, in a few kilobytes: enough to recognise a copy of it, not to show anybody. Pure.

Two recordings of one person in one chair look alike whatever is performed, so pictures do not tell a copy from a
second take; the timing of every turn, blink and smile does. It survives encoding, cropping, scaling, recolouring,
mirroring, trimming, and being filmed from a screen. A copy that is slowed down or warped in time is not recognised.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from scipy.signal import fftconvolve

from portrait_anim.consent.face_signals import FaceSignals
from portrait_anim.types import Float64Array

_RATE_HZ: Final = 10.0
_HEADER: Final = struct.Struct("<4sI")
_MAGIC: Final = b"PAM1"
_NUM_CHANNELS: Final = 8
# Size of a small movement in each channel, so that blinks count beside turns.
_SCALES: Final = np.array([6.0, 4.0, 4.0, 0.05, 0.06, 0.03, 0.04, 4.0])
_FLIPPED: Final = np.array([-1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0, -1.0])  # what a mirror image changes
_LARGEST: Final = 8.0
_STEP: Final = 1.0 / 4096.0
_MOST_SAMPLES: Final = 2000
_SHORTEST_OVERLAP_S: Final = 4.0
_SMALLEST_OVERLAP: Final = 0.6  # of the shorter recording


def movement_print(signals: FaceSignals) -> bytes:
    """Pack what moved.

    Args:
        signals: What was measured in a recording.

    Returns:
        Ten samples per second of head pose, mouth, lids, brows and look, 16 bytes each.
    """
    channels = np.stack(
        [
            signals.yaw_deg, signals.pitch_deg, signals.roll_deg, signals.mouth_open, signals.eye_open,
            signals.brow_height, signals.mouth_width, signals.look_right_deg + signals.yaw_deg,
        ],
        axis=1,
    )  # fmt: skip
    channels = (channels - np.median(channels, axis=0)) / _SCALES
    grid = np.arange(signals.time_s[0], signals.time_s[-1], 1.0 / _RATE_HZ)[:_MOST_SAMPLES]
    sampled = np.stack([np.interp(grid, signals.time_s, channel) for channel in channels.T], axis=1)
    packed: bytes = np.round(sampled.clip(-_LARGEST, _LARGEST) / _STEP / 2).astype("<i2").tobytes()
    return _HEADER.pack(_MAGIC, len(sampled)) + packed


def likeness(first: bytes, second: bytes) -> float:
    """Say how far two recordings move alike, at the best shift in time, mirrored or not.

    Args:
        first: A packed print.
        second: Another.

    Returns:
        Correlation over everything that moves, 0 (unrelated, or too short an overlap) to 1 (a copy).

    Raises:
        ValueError: If one is damaged.
    """
    a, b = _unpacked(first), _unpacked(second)
    if len(a) < len(b):
        a, b = b, a
    counted = _sliding(np.ones((len(a), 1)), np.ones((len(b), 1)))
    enough = counted >= max(_SHORTEST_OVERLAP_S * _RATE_HZ, _SMALLEST_OVERLAP * len(b))
    if not enough.any():
        return 0.0
    energy = _sliding(a**2, np.ones_like(b)) * _sliding(np.ones_like(a), b**2)
    scale = np.sqrt(np.maximum(energy, 1e-9))
    best = max(float((_sliding(a, side) / scale)[enough].max()) for side in (b, b * _FLIPPED))
    return float(np.clip(best, 0.0, 1.0))


def _sliding(a: Float64Array, b: Float64Array) -> Float64Array:
    """Sums of products of `a` and `b` at every shift, over all channels, `(len(a) + len(b) - 1,)`."""
    total: Float64Array = np.round(fftconvolve(a, b[::-1], axes=0).sum(axis=1), 6)
    return total


def _unpacked(packed: bytes) -> Float64Array:
    if len(packed) < _HEADER.size:
        raise ValueError(f"expected a packed print of movements, got {len(packed)} bytes; restore a backup")
    magic, count = _HEADER.unpack_from(packed)
    if magic != _MAGIC or len(packed) != _HEADER.size + 2 * _NUM_CHANNELS * count:
        raise ValueError("expected a whole print of movements, got damaged bytes; restore a backup")
    values = np.frombuffer(packed, "<i2", offset=_HEADER.size).reshape(count, _NUM_CHANNELS)
    return np.asarray(values, dtype=np.float64) * (2 * _STEP)
