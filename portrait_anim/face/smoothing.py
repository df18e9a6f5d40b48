"""Steady crop geometry: a zero-lag smoother for values that come at uneven times."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from portrait_anim.types import Float64Array

CENTRE_SIGMA_S = 0.08
SCALE_SIGMA_S = 0.30
_FLOOR = 1e-9


class GeometrySmoother:
    """Keeps the recent (time, centre, scale) of one face and evaluates them smoothly anywhere in between.

    Each value is a local straight line, fitted with Gaussian weights around the time asked for: without lag for
    steady movement, and unbiased at the ends of the clip. The scale (fitted as a logarithm) is smoothed much more
    than the centre, because expressions and network noise make the eye distance flicker and a crop that
    breathes is more visible than one a pixel off.

    Args:
        reach_s: Values farther away in time than this do not count [s].
    """

    def __init__(self, reach_s: float) -> None:
        self._reach_s = reach_s
        self._times: deque[float] = deque()
        self._values: deque[tuple[float, float, float]] = deque()

    def add(self, time_s: float, centre: Float64Array, scale: float) -> None:
        """Take in the measurement of one frame.

        Args:
            time_s: Time, later than all before [s].
            centre: Eye midpoint, `(2,)` [px].
            scale: Eye distance [px].
        """
        self._times.append(time_s)
        self._values.append((float(centre[0]), float(centre[1]), math.log(max(scale, _FLOOR))))

    def forget_before(self, time_s: float) -> None:
        """Drop what no evaluation at or after a time can need.

        Args:
            time_s: Earliest time that will still be asked for [s].
        """
        while len(self._times) > 2 and self._times[0] < time_s - self._reach_s:
            self._times.popleft()
            self._values.popleft()

    def at(self, time_s: float) -> tuple[Float64Array, float]:
        """Smoothed geometry at a time.

        Args:
            time_s: Any time near those added [s].

        Returns:
            Centre `(2,)` [px] and scale [px].

        Raises:
            ValueError: If nothing was added.
        """
        if not self._times:
            raise ValueError("expected at least one measurement before asking for a smoothed one, got none")
        offsets = np.array(self._times) - time_s
        values = np.array(self._values)
        near = np.abs(offsets) <= self._reach_s
        if not near.any():
            near = np.abs(offsets) == np.abs(offsets).min()
        centre = _local_line(offsets[near], values[near, :2], CENTRE_SIGMA_S)
        log_scale = _local_line(offsets[near], values[near, 2:], SCALE_SIGMA_S)
        return centre, float(math.exp(log_scale[0]))


def _local_line(offsets: Float64Array, values: Float64Array, sigma_s: float) -> Float64Array:
    """Weighted straight line through `(N, C)` values, evaluated at offset 0.

    The kernel widens to the nearest measurement, so that a gap longer than it is bridged by a line.
    """
    nearest = float(np.abs(offsets).min())
    weights = np.exp(-0.5 * (offsets / max(sigma_s, nearest)) ** 2)
    weights /= weights.sum()
    mean_offset = float(weights @ offsets)
    mean_value = weights @ values
    spread = float(weights @ (offsets - mean_offset) ** 2)
    if spread < 1e-8:
        return np.asarray(mean_value, dtype=np.float64)
    slope = (weights * (offsets - mean_offset)) @ (values - mean_value) / spread
    return np.asarray(mean_value - slope * mean_offset, dtype=np.float64)
