"""The order of work of the published X-Portrait 2 pipeline on our networks, to measure what leaving it saves.

It computes the same numbers, but as the published code does: motion is encoded in every window, both guidance rows
go through attention to the portrait and one of the two results is thrown away, the portrait's tokens are repeated over
frames and projected every time, and attention to the single image token is computed in full.

Shapes: R = 2 guidance rows, T frames, L motion tokens, N_i tokens and C_i channels of layer i.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange

from portrait_anim.models import XPortrait2DenoisingUNet, XPortrait2MotionEncoder, XPortrait2ReferenceUNet
from portrait_anim.models.xportrait2.transformers import ImageTransformer
from portrait_anim.models.xportrait2.unet import UNetLevel


def published_taps(
    unet: XPortrait2ReferenceUNet, latent: torch.Tensor, token: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Features of the portrait for both guidance rows, `(2, N_i, C_i)`; the first row is never used."""
    return unet(latent.expand(2, -1, -1, -1), torch.cat([torch.zeros_like(token), token]))  # type: ignore[no-any-return]


def published_step(
    unet: XPortrait2DenoisingUNet,
    encoder: XPortrait2MotionEncoder,
    *,
    sample: torch.Tensor,
    timestep: torch.Tensor,
    crops: torch.Tensor,
    still: torch.Tensor,
    taps: Sequence[torch.Tensor],
    token: torch.Tensor,
) -> torch.Tensor:
    """Noise of one window, in the published order.

    Args:
        unet: Denoising UNet.
        encoder: Motion encoder.
        sample: Noisy latents `(4, T, h, h)`.
        timestep: Scalar.
        crops: Driving crops of the window `(T, 3, S, S)`.
        still: The portrait's own crop `(1, 3, S, S)`.
        taps: See `published_taps`.
        token: Image token `(1, 768)`.

    Returns:
        `(2, 4, T, h, h)`.
    """
    num_frames = sample.shape[1]
    motion = torch.cat(
        [encoder(still).latent.expand(num_frames, -1, -1), encoder(crops).latent]
    )  # (R T, L, 16)
    tokens = torch.cat([torch.zeros_like(token), token]).repeat_interleave(num_frames, 0)[:, None]  # (R T, 1, 768)
    layers = iter(taps)

    def mix(level: UNetLevel, index: int, hidden: torch.Tensor) -> torch.Tensor:
        if level.attentions:
            hidden = _image(level.attentions[index], hidden, next(layers), tokens, num_frames)  # type: ignore[arg-type]
        layer = level.motion_modules[index]
        hidden = layer(hidden, layer.keys(motion))  # type: ignore[operator]
        return level.temporal_modules[index](hidden, num_frames)  # type: ignore[no-any-return]

    frames = rearrange(sample, "c t h w -> t c h w").repeat(2, 1, 1, 1)
    hidden = unet._walk(frames, unet._embed_time(timestep, sample), mix)
    noise = unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))
    out: torch.Tensor = rearrange(noise, "(r t) c h w -> r c t h w", t=num_frames)
    return out


def _image(
    layer: ImageTransformer, hidden: torch.Tensor, tap: torch.Tensor, image: torch.Tensor, num_frames: int
) -> torch.Tensor:
    """Spatial transformer as published."""
    tokens, normed = layer.enter(hidden)
    block = layer.block
    repeated = tap.to(normed).repeat_interleave(num_frames, 0)  # (R T, N, C)
    mixed = block.attn1.attend(normed, block.attn1.keys(torch.cat([normed, repeated], dim=1)))
    blind = normed[:num_frames]
    own = block.attn1.attend(blind, block.attn1.keys(blind))
    tokens = tokens + torch.cat([own, mixed[num_frames:]])
    tokens = tokens + block.attn2.attend(block.norm2(tokens), block.attn2.keys(image))
    tokens = tokens + block.ff(block.norm3(tokens))
    return layer.leave(tokens, hidden)
