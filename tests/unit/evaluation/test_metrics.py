"""Figures with known answers."""

import numpy as np
import pytest

from portrait_anim.evaluation.metrics import lag, mean_of, motion_statistics, pearson, second_difference, slope

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


def test_mean_of_known_values():
    assert mean_of([1.0, None, float("nan"), 3.0]) == 2
    assert mean_of([None]) is None
