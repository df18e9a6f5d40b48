"""Reference UNet: one tap per attention layer, and equality with the published network."""

import pytest
import torch

from portrait_anim.models import XPortrait2ReferenceUNet

TINY = {"block_channels": (32, 32, 64, 64), "heads": 2, "context_dim": 8}


@pytest.fixture
def unet(seeded):
    return seeded(XPortrait2ReferenceUNet, **TINY)


@torch.inference_mode()
def test_taps_follow_the_levels(unet):
    latent = torch.rand(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    taps = unet(latent, torch.ones(2, 8))
    sizes = [(256, 32)] * 2 + [(64, 32)] * 2 + [(16, 64)] * 2 + [(4, 64)]
    sizes += [(16, 64)] * 3 + [(64, 32)] * 3 + [(256, 32)] * 3
    assert [tuple(tap.shape[1:]) for tap in taps] == sizes
    single = unet(latent[1:], torch.ones(1, 8))
    for both, alone in zip(taps, single, strict=True):
        torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_the_image_token_reaches_all_taps_but_the_first(unet):
    latent = torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    dark, bright = (unet(latent, torch.full((1, 8), value)) for value in (0.0, 5.0))
    moved = [float((a - b).abs().max()) for a, b in zip(dark, bright, strict=True)]
    assert moved[0] == 0
    assert min(moved[1:]) > 1e-4


@torch.inference_mode()
def test_saving_and_loading_changes_nothing(unet, tmp_path):
    unet.save_pretrained(tmp_path)
    again = XPortrait2ReferenceUNet.from_pretrained(tmp_path)
    latent = torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    token = torch.ones(1, 8)
    torch.testing.assert_close(unet(latent, token), again(latent, token), atol=1e-6, rtol=1e-5)
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in unet.state_dict().items())


def test_a_latent_that_cannot_be_halved_three_times_is_refused(unet):
    with pytest.raises(ValueError, match="multiples of 8"):
        unet(torch.zeros(1, 4, 12, 16), torch.zeros(1, 8))


@pytest.mark.slow
@torch.inference_mode()
def test_equals_the_published_network(parity):
    golden = parity.arrays("golden_reference_unet_128.npz")
    order = [entry["reader"] for entry in parity.table("reference_tap_order.json")]
    unet = parity.network("reference_unet")
    names = {id(layer): name for name, layer in unet.named_modules()}
    forward = [names[id(layer.block)] for layer in unet.image_transformers()]
    token = torch.from_numpy(golden["clip_embed"])[0]
    latent = torch.from_numpy(golden["ref_latent"])
    taps = unet(latent.expand(2, -1, -1, -1), torch.cat([torch.zeros_like(token), token]))
    by_name = dict(zip(forward, taps, strict=True))
    for index, name in enumerate(order):
        uncond, cond = by_name[name]
        # The published pipeline keeps the taps in 16 bits; values beside a rounding boundary may fall on either side.
        assert parity.error(cond.half(), golden[f"tap{index:02}_cond_f16"]) < 1e-4, name
        assert parity.error(cond.flatten()[:16], golden[f"tap{index:02}_cond_stats"][2:]) < 5e-5, name
        assert parity.error(uncond.flatten()[:16], golden[f"tap{index:02}_uncond_stats"][2:]) < 5e-5, name
