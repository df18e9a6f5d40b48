"""Motion encoder: tokens of a crop."""

import pytest
import torch

from portrait_anim.models import XPortrait2MotionEncoder

TINY = {
    "sample_size": 64, "channels": 128, "depth": 2, "attention_dim": 64, "attention_heads": 2, "num_maps": 8,
    "feature_dim": 32, "placement_dim": 8, "num_tokens": 4, "token_dim": 8,
}  # fmt: skip


@pytest.fixture
def encoder(seeded):
    return seeded(XPortrait2MotionEncoder, **TINY)


@torch.inference_mode()
def test_tokens_do_not_depend_on_the_other_crops(encoder):
    crops = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    together = encoder(crops).latent
    assert together.shape == (3, 4, 8)
    alone = torch.cat([encoder(crop[None]).latent for crop in crops])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3


@torch.inference_mode()
def test_head_placement_moves_the_tokens_and_is_centred_by_default(encoder):
    crop = torch.zeros(1, 3, 64, 64)
    default = encoder(crop)
    centred = encoder(crop, torch.tensor([[0.0, 0.0, 1.0]]))
    moved = encoder(crop, torch.tensor([[0.1, -0.2, 1.3]]))
    torch.testing.assert_close(default.latent, centred.latent)
    assert (moved.latent - default.latent).abs().max() > 1e-4
    torch.testing.assert_close(moved.feature, default.feature)
    # Tokens made without placement need not be made again.
    shift = encoder.placement_shift(torch.tensor([[0.1, -0.2, 1.3], [0.0, 0.0, 1.0]]))
    torch.testing.assert_close(default.latent + shift[:1], moved.latent, atol=1e-5, rtol=1e-4)
    assert shift[1].abs().max() < 1e-6


def test_another_crop_size_is_refused(encoder):
    with pytest.raises(ValueError, match=r"expected sample \(B, 3, 64, 64\)"):
        encoder(torch.zeros(1, 3, 48, 48))


@torch.inference_mode()
def test_saving_and_loading_changes_nothing(encoder, tmp_path):
    encoder.save_pretrained(tmp_path)
    again = XPortrait2MotionEncoder.from_pretrained(tmp_path)
    crop = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(encoder(crop).latent, again(crop).latent, atol=1e-6, rtol=1e-5)
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in encoder.state_dict().items())
