"""What lies around a face crop moves along with the crop's border."""

import cv2
import numpy as np
import pytest
import torch

from portrait_anim.face.crop import square_transform
from portrait_anim.models.lite.geometry import pixel_grid
from portrait_anim.pipelines.surroundings import Surroundings

SIDE = 128
CROP_PX = 64  # side of the crop in the photograph, whose middle is at (100, 100)


@pytest.fixture
def photograph():
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(40, 215, (25, 25, 3)).astype(np.uint8), (200, 200), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def transform():
    return square_transform(np.array([100.0, 100.0]), CROP_PX, 96)


def still(offset=(0.0, 0.0)):
    """A backward map whose every place looks so far aside [half crop sides]."""
    return pixel_grid(SIDE, torch.device("cpu")).permute(2, 0, 1) + torch.tensor(offset)[:, None, None]


NOWHERE = torch.zeros(1, SIDE, SIDE)
GREEN = np.full((96, 96, 3), (0, 255, 0), np.uint8)


def test_around_a_still_crop_nothing_changes(photograph, transform):
    flow = still() + 0.005 * torch.randn(2, SIDE, SIDE, generator=torch.manual_seed(0))
    moved = Surroundings(photograph, transform).moved(GREEN, flow, NOWHERE)
    np.testing.assert_array_equal(moved, photograph)


def test_motion_goes_on_outside_the_crop_and_fades(photograph, transform):
    moved = Surroundings(photograph, transform).moved(GREEN, still((0.0, -0.25)), NOWHERE).astype(int)
    lowered = np.roll(photograph, 8, axis=0).astype(int)  # a quarter of half a side is 8 px
    edge = np.s_[80:120, 133:135]  # just outside, at the crop's right
    assert np.abs(moved[edge] - lowered[edge]).mean() < 0.35 * np.abs(photograph[edge] - lowered[edge]).mean()
    far = np.ones((200, 200), bool)
    far[100 - CROP_PX : 100 + CROP_PX, 100 - CROP_PX : 100 + CROP_PX] = False
    np.testing.assert_array_equal(moved[far], photograph[far])
    strip = np.abs(moved - photograph).mean(axis=2)[90:110]  # towards the rim of the surroundings
    assert strip[:, 132:140].mean() > 3 * strip[:, 158:164].mean()


def test_where_the_head_has_gone_the_crops_border_goes_on(photograph, transform):
    bare = NOWHERE.clone()
    bare[:, :20, :40] = 1  # upper left
    moved = Surroundings(photograph, transform).moved(GREEN, still((0.0, -0.2)), bare)
    assert (moved[66, 72:80] == (0, 255, 0)).all()
    assert not (moved[66, 115:130] == (0, 255, 0)).all(axis=1).any()
    assert not (moved[40, 72:80] == (0, 255, 0)).all(axis=1).any()  # far from the crop


def test_above_the_photograph_the_crop_goes_on(photograph):
    surroundings = Surroundings(photograph, square_transform(np.array([100.0, 40.0]), CROP_PX, 96))
    moved = surroundings.moved(GREEN, still((0.0, -0.5)), NOWHERE)
    assert (moved[0, 90:110] == (0, 255, 0)).all()
    assert not (moved[30, 90:110] == (0, 255, 0)).all(axis=1).any()


def test_crops_that_leave_the_photograph_are_taken(photograph):
    for place in ((-500.0, 0.0), (0.0, 0.0), (260.0, 199.0)):
        transform = square_transform(np.array(place), CROP_PX, 96)
        moved = Surroundings(photograph, transform).moved(GREEN, still((0.3, 0.0)), NOWHERE)
        assert moved.shape == photograph.shape
