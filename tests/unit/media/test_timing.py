from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait_anim.media.reader import resample
from portrait_anim.types import Frame


def frames_at(times):
    for index, time_s in enumerate(times):
        yield Frame(image=np.full((1, 1, 3), index, np.uint8), time_s=time_s, index=index)


def shown(times, fps):
    return [int(frame.image[0, 0, 0]) for frame in resample(frames_at(times), Fraction(fps))]


def test_same_rate_changes_nothing():
    fps = Fraction(30000, 1001)
    assert shown([float(k / fps) for k in range(100)], fps) == list(range(100))


def test_timestamps_in_milliseconds_neither_double_nor_drop():
    assert shown([round(k * 1000 / 30) / 1000 for k in range(200)], 30) == list(range(200))


def test_half_and_double():
    assert shown([k / 50 for k in range(8)], 25) == [0, 2, 4, 6]
    assert shown([k / 25 for k in range(4)], 50) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_pause_holds_the_earlier_frame():
    assert shown([0, 0.1, 0.5, 0.6], 10) == [0, 1, 1, 1, 1, 2, 3]


def test_late_beginning_is_filled_with_the_first_frame():
    assert shown([0.21, 0.31], 10)[:3] == [0, 0, 0]


def test_one_frame_and_none():
    assert shown([0.0], 25) == [0]
    assert shown([], 25) == []


def test_output_is_regular_and_streams():
    taken = []

    def source():
        for frame in frames_at([k / 30 for k in range(1000)]):
            taken.append(frame.index)
            yield frame

    output = resample(source(), Fraction(25))
    first = [next(output) for _ in range(5)]
    assert [frame.index for frame in first] == [0, 1, 2, 3, 4]
    assert [frame.time_s for frame in first] == pytest.approx([k / 25 for k in range(5)])
    assert len(taken) < 10


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=40),
    st.fractions(min_value=1, max_value=120, max_denominator=1001),
)
def test_every_output_shows_the_newest_frame_that_is_due(gaps_ms, fps):
    times = [sum(gaps_ms[:k]) / 1000 for k in range(len(gaps_ms) + 1)]
    slack = 1 / float(fps) / 4
    output = list(resample(frames_at(times), fps))
    for k, frame in enumerate(output):
        due = [index for index, time_s in enumerate(times) if time_s <= float(k / fps) + slack]
        assert int(frame.image[0, 0, 0]) == max(due)
    length = times[-1] + min(gaps_ms) / 1000
    assert len(output) / float(fps) == pytest.approx(length, abs=1.25 / float(fps))


def test_rate_must_be_positive():
    with pytest.raises(ValueError, match="above 0"):
        list(resample([], Fraction(0)))
