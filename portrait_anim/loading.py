"""From the name of a profile to its pipeline, and to the options that suit it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portrait_anim import weights
from portrait_anim.errors import InputError
from portrait_anim.models.profiles import get_profile
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.pipelines.xportrait2_options import Precision

if TYPE_CHECKING:
    from portrait_anim.pipelines.portrait import PortraitAnimationPipeline


def default_options(profile: str) -> AnimationOptions:
    """Choices for one animation when the user makes none: steps and size are those of the profile.

    Raises:
        ProfileUnavailable: If there is no such profile.
    """
    spec = get_profile(profile)
    return AnimationOptions(num_steps=spec.default_steps, size_px=spec.default_size_px)


def load_pipeline(
    profile: str = "lite",
    *,
    device: str = "cpu",
    second_device: str | None = None,
    offload: bool = False,
    precision: Precision | None = None,
) -> PortraitAnimationPipeline:
    """Load a profile's pipeline after checking its weights.

    Args:
        profile: Name of the profile.
        device: torch device, for example `"cpu"` or `"cuda"`.
        second_device: Another one, which then shares the denoising; only for `xportrait2`.
        offload: Keep networks in main memory and bring each to the device for its work only; needs `accelerate`.
        precision: What networks compute in; `None` is `"float16"` for `xportrait2` on a GPU, as published, otherwise
            `"float32"`.

    Raises:
        InputError: If the devices cannot be used as asked, or the profile does not know the choice.
        ProfileUnavailable: If there is no such profile.
        WeightsMissing: If weight files are absent.
        WeightsCorrupt: If a weight file has the wrong checksum.
    """
    import torch
    from diffusers.utils import logging

    spec = get_profile(profile)
    _check_devices(spec.name, device, second_device, offload=offload)
    if spec.shipped and precision not in (None, "float32"):
        raise InputError(f"expected float32 with the profile {spec.name!r}, got {precision!r}; leave the precision out")
    kind = _pipeline_class(spec.name)
    usual: Precision = "float32" if spec.shipped or torch.device(device).type == "cpu" else "float16"
    dtype = getattr(torch, precision or usual)
    folder = weights.require(spec.folder)
    logging.disable_progress_bar()
    pipeline = kind.from_pretrained(folder, dtype=dtype, local_files_only=True, **_preview(folder, dtype))
    pipeline.set_progress_bar_config(disable=True)
    for network in pipeline.components.values():  # without accelerate, diffusers leaves some in float32
        if isinstance(network, torch.nn.Module) and any(p.dtype != dtype for p in network.parameters()):
            network.to(dtype)
    if spec.shipped:  # convolutions of these small networks are faster so, on CPUs too
        for network in pipeline.components.values():
            if isinstance(network, torch.nn.Module):
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if offload:
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    if spec.name == "xportrait2":
        from portrait_anim.pipelines.xportrait2_tuning import tune

        on_cpu = torch.device(device).type == "cpu"
        tune(
            pipeline, channels_last=not on_cpu, slice_frames=4 if offload or on_cpu else None,
            second_device=second_device,
        )  # fmt: skip
    return pipeline  # type: ignore[no-any-return]


def _check_devices(profile: str, device: str, second_device: str | None, *, offload: bool) -> None:
    """Refuse devices that are not there or cannot do what is asked, before weights are read."""
    import torch

    for name in filter(None, (device, second_device)):
        try:
            torch.empty(0, device=name)
        except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
            reason = str(error).splitlines()[0]
            raise InputError(f"expected a device such as cpu or cuda, cannot use {name!r}: {reason}") from error
    if second_device and (profile != "xportrait2" or offload):
        reason = "CPU offload" if offload else f"the profile {profile!r}"
        raise InputError(f"expected a second device only for 'xportrait2' without CPU offload, got one with {reason}")
    if offload and importlib.util.find_spec("accelerate") is None:
        raise InputError("expected the package accelerate for CPU offload, got none; install portrait-anim[xportrait2]")


def _preview(folder: Path, dtype: Any) -> dict[str, Any]:
    """The decoder for drafts, which users may put beside the networks."""
    if not (folder / "preview_vae").is_dir():
        return {}
    from diffusers import AutoencoderTiny

    return {"preview_vae": AutoencoderTiny.from_pretrained(folder / "preview_vae", torch_dtype=dtype)}


def _pipeline_class(profile: str) -> Any:
    """Class of a profile's pipeline; only that one is imported."""
    if profile == "xportrait2":
        from portrait_anim.pipelines.xportrait2 import XPortrait2Pipeline

        return XPortrait2Pipeline
    from portrait_anim.pipelines.portrait import PortraitAnimationPipeline

    return PortraitAnimationPipeline
