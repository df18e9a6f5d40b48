"""Calibration gives back amplitude where the encoder is right, and leaves noise alone."""

import pytest
import torch

from portrait_anim.models.lite.expressions import EXPRESSIONS, ExpressionHeads
from portrait_anim.training.calibration import LARGEST_GAIN, calibrate, enlarge_heads, fit_linear, gains
from portrait_anim.training.networks import LiteNetworks


def test_a_shrunken_answer_gets_the_spread_of_the_truth():
    truth = torch.randn(4000, 4, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(4000, 4, generator=torch.Generator().manual_seed(1))
    # right and full; right and 0.8 of it; noise; a column whose truth stands still
    predicted = torch.stack([truth[:, 0], 0.8 * truth[:, 1], 0.1 * noise[:, 2], truth[:, 3]], 1)
    truth[:, 3] *= 0.01
    gain = gains(predicted, truth)
    torch.testing.assert_close(gain, torch.tensor([1.0, 1.25, 1.0, 1.0]), atol=0.01, rtol=0)


def test_gain_is_bounded():
    truth = torch.randn(100, 1, generator=torch.Generator().manual_seed(0))
    assert gains(0.01 * truth, truth).item() == pytest.approx(LARGEST_GAIN)


def test_heads_say_more_of_the_same():
    torch.manual_seed(0)
    heads = ExpressionHeads()
    latent = torch.randn(3, 16, 16)
    before = heads(latent)
    gain = torch.linspace(1, 2, 55)
    enlarge_heads(heads, gain)
    torch.testing.assert_close(heads(latent), before * gain)
    assert before[:, EXPRESSIONS.index("eyeLookUp_L")].abs().max() == 0  # gaze says it


def test_ridge_regression_finds_a_linear_law_and_its_offset():
    features = torch.randn(500, 5, generator=torch.Generator().manual_seed(0)) + 3
    law = torch.randn(2, 5, generator=torch.Generator().manual_seed(1))
    weight, bias = fit_linear(features, features @ law.T + torch.tensor([1.0, -2.0]), ridge=1e-9)
    torch.testing.assert_close(weight, law, atol=1e-4, rtol=0)
    torch.testing.assert_close(bias, torch.tensor([1.0, -2.0]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", ["samples", "crops"])
def test_both_kinds_of_data_give_a_pose_and_gains(kind, stored):
    torch.manual_seed(0)
    nets = LiteNetworks().eval()
    before = nets.motion_encoder.to_pose.weight.clone()
    gain = calibrate(nets, iter([stored(kind, 2, seed=k) for k in range(2)]), [stored(kind, 2, seed=9)], pose_batches=2)
    assert gain.shape == (55,)
    assert ((gain >= 1) & (gain <= LARGEST_GAIN)).all()
    assert not torch.equal(nets.motion_encoder.to_pose.weight, before)
