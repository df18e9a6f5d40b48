"""portrait_anim.face.smoothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portrait_anim.face.smoothing import GeometrySmoother


@settings(deadline=None)
@given(
    speed=st.floats(-300, 300),
    growth=st.floats(-0.5, 0.5),
    fps=st.sampled_from([12.0, 25.0, 59.94]),
    at=st.floats(0, 1),
)
def test_steady_movement_passes_without_lag(speed: float, growth: float, fps: float, at: float) -> None:
    """Also at the very ends, where a plain average would pull inwards."""
    smoother = GeometrySmoother(1.0)
    times = np.arange(int(2 * fps)) / fps
    for time in times:
        smoother.add(time, np.array([100 + speed * time, 50.0]), 80 * np.exp(growth * time))
    time = at * times[-1]
    centre, scale = smoother.at(time)
    assert centre == pytest.approx([100 + speed * time, 50], abs=1e-6)
    assert scale == pytest.approx(80 * np.exp(growth * time), rel=1e-9)


def test_flicker_of_the_scale_is_removed() -> None:
    random = np.random.default_rng(0)
    smoother = GeometrySmoother(1.0)
    raw = 100 * (1 + 0.02 * random.standard_normal(100))
    for i, scale in enumerate(raw):
        smoother.add(i / 30, np.zeros(2), scale)
    smooth = np.array([smoother.at(i / 30)[1] for i in range(100)])
    assert np.abs(np.diff(smooth, 2)).mean() < 0.02 * np.abs(np.diff(raw, 2)).mean()
    assert smooth.std() < 0.4 * raw.std()


def test_one_measurement_is_enough() -> None:
    smoother = GeometrySmoother(1.0)
    with pytest.raises(ValueError, match="measurement"):
        smoother.at(0)
    smoother.add(3.0, np.array([1.0, 2.0]), 5.0)
    for time in (3.0, 3.5, 9.0):
        centre, scale = smoother.at(time)
        assert centre == pytest.approx([1, 2])
        assert scale == pytest.approx(5)


def test_a_gap_is_bridged_by_a_line() -> None:
    smoother = GeometrySmoother(1.0)
    for i in (*range(10), *range(30, 40)):
        smoother.add(i / 25, np.array([4.0 * i, 0.0]), 50.0)
    assert smoother.at(20 / 25)[0] == pytest.approx([80, 0])


def test_forgetting_changes_nothing_that_is_still_asked_for() -> None:
    random = np.random.default_rng(0)
    kept, trimmed = GeometrySmoother(0.5), GeometrySmoother(0.5)
    for i in range(200):
        value = random.standard_normal(2)
        kept.add(i / 30, value, 50)
        trimmed.add(i / 30, value, 50)
        trimmed.forget_before(i / 30)
        assert kept.at(i / 30)[0] == pytest.approx(trimmed.at(i / 30)[0], abs=1e-6)
