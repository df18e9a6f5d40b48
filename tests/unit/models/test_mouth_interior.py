"""The mouth interior: it lies behind the lips, turns with the head, and opens with the jaw."""

import math

import pytest
import torch

from portrait_anim.models.lite.expressions import EXPRESSIONS
from portrait_anim.models.lite.geometry import pixel_grid
from portrait_anim.models.lite.mouth_interior import BOTTOM, JAW, LEFT, RIGHT, TOP, MouthInterior, between_lips

SIDE, SCALE, SHIFT = 128, 0.5, 0.1
STILL = (torch.eye(3)[None], torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1))


@pytest.fixture
def mouth():
    """A white upper and a black lower row before grey flesh; opening the jaw lowers the black one by 0.2."""
    out = MouthInterior(height=54, width=72)
    x = LEFT + (torch.arange(72) + 0.5) / 72 * (RIGHT - LEFT)
    y = TOP - (torch.arange(54) + 0.5) / 54 * (TOP - BOTTOM)
    middle = (x.abs() < 0.2).float()
    out.pictures[0, 3] = 1
    for layer, row, colour in ((1, (y > -0.45) & (y <= -0.33), -1.0), (2, (y > -0.33) & (y < -0.2), 1.0)):
        out.pictures[layer, 3] = row.float()[:, None] * middle
        out.pictures[layer, :3] = colour * out.pictures[layer, 3]
    out.depths.fill_(1.0)
    out.jaw[1, JAW.index(EXPRESSIONS.index("jawOpen")), 1] = -0.2
    return out


@pytest.fixture
def placed(mouth):
    """On a portrait whose pixels are the canonical face itself, shifted right by 0.1 and half as large."""
    grid = pixel_grid(SIDE).permute(2, 0, 1)
    canonical = torch.stack([(grid[0] - SHIFT) / SCALE, -grid[1] / SCALE, torch.full_like(grid[0], 1.1)])[None]
    known = torch.ones(1, 1, SIDE, SIDE)
    known[..., : SIDE // 8] = 0
    canonical[..., : SIDE // 8] = -0.2  # what was not measured must not count
    return mouth.anchor(canonical, known, torch.zeros(1, 1, SIDE, SIDE), grid, torch.full((1,), SCALE))


def draw(mouth, placed, jaw_open, head=STILL):
    coefficients = torch.zeros(1, 55)
    coefficients[0, EXPRESSIONS.index("jawOpen")] = jaw_open
    place = pixel_grid(SIDE)[None]
    return mouth(place, placed, coefficients, torch.eye(3)[None], torch.full((1,), SCALE), head, SIDE)


def row_of(y):
    return round((-y * SCALE + 1) * SIDE / 2)


def column_of(x):
    return round((x * SCALE + SHIFT + 1) * SIDE / 2)


def test_points_lie_where_the_portrait_shows_their_surroundings(placed):
    there = torch.tensor([0.2, -0.3, 1.0, 1.0]) @ placed[0]
    torch.testing.assert_close(there, torch.tensor([0.2, 0.15, 0.05]), atol=2e-3, rtol=0)  # 1 cm behind, half scale


def test_rows_show_where_they_are(mouth, placed):
    colour, present = draw(mouth, placed, 0.0)
    middle = colour[0, 0, :, column_of(0.0)]
    assert middle[row_of(-0.26)] == 1
    assert middle[row_of(-0.40)] == -1
    assert middle[row_of(-0.55)].abs() < 1e-6
    assert present[0, 0, row_of(-0.4), column_of(0.3)] == 1
    assert present[0, 0, row_of(0.3), column_of(0.0)] == 0


def test_jaw_opens_a_gap_between_the_rows(mouth, placed):
    middle = draw(mouth, placed, 1.0)[0][0, 0, :, column_of(0.0)]
    assert middle[row_of(-0.26)] == 1  # the upper row stays
    assert middle[row_of(-0.42)].abs() < 1e-6  # flesh between them
    assert middle[row_of(-0.57)] == -1


def test_the_mouth_turns_with_the_head(mouth, placed):
    angle = math.radians(20)
    turn = torch.tensor([[math.cos(angle), 0, -math.sin(angle)], [0, 1, 0], [math.sin(angle), 0, math.cos(angle)]])
    white = lambda head: (draw(mouth, placed, 0.0, head)[0][0, 0] > 0.5).nonzero()[:, 1].float()  # noqa: E731
    still, turned = white(STILL), white((turn[None], *STILL[1:]))
    assert turned.max() - turned.min() < 0.98 * (still.max() - still.min())  # seen from the side it is narrower


def test_a_closing_coefficient_below_zero_does_not_lift_the_jaw(mouth, placed):
    torch.testing.assert_close(draw(mouth, placed, -1.0)[0], draw(mouth, placed, 0.0)[0])


def test_inside_of_the_mouth_is_deeper_than_the_lips():
    points = torch.tensor([[0.0, -0.33, 1.15], [0.0, -0.33, 1.0], [0.25, -0.33, 1.04], [0.0, 0.3, 0.5]])
    inside = between_lips(points.T[None, :, None])[0, 0, 0]
    assert inside.tolist() == [0.0, 1.0, 0.0, 0.0]
