"""Figures of pictures with known answers."""

import numpy as np
import pytest

from portrait_anim.evaluation.picture_metrics import end_point_error, flicker, psnr, seam_ratio, sharpness, ssim


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
