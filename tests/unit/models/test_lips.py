"""The opening between lips: as small as the displacement says, on the portrait's own lip line."""

import pytest
import torch

from portrait_anim.models.lite.expression_field import ExpressionField
from portrait_anim.models.lite.expressions import EXPRESSIONS, NUM_COEFFICIENTS
from portrait_anim.models.lite.lips import LOWER, UPPER, find_lips, part_lips

SIDE, SCALE, WIDTH = 256, 0.8, 0.4
STILL = (torch.eye(3)[None], torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1))


@pytest.fixture(scope="module")
def field():
    """`jawOpen` lowers what lies below the canonical lip line at -0.33 by 0.3."""
    out = ExpressionField(rank=1, size=220)
    with torch.no_grad():
        out.patterns[0, 144:] = 1.0  # field rows are 0.01 high from 1.1 down
        out.mix[EXPRESSIONS.index("jawOpen"), 0, 1] = -0.3
    for edge in (UPPER, LOWER):
        out.landmarks[list(edge), 0] = torch.linspace(-0.25, 0.25, len(edge))
        out.landmarks[list(edge), 1] = -0.33
    return out


def lips_of(field, apart=0.0, opened=False, grey=0.0):
    landmarks = torch.zeros(478, 2)
    x = torch.linspace(-WIDTH / 2, WIDTH / 2, len(UPPER))
    for edge, side in ((UPPER, -1), (LOWER, 1)):
        landmarks[list(edge)] = torch.stack([x, 0.3 + side * apart / 2 * (1 - (2 * x / WIDTH) ** 2)], 1)
    image = torch.full((1, 3, SIDE, SIDE), grey)
    return find_lips(image, landmarks, torch.zeros(1, 1, 64, 64), field, opened=opened)


@torch.no_grad()
def opening(lips, field, jaw=0.0, head=STILL, side=SIDE):
    change = torch.zeros(1, NUM_COEFFICIENTS)
    change[0, EXPRESSIONS.index("jawOpen")] = jaw
    parted = part_lips(lips, field, change, torch.eye(3)[None], torch.tensor([SCALE]), head, side)
    return parted.spread(parted.opening[:, None], side)[0, 0]


@pytest.mark.parametrize("apart", [-0.02, 0.0, 0.02])
def test_closed_lips_stay_closed_wherever_a_tracker_put_their_edges(field, apart):
    assert opening(lips_of(field, apart), field).max() < 0.05


def test_three_pixels_of_opening_show(field):
    shown = opening(lips_of(field), field, jaw=0.1)  # 3 mm, that is 3 px
    column = shown[:, SIDE // 2]
    assert 1.5 < column.sum() < 4
    first = round((0.3 + 1) * SIDE / 2)
    assert column[first : first + 4].sum() == pytest.approx(float(column.sum()))  # below the line: the jaw opens it


@pytest.mark.parametrize("side", [256, 512])
def test_opening_grows_with_the_jaw_at_every_size(field, side):
    lips = lips_of(field)
    heights = [opening(lips, field, jaw=jaw, side=side)[:, side // 2].sum() * 256 / side for jaw in (0.2, 0.4, 0.8)]
    assert heights[0] < heights[1] < heights[2]
    assert heights[2] == pytest.approx(0.3 * 0.8 * SCALE * SIDE / 2, rel=0.1)


def test_lips_that_are_apart_stay_apart(field):
    assert opening(lips_of(field, 0.06, opened=True), field)[:, SIDE // 2].sum() > 5


def test_opening_follows_the_head(field):
    moved = (torch.eye(3)[None], torch.zeros(1, 2), torch.tensor([[0.2, 0.0]]), torch.ones(1))
    still, there = (opening(lips_of(field), field, 0.5, head).nonzero()[:, 1].float().mean() for head in (STILL, moved))
    assert there - still == pytest.approx(0.2 * SIDE / 2, abs=1)


def test_a_dim_face_has_dim_teeth(field):
    dark, grey, light = (float(lips_of(field, grey=value).light.mean()) for value in (-0.9, 0.15, 0.9))
    assert 0.4 < dark < grey < light < 1
