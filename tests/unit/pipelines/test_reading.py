"""A face is read through several views: what moves with the picture is undone, errors that take sides cancel."""

import numpy as np
import pytest
import torch

from portrait_anim.face.crop import crop, square_transform
from portrait_anim.media.image import to_tensor
from portrait_anim.models import LiteMotionEncoder
from portrait_anim.models.lite.expressions import EXPRESSIONS, ExpressionHeads, mirrored_coefficients
from portrait_anim.pipelines.reading import VIEWS, View, read_face, view_transform

SIDE = 64


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    tiny = LiteMotionEncoder(sample_size=32, channels=(8,) * 5, blocks=(0,) * 5, fine_channels=4)
    torch.nn.init.normal_(tiny.tongue.read[-1].weight, std=0.5)
    return tiny.eval()


@pytest.fixture
def heads():
    torch.manual_seed(1)
    return ExpressionHeads()


def smooth_picture(seed=0):
    noise = np.random.default_rng(seed).random((8, 8, 3), np.float32)
    grown = np.kron(noise, np.ones((SIDE // 8, SIDE // 8, 1), np.float32))
    return (grown * 255).astype(np.uint8)


def test_mirrored_frames_give_mirrored_readings(encoder, heads):
    picture = smooth_picture()
    here = read_face(encoder, heads, picture, square_transform(np.array([30.0, 33.0]), 40.0, 32))
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    there = read_face(encoder, heads, mirrored, square_transform(np.array([SIDE - 30.0, 33.0]), 40.0, 32))
    coefficients = [heads(torch.from_numpy(r.latent)[None]) for r in (here, there)]
    close = {"atol": 2e-2, "rtol": 2e-2}  # crops are rounded to 8 bits
    torch.testing.assert_close(coefficients[1], mirrored_coefficients(coefficients[0]), **close)
    np.testing.assert_allclose(there.rotation, here.rotation * [-1, 1, -1], atol=2e-2)
    np.testing.assert_allclose(there.tongue, here.tongue * [1, -1, 1], atol=2e-2)
    np.testing.assert_allclose(there.anchor, [SIDE - here.anchor[0], here.anchor[1]], atol=0.3)
    assert there.scale == pytest.approx(here.scale, rel=0.01)


def test_one_reading_alone_takes_sides(encoder, heads):
    picture = to_tensor(smooth_picture()[None, :32, :32]) * 2 - 1
    here, there = (heads(encoder(p).latent) for p in (picture, picture.flip(-1)))
    assert (there - mirrored_coefficients(here)).abs().max() > 0.05


def test_a_frame_with_a_border_is_read_the_same_and_elsewhere(encoder, heads):
    picture = smooth_picture()
    bordered = np.pad(picture, ((0, 0), (10, 0), (0, 0)), mode="edge")
    here = read_face(encoder, heads, picture, square_transform(np.array([32.0, 32.0]), 30.0, 32))
    there = read_face(encoder, heads, bordered, square_transform(np.array([42.0, 32.0]), 30.0, 32))
    np.testing.assert_allclose(there.latent, here.latent, atol=1e-3)
    np.testing.assert_allclose(there.anchor, here.anchor + np.array([10, 0]), atol=1e-2)
    assert there.scale == pytest.approx(here.scale, rel=1e-3)


def test_views_look_at_the_same_place_from_nearer_turned_and_mirrored():
    transform = square_transform(np.array([20.0, 24.0]), 16.0, 32)
    for view in (*VIEWS, View(side=0.5, turn=np.pi / 2, mirrored=True)):
        seen = view_transform(transform, view).matrix
        centre = seen @ [20.0, 24.0, 1.0]
        np.testing.assert_allclose(centre, [16, 16], atol=1e-9)
        assert np.linalg.det(seen[:, :2]) == pytest.approx((4 if not view.mirrored else -4) / view.side**2)
    right_of_centre = view_transform(transform, View(side=1.0, turn=np.pi / 2, mirrored=False)).matrix @ [24, 24, 1.0]
    np.testing.assert_allclose(right_of_centre, [16, 8], atol=1e-9)  # axes turned clockwise, content the other way
    picture = smooth_picture()
    plain = crop(picture, transform)
    flipped = crop(picture, view_transform(transform, View(side=1.0, turn=0.0, mirrored=True)))
    assert np.abs(plain[:, ::-1].astype(int) - flipped).max() <= 2


def test_views_prefer_no_side():
    assert {view.partner for view in VIEWS} == set(VIEWS)


def test_mirroring_swaps_sides_and_turns_the_gaze():
    coefficients = torch.zeros(1, 55)
    coefficients[0, EXPRESSIONS.index("eyeBlink_L")] = 1.0
    coefficients[0, 53:] = torch.tensor([0.5, 0.2])
    mirrored = mirrored_coefficients(coefficients)
    assert mirrored[0, EXPRESSIONS.index("eyeBlink_R")] == 1.0
    assert mirrored[0, EXPRESSIONS.index("eyeBlink_L")] == 0.0
    assert mirrored[0, 53:].tolist() == [-0.5, torch.tensor(0.2).item()]
    torch.testing.assert_close(mirrored_coefficients(mirrored), coefficients)
