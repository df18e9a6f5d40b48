"""Averaging moves what stage `motion` trains, and only that."""

import pytest
import torch

from portrait_anim.training.average import average
from portrait_anim.training.networks import LiteNetworks


def test_encoder_and_heads_move_and_the_rest_stays():
    torch.manual_seed(0)
    older, newer = LiteNetworks(), LiteNetworks()
    before = {k: v.clone() for k, v in older.state_dict().items()}
    average(older, newer, 0.25)
    after, target = older.state_dict(), newer.state_dict()
    for name in ("motion_encoder.to_latent.weight", "warp_field.heads.expression.gaze.weight"):
        torch.testing.assert_close(after[name], 0.75 * before[name] + 0.25 * target[name])
    for name in ("denoiser.", "reference_encoder.", "warp_field.to_flow"):
        assert all(torch.equal(after[k], before[k]) for k in after if k.startswith(name))


def test_a_share_is_a_share():
    with pytest.raises(ValueError, match="0 to 1"):
        average(LiteNetworks(), LiteNetworks(), 1.5)
