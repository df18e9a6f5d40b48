"""From the name of a profile to its pipeline, and to the options that suit it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from portrait_anim import weights
from portrait_anim.models.profiles import get_profile
from portrait_anim.pipelines.options import AnimationOptions

if TYPE_CHECKING:
    from portrait_anim.pipelines.portrait import PortraitAnimationPipeline


def default_options(profile: str) -> AnimationOptions:
    """Choices for one animation when the user makes none: steps and size are those of the profile.

    Raises:
        ProfileUnavailable: If there is no such profile.
    """
    spec = get_profile(profile)
    return AnimationOptions(num_steps=spec.default_steps, size_px=spec.default_size_px)


def load_pipeline(profile: str = "lite", *, device: str = "cpu", offload: bool = False) -> PortraitAnimationPipeline:
    """Load a profile's pipeline after checking its weights.

    Args:
        profile: Name of the profile.
        device: torch device, for example `"cpu"` or `"cuda"`.
        offload: Keep networks in main memory and bring each to the device for its work only; needs `accelerate`.

    Raises:
        ProfileUnavailable: If there is no such profile.
        WeightsMissing: If weight files are absent.
        WeightsCorrupt: If a weight file has the wrong checksum.
    """
    import torch
    from diffusers.utils import logging

    spec = get_profile(profile)
    kind = _pipeline_class(spec.name)
    dtype = torch.float32 if spec.shipped or torch.device(device).type == "cpu" else torch.float16
    folder = weights.require(spec.folder)
    logging.disable_progress_bar()
    pipeline = kind.from_pretrained(folder, dtype=dtype, local_files_only=True, **_preview(folder, dtype))
    pipeline.set_progress_bar_config(disable=True)
    if offload:
        pipeline.enable_model_cpu_offload(device=device)
        return pipeline  # type: ignore[no-any-return]
    return pipeline.to(device)  # type: ignore[no-any-return]


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
