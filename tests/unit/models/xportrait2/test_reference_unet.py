"""Reference UNet: one tap per attention layer."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock

from portrait_anim.evaluation.xportrait2_rule import rule_network, rule_state
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
        torch.testing.assert_close(both[1:], alone, atol=5e-5, rtol=1e-4)


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


@torch.inference_mode()
@pytest.mark.parametrize("size", [(16, 16), (12, 12), (9, 14)])
def test_diffusers_own_network_has_the_same_taps_at_sizes_that_are_odd_on_the_way_too(tiny_modules, size):
    module = tiny_modules["reference_unet"]
    state = rule_state(module)
    ours = rule_network("reference_unet", tiny_modules)
    theirs = UNet2DConditionModel(
        block_out_channels=module.config["block_channels"], attention_head_dim=module.config["heads"],
        cross_attention_dim=module.config["context_dim"],
    ).eval()  # fmt: skip
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.startswith("conv_") for key in missing)  # the head, which taps do not need
    norms = [block.norm1 for block in theirs.modules() if isinstance(block, BasicTransformerBlock)]
    wanted = []
    for norm in norms:
        norm.register_forward_hook(lambda module, arguments, out: wanted.append(out))
    latent = torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(1))
    theirs(latent, 0, torch.ones(1, 1, 8))
    taps = ours(latent, torch.ones(1, 8))
    assert len(taps) == len(wanted) == 16
    for tap, want in zip(taps, wanted, strict=True):
        torch.testing.assert_close(tap, want, atol=2e-5, rtol=1e-4)
