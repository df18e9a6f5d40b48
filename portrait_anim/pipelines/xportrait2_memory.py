"""How much memory a render of the `xportrait2` profile needs, said before it starts.

Weights, keys, latents are counted; what a network needs while it works is a number of its largest tensors, counted by
`portrait_anim.evaluation.xportrait2_memory`, which also measures what a process really takes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from portrait_anim.errors import NotEnoughMemory
from portrait_anim.pipelines.xportrait2_options import SamplingOptions

logger = logging.getLogger(__name__)

_UNET_TENSORS = 27  # of the size of the outermost features, in the gated feed-forward of the outermost level
_DECODER_TENSORS = 8.0  # of the size of the decoder's last features, in the residual blocks of its last level
_SLICED_DECODER_TENSORS = 4.5  # the same when it works in pieces
_RESERVE = 1.25  # kernels need room to work, allocators do not use every byte; 1.21 was measured on a CPU
_LIBRARIES = 200 * 2**20  # kernels themselves, loaded when they are first used


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryForecast:
    """Bytes that a render needs on its device.

    Attributes:
        weights: Networks that stay on the device.
        conditions: Keys and values of portrait and motion.
        latents: Latents, noise and predictions of the clip, and features kept between steps.
        denoising: What the denoising UNet needs while it works, with its weights if they are there only then.
        decoding: What the decoder needs while it works, with its weights if they are there only then.
        together: Whether denoising and decoding happen at the same time.
    """

    weights: int
    conditions: int
    latents: int
    denoising: int
    decoding: int
    together: bool = False

    @property
    def total(self) -> int:
        """Peak; denoising and decoding take turns unless they happen together."""
        working = (sum if self.together else max)((self.denoising, self.decoding))
        return self.weights + self.conditions + self.latents + int(working * _RESERVE) + _LIBRARIES

    def __str__(self) -> str:
        parts = {
            "weights": self.weights, "keys": self.conditions, "latents": self.latents, "denoising": self.denoising,
            "decoding": self.decoding,
        }  # fmt: skip
        named = ", ".join(f"{name} {size / 2**30:.1f}" for name, size in parts.items())
        return f"{self.total / 2**30:.1f} GiB ({named})"


def forecast(
    networks: Mapping[str, nn.Module],
    options: SamplingOptions,
    *,
    size_px: int,
    num_frames: int,
    offload: bool = False,
    sliced: bool = False,
    split: bool = False,
) -> MemoryForecast:
    """Forecast the memory of a render.

    Args:
        networks: The pipeline's networks by name; `denoising_unet` and `vae` among them. They may be on `"meta"`.
        options: How to denoise.
        size_px: Side of the output [px].
        num_frames: Frames of the clip.
        offload: Whether only the network at work is on the device.
        sliced: Whether the decoder works in slices, see `xportrait2_lean_decoder`.
        split: Whether another device computes the unconditional row.
    """
    unet, vae = networks["denoising_unet"], networks["vae"]
    sizes = {name: sum(p.numel() * p.element_size() for p in net.parameters()) for name, net in networks.items()}
    bytes_each = next(unet.parameters()).element_size()
    latent_px = (size_px // 8) ** 2
    window = min(options.plan.size, num_frames)
    held = window if options.stream else num_frames
    rows = 2 if options.guidance != 1 and not split else 1
    first: int = unet.config.block_channels[0]  # type: ignore[union-attr, index, assignment]
    unit = rows * window * latent_px * first * bytes_each
    kept = 0
    if options.cache_every > 1:
        windows = 1 if options.stream else len(options.plan.windows(num_frames))
        kept = 2 * unit * windows
    decoded = min(25, held) * size_px**2 * vae.config.block_out_channels[0]  # type: ignore[union-attr, index]
    decoded_bytes = decoded * next(vae.parameters()).element_size()
    decoder_tensors = _SLICED_DECODER_TENSORS if sliced else _DECODER_TENSORS
    return MemoryForecast(
        weights=0 if offload else sum(sizes.values()),
        conditions=(held + window * rows) * _motion_bytes(unet) + _reference_bytes(unet, latent_px),
        latents=held * latent_px * 4 * 4 * 4 + kept,
        denoising=_UNET_TENSORS * unit + (sizes["denoising_unet"] if offload else 0),
        decoding=int(decoder_tensors * decoded_bytes) + (sizes["vae"] if offload else 0),
        together=options.overlap,
    )


def _motion_bytes(unet: nn.Module, tokens: int = 32) -> int:
    """Keys and values of the motion of one frame."""
    return sum(
        2 * tokens * module.to_k.out_features * module.to_k.weight.element_size()
        for name, module in unet.named_modules()
        if "motion_modules" in name and hasattr(module, "to_k")
    )


def _reference_bytes(unet: nn.Module, latent_px: int) -> int:
    """Features, keys and values of the portrait in every spatial transformer."""
    depth = len(unet.down_blocks) - 1  # type: ignore[arg-type]
    total = 0
    for number, level in enumerate(unet.levels()):  # type: ignore[operator]
        down = min(number, depth, 2 * depth + 2 - number)
        for layer in level.attentions:
            weight = layer.block.attn1.to_k.weight
            total += 3 * (latent_px // 4**down) * weight.shape[0] * weight.element_size()
    return total


def device_memory(device: torch.device) -> tuple[int, int] | None:
    """Free and total bytes of a device, if it tells."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return free, total
    if device.type == "cpu" and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")
    return None


def require_memory(needed: MemoryForecast, memory: tuple[int, int] | None) -> None:
    """Refuse a render that cannot fit; say when it may not.

    Args:
        needed: See `forecast`.
        memory: Free and total bytes of the device, see `device_memory`; `None` when unknown.

    Raises:
        NotEnoughMemory: If the device does not have that much at all.
    """
    if memory is None:
        return
    free, total = memory
    if needed.total > total:
        raise NotEnoughMemory(
            f"expected a device with {needed}, got one of {total / 2**30:.1f} GiB; choose a smaller size, "
            "the preset 'stream', or CPU offload",
            needed=needed.total, available=total,
        )  # fmt: skip
    if needed.total > free + needed.weights:  # the weights are already there
        logger.warning("This render may need %s; %.1f GiB are free", needed, free / 2**30)
