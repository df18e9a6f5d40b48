"""portrait_anim.face.paste."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portrait_anim.face.crop import crop, square_transform
from portrait_anim.face.paste import paste_back, soft_mask
from portrait_anim.types import UInt8Array


def noise(height: int, width: int, seed: int = 0) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 120),
    width=st.integers(1, 160),
    x=st.floats(-80, 240),
    y=st.floats(-80, 200),
    side=st.floats(3, 300),
    size=st.sampled_from([16, 48, 64]),
    seed=st.integers(0, 99),
    known=st.booleans(),
)
def test_crop_then_paste_back_is_identity(
    height: int, width: int, x: float, y: float, side: float, size: int, seed: int, known: bool
) -> None:
    """Tolerance 0, whatever the resolution and wherever the crop lies."""
    frame = noise(height, width, seed)
    transform = square_transform(np.array([x, y]), side, size)
    cut = crop(frame, transform)
    result = paste_back(cut, frame, transform, soft_mask(size), reference_crop=cut.copy() if known else None)
    assert np.array_equal(result, frame)


@settings(deadline=None, max_examples=60)
@given(x=st.floats(-40, 200), y=st.floats(-40, 140), side=st.floats(10, 200), size=st.sampled_from([16, 64]))
def test_pixels_outside_the_crop_keep_their_bits(x: float, y: float, side: float, size: int) -> None:
    frame = noise(100, 160)
    transform = square_transform(np.array([x, y]), side, size)
    result = paste_back(np.zeros((size, size, 3), np.uint8), frame, transform, soft_mask(size))
    columns, rows = np.meshgrid(np.arange(160) + 0.5, np.arange(100) + 0.5)
    outside = (np.abs(columns - x) > side / 2 + 1) | (np.abs(rows - y) > side / 2 + 1)
    assert np.array_equal(result[outside], frame[outside])


def test_a_changed_face_replaces_the_frame_inside_the_mask() -> None:
    frame = noise(300, 400)
    transform = square_transform(np.array([200.0, 150.0]), 200, 100)
    result = paste_back(np.full((100, 100, 3), 90, np.uint8), frame, transform, soft_mask(100))
    assert np.abs(result[100:200, 150:250].astype(int) - 90).max() <= 3
    assert not np.array_equal(frame, result)


def test_a_small_change_keeps_the_fine_detail_of_the_frame() -> None:
    frame = noise(400, 400) // 8 + 100
    transform = square_transform(np.array([200.0, 200.0]), 400, 64)
    cut = crop(frame, transform)
    result = paste_back(cut + np.uint8(2), frame, transform, soft_mask(64), reference_crop=cut)
    assert np.array_equal(result[150:250, 150:250], frame[150:250, 150:250] + 2)


def test_no_seam_at_the_border() -> None:
    frame = np.full((200, 200, 3), 100, np.uint8)
    transform = square_transform(np.array([100.0, 100.0]), 160, 160)
    result = paste_back(np.full((160, 160, 3), 200, np.uint8), frame, transform, soft_mask(160))
    assert np.abs(np.diff(result[100, :, 0].astype(int))).max() <= 9


def test_the_frame_given_is_not_modified() -> None:
    frame = noise(80, 80)
    before = frame.copy()
    transform = square_transform(np.array([40.0, 40.0]), 50, 32)
    paste_back(np.zeros((32, 32, 3), np.uint8), frame, transform, soft_mask(32))
    assert np.array_equal(frame, before)


@settings(deadline=None, max_examples=60)
@given(size=st.integers(2, 300), feather=st.floats(0.01, 0.5))
def test_mask_fades_to_zero_at_the_border(size: int, feather: float) -> None:
    mask = soft_mask(size, feather=feather)
    assert mask.shape == (size, size, 1)
    assert mask.dtype == np.float32
    assert mask[[0, -1]].max() == mask[:, [0, -1]].max() == 0
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert np.array_equal(mask, mask[::-1, ::-1])


def test_wrong_sizes_are_refused() -> None:
    frame, transform = noise(80, 80), square_transform(np.array([40.0, 40.0]), 50, 32)
    with pytest.raises(ValueError, match="mask"):
        paste_back(np.zeros((32, 32, 3), np.uint8), frame, transform, soft_mask(31))
    with pytest.raises(ValueError, match="crop"):
        paste_back(np.zeros((31, 31, 3), np.uint8), frame, transform, soft_mask(32))
    with pytest.raises(ValueError, match="feather"):
        soft_mask(32, feather=0.0)
