"""Pictures of what is not finished: right when the prediction is, of the frame and size that was asked for."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, DDIMScheduler

from portrait_anim.models.xportrait2.adapter import DDIM_CONFIG
from portrait_anim.pipelines.xportrait2_drafts import clean_estimate, draft_picture


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("timestep", [953, 481, 1])
def test_with_the_true_noise_the_estimate_is_the_clean_latent(timestep):
    scheduler = DDIMScheduler(**DDIM_CONFIG)
    clean, noise, when = draw(1, 4, 8, 8), draw(1, 4, 8, 8, seed=1), torch.tensor([timestep])
    noisy = scheduler.add_noise(clean, noise, when)
    torch.testing.assert_close(clean_estimate(scheduler, noisy, noise, when[0]), clean, rtol=1e-3, atol=1e-3)


def test_pictures_have_the_asked_size_and_brighter_latents_are_brighter():
    dark, light = torch.zeros(4, 8, 8), torch.zeros(4, 8, 8)
    light[0], dark[0] = 1.0, -1.0
    pictures = [draft_picture(latent, 64) for latent in (dark, light)]
    assert all(picture.shape == (64, 64, 3) and picture.dtype == np.uint8 for picture in pictures)
    assert pictures[0].mean() + 50 < pictures[1].mean()


def test_edges_stay_in_place():
    latent = torch.full((4, 8, 8), 0.0)
    latent[0, :, 4:] = 2.0
    picture = draft_picture(latent, 64).astype(int).mean(axis=2)
    assert picture[:, 44:].min() > picture[:, :20].max()


def test_a_small_decoder_is_used_where_there_is_one():
    torch.manual_seed(0)
    narrow = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    tiny = AutoencoderTiny(**narrow).eval()
    latent = draw(4, 8, 8)
    picture = draft_picture(latent, 64, tiny)
    assert picture.shape == (64, 64, 3)
    assert not np.array_equal(picture, draft_picture(latent, 64))
