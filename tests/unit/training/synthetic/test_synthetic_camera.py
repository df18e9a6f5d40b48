import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portrait_anim.training.synthetic import camera

angle = st.floats(-60, 60)


def test_unproject_inverts_project() -> None:
    points = torch.tensor([[1.0, -2.0, -60.0], [-8.0, 9.0, -45.0]])
    assert torch.allclose(camera.unproject(camera.project(points), points[:, 2]), points, atol=1e-4)


def test_middle_of_the_frame_is_straight_ahead() -> None:
    assert camera.project(torch.tensor([0.0, 0.0, -50.0])).tolist() == [512.0, 512.0]


@given(yaw=angle, pitch=angle, roll=angle)
@settings(max_examples=30, deadline=None)
def test_angles_inverts_euler(yaw: float, pitch: float, roll: float) -> None:
    given_angles = torch.tensor([[yaw, pitch, roll]])
    assert torch.allclose(camera.angles(camera.euler(*given_angles.unbind(1))), given_angles, atol=1e-2)


def test_positive_yaw_turns_to_the_right_of_the_picture_and_positive_pitch_looks_down() -> None:
    ahead = torch.tensor([0.0, 0.0, 1.0])
    one, zero = torch.tensor([20.0]), torch.tensor([0.0])
    assert (camera.euler(one, zero, zero)[0] @ ahead)[0] > 0.3
    assert (camera.euler(zero, one, zero)[0] @ ahead)[1] < -0.3


def test_full_share_of_a_rotation_is_the_rotation() -> None:
    rotation = camera.euler(torch.tensor([25.0]), torch.tensor([-10.0]), torch.tensor([5.0]))
    points = torch.randn(1, 7, 3, generator=torch.Generator().manual_seed(0))
    vector = camera.rotation_vector(rotation)
    turned = camera.rotate_partly(points, vector, torch.ones(1, 7))
    assert torch.allclose(turned, points @ rotation.transpose(1, 2), atol=1e-5)
    assert torch.allclose(camera.rotate_partly(points, vector, torch.zeros(1, 7)), points, atol=1e-6)


def test_no_rotation_has_a_finite_vector() -> None:
    assert camera.rotation_vector(torch.eye(3)[None]).abs().max() < 1e-6


@pytest.mark.parametrize("window", [camera.Window(), camera.Window(left=-40.0, top=10.0, span=1100.0)])
def test_window_maps_agree(window: camera.Window) -> None:
    centres = window.pixel_centres(8, torch.device("cpu"))
    pixels = window.to_pixels(centres, 8)
    assert torch.allclose(pixels[2, 5], torch.tensor([5.5, 2.5]), atol=1e-4)
    assert torch.allclose(window.to_grid(centres), pixels / 4 - 1, atol=1e-5)
    assert window.contains(centres).all()
    assert not window.contains(centres - window.span).any()


def test_looking_up_a_picture_at_its_own_pixels_returns_it() -> None:
    window = camera.Window()
    picture = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    here = window.pixel_centres(16, torch.device("cpu")).expand(2, 16, 16, 2)
    assert torch.allclose(window.look_up(picture, here), picture, atol=1e-4)


def test_window_needs_a_width() -> None:
    with pytest.raises(ValueError, match="wider than 0"):
        camera.Window(span=0.0)
