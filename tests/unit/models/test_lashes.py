"""Lashes keep their shape when lids and brows move; rims of glasses are not taken for lashes."""

import pytest
import torch

from portrait_anim.models import LiteWarpField
from portrait_anim.models.lite.expression_field import FIELD_BOTTOM, FIELD_LEFT, FIELD_RIGHT, FIELD_TOP
from portrait_anim.models.lite.expressions import EXPRESSIONS
from portrait_anim.models.lite.eyes import LIDS
from portrait_anim.models.lite.lashes import carry_lashes, lash_share
from portrait_anim.weights import weights_dir

SIDE = 256


@pytest.fixture(scope="module")
def field():
    return LiteWarpField.from_pretrained(weights_dir() / "lite", subfolder="warp_field").float().eval().field


def frontal_map(size=SIDE):
    x = FIELD_LEFT + (torch.arange(size) + 0.5) / size * (FIELD_RIGHT - FIELD_LEFT)
    y = FIELD_TOP - (torch.arange(size) + 0.5) / size * (FIELD_TOP - FIELD_BOTTOM)
    return torch.stack([x[None].expand(size, -1), y[:, None].expand(-1, size), torch.ones(size, size)])[None]


def landmarks_of(field):
    """The canonical landmarks where `frontal_map` shows them, `(468, 2)` in [-1, 1]."""
    x = (field.landmarks[:, 0] - FIELD_LEFT) / (FIELD_RIGHT - FIELD_LEFT)
    y = (FIELD_TOP - field.landmarks[:, 1]) / (FIELD_TOP - FIELD_BOTTOM)
    return torch.stack([x, y], dim=1) * 2 - 1


@torch.no_grad()
def lid_profile(field, canonical):
    """How far brows move what lies above the middle of a lid, every 10 cm / 100 from the edge up."""
    change = torch.zeros(1, 55)
    change[0, [EXPRESSIONS.index(f"brow{part}") for part in ("OuterUp_R", "InnerUp_R")]] = 1.0
    rise = field(change, canonical)[0, 1]
    column, top = ((landmarks_of(field)[LIDS[0][0][4]] + 1) / 2 * SIDE).long()
    rows = int(top) - (torch.arange(1, 25) / 100 / (FIELD_TOP - FIELD_BOTTOM) * SIDE).round().long()
    return rise[rows, int(column)]


def test_a_lid_with_lashes_moves_as_one_piece_and_ends_at_the_brow(field):
    plain = lid_profile(field, frontal_map())
    carried = lid_profile(field, carry_lashes(frontal_map(), field, torch.ones(())))
    stiff = slice(1, 7)
    assert carried[stiff].max() - carried[stiff].min() < 0.1 * (plain[stiff].max() - plain[stiff].min())
    torch.testing.assert_close(carried[17:], plain[17:])
    assert (carried[:17].diff() >= -1e-3).all()  # skin never folds over itself


def test_what_is_not_above_a_lid_stays(field):
    canonical = frontal_map()
    assert torch.equal(carry_lashes(canonical, field, torch.zeros(())), canonical)
    carried = carry_lashes(canonical, field, torch.ones(()))
    moved = (carried != canonical)[0, 1]
    assert 0.005 < moved.float().mean() < 0.1
    assert not moved[SIDE // 2 :].any()  # nose, mouth, chin
    middle = (landmarks_of(field)[[159, 145]].mean(0) + 1) / 2 * SIDE
    assert not moved[int(middle[1]), int(middle[0])]  # the eyeball
    assert torch.equal(carried[:, [0, 2]], canonical[:, [0, 2]])


def test_upright_streaks_are_lashes_and_rims_are_not(field):
    landmarks = landmarks_of(field)
    skin = torch.full((1, 3, SIDE, SIDE), 0.4)
    assert lash_share(skin, landmarks) == 0
    edge = ((landmarks[list(LIDS[0][0])] + 1) / 2 * SIDE).round().long()
    left, right = int(edge[0, 0]), int(edge[-1, 0])
    top = int(edge[:, 1].min())
    rim = skin.clone()
    rim[:, :, top - 14 : top - 10, left - 4 : right + 4] = -0.6
    assert lash_share(rim, landmarks) == 0
    lashes = skin.clone()
    lashes[:, :, top - 9 : top + 12, left:right:4] = -0.4
    assert lash_share(lashes, landmarks) == 1
