"""Gains measured on portraits: what is known is found again."""

from pathlib import Path

import numpy as np
import pytest
import torch

import portrait_anim
from portrait_anim.models.lite.expressions import EXPRESSIONS, NUM_COEFFICIENTS
from portrait_anim.training.amplitude import GROUPS, align, gain_vector, group_gains, members, read_portraits
from portrait_anim.training.crops import displacement, landmark_basis
from portrait_anim.training.networks import LiteNetworks, load_pipeline_weights

WEIGHTS = Path(portrait_anim.__file__).parents[1] / "weights" / "lite"


@pytest.fixture(scope="module")
def nets():
    networks = LiteNetworks().eval()
    load_pipeline_weights(networks, WEIGHTS)
    return networks


@pytest.fixture
def field(nets):
    return nets.warp_field.field


def spread(seed=0, count=400):
    """Random coefficients of which each group is read well."""
    return torch.rand(count, NUM_COEFFICIENTS, generator=torch.Generator().manual_seed(seed)) * 0.6


def faces(field, read, factor):
    """Aligned landmarks of people whose faces move `factor` `(K,)` times what was read; identities differ."""
    moved = torch.einsum("nk,kcl->ncl", read * factor, displacement(field)).transpose(1, 2)
    identity = 0.01 * torch.randn(len(read), moved.shape[1], 2, generator=torch.Generator().manual_seed(9))
    flat = field.landmarks[None, :, :2] + moved + identity
    return torch.cat([flat, field.landmarks[None, :, 2:].expand(len(read), -1, -1)], dim=2)


def test_a_smile_that_is_read_too_small_is_enlarged(field):
    read, factor = spread(), torch.ones(NUM_COEFFICIENTS)
    read[:, [k for k in range(NUM_COEFFICIENTS) if k not in members(GROUPS["smile"])]] = 0
    factor[members(GROUPS["smile"])] = 1.6
    gain, slope, correlation = group_gains(read, faces(field, read, factor), field)["smile"]
    assert slope == pytest.approx(1.6, abs=0.1)
    assert gain == slope
    assert correlation > 0.9


def test_what_is_read_at_full_size_is_left_alone_and_nothing_grows_without_bounds(field):
    read = spread()
    same = group_gains(read, faces(field, read, torch.ones(NUM_COEFFICIENTS)), field)
    huge = group_gains(read, faces(field, read, torch.full((NUM_COEFFICIENTS,), 9.0)), field)
    for name, group in GROUPS.items():
        assert same[name][0] == pytest.approx(1.0, abs=0.15), name
        assert huge[name][0] <= group.largest


def test_what_does_not_agree_is_not_trusted(field):
    read = spread(1)
    strangers = faces(field, spread(2), torch.ones(NUM_COEFFICIENTS))
    assert all(gain == 1.0 for gain, _, _ in group_gains(read, strangers, field).values())


def test_gains_reach_their_coefficients_only():
    vector = gain_vector({"smile": (1.5, 1.5, 0.9)})
    names = [name for name, g in zip(EXPRESSIONS, vector.tolist(), strict=False) if g != 1.0]
    assert names == ["mouthDimple_L", "mouthDimple_R", "mouthSmile_L", "mouthSmile_R"]


def test_alignment_takes_out_pose_and_size(field):
    average = field.landmarks.double().numpy()
    angle = 0.4
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    np.testing.assert_allclose(align(300 * average @ turn.T + [50, -20, 7], average), average, atol=1e-9)


def test_landmarks_move_as_their_names_say(field):
    moved = displacement(field)
    jaw, smile, blink = (EXPRESSIONS.index(n) for n in ("jawOpen", "mouthSmile_L", "eyeBlink_L"))
    assert moved[jaw, 1, 152] < -0.05  # the chin sinks
    assert moved[jaw, 1, 14] < moved[jaw, 1, 13] - 0.03  # the lips part
    assert moved[smile, 0, 291] > 0.02  # the subject's left corner goes to the subject's left ...
    assert moved[smile, 1, 291] > 0.02  # ... and up
    assert moved[blink, 1, 386] < -0.02
    basis, weight = landmark_basis(field)
    assert basis.shape == (NUM_COEFFICIENTS, len(weight))


def test_too_few_portraits_are_refused(nets):
    with pytest.raises(portrait_anim.errors.InputError, match="at least 50 portraits"):
        read_portraits(nets, [])
