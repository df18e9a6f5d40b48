"""What shows where a head has gone and where a mouth has opened."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import portrait_anim
from portrait_anim.models.lite.composite import (
    Surrounded,
    backdrop,
    bare_share,
    behind_head,
    beyond_crown,
    keep_interior,
    show,
    warp,
)
from portrait_anim.models.lite.expression_field import INNER_LIPS, ExpressionField
from portrait_anim.models.lite.geometry import pixel_grid
from portrait_anim.models.lite.warp import LiteWarpOutput

WEIGHTS = Path(portrait_anim.__file__).parents[1] / "weights" / "lite"


def head_in_front(size=64):
    """Rigidity of a head that fills the middle of a crop."""
    rigidity = torch.zeros(1, 1, size, size)
    rigidity[..., size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = 1
    return rigidity


def test_only_gaps_beside_the_head_are_bare():
    covered = torch.ones(1, 1, 32, 32)
    follows = torch.full((1, 1, 32, 32), 0.5)
    assert bare_share(covered, follows).max() == 0
    covered[..., 8:20, 8:20] = 0
    assert bare_share(covered, follows)[..., 12:16, 12:16].min() == 1
    assert bare_share(covered, torch.ones_like(follows)).max() == 0  # a gap within the head is a mouth, not a hole


def looked_at(height, size=64):
    """A backward map that asks for what lies so much higher, `(1, 2, size, size)`."""
    return pixel_grid(size, torch.device("cpu")).permute(2, 0, 1)[None] - torch.tensor([0, height])[:, None, None]


def test_a_head_that_the_border_cuts_off_goes_on_as_a_cap():
    scale, top, border = torch.ones(1), slice(0, 12), torch.tensor([-1.0])  # rows that look above the picture
    flow = looked_at(height=0.4)
    head, nothing = head_in_front(), torch.zeros(1, 1, 64, 64)
    assert beyond_crown(flow, nothing, scale, border)[..., :8, :].min() == 1
    not_cut_off = beyond_crown(flow, head, scale, border)
    assert torch.equal(not_cut_off, beyond_crown(flow, nothing, scale, border))
    cut = head.roll(-16, dims=2)
    beyond = beyond_crown(flow, cut, scale, border)[0, 0]
    assert beyond[16:].max() == 0  # the picture itself
    assert beyond[10, 32] == 0
    assert beyond[10, 2] == 1
    assert beyond[0, 32] == 1  # above it
    assert beyond_crown(flow, cut, scale, border - 0.4).max() == 0  # the photograph goes on
    columns = (beyond[top] < 0.5).sum(0)
    assert torch.equal(columns, columns.flip(0))
    assert columns[32] > columns[20] > columns[4]
    larger = beyond_crown(flow, cut, 3 * scale, border)[0, 0]
    assert (larger[top, 32] < 0.5).sum() < columns[32]  # large heads are flatter


def test_hair_above_the_picture_is_its_uppermost_strip_mirrored():
    picture = torch.linspace(-1, 1, 64)[None, None, :, None].expand(1, 3, -1, 64)
    seen = Surrounded(image=picture).look(looked_at(height=0.4))[0, 0, :, 32]
    assert seen[:12].max() < -0.9
    assert seen[:12].std() > 0.01
    torch.testing.assert_close(seen[14:], warp(picture, looked_at(height=0.4))[0, 0, 14:, 32])
    assert seen.diff().abs().max() < 0.04  # no seam


def test_what_the_photograph_shows_around_a_crop_is_seen():
    photograph = torch.linspace(-1, 1, 80)[None, None, :, None].expand(1, 3, -1, 80)  # a crop of 64 and 8 around
    around = Surrounded(image=photograph, reach=1.25, top=-1.25)
    here = around.look(looked_at(height=0.0))
    torch.testing.assert_close(here, photograph[..., 8:72, 8:72], atol=1e-5, rtol=0)
    above = around.look(looked_at(height=0.2))
    torch.testing.assert_close(above[..., 8:, :], here[..., :-8, :], atol=0.06, rtol=0)
    assert above[0, 0, 0, 0] < here[0, 0, 0, 0] - 0.1


def test_the_backdrop_continues_what_is_beside_the_head():
    rigidity = head_in_front()
    portrait = torch.where(rigidity > 0, 0.9, -0.4).expand(1, 3, -1, -1)
    plate = backdrop(portrait, behind_head(rigidity))
    torch.testing.assert_close(plate, torch.full_like(plate, -0.4), atol=1e-5, rtol=0)


def test_a_head_that_fills_the_crop_is_its_own_backdrop():
    portrait = torch.rand(1, 3, 64, 64)
    assert torch.equal(backdrop(portrait, behind_head(torch.ones(1, 1, 64, 64))), portrait)


@pytest.fixture
def resting():
    """A warp that moves nothing."""
    none = torch.zeros(1, 1, 32, 32)
    here = pixel_grid(32).permute(2, 0, 1)[None]
    return LiteWarpOutput(
        forward_map=here, depth=none, coarse_flow=here, flow=here, visibility_logits=none, condition=none,
        interior=torch.zeros(1, 4, 32, 32), own_teeth=none.clone(), own_eyes=none.clone(), bare=none.clone(),
        behind=behind_head(head_in_front()),
    )  # fmt: skip


def test_the_backdrop_shows_where_the_warp_is_bare_and_nowhere_else(resting):
    portrait = torch.where(head_in_front() > 0, 0.9, -0.4).expand(1, 3, -1, -1)
    resting.bare[..., 12:20, 12:20] = 1
    shown = show(portrait, resting)
    torch.testing.assert_close(shown[..., 28:36, 28:36], torch.full((1, 3, 8, 8), -0.4), atol=1e-5, rtol=0)
    torch.testing.assert_close(shown[..., 18:22, 18:22], torch.full((1, 3, 4, 4), 0.9), atol=1e-5, rtol=0)
    prepared = show(portrait, resting, torch.ones_like(portrait))
    assert prepared[..., 28:36, 28:36].min() == 1  # a plate that is given is used


def test_teeth_and_eyes_outlast_paint(resting):
    resting.own_teeth[..., :16, :] = 1
    resting.own_eyes[..., 20:, :] = 1
    out = keep_interior(torch.ones(1, 3, 64, 64), torch.zeros(1, 3, 64, 64), resting)
    assert out[..., 8, 8].max() == pytest.approx(0.2)
    assert out[..., 56, 8].max() == pytest.approx(0.4)
    assert out[..., 35, 8].min() > 0.9


@pytest.fixture(scope="module")
def field():
    saved = load_file(WEIGHTS / "warp_field" / "diffusion_pytorch_model.safetensors")
    module = ExpressionField()
    module.load_state_dict({k.removeprefix("field."): v for k, v in saved.items() if k.startswith("field.")})
    return module


def frontal(field, opening=0.0):
    """Landmarks of the average face in a crop, its lower inner lip lowered."""
    positions = field.landmarks[:, :2] * torch.tensor([1.0, -1.0])
    positions = positions.clone()
    positions[list(INNER_LIPS[11:]), 1] += opening
    return positions


def test_an_open_mouth_is_found_whole(field):
    positions = frontal(field, 0.2)
    canonical, known, opened = field.locate(positions, 128)
    lips = (positions[list(INNER_LIPS)] + 1) * 64
    x, y = lips[:, 0], lips[:, 1]
    area = float((x * y.roll(-1) - y * x.roll(-1)).sum().abs() / 2)  # of the polygon [px]
    assert float(opened.sum()) == pytest.approx(area, rel=0.15)
    assert known[opened > 0].min() > 0.999
    assert canonical[0, 1][opened[0, 0] > 0].max() < 0  # below the eyes


def test_a_closed_mouth_shows_no_inside(field):
    positions = frontal(field)
    positions[[14, 87, 317]] = positions[[13, 82, 312]]  # lower lip on upper lip
    assert field.locate(positions, 128)[2].max() == 0
