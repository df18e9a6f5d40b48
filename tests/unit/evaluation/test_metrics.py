"""Figures with known answers."""

import numpy as np
import pytest

from portrait_anim.evaluation.metrics import (
    end_point_error,
    flicker,
    lag,
    mean_of,
    motion_statistics,
    pearson,
    psnr,
    seam_ratio,
    second_difference,
    sharpness,
    slope,
    ssim,
)

TIME = np.arange(100) / 25
SINE = np.sin(2 * np.pi * 0.7 * TIME)


def test_doubled_amplitude_is_slope_two_and_perfect_correlation():
    assert slope(SINE, 2 * SINE + 5) == pytest.approx(2)
    assert pearson(SINE, 2 * SINE + 5) == pytest.approx(1)
    assert pearson(SINE, -SINE) == pytest.approx(-1)


@pytest.mark.parametrize("delay", [-4, -1.5, 0, 3, 5.25])
def test_phase_shift_is_the_lag(delay):
    later = np.sin(2 * np.pi * 0.7 * (TIME - delay / 25))
    assert lag(SINE, later) == pytest.approx(delay, abs=0.1)


def test_lag_of_unrelated_or_too_late_curves_is_unknown():
    assert lag(SINE, np.random.default_rng(0).normal(size=100)) is None
    assert lag(SINE[:60], np.roll(SINE, 9)[:60], reach=3) is None


def test_missing_frames_are_left_out():
    driver, output = SINE.copy(), 0.5 * SINE
    driver[10:20], output[40:50] = np.nan, np.nan
    assert slope(driver, output) == pytest.approx(0.5)
    assert pearson(driver, output) == pytest.approx(1)


@pytest.mark.parametrize("figure", [pearson, slope, lag])
def test_constant_or_hardly_measured_curves_give_no_number(figure):
    assert figure(np.ones(100), SINE) is None
    assert figure(SINE, np.ones(100)) is None
    assert figure(np.full(100, np.nan), SINE) is None
    assert figure(SINE[:5], SINE[:5]) is None


def test_curves_of_different_length_are_refused():
    with pytest.raises(ValueError, match="one length"):
        pearson(SINE, SINE[:50])


def test_second_difference_of_constant_acceleration():
    points = np.zeros((10, 3, 2))
    points[:, :, 0] = 0.5 * 4 * np.arange(10)[:, None] ** 2  # 4 px per frame^2
    assert second_difference(points, np.full(10, 8.0)) == pytest.approx(0.5)
    points[4] = np.nan
    assert second_difference(points, np.full(10, 8.0)) == pytest.approx(0.5)
    assert second_difference(points[:2], np.full(2, 8.0)) is None


def test_motion_statistics_scale_with_the_motion_and_tell_even_from_sudden():
    slow, fast = motion_statistics(SINE, 25), motion_statistics(2 * SINE, 25)
    assert slow
    assert fast
    assert fast.speed_std == pytest.approx(2 * slow.speed_std)
    assert fast.acceleration_p95 == pytest.approx(2 * slow.acceleration_p95)
    assert slow.speed_std == pytest.approx(2 * np.pi * 0.7 / np.sqrt(2), rel=0.03)
    assert slow.speed_kurtosis == pytest.approx(1.5, abs=0.1)  # of a sine
    blinks = np.zeros(100)
    blinks[[30, 70]] = 1
    sudden = motion_statistics(blinks, 25)
    assert sudden
    assert sudden.speed_kurtosis > 10
    assert motion_statistics(np.ones(100), 25) is None


def _pictures() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:48, :64]
    clean = np.stack([128 + 100 * np.sin(x / 5), 128 + 100 * np.cos(y / 7), (x * 3 + y * 2) % 256], -1)
    clean = np.clip(clean, 0, 255).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 20, clean.shape)
    return clean, np.clip(clean.astype(float) + noise, 0, 255).astype(np.uint8)


def test_ssim_and_psnr_equal_the_reference_implementation():
    # scikit-image 0.25: structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    clean, noisy = _pictures()
    assert ssim(clean, noisy) == pytest.approx(0.4709833694797995, abs=1e-9)
    assert psnr(noisy, clean) == pytest.approx(22.270493775084542, abs=1e-9)
    assert ssim(clean, clean) == pytest.approx(1)
    assert psnr(clean, clean) == 100
    assert psnr(clean, noisy, np.zeros((48, 64), bool)) is None
    with pytest.raises(ValueError, match="one size"):
        ssim(clean, noisy[:40])


def test_blur_lowers_sharpness():
    import cv2

    _, detailed = _pictures()
    mask = np.ones((48, 64), bool)
    sharp, soft = sharpness(detailed, mask), sharpness(cv2.GaussianBlur(detailed, (0, 0), 2), mask)
    assert sharp is not None
    assert soft is not None
    assert soft < 0.5 * sharp
    assert sharpness(detailed, ~mask) is None


def test_flicker_counts_only_the_background():
    frames = np.zeros((5, 8, 8), np.float32)
    frames[::2, :, :4] = 3.0  # background alternates by 3 grey levels
    frames[:, :, 4:] = np.arange(5)[:, None, None] * 50  # the person moves
    masks = np.zeros(frames.shape, bool)
    masks[:, :, :4] = True
    assert flicker(frames, masks) == pytest.approx(3)
    assert flicker(frames, np.zeros_like(masks)) is None


def test_end_point_error_is_a_distance():
    truth = np.zeros((4, 4, 2), np.float32)
    mask = np.zeros((4, 4), bool)
    mask[:2] = True
    assert end_point_error(truth + np.float32([3, 4]), truth, mask) == pytest.approx(5)
    assert end_point_error(truth, truth, ~np.ones((4, 4), bool)) is None


def test_a_hard_edge_in_the_fade_is_a_seam_and_no_paste_is_none():
    rng = np.random.default_rng(1)
    portrait = rng.integers(100, 140, (96, 96, 3), dtype=np.uint8)
    weight = np.zeros((96, 96), np.float32)
    weight[20:76, 20:76] = 0.5
    weight[28:68, 28:68] = 1.0
    everywhere = np.ones((96, 96), bool)
    assert seam_ratio(portrait, portrait, weight, everywhere) == pytest.approx(1)
    pasted = portrait.copy()
    pasted[24:72, 24:72] += 80
    ratio = seam_ratio(pasted, portrait, weight, everywhere)
    assert ratio is not None
    assert ratio > 1.4
    assert seam_ratio(pasted, portrait, np.zeros_like(weight), everywhere) is None


def test_mean_of_known_values():
    assert mean_of([1.0, None, float("nan"), 3.0]) == 2
    assert mean_of([None]) is None
