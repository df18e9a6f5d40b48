"""Pictures of a clip that is still being denoised: what the network believes at a step that the end will be.

Shapes: T frames, h side of a latent, S side of a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import torch
from diffusers import AutoencoderTiny, DDIMScheduler

from portrait_anim.media.image import from_tensor, resize
from portrait_anim.pipelines.xportrait2_inputs import decode_drafts
from portrait_anim.types import UInt8Array

# Fitted for the latents of Stable Diffusion 1 by K. Turner, "Decoding latents to RGB without upscaling", Hugging Face
# forum, 2022. Colours are rough, edges are right.
_RGB_OF_LATENT: Final = (
    (0.298, 0.207, 0.208),
    (0.187, 0.286, 0.173),
    (-0.158, 0.189, 0.264),
    (-0.184, -0.271, -0.473),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """The estimate of one frame after one step.

    Attributes:
        latent: `(4, h, h)` float32, scaled.
        frame: Number of the frame.
        step: Steps done.
        num_steps: Steps in all.
    """

    latent: torch.Tensor
    frame: int
    step: int
    num_steps: int


OnDraft: TypeAlias = Callable[[Draft], None]
OnPreview: TypeAlias = Callable[[UInt8Array, int], None]
"""Told a picture `(S, S, 3)` uint8 sRGB of a frame that is not finished, and the number of the frame."""


def clean_estimate(
    scheduler: DDIMScheduler, noisy: torch.Tensor, predicted: torch.Tensor, timestep: torch.Tensor
) -> torch.Tensor:
    """What noisy latents would be if the predicted noise were exact; shapes are those of `noisy`."""
    kept = float(scheduler.alphas_cumprod[int(timestep)])
    out: torch.Tensor = (noisy - (1 - kept) ** 0.5 * predicted) / kept**0.5
    return out


def draft_of(
    scheduler: DDIMScheduler,
    noisy: torch.Tensor,
    predicted: torch.Tensor,
    timestep: torch.Tensor,
    *,
    place: int,
    frame: int,
    step: int,
    num_steps: int,
) -> Draft:
    """The estimate of one frame of a window.

    Args:
        scheduler: The published schedule.
        noisy: Latents before the step `(4, T, h, h)`.
        predicted: Their predicted noise.
        timestep: Scalar.
        place: Which of these frames.
        frame: Its number in the clip.
        step: Number of the step.
        num_steps: Steps in all.
    """
    estimate = clean_estimate(scheduler, noisy[:, place], predicted[:, place], timestep)
    return Draft(latent=estimate, frame=frame, step=step + 1, num_steps=num_steps)


@torch.inference_mode()
def draft_picture(latent: torch.Tensor, size_px: int, tiny: AutoencoderTiny | None = None) -> UInt8Array:
    """Make a picture of a latent at next to no cost.

    Args:
        latent: `(4, h, h)`, scaled.
        size_px: Side of the picture [px].
        tiny: A small decoder; `None` maps each latent pixel to a colour.

    Returns:
        `(S, S, 3)` uint8 sRGB.
    """
    if tiny is not None:
        (decoded,) = decode_drafts(tiny, latent[:, None].to(tiny.device))
    else:
        factors = latent.new_tensor(_RGB_OF_LATENT)
        decoded = (torch.einsum("chw,cr->rhw", latent, factors)[None].float() / 2 + 0.5).clamp(0, 1)
    picture: UInt8Array = resize(np.ascontiguousarray(from_tensor(decoded)[0]), size_px, "bicubic")
    return picture
