"""Pictures to what the `xportrait2` denoiser takes: image token, portrait latent, motion tokens; latents to pictures.

Each function uses one network, so that a small machine can hold them one after the other.

Shapes: T frames, L motion tokens, S side of a crop, h = S / 8 side of a latent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLTemporalDecoder, AutoencoderTiny

from portrait_anim.media.image import resize, to_tensor
from portrait_anim.models import XPortrait2ImageEncoder, XPortrait2MotionEncoder
from portrait_anim.models.xportrait2.image_encoder import CLIP_MEAN, CLIP_STD
from portrait_anim.types import UInt8Array


def device_of(network: Any) -> torch.device:
    """Where a network will work, which is not where it waits when it is offloaded."""
    hook = getattr(network, "_hf_hook", None)
    device: torch.device = getattr(hook, "execution_device", None) or network.device
    return device


@torch.inference_mode()
def encode_image(encoder: XPortrait2ImageEncoder, portrait: UInt8Array) -> torch.Tensor:
    """Image token of a portrait crop.

    Args:
        encoder: CLIP's vision tower.
        portrait: Portrait crop `(S, S, 3)` uint8 sRGB.

    Returns:
        `(1, 768)`.
    """
    small = resize(portrait, encoder.config.sample_size, "bicubic")
    sample = to_tensor(small[None])
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    out: torch.Tensor = encoder(((sample - mean) / std).to(device_of(encoder), encoder.dtype))
    return out


def portrait_tensor(portrait: UInt8Array, size_px: int) -> torch.Tensor:
    """Portrait crop `(S', S', 3)` uint8 as `(1, 3, S, S)` float32 in [-1, 1]."""
    return to_tensor(resize(portrait, size_px, "lanczos")[None]) * 2 - 1


@torch.inference_mode()
def encode_portrait(vae: AutoencoderKLTemporalDecoder, portrait: UInt8Array, size_px: int) -> torch.Tensor:
    """Latent of a portrait crop: the mean, scaled.

    Args:
        vae: Latent codec.
        portrait: Portrait crop, square, uint8 sRGB.
        size_px: Side at which to encode [px].

    Returns:
        `(1, 4, h, h)`.
    """
    sample = portrait_tensor(portrait, size_px).to(device_of(vae), vae.dtype)
    latent: torch.Tensor = vae.encode(sample).latent_dist.mode() * vae.config.scaling_factor
    return latent


@torch.inference_mode()
def encode_motion(encoder: XPortrait2MotionEncoder, crops: Sequence[UInt8Array], batch: int = 8) -> torch.Tensor:
    """Motion tokens of face crops; each crop is encoded once, whatever windows it will be in.

    Args:
        encoder: Motion encoder.
        crops: Face crops `(H, W, 3)` uint8 sRGB of any size; they are stretched to a square.
        batch: Crops encoded together.

    Returns:
        `(T, L, 16)`.
    """
    size = encoder.config.sample_size
    tokens = []
    for first in range(0, len(crops), batch):
        square = np.stack([resize(crop, size, "lanczos") for crop in crops[first : first + batch]])
        sample = to_tensor(square) * 2 - 1
        tokens.append(encoder(sample.to(device_of(encoder), encoder.dtype)).latent)
    return torch.cat(tokens)


@torch.inference_mode()
def decode_frames(vae: AutoencoderKLTemporalDecoder, latents: torch.Tensor, chunk: int = 25) -> Iterator[torch.Tensor]:
    """Decode latents in runs of consecutive frames.

    Norms and convolutions over time see one run only, so its length changes the result.

    Args:
        vae: Latent codec.
        latents: `(4, T, h, h)`, scaled.
        chunk: Frames per run.

    Yields:
        `(T_run, 3, S, S)` float32 in [0, 1].
    """
    for first in range(0, latents.shape[1], chunk):
        part = latents[:, first : first + chunk].transpose(0, 1)  # (T_run, 4, h, h)
        decoded = vae.decode((part / vae.config.scaling_factor).to(vae.dtype), num_frames=len(part)).sample
        yield (decoded.float() / 2 + 0.5).clamp(0, 1)


@torch.inference_mode()
def decode_drafts(tiny: AutoencoderTiny, latents: torch.Tensor, chunk: int = 25) -> Iterator[torch.Tensor]:
    """Decode latents with a small decoder of single pictures: drafts, at about a hundredth of the work.

    Args:
        tiny: A decoder for latents of Stable Diffusion, such as TAESD.
        latents: `(4, T, h, h)`, scaled.
        chunk: Frames at a time; it changes nothing but memory.

    Yields:
        `(T_run, 3, S, S)` float32 in [0, 1].
    """
    for part in latents.transpose(0, 1).split(chunk):
        decoded = tiny.decode(part.to(tiny.dtype) * tiny.config.scaling_factor).sample
        yield (decoded.float() / 2 + 0.5).clamp(0, 1)
