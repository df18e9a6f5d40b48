"""Head geometry: rotations, perspective, inversion of a forward map."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from portrait_anim.models.lite.geometry import (
    CAMERA_DISTANCE,
    euler_to_matrix,
    fill_holes,
    move_points,
    pixel_grid,
    splat_backward_map,
)
from portrait_anim.pipelines.motion import camera_to_image, rotation_matrix

angles = st.floats(-0.625, 0.625)


@given(angles, angles, angles)
def test_both_rotation_formulas_agree(yaw, pitch, roll):
    triple = np.array([[yaw, pitch, roll]], np.float32)
    ours = camera_to_image(torch.from_numpy(rotation_matrix(triple)))
    torch.testing.assert_close(euler_to_matrix(torch.from_numpy(triple)), ours, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours[0] @ ours[0].T, torch.eye(3), atol=1e-5, rtol=0)


def test_positive_yaw_turns_the_nose_to_image_right_and_positive_pitch_down():
    nose = torch.tensor([0.0, 0.0, -1.0])  # towards the viewer in image axes
    right = euler_to_matrix(torch.tensor([[0.3, 0.0, 0.0]]))[0] @ nose
    down = euler_to_matrix(torch.tensor([[0.0, 0.3, 0.0]]))[0] @ nose
    assert right[0] > 0.2
    assert down[1] > 0.2


def move(depth, rotation=None, shift=0.0, scale=1.0):
    size = depth.shape[-1]
    zero = torch.zeros(1, 2)
    rotation = torch.eye(3)[None] if rotation is None else rotation
    return move_points(
        depth,
        torch.zeros(1, 3, size, size),
        torch.ones_like(depth),
        rotation,
        zero,
        zero + shift,
        torch.tensor([scale]),
    )


def test_a_still_head_stays_where_it_is():
    depth = torch.rand(1, 1, 16, 16) - 0.5
    moved, after = move(depth)
    torch.testing.assert_close(moved[0].permute(1, 2, 0), pixel_grid(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(after, depth, atol=1e-5, rtol=0)


def test_half_turn_in_the_plane_swaps_sides():
    turn = euler_to_matrix(torch.tensor([[0.0, 0.0, math.pi]]))
    moved, _ = move(torch.zeros(1, 1, 16, 16), rotation=turn)
    torch.testing.assert_close(moved[0].permute(1, 2, 0), -pixel_grid(16), atol=1e-4, rtol=0)


def test_nearer_points_move_more_when_the_camera_is_near():
    near, _ = move(torch.full((1, 1, 8, 8), -1.0), shift=0.2)
    far, _ = move(torch.full((1, 1, 8, 8), 1.0), shift=0.2)
    here = pixel_grid(8).permute(2, 0, 1)
    assert (near[0] - here).mean() > (far[0] - here).mean()
    assert CAMERA_DISTANCE > 6


def test_splatting_inverts_a_shift_and_reports_the_gap():
    depth = torch.zeros(1, 1, 32, 32)
    moved, _ = move(depth, shift=0.25)
    flow, coverage, carried = splat_backward_map(moved, depth, moved, 32)
    inner = flow[0, :, 8:, 8:] - (pixel_grid(32).permute(2, 0, 1)[:, 8:, 8:] - 0.25)
    assert inner.abs().max() < 1e-3
    assert coverage[0, 0, 0, 0] < 0.1
    assert coverage[0, 0, 16, 16] > 0.9
    assert carried.shape == (1, 2, 32, 32)


def test_nearer_point_wins():
    moved = torch.zeros(1, 2, 2, 1).expand(1, 2, 2, 2)
    depth = torch.tensor([[[[-1.0, 1.0], [1.0, 1.0]]]])
    colour = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    _, _, carried = splat_backward_map(moved, depth, colour, 2)
    assert carried.min() > 0.99


def test_holes_take_the_value_around_them():
    value = torch.full((1, 1, 16, 16), 3.0)
    weight = torch.ones(1, 1, 16, 16)
    value[..., 4:8, 4:8], weight[..., 4:8, 4:8] = 99.0, 0.0
    filled = fill_holes(value, weight)
    torch.testing.assert_close(filled, torch.full_like(filled, 3.0), atol=1e-4, rtol=0)
