"""Context windows: the published plans, cover, averaging."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from portrait_anim.pipelines.context import WindowPlan, average_windows


def test_windows_are_the_published_ones(parity):
    entries = [e for e in parity.table("golden_context_ddim_crop.json")["context_windows"] if e["stride"] == 1]
    assert len(entries) == 18
    for entry in entries:
        plan = WindowPlan(size=entry["context_size"], overlap=entry["overlap"])
        assert plan.windows(entry["num_frames"], entry["offset"]) == entry["windows"]


@given(st.integers(1, 90), st.integers(1, 32), st.integers(0, 31), st.integers(0, 31), st.booleans())
def test_every_frame_is_in_a_window_and_windows_are_equally_long(num_frames, size, overlap, offset, closed):
    plan = WindowPlan(size=size, overlap=overlap % size, closed=closed)
    windows = plan.windows(num_frames, offset)
    assert {frame for window in windows for frame in window} == set(range(num_frames))
    assert {len(window) for window in windows} == {min(size, num_frames)}
    assert all(len(set(window)) == len(window) for window in windows)


@given(st.integers(25, 90), st.integers(0, 23))
def test_open_windows_never_join_the_end_to_the_start(num_frames, offset):
    windows = WindowPlan(closed=False).windows(num_frames, offset)
    assert all(window == list(range(window[0], window[0] + 24)) for window in windows)
    assert all(later[0] <= earlier[-1] - 3 for earlier, later in itertools.pairwise(windows))


def test_predictions_are_averaged_per_frame():
    windows = [[0, 1, 2], [2, 3, 0]]
    predictions = [torch.full((4, 3, 1, 1), 1.0), torch.full((4, 3, 1, 1), 3.0)]
    merged = average_windows(predictions, windows, 4)
    assert merged[0, :, 0, 0].tolist() == [2.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (33, 4), (24, 24), (24, -1)])
def test_impossible_plans_are_refused(size, overlap):
    with pytest.raises(ValueError, match="expected"):
        WindowPlan(size=size, overlap=overlap)
