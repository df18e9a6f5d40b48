"""The networks of the `lite` profile as training holds them, and where they start from."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from portrait_anim.errors import InputError
from portrait_anim.models import LiteDenoiser, LiteMotionEncoder, LiteReferenceEncoder, LiteWarpField

logger = logging.getLogger(__name__)

NETWORK_FILE = "diffusion_pytorch_model.safetensors"


class LiteNetworks(nn.Module):
    """All modules of the profile."""

    def __init__(self) -> None:
        super().__init__()
        self.motion_encoder = LiteMotionEncoder()
        self.reference_encoder = LiteReferenceEncoder()
        self.warp_field = LiteWarpField()
        self.denoiser = LiteDenoiser()


def mixed_precision(like: torch.Tensor, bf16: bool) -> AbstractContextManager[object]:
    """Autocast to bfloat16 on the device of `like`, or nothing."""
    return torch.autocast(like.device.type, torch.bfloat16) if bf16 else nullcontext()


def bf16_is_fast(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware; emulated, it is many times slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def load_pipeline_weights(nets: LiteNetworks, folder: Path) -> list[str]:
    """Start networks from a saved pipeline, also when they have grown since.

    A tensor of another size keeps the leading part that both sizes share, and zeros in the rest: a widened layer
    computes at first what it computed before.

    Args:
        nets: Networks to fill.
        folder: Pipeline folder with one sub-folder per network; or a `.pt` file that an earlier version of this
            program wrote as the checkpoint of a stage, whose averaged networks are taken.

    Returns:
        Names of tensors that the folder does not know; they keep their random values.

    Raises:
        InputError: If the folder lacks a network.
    """
    unknown: list[str] = []
    single = _averaged_of_single_file(folder) if folder.suffix == ".pt" else None
    for name, module in nets.named_children():
        saved = _network(folder, name) if single is None else _below(single, name)
        for key, value in module.state_dict().items():
            old = saved.get(key)
            if old is None or old.ndim != value.ndim:
                unknown.append(f"{name}.{key}")
            elif old.shape == value.shape:
                value.copy_(old)
            else:
                shared = tuple(slice(min(a, b)) for a, b in zip(old.shape, value.shape, strict=True))
                value.zero_()
                value[shared] = old[shared].to(value)
    if unknown:
        logger.info("%d tensors are new and start from random values", len(unknown))
    return unknown


def _network(folder: Path, name: str) -> dict[str, torch.Tensor]:
    file = folder / name / NETWORK_FILE
    if not file.exists():
        raise InputError(f"expected the weights of {name} at {file}, found none; name a pipeline folder")
    saved: dict[str, torch.Tensor] = load_file(file)
    return saved


def _averaged_of_single_file(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise InputError(f"expected a checkpoint at {path}, found none; name a pipeline folder or a .pt file")
    saved: dict[str, torch.Tensor] = torch.load(path, weights_only=True, map_location="cpu")["averaged"]
    return saved


def _below(saved: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(f"{name}."): v for k, v in saved.items() if k.startswith(f"{name}.")}
