"""The mouth interior: it sits behind the lips, opens with the jaw, and shows only where skin leaves a gap."""

import pytest
import torch

from portrait_anim.models.lite.expressions import EXPRESSIONS
from portrait_anim.models.lite.geometry import pixel_grid
from portrait_anim.models.lite.mouth_interior import JAW, MouthInterior, between_lips

SIDE = 64
STILL = (torch.eye(3)[None], torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1))


@pytest.fixture
def mouth():
    """A white plate above and a black one below; opening the jaw lowers the black one by 0.3."""
    out = MouthInterior(num_points=800)
    x, y = torch.meshgrid(torch.linspace(-0.2, 0.2, 20), torch.linspace(-0.5, -0.2, 40), indexing="xy")
    out.points.copy_(torch.stack([x.flatten(), y.flatten(), torch.full((800,), 1.0)], 1))
    lower = out.points[:, 1] < -0.35
    out.colours[~lower] = 1.0
    out.colours[lower] = -1.0
    out.jaw[JAW.index(EXPRESSIONS.index("jawOpen")), lower, 1] = -0.3
    return out


@pytest.fixture
def placed(mouth):
    """On a portrait whose pixels are the canonical face itself, shifted right by 0.1 and half as large."""
    grid = pixel_grid(SIDE).permute(2, 0, 1)
    canonical = torch.stack([(grid[0] - 0.1) * 2, -grid[1] * 2, torch.full_like(grid[0], 1.1)])[None]
    known = torch.ones(1, 1, SIDE, SIDE)
    known[..., : SIDE // 8] = 0
    canonical[..., : SIDE // 8] = -0.2  # what was not measured must not count
    return mouth.anchor(canonical, known, torch.zeros(1, 1, SIDE, SIDE), grid, torch.full((1,), 0.5))


def draw(mouth, placed, jaw_open, size=SIDE):
    coefficients = torch.zeros(1, 55)
    coefficients[0, EXPRESSIONS.index("jawOpen")] = jaw_open
    return mouth(*placed, coefficients, torch.eye(3)[None], torch.full((1,), 0.5), STILL, size)


def test_points_lie_where_the_portrait_shows_their_surroundings(mouth, placed):
    position, depth = placed
    torch.testing.assert_close(position[0, 0], mouth.points[:, 0] / 2 + 0.1, atol=2e-3, rtol=0)
    torch.testing.assert_close(position[0, 1], -mouth.points[:, 1] / 2, atol=2e-3, rtol=0)
    torch.testing.assert_close(depth[0, 0], torch.full((800,), 0.05), atol=2e-3, rtol=0)  # 1 cm behind, half scale


def test_jaw_opens_a_gap_between_the_rows(mouth, placed):
    closed, _ = draw(mouth, placed, 0.0)
    opened, present = draw(mouth, placed, 1.0)
    column = int((0.1 + 1) * SIDE / 2)
    white = lambda picture: (picture[0, 0, :, column] > 0.5).nonzero().max()  # noqa: E731
    black = lambda picture: (picture[0, 0, :, column] < -0.5).nonzero()  # noqa: E731
    assert white(opened) >= white(closed) - 1
    assert present[0, 0, :, column].sum() > 0
    assert black(opened).max() - black(closed).min() >= 3  # the lower row went down, in image rows


def test_a_closing_coefficient_below_zero_does_not_lift_the_jaw(mouth, placed):
    torch.testing.assert_close(draw(mouth, placed, -1.0)[0], draw(mouth, placed, 0.0)[0])


def test_inside_of_the_mouth_is_deeper_than_the_lips():
    points = torch.tensor([[0.0, -0.33, 1.15], [0.0, -0.33, 1.0], [0.25, -0.33, 1.04], [0.0, 0.3, 0.5]])
    inside = between_lips(points.T[None, :, None])[0, 0, 0]
    assert inside.tolist() == [0.0, 1.0, 0.0, 0.0]
