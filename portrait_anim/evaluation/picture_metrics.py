"""Figures of pictures as pure functions: sharpness, flicker, seams, and distance to a known truth.

A figure that the data do not determine is `None`, never a number.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from portrait_anim.types import Float32Array, Float64Array, UInt8Array

BoolArray: TypeAlias = npt.NDArray[np.bool_]

_SSIM_SIGMA: Final = 1.5
_SSIM_RADIUS: Final = 5
_SHARPNESS_SIGMA_PX: Final = 1.0


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


def _gradient(image: UInt8Array) -> Float32Array:
    """Size of the grey gradient `(H, W)` [grey levels per px]."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    across, down = cv2.Scharr(grey, cv2.CV_32F, 1, 0) / 32, cv2.Scharr(grey, cv2.CV_32F, 0, 1) / 32
    return np.asarray(np.hypot(across, down), dtype=np.float32)
