"""The landmark-driven warp."""

import numpy as np
import pytest

from portrait_anim.evaluation.baselines import piecewise_affine_flow, relative_landmarks, still_flow, warp_image


def test_identical_landmarks_warp_nothing(face):
    flow = piecewise_affine_flow(face, face, 128)
    np.testing.assert_allclose(flow, still_flow(128), atol=1e-3)
    image = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    np.testing.assert_array_equal(warp_image(image, still_flow(128)), image)


def test_pixels_at_landmarks_come_from_where_the_landmarks_were(face):
    target = face + np.stack([3 * np.sin(face[:, 1] / 20), 2 * np.cos(face[:, 0] / 15)], axis=1)
    flow = piecewise_affine_flow(face, target, 128)
    inner = np.linalg.norm(face - 64, axis=1) < 25
    place = np.floor(target[inner]).astype(int)
    expected = face[inner] + (place + 0.5 - target[inner])  # the pixel centre is that far from the landmark
    np.testing.assert_allclose(flow[place[:, 1], place[:, 0]], expected, atol=0.5)
    np.testing.assert_allclose(flow[0, 0], [0.5, 0.5], atol=0.1)


def test_a_still_driver_moves_nothing(face):
    driver = face * 1.7 + 30
    np.testing.assert_allclose(relative_landmarks(face, driver, driver), face)


@pytest.mark.parametrize(("zoom", "degrees"), [(2.0, 0), (0.5, 30), (1.3, -20)])
def test_the_drivers_change_is_scaled_and_turned_to_the_portrait(face, zoom, degrees):
    a = np.radians(degrees)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    change = np.zeros_like(face)
    change[:100] = [2.0, -1.0]
    before, after = (zoom * points @ turn.T + 11 for points in (face, face + change))
    np.testing.assert_allclose(relative_landmarks(face, before, after), face + change, atol=1e-9)
