"""Figures of motion, steadiness and picture quality, as pure functions.

Curves are `(T,)` float64 with NaN where nothing was measured; a figure that the data do not determine is `None`,
never a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from portrait_anim.types import Float32Array, Float64Array, UInt8Array

BoolArray = npt.NDArray[np.bool_]

MINIMUM_FRAMES: Final = 8  # fewer measured frames say nothing about a correlation
_CONSTANT: Final = 1e-9
_LEAST_LAG_CORRELATION: Final = 0.3
_SSIM_SIGMA: Final = 1.5
_SSIM_RADIUS: Final = 5
_SHARPNESS_SIGMA_PX: Final = 1.0


# Motion ------------------------------------------------------------------------------------------------------------
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


# Pictures ----------------------------------------------------------------------------------------------------------
def sharpness(image: UInt8Array, mask: BoolArray) -> float | None:
    """Fine contrast inside a mask: the spread of the Laplacian of Gaussian at one pixel.

    Args:
        image: `(H, W, 3)` uint8 sRGB.
        mask: `(H, W)` bool.

    Returns:
        Standard deviation [grey levels]; `None` for an empty mask.
    """
    import cv2

    if not mask.any():
        return None
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    response = cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), _SHARPNESS_SIGMA_PX), cv2.CV_32F)
    return float(response[mask].std())


def flicker(frames: Float32Array, masks: BoolArray) -> float | None:
    """Change of still background from frame to frame.

    Args:
        frames: `(T, H, W)` grey levels.
        masks: `(T, H, W)` bool, where a frame shows background.

    Returns:
        Mean absolute change per frame [grey levels] over the pixels that are background in at least half of the
        frames; `None` when there is none.
    """
    change = np.abs(np.diff(frames, axis=0))
    both = masks[1:] & masks[:-1]
    count = both.sum(axis=0)
    often = count >= max(1, len(both) / 2)
    if not often.any():
        return None
    return float((np.where(both, change, 0).sum(axis=0)[often] / count[often]).mean())


def seam_ratio(pasted: UInt8Array, portrait: UInt8Array, weight: Float32Array, keep: BoolArray) -> float | None:
    """How visible the border of a pasted face is: 1 when it is no more so than in the portrait itself.

    The gradient within the fade of the paste mask is divided by that of its neighbourhood (the inner part of the mask
    next to the fade), and the result by the same ratio of the untouched portrait.

    Args:
        pasted: Frame with the pasted face, `(H, W, 3)` uint8 sRGB.
        portrait: The frame before, `(H, W, 3)` uint8 sRGB.
        weight: Blend weight in the frame, `(H, W)` float32, [0, 1].
        keep: `(H, W)` bool, false where nothing is to be judged (the visible label).

    Returns:
        Ratio of ratios; `None` when there is no fade in the frame.
    """
    import cv2

    fade = (weight > 0.02) & (weight < 0.98) & keep
    reach = 2 * max(2, round(0.02 * max(weight.shape))) + 1
    near = cv2.dilate(fade.astype(np.uint8), np.ones((reach, reach), np.uint8)).astype(bool)
    near = near & (weight >= 0.98) & keep
    if not fade.any() or not near.any():
        return None
    ratios = []
    for image in (pasted, portrait):
        strength = _gradient(image)
        ratios.append((strength[fade].mean() + 1.0) / (strength[near].mean() + 1.0))
    return float(ratios[0] / ratios[1])


def psnr(image: UInt8Array, truth: UInt8Array, mask: BoolArray | None = None) -> float | None:
    """Peak signal-to-noise ratio.

    Args:
        image: `(H, W, 3)` uint8 sRGB.
        truth: The same.
        mask: `(H, W)` bool; `None` takes every pixel.

    Returns:
        Ratio [dB], at most 100 (equal pictures); `None` for an empty mask.
    """
    error = (image.astype(np.float64) - truth) ** 2
    chosen = error if mask is None else error[mask]
    if not chosen.size:
        return None
    return float(min(100.0, -10 * np.log10(max(chosen.mean() / 255.0**2, 1e-10))))


def ssim(image: UInt8Array, truth: UInt8Array) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window of 1.5 px within 11 x 11, mean over channels.

    Constants are the paper's, K1 = 0.01 and K2 = 0.03; the border of 5 px, where the window is cut, is left out.

    Args:
        image: `(H, W, 3)` uint8 sRGB, at least 12 px.
        truth: The same.

    Returns:
        Similarity, 1 for equal pictures.

    Raises:
        ValueError: If shapes differ or are too small.
    """
    import cv2

    side = 2 * _SSIM_RADIUS + 1
    if image.shape != truth.shape or min(image.shape[:2]) <= side:
        raise ValueError(f"expected two pictures of one size above {side} px, got {image.shape} and {truth.shape}")

    def blur(values: Float64Array) -> Float64Array:
        blurred = cv2.GaussianBlur(values, (side, side), _SSIM_SIGMA, borderType=cv2.BORDER_REFLECT)
        return np.asarray(blurred, dtype=np.float64)

    x, y = image.astype(np.float64), truth.astype(np.float64)
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    score = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    score /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    inner = slice(_SSIM_RADIUS, -_SSIM_RADIUS)
    return float(score[inner, inner].mean())


def end_point_error(flow: Float32Array, truth: Float32Array, mask: BoolArray) -> float | None:
    """Mean distance of two backward maps.

    Args:
        flow: `(H, W, 2)` source position of every pixel [px].
        truth: The same.
        mask: `(H, W)` bool, where the truth holds.

    Returns:
        Mean distance [px]; `None` for an empty mask.
    """
    if not mask.any():
        return None
    return float(np.linalg.norm(flow[mask].astype(np.float64) - truth[mask], axis=-1).mean())


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


def _gradient(image: UInt8Array) -> Float32Array:
    """Size of the grey gradient `(H, W)` [grey levels per px]."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    across, down = cv2.Scharr(grey, cv2.CV_32F, 1, 0) / 32, cv2.Scharr(grey, cv2.CV_32F, 0, 1) / 32
    return np.asarray(np.hypot(across, down), dtype=np.float32)
