"""The whole published pipeline at 128 px, from pictures to pictures, holding one network at a time."""

import gc

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from portrait_anim.models.xportrait2.adapter import DDIM_CONFIG
from portrait_anim.pipelines.xportrait2_inputs import (
    decode_frames,
    encode_image,
    encode_motion,
    encode_portrait,
    portrait_tensor,
)
from portrait_anim.pipelines.xportrait2_sampling import SamplingOptions, blur_latent, denoise

FORWARD, WHOLE = 5e-5, 5e-4

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def golden(parity):
    return parity.arrays("golden_pipeline_128px_3f_2steps.npz")


@torch.inference_mode()
def test_latent_codec_is_the_published_one(parity):
    golden = parity.arrays("golden_vae.npz")
    vae = parity.network("vae")
    picture = torch.from_numpy(golden["image_u8"])[None].permute(0, 3, 1, 2).float() / 127.5 - 1
    posterior = vae.encode(picture).latent_dist
    assert parity.error(posterior.mean, golden["enc_mean"]) < FORWARD
    assert parity.error(posterior.logvar, golden["enc_logvar"]) < FORWARD
    latents = torch.from_numpy(golden["latents"])[0]
    for chunk, name, tolerance in ((25, "video_chunk25", FORWARD), (27, "video_one_chunk27_f16", 5e-4)):
        video = torch.cat(list(decode_frames(vae, latents, chunk))).transpose(0, 1)[None]
        assert parity.error(video, golden[name]) < tolerance


def denoised(parity, golden, latent, token, taps, still, motion):
    """Denoise, comparing every call of the network on the way."""
    unet = parity.network("denoising_unet")
    calls = []

    def predict(sample, timestep, rows):
        out = unet(sample, timestep, rows)
        calls.append((int(timestep), sample.clone(), out.clone()))
        return out

    latents = denoise(
        predict, DDIMScheduler(**DDIM_CONFIG), portrait=latent,
        unconditional=unet.condition(torch.zeros_like(token), None, still),
        conditional=unet.condition(token, taps, motion),
        noise=torch.from_numpy(golden["noise"])[0], offsets=golden["offsets"].tolist(),
        options=SamplingOptions(num_steps=int(golden["steps"]), guidance=float(golden["guidance"])),
    )  # fmt: skip
    assert [timestep for timestep, _, _ in calls] == golden["t_per_call"].tolist()
    wanted = zip(golden["sample_per_call"], golden["eps_per_call"], strict=True)
    for (_, sample, noise), (want_sample, want_noise) in zip(calls, wanted, strict=True):
        assert parity.error(sample[None], want_sample) < WHOLE
        assert parity.error(noise, want_noise) < WHOLE
    return latents


@torch.inference_mode()
def test_pictures_become_the_published_pictures(parity, golden):
    size = golden["ref_tensor"].shape[-1]
    assert np.abs(portrait_tensor(golden["ref_u8"], size).numpy() - golden["ref_tensor"]).max() < 1e-6
    # 1. image token
    token = encode_image(parity.network("image_encoder"), golden["ref_u8"])
    assert parity.error(token, golden["clip_embed"]) < FORWARD
    # 2. motion tokens
    encoder = parity.network("motion_encoder")
    still = encode_motion(encoder, [golden["refpose_u8"]])
    motion = encode_motion(encoder, list(golden["driving_u8"]))
    assert parity.error(still, golden["motion_uncond"]) < FORWARD
    assert parity.error(motion[None], golden["motion_first_window"]) < FORWARD
    del encoder
    # 3. latent of the portrait
    latent = encode_portrait(parity.network("vae"), golden["ref_u8"], size)
    assert parity.error(latent, golden["ref_latent"]) < FORWARD
    assert parity.error(blur_latent(latent), golden["ref_latent_blurred"]) < FORWARD
    # 4. features of the portrait
    unet = parity.network("reference_unet")
    taps = [tap.half().float() for tap in unet(latent, token)]
    del unet
    # 5. denoising
    latents = denoised(parity, golden, latent, token, taps, still, motion)
    assert parity.error(latents[None], golden["final_latents"]) < WHOLE
    gc.collect()
    # 6. pictures
    video = torch.cat(list(decode_frames(parity.network("vae"), latents))).transpose(0, 1)[None]
    assert parity.error(video, golden["video"]) < WHOLE
