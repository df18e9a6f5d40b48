"""Figures of motion over time as pure functions.

Curves are `(T,)` float64 with NaN where nothing was measured; a figure that the data do not determine is `None`,
never a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from portrait_anim.types import Float64Array

MINIMUM_FRAMES: Final = 8  # fewer measured frames say nothing about a correlation
_CONSTANT: Final = 1e-9
_LEAST_LAG_CORRELATION: Final = 0.3


def pearson(driver: Float64Array, output: Float64Array) -> float | None:
    """Correlation over time of the frames in which both were measured.

    Args:
        driver: `(T,)`.
        output: `(T,)`.

    Returns:
        Pearson's r, [-1, 1]; `None` when fewer than `MINIMUM_FRAMES` are left or one of the curves is constant.
    """
    x, y = _centred_pairs(driver, output)
    if x is None or y is None or x.std() < _CONSTANT or y.std() < _CONSTANT:
        return None
    return float(np.clip((x * y).mean() / (x.std() * y.std()), -1, 1))


def slope(driver: Float64Array, output: Float64Array) -> float | None:
    """Change of the output per change of the driver, by least squares; 1 is the driver's own amplitude.

    Args:
        driver: `(T,)`.
        output: `(T,)`.

    Returns:
        Slope of the line through output over driver; `None` as for `pearson`.
    """
    x, y = _centred_pairs(driver, output)
    if x is None or y is None or x.std() < _CONSTANT or y.std() < _CONSTANT:
        return None
    return float((x * y).mean() / (x * x).mean())


def lag(driver: Float64Array, output: Float64Array, *, reach: int = 8) -> float | None:
    """By how many frames the output comes after the driver.

    Args:
        driver: `(T,)`.
        output: `(T,)`.
        reach: Largest shift that is tried [frames].

    Returns:
        Shift of the highest correlation, refined by a parabola [frames]; `None` when no shift correlates by 0.3 or
        the highest lies at the end of the reach.
    """
    shifts = range(-reach, reach + 1)
    tried = [pearson(*_shifted(driver, output, k)) for k in shifts]
    scores = np.array([-np.inf if r is None else r for r in tried])
    best = int(scores.argmax())
    if scores[best] < _LEAST_LAG_CORRELATION or best in (0, len(scores) - 1):
        return None
    before, here, after = scores[best - 1 : best + 2]
    if not np.isfinite([before, after]).all():
        return float(shifts[best])
    bend = before - 2 * here + after
    return float(shifts[best] + (0.5 * (before - after) / bend if bend < -1e-12 else 0.0))


def second_difference(points: Float64Array, scale: Float64Array) -> float | None:
    """Mean size of the landmarks' second difference over time: how restless a face is.

    Args:
        points: `(T, L, 2)` positions [px]; NaN where there is no face.
        scale: `(T,)` size of the face [px]; its median counts.

    Returns:
        Mean length over landmarks and frames [face sizes per frame^2]; `None` without three successive frames.
    """
    change = np.linalg.norm(np.diff(points, n=2, axis=0), axis=-1).mean(axis=-1)
    change = change[np.isfinite(change)]
    if not len(change):
        return None
    return float(change.mean() / np.nanmedian(scale))


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionStatistics:
    """How a curve moves.

    Attributes:
        speed_std: Standard deviation of the change per second.
        speed_p95: 95th percentile of its size.
        acceleration_std: Standard deviation of the change of speed per second.
        acceleration_p95: 95th percentile of its size.
        speed_kurtosis: Fourth standardised moment of the speed: 3 for even noise, higher for rest and sudden moves.
    """

    speed_std: float
    speed_p95: float
    acceleration_std: float
    acceleration_p95: float
    speed_kurtosis: float


def motion_statistics(curve: Float64Array, fps: float) -> MotionStatistics | None:
    """Describe speed and acceleration of a curve.

    Args:
        curve: `(T,)`.
        fps: Frame rate [1/s].

    Returns:
        Statistics; `None` when the curve is constant or hardly measured.
    """
    speed = np.diff(curve) * fps
    acceleration = np.diff(curve, n=2) * fps**2
    speed, acceleration = speed[np.isfinite(speed)], acceleration[np.isfinite(acceleration)]
    if min(len(speed), len(acceleration)) < MINIMUM_FRAMES or speed.std() < _CONSTANT:
        return None
    return MotionStatistics(
        speed_std=float(speed.std()),
        speed_p95=float(np.percentile(np.abs(speed), 95)),
        acceleration_std=float(acceleration.std()),
        acceleration_p95=float(np.percentile(np.abs(acceleration), 95)),
        speed_kurtosis=float((((speed - speed.mean()) / speed.std()) ** 4).mean()),
    )


def mean_of(values: Any) -> float | None:
    """Mean of the values that are known; `None` when none is.

    Args:
        values: Numbers, `None` and NaN.
    """
    known = [float(v) for v in values if v is not None and np.isfinite(v)]
    return float(np.mean(known)) if known else None


def _centred_pairs(driver: Float64Array, output: Float64Array) -> tuple[Float64Array | None, Float64Array | None]:
    """Values of the frames in which both are known, without their means; `None` when there are too few."""
    if driver.shape != output.shape or driver.ndim != 1:
        raise ValueError(f"expected two curves of one length, got {driver.shape} and {output.shape}")
    known = np.isfinite(driver) & np.isfinite(output)
    if known.sum() < MINIMUM_FRAMES:
        return None, None
    return driver[known] - driver[known].mean(), output[known] - output[known].mean()


def _shifted(driver: Float64Array, output: Float64Array, frames: int) -> tuple[Float64Array, Float64Array]:
    """Overlap of the curves when the output is taken to come `frames` later."""
    count = len(driver)
    if abs(frames) >= count:
        return driver[:0], output[:0]
    if frames >= 0:
        return driver[: count - frames], output[frames:]
    return driver[-frames:], output[: count + frames]
