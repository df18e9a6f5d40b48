"""Settings of a loaded `xportrait2` pipeline that change its speed and memory, not what it computes."""

from __future__ import annotations

import importlib.util
import shutil

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from portrait_anim.errors import InputError, ModelError
from portrait_anim.models import XPortrait2DenoisingUNet
from portrait_anim.models.xportrait2.transformers import ImageTransformer, MotionTransformer, TemporalTransformer
from portrait_anim.pipelines.xportrait2 import XPortrait2Pipeline
from portrait_anim.pipelines.xportrait2_inputs import device_of
from portrait_anim.pipelines.xportrait2_lean_decoder import slice_decoder

_FORMS = 64
_COMPILED = (ResnetBlock2D, ImageTransformer, MotionTransformer, TemporalTransformer)


def tune(
    pipeline: XPortrait2Pipeline,
    *,
    channels_last: bool = True,
    compiled: bool = False,
    cuda_graphs: bool = False,
    slice_frames: int | None = None,
    second_device: str | None = None,
) -> None:
    """Prepare a loaded pipeline for many renders.

    Args:
        pipeline: Changed in place.
        channels_last: Lay convolution weights out as tensor cores want them.
        compiled: Compile the blocks of the denoising UNet one by one (`torch.compile`); the first call takes minutes,
            a C++ compiler or a GPU with Triton is needed. Renders then stop between calls of the network only.
        cuda_graphs: Record the compiled blocks as CUDA graphs; only with `compiled`.
        slice_frames: Decode this many frames at a time where that changes nothing, see `slice_decoder`.
        second_device: Another torch device, which gets a copy of the denoising UNet and computes the unconditional
            guidance row while the first computes the conditional one.

    Raises:
        InputError: If networks that are offloaded are to work on two devices.
        ModelError: If there is no compiler.
        ValueError: If CUDA graphs are asked for without compiling.
    """
    if cuda_graphs and not compiled:
        raise ValueError("expected compiled=True with cuda_graphs=True, as graphs are recorded from compiled blocks")
    if compiled:
        _require_compiler(device_of(pipeline.denoising_unet))
    if channels_last:
        for network in (pipeline.reference_unet, pipeline.denoising_unet, pipeline.vae):
            use_channels_last(network)
    if slice_frames is not None:
        slice_decoder(pipeline.vae, slice_frames)
        pipeline.decoder_is_sliced = True
    if second_device is not None:
        if hasattr(pipeline.denoising_unet, "_hf_hook"):
            raise InputError("expected networks that stay on their devices for two of them, got CPU offload")
        pipeline.replica = _copy(pipeline.denoising_unet, second_device)
        if channels_last:
            use_channels_last(pipeline.replica)
    if compiled:
        for network in (pipeline.denoising_unet, pipeline.replica):
            if network is not None:
                compile_blocks(network, cuda_graphs=cuda_graphs)
        pipeline.is_compiled = True


def compile_blocks(unet: nn.Module, *, cuda_graphs: bool = False) -> None:
    """Compile the blocks of a denoising UNet one by one when they are called first, see `tune`.

    Blocks of one class share their compiled forms, one per shape; torch is allowed to keep them all.
    """
    import torch._dynamo  # takes a second, and few compile

    limits = torch._dynamo.config
    for name in ("recompile_limit", "cache_size_limit"):  # the second before PyTorch 2.7
        if hasattr(limits, name):
            setattr(limits, name, max(getattr(limits, name), _FORMS))
    for module in unet.modules():
        if isinstance(module, _COMPILED):
            module.compile(mode="reduce-overhead" if cuda_graphs else None, dynamic=False)


def use_channels_last(network: nn.Module) -> None:
    """Lay out the weights of a network's 2-D convolutions with channels last; those over time stay as they are."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


def _copy(unet: XPortrait2DenoisingUNet, device: str) -> XPortrait2DenoisingUNet:
    """The same network on another device, without a second copy on the first."""
    with torch.device("meta"):
        copy: XPortrait2DenoisingUNet = XPortrait2DenoisingUNet.from_config(unet.config)
    nn.Module.to(copy.to_empty(device=device), unet.dtype)
    copy.load_state_dict(unet.state_dict())
    copy.eval()
    return copy


def _require_compiler(device: torch.device) -> None:
    """Find out before a render whether blocks can be compiled.

    Raises:
        ModelError: If they cannot.
    """
    if device.type == "cuda":
        found = importlib.util.find_spec("triton") is not None
        wanted = "the package triton"
    else:
        names = ("g++", "clang++", "cl")
        found = any(shutil.which(name) for name in names)
        wanted = f"a C++ compiler ({', '.join(names)})"
    if not found:
        raise ModelError(f"expected {wanted} for compiled=True, found none; install it or leave compiling out")
