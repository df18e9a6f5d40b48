"""Denoising UNet: what each row and frame sees."""

import pytest
import torch

from portrait_anim.models import XPortrait2DenoisingUNet, XPortrait2ReferenceUNet
from portrait_anim.models.xportrait2.feature_cache import FeatureCache

TINY = {"block_channels": (32, 32, 64, 64), "heads": 2, "context_dim": 8}
LAYERS = 16


@pytest.fixture
def unet(seeded):
    return seeded(XPortrait2DenoisingUNet, motion_dim=4, **TINY)


@pytest.fixture
def taps(seeded):
    with torch.inference_mode():
        return seeded(XPortrait2ReferenceUNet, **TINY)(draw(1, 4, 8, 8, seed=3), torch.ones(1, 8))


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def step(value=481):
    return torch.tensor(value)


@torch.inference_mode()
def test_rows_do_not_see_each_other(unet, taps):
    sample = draw(4, 3, 8, 8)
    blind = unet.condition(torch.zeros(1, 8), None, draw(1, 6, 4, seed=1))
    seeing = unet.condition(torch.ones(1, 8), taps, draw(3, 6, 4, seed=2))
    together = unet(sample, step(), [blind, seeing])
    assert together.shape == (2, 4, 3, 8, 8)
    for row, condition in zip(together, (blind, seeing), strict=True):
        torch.testing.assert_close(row[None], unet(sample, step(), [condition]), atol=1e-5, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-3


@torch.inference_mode()
def test_each_condition_matters(unet, taps):
    sample = draw(4, 2, 8, 8)
    motion = draw(2, 6, 4, seed=1)
    token = torch.ones(1, 8)
    base = unet(sample, step(), [unet.condition(token, taps, motion)])
    others = {
        "portrait": unet.condition(token, [tap + 1 for tap in taps], motion),
        "no portrait": unet.condition(token, None, motion),
        "image token": unet.condition(2 * token, taps, motion),
        "motion": unet.condition(token, taps, -motion),
    }
    for name, condition in others.items():
        assert (unet(sample, step(), [condition]) - base).abs().max() > 1e-4, name
    assert (unet(sample, step(480), [unet.condition(token, taps, motion)]) - base).abs().max() > 1e-6


@torch.inference_mode()
def test_motion_of_one_frame_serves_all_and_windows_take_their_frames(unet):
    sample = draw(4, 3, 8, 8)
    token = torch.zeros(1, 8)
    still = draw(1, 6, 4, seed=1)
    one = unet(sample, step(), [unet.condition(token, None, still)])
    three = unet(sample, step(), [unet.condition(token, None, still.expand(3, -1, -1))])
    torch.testing.assert_close(one, three)
    clip = draw(5, 6, 4, seed=2)
    frames = torch.tensor([4, 0, 1])
    window = unet.condition(token, None, clip).frames(frames)
    torch.testing.assert_close(
        unet(sample, step(), [window]), unet(sample, step(), [unet.condition(token, None, clip[frames])])
    )


@torch.inference_mode()
def test_frames_are_independent_without_temporal_modules(unet):
    sample = draw(4, 3, 8, 8)
    motion = draw(3, 6, 4, seed=1)
    order = torch.tensor([2, 0, 1])

    def shuffled():
        normal = unet(sample, step(), [unet.condition(torch.zeros(1, 8), None, motion)])
        moved = unet(sample[:, order], step(), [unet.condition(torch.zeros(1, 8), None, motion[order])])
        return (moved - normal[:, :, order]).abs().max()

    assert shuffled() > 1e-4
    switch_off(unet, "temporal_modules")
    assert shuffled() < 1e-5


@torch.inference_mode()
def test_sizes_that_are_odd_on_the_way_down_come_back(unet, seeded):
    latent = draw(1, 4, 9, 14, seed=3)
    taps = seeded(XPortrait2ReferenceUNet, **TINY)(latent, torch.ones(1, 8))
    rows = [unet.condition(torch.ones(1, 8), taps, draw(1, 6, 4))]
    sample, cache = draw(4, 2, 9, 14), FeatureCache(blocks=1)
    whole = unet(sample, step(), rows, cache)
    assert whole.shape == (1, 4, 2, 9, 14)
    cache.reuse = True
    torch.testing.assert_close(unet(sample, step(), rows, cache), whole, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_saving_and_loading_changes_nothing(unet, tmp_path):
    unet.save_pretrained(tmp_path)
    again = XPortrait2DenoisingUNet.from_pretrained(tmp_path)
    sample = draw(4, 2, 8, 8)
    results = [net(sample, step(), [net.condition(torch.ones(1, 8), None, draw(2, 6, 4))]) for net in (unet, again)]
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-4)
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in unet.state_dict().items())


def test_too_many_frames_and_foreign_taps_are_refused(unet, taps):
    condition = unet.condition(torch.zeros(1, 8), None, draw(1, 6, 4))
    with pytest.raises(ValueError, match="at most 32 frames"):
        unet(draw(4, 33, 8, 8), step(), [condition])
    with pytest.raises(ValueError, match=f"expected {LAYERS} taps"):
        unet.condition(torch.zeros(1, 8), taps[:3], draw(1, 6, 4))


def switch_off(network, kind):
    """Make modules the identity, as they were before training."""
    for name, layer in network.named_modules():
        if kind in name and name.endswith("proj_out"):
            layer.weight.zero_()
            layer.bias.zero_()
