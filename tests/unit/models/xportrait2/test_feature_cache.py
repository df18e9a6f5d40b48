"""Deep features kept between calls: nothing changes while nothing else does, and less is computed."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from portrait_anim.models import XPortrait2DenoisingUNet
from portrait_anim.models.xportrait2.feature_cache import FeatureCache


@pytest.fixture
def unet(seeded):
    return seeded(XPortrait2DenoisingUNet, motion_dim=4, block_channels=(32, 32, 64, 64), heads=2, context_dim=8)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def call(unet):
    rows = [
        unet.condition(torch.zeros(1, 8), None, draw(1, 6, 4, seed=1)),
        unet.condition(torch.ones(1, 8), None, draw(2, 6, 4, seed=2)),
    ]

    @torch.inference_mode()
    def go(cache=None, sample=None, time=481, rows=rows):
        return unet(draw(4, 2, 8, 8) if sample is None else sample, torch.tensor(time), rows, cache)

    go.rows = rows
    return go


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_reused_features_of_the_same_step_give_the_same_noise(call, blocks):
    plain = call()
    cache = FeatureCache(blocks=blocks)
    assert torch.equal(call(cache), plain)
    cache.reuse = True
    torch.testing.assert_close(call(cache), plain)
    # Only the outermost blocks see the new step: near, but not the same.
    moved = call(cache, time=440)
    whole = call(time=440)
    assert (moved - whole).abs().max() > 0
    assert (moved - whole).norm() < (plain - whole).norm() * 3
    # One row alone finds its features behind those of the other.
    torch.testing.assert_close(call(cache, rows=call.rows[1:])[0], plain[1], rtol=1e-4, atol=1e-5)


def test_fewer_blocks_are_less_work(call):
    work = []
    for blocks in (1, 2, 3, None):
        cache = FeatureCache(blocks=blocks or 3)
        call(cache)
        cache.reuse = blocks is not None
        with FlopCounterMode(display=False) as counter:
            call(cache)
        work.append(counter.get_total_flops())
    assert work == sorted(work)
    assert len(set(work)) == 4


def test_features_must_be_there_and_blocks_in_range(call):
    with pytest.raises(ValueError, match="without reuse"):
        call(FeatureCache(reuse=True))
    with pytest.raises(ValueError, match="1 to 3 blocks"):
        FeatureCache(blocks=4)
