"""Crops of the published script: its arithmetic, its resampling, its smoothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait_anim.pipelines.xportrait2_crops import (
    cut,
    grow_box,
    motion_boxes,
    place_box,
    portrait_box,
    portrait_crop,
    shrink,
    smooth_centres,
)

SIZE = (120, 160)


@pytest.fixture
def arithmetic(parity):
    return parity.table("golden_context_ddim_crop.json")["crop_arithmetic"]


def test_boxes_are_the_published_ones(arithmetic):
    for case in arithmetic["scale_bb"]:
        assert list(grow_box(tuple(case["bbox"]), tuple(case["size"]), case["scale"])) == case["out"]
    for case in arithmetic["get_bbox"]:
        square, outside = portrait_box(tuple(case["bbox"]), tuple(case["frame"]))
        assert (list(square), outside) == (case["out"], case["oob"])
    for case in arithmetic["get_bbox_from_center"]:
        assert list(place_box(case["center_xy"], tuple(case["wh"]), tuple(case["size"]))) == case["out"]


def test_portrait_crops_and_smoothing_are_the_published_ones(parity):
    golden = parity.arrays("golden_scheduler_preproc.npz")
    for name in ("refcrop", "refcrop2"):
        crop = portrait_crop(golden[f"{name}_frame_u8"], tuple(golden[f"{name}_bbox"].tolist()))
        assert np.array_equal(crop, golden[f"{name}_out_u8"])
    for suffix in ("", "_short"):
        np.testing.assert_allclose(
            smooth_centres(golden[f"smooth_in{suffix}"]), golden[f"smooth_out{suffix}"], rtol=1e-6
        )


@given(
    st.integers(0, 150), st.integers(0, 110), st.integers(2, 60), st.integers(2, 60)
)  # fmt: skip
def test_motion_boxes_have_one_even_size_and_stay_inside(left, top, width, height):
    box = (left, top, min(left + width, 159), min(top + height, 119))
    if box[2] - box[0] < 2 or box[3] - box[1] < 2:
        return
    boxes = motion_boxes([box, (0, 0, 20, 20), box], SIZE)
    sides = {(round(b[2] - b[0], 3), round(b[3] - b[1], 3)) for b in boxes}
    assert len(sides) == 1
    assert all(side % 2 == 0 for side in sides.pop())
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= 159 and b[3] <= 119 for b in boxes)


def test_a_portrait_at_the_corner_is_padded_with_black():
    image = np.full((100, 100, 3), 200, np.uint8)
    crop = portrait_crop(image, (60, 60, 100, 100), side_px=80)
    assert crop.shape == (80, 80, 3)
    assert crop[:40, :40].mean() > 150
    assert crop[-15:, -15:].max() == 0


def test_shrinking_keeps_flat_areas_and_averages_fine_patterns():
    flat = np.full((64, 48, 3), 93, np.uint8)
    assert np.unique(shrink(flat, 16)).tolist() == [93]
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert abs(shrink(stripes, 8)[2:-2, 2:-2].mean() - 127.5) < 12


def test_cutting_truncates_to_whole_pixels():
    image = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    assert np.array_equal(cut(image, (1.9, 2.9, 5.9, 7.1)), image[2:7, 1:5])
