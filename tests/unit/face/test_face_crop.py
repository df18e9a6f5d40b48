"""portrait_anim.face.crop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portrait_anim.face.crop import (
    covered_region,
    crop,
    eye_distance,
    eye_midpoint,
    motion_transform,
    portrait_transform,
    portrait_transform_from,
    square_transform,
)
from portrait_anim.face.landmarks import MeasuredFace
from portrait_anim.types import FaceObservation


def make_face(*, depth_step: float = 0.0) -> MeasuredFace:
    landmarks = np.zeros((478, 2))
    landmarks[[33, 133, 362, 263]] = [[100, 50], [120, 50], [140, 50], [160, 50]]
    depth = np.zeros(478)
    depth[263] = depth_step
    return MeasuredFace(
        box=np.array([90.0, 30, 170, 130]), landmarks=landmarks, score=1.0, depth=depth, image_size=(400, 300)
    )


def test_eye_geometry_is_measured_in_three_dimensions() -> None:
    face = make_face(depth_step=0.2)  # 80 px of depth at 400 px width
    assert eye_midpoint(face) == pytest.approx([130, 50])
    assert eye_distance(face) == pytest.approx(100.0)
    plain = FaceObservation(box=face.box, landmarks=face.landmarks, score=1.0, depth=face.depth)
    assert eye_distance(plain) == pytest.approx(60.0)


def test_transforms_follow_the_crop_convention() -> None:
    face = make_face()
    for transform, side, drop in (
        (portrait_transform(face, 256), 2.466, 0.062),
        (motion_transform(face, 128), 1.9, 0.35),
    ):
        size = transform.size_px
        centre = transform.matrix @ np.array([130, 50 + drop * 60, 1])
        assert centre == pytest.approx([size / 2, size / 2])
        assert transform.matrix[0, 0] == pytest.approx(size / (side * 60))
        assert transform.matrix[0, 1] == transform.matrix[1, 0] == 0
    smoothed = portrait_transform_from(eye_midpoint(face), eye_distance(face), 256)
    assert np.array_equal(smoothed.matrix, portrait_transform(face, 256).matrix)


@settings(deadline=None, max_examples=60)
@given(x=st.floats(-50, 350), y=st.floats(-50, 250), side=st.floats(20, 400), size=st.sampled_from([32, 64, 100]))
def test_crop_samples_the_plane_it_describes(x: float, y: float, side: float, size: int) -> None:
    """A picture whose colour is linear in position shows that position, to half a grey level (plus rounding)."""
    columns, rows = np.meshgrid(np.arange(300) + 0.5, np.arange(200) + 0.5)
    picture = np.stack([columns / 300, rows / 200, np.full_like(rows, 0.5)], axis=2)
    transform = square_transform(np.array([x, y]), side, size)
    result = crop((255 * picture).round().astype(np.uint8), transform)
    steps = (np.arange(size) + 0.5) / size - 0.5
    expected_x, expected_y = np.meshgrid(x + side * steps, y + side * steps)
    reach = 3 * max(1.0, side / size)  # kernels bend the plane near the border of the picture
    inner = (expected_x > reach) & (expected_x < 300 - reach) & (expected_y > reach) & (expected_y < 200 - reach)
    assert np.abs(result[..., 0] - 255 * expected_x / 300)[inner].max(initial=0) < 2.1
    assert np.abs(result[..., 1] - 255 * expected_y / 200)[inner].max(initial=0) < 2.1


def test_crop_at_natural_size_copies_pixels() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    result = crop(picture, square_transform(np.array([52.0, 40.0]), 64, 64))
    assert np.array_equal(result, picture[8:72, 20:84])


@pytest.mark.parametrize("centre", [(-500.0, 40.0), (60.0, 900.0), (4000.0, -4000.0)])
def test_crop_outside_the_frame_repeats_its_border(centre: tuple[float, float]) -> None:
    picture = np.full((90, 120, 3), (10, 200, 30), np.uint8)
    assert np.array_equal(
        np.unique(crop(picture, square_transform(np.array(centre), 50, 32)).reshape(-1, 3), axis=0), [[10, 200, 30]]
    )


def test_shrinking_does_not_alias() -> None:
    checks = (np.indices((800, 800)).sum(axis=0) % 2 * 255).astype(np.uint8)
    picture = np.repeat(checks[:, :, None], 3, axis=2)
    assert np.ptp(crop(picture, square_transform(np.array([400.0, 400.0]), 790, 100))[5:-5, 5:-5].astype(int)) <= 4


def test_covered_region_stays_inside_and_is_never_empty() -> None:
    inside = covered_region(square_transform(np.array([50.0, 50.0]), 20, 20), 200, 100)
    assert inside[0] <= 40
    assert inside[2] >= 60
    assert covered_region(square_transform(np.array([-900.0, 900.0]), 20, 20), 200, 100) == (0, 99, 1, 100)


def test_crop_refuses_other_pictures() -> None:
    transform = square_transform(np.array([5.0, 5.0]), 10, 10)
    with pytest.raises(ValueError, match="uint8"):
        crop(np.zeros((10, 10, 3), np.float32), transform)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="positive"):
        square_transform(np.array([5.0, 5.0]), 0.0, 10)
