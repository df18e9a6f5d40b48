"""Single `xportrait2` networks against tensors recorded from the published code; see `xportrait2_parity`.

Shapes: T frames, L motion tokens, h side of a latent, S side of a picture, N_i tokens and C_i channels of layer i.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from diffusers import DDIMScheduler

from portrait_anim.errors import InputError
from portrait_anim.evaluation.xportrait2_golden_file import Comparison, Golden
from portrait_anim.evaluation.xportrait2_rule import rule_network
from portrait_anim.media.image import resize, to_tensor
from portrait_anim.models.xportrait2.adapter import DDIM_CONFIG
from portrait_anim.models.xportrait2.transformers import MAX_FRAMES
from portrait_anim.pipelines.xportrait2_inputs import decode_frames, portrait_tensor
from portrait_anim.pipelines.xportrait2_lean_decoder import slice_decoder
from portrait_anim.pipelines.xportrait2_sampling import blur_latent
from portrait_anim.types import UInt8Array

_IMAGE_WIDTH: Final = 768  # of the image token
_MOTION_WIDTH: Final = 16  # of a motion token
_STATS: Final = 2  # mean and deviation stand before the values in a recorded summary


def load(name: str) -> Any:
    """One network filled by the rule; the one before is dropped first."""
    gc.collect()
    return rule_network(name)


def face_tensor(crops: UInt8Array, side: int) -> torch.Tensor:
    """Face crops `(T, H, W, 3)` uint8 as the motion encoder takes them `(T, 3, S, S)`."""
    return to_tensor(np.stack([resize(crop, side, "lanczos") for crop in crops])) * 2 - 1


@torch.inference_mode()
def check_motion_encoder(golden: Golden) -> Iterator[Comparison]:
    """Motion tokens of any number of crops, with and without placement, of crops of odd size too."""
    crops, known = golden.pictures("crops_u8", None, None, None), golden.arrays
    box = golden.numbers("bbox", len(crops), 3) if "bbox" in known else None
    encoder = load("motion_encoder")
    side = encoder.config.sample_size
    sample = face_tensor(crops, side)
    out = encoder(sample, box)
    yield from golden.compare("latent", out.latent)
    yield from golden.compare("latent_5d", out.latent)
    yield from golden.compare("face_feature_512", out.feature)
    if "latent_odd" in known:
        odd = golden.pictures("odd_crop_u8", None, None)
        yield from golden.compare("latent_odd", encoder(face_tensor(odd[None], side)).latent)
    if "latent_bbox2" in known:
        placed = golden.numbers("bbox2", None, 3)[: len(sample)]
        yield from golden.compare("latent_bbox2", encoder(sample[: len(placed)], placed).latent)


def image_token(golden: Golden) -> torch.Tensor:
    """Image token `(1, 768)`, however many axes of length 1 it was recorded with.

    Raises:
        InputError: If it is another array.
    """
    return golden.numbers("clip_embed", *_ones(golden, "clip_embed", 1), _IMAGE_WIDTH).reshape(1, -1)


def motion_tokens(golden: Golden, key: str, frames: int) -> torch.Tensor:
    """Motion tokens `(T, L, 16)`, recorded with or without a batch of one.

    Raises:
        InputError: If they are another array.
    """
    return golden.numbers(key, *_ones(golden, key, 3), frames, None, _MOTION_WIDTH).flatten(0, -3)


def _ones(golden: Golden, key: str, axes: int) -> list[int]:
    """Axes of length 1 that a recording may have in front of its own."""
    return [1] * (np.ndim(golden.arrays.get(key, 0)) - axes)


def portrait_latent(golden: Golden) -> torch.Tensor:
    """Latent of the portrait `(1, 4, h, h)`.

    Raises:
        InputError: If it is another array.
    """
    return golden.numbers("ref_latent", 1, 4, None, None)


def window_latents(golden: Golden) -> torch.Tensor:
    """Latents of a window `(4, T, h, h)`, recorded with a batch of one.

    Raises:
        InputError: If it is another array, or of more frames than a window holds.
    """
    latents = golden.numbers("sample", 1, 4, None, None, None)[0]
    if latents.shape[1] > MAX_FRAMES:
        raise InputError(f"expected at most {MAX_FRAMES} frames in 'sample' of {golden.name}, got {latents.shape[1]}")
    return latents


def tap_names(unet: Any) -> list[str]:
    """Names of the spatial transformer blocks in the order in which the published code pairs its features."""
    names = {id(layer): name for name, layer in unet.named_modules()}
    blocks = [(layer.block.norm1.weight.numel(), names[id(layer.block)]) for layer in unet.image_transformers()]
    sides = ("down_blocks", "up_blocks", "mid_block")
    in_order = sorted(blocks, key=lambda block: sides.index(block[1].split(".")[0]))
    return [name for _, name in sorted(in_order, key=lambda block: -block[0])]


def in_tap_order(unet: Any, taps: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """Features in the order of `tap_names` instead of that of the forward pass."""
    names = {id(layer): name for name, layer in unet.named_modules()}
    found = {names[id(layer.block)]: tap for layer, tap in zip(unet.image_transformers(), taps, strict=True)}
    return [found[name] for name in tap_names(unet)]


@torch.inference_mode()
def check_reference_unet(golden: Golden) -> Iterator[Comparison]:
    """Features of the portrait, of both guidance rows."""
    token, latent = image_token(golden), portrait_latent(golden)
    unet = load("reference_unet")
    taps = unet(latent.expand(2, -1, -1, -1), torch.cat([torch.zeros_like(token), token]))
    for index, tap in enumerate(in_tap_order(unet, taps)):
        for row, features in zip(("uncond", "cond"), tap, strict=True):
            whole, summary = f"tap{index:02}_{row}_f16", f"tap{index:02}_{row}_stats"
            yield from golden.compare(whole, features)
            if summary in golden.arrays:
                values = golden.recorded(summary)[_STATS:]
                yield golden.judge(summary, features.flatten()[: len(values)], values)


@torch.inference_mode()
def check_latent_codec(golden: Golden) -> Iterator[Comparison]:
    """Latent of a picture, pictures of latents; chunks of any length, decoded whole and in pieces."""
    vae = load("vae")
    if "enc_mean" in golden.arrays:
        picture = golden.pictures("image_u8", None, None)
        posterior = vae.encode(portrait_tensor(picture, picture.shape[0])).latent_dist
        yield from golden.compare("enc_mean", posterior.mean)
        yield from golden.compare("enc_logvar", posterior.logvar)
    chunks = {key: re.fullmatch(r"video_(?:one_)?chunk(\d+)(?:_f16)?", key) for key in golden.arrays}
    for way in ("", ", in pieces"):
        if way:
            slice_decoder(vae)
        for key, chunk in chunks.items():
            if chunk:
                latents = golden.numbers("latents", 1, 4, None, None, None)[0]
                video = torch.cat(list(decode_frames(vae, latents, int(chunk[1])))).transpose(0, 1)[None]
                yield golden.judge(key + way, video, golden.recorded(key))


def check_schedule(golden: Golden) -> Iterator[Comparison]:
    """Steps, noise and blur of the start, without any network."""
    scheduler = DDIMScheduler(**DDIM_CONFIG)
    scheduler.set_timesteps(len(golden.numbers("step_t", None)))
    yield golden.judge("step_t", scheduler.timesteps, golden.recorded("step_t"), 1e-12)
    sample = golden.numbers("x", *[None] * golden.arrays.get("x", np.zeros(0)).ndim)
    noise = golden.numbers("eps", *sample.shape)
    stepped = [scheduler.step(noise, t, sample, return_dict=False)[0] for t in scheduler.timesteps]
    yield from golden.compare("prev", torch.stack(stepped), 1e-6)
    noised = [scheduler.add_noise(sample, noise, t[None]) for t in scheduler.timesteps]
    yield from golden.compare("add_noise", torch.stack(noised), 1e-6)
    if "blur_in" in golden.arrays:
        yield from golden.compare("blur_out", blur_latent(golden.numbers("blur_in", None, None, None, None)), 1e-6)
