"""The training loop: resumable, stops within its budget, writes metrics, sheets and averaged weights."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from portrait_anim.errors import InputError
from portrait_anim.models.lite.warp import LiteWarpOutput, enlarge, show
from portrait_anim.training.recipes import TrainConfig
from portrait_anim.training.shards import ShardDataset
from portrait_anim.training.step import LiteNetworks, denoise_step, motion_step, prepare, total, warp_step
from portrait_anim.types import Progress, ProgressCallback
from portrait_anim.weights import WeightEntry, build_manifest

logger = logging.getLogger(__name__)

# What each stage trains (module names), and which stages it starts from, the first that exists.
STAGE_PARTS = {
    "motion": ("motion_encoder", "warp_field.heads"),
    "warp": ("reference_encoder", "warp_field"),
    "denoise": ("denoiser",),
}
FROZEN = {
    "motion": (),
    "warp": ("motion_encoder", "warp_field.heads", "warp_field.field", "warp_field.mouth"),
    "denoise": ("motion_encoder", "reference_encoder", "warp_field"),
}
BEFORE = {"motion": ("warp",), "warp": ("motion",), "denoise": ("warp", "motion")}
FULL_AUGMENTATION_STEPS = 600.0


@dataclass(slots=True)
class TrainState:
    """What a checkpoint holds.

    Attributes:
        nets: Networks being trained.
        averaged: Exponential moving average of them.
        optimizer: AdamW over the parameters of the stage.
        step: Steps done in this stage.
    """

    nets: LiteNetworks
    averaged: LiteNetworks
    optimizer: torch.optim.Optimizer
    step: int = 0


def train(config: TrainConfig, *, resume: bool = True, on_progress: ProgressCallback | None = None) -> Path:
    """Run one stage until its budget or its last step.

    Args:
        config: What to do.
        resume: Continue from the checkpoint in `config.run` when there is one.
        on_progress: Called after every step.

    Returns:
        The checkpoint file.
    """
    if config.bf16 and not bf16_is_fast():
        config = replace(config, bf16=False)
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    torch.manual_seed(config.seed)
    config.run.mkdir(parents=True, exist_ok=True)
    data = ShardDataset(config.data, config.pattern)
    state = _start(config, resume)
    started = saved = time.monotonic()
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + state.step)
    for batch in data.batches(config.batch_size, config.seed, state.step):
        elapsed = time.monotonic() - started
        share = max(state.step / config.num_steps, elapsed / (60 * config.budget_minutes))
        if share >= 1:
            break
        for group in state.optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(state.step, share)
        metrics, pictures = _step(config, state, prepare(batch, generator), generator)
        state.step += 1
        _average(state, config.ema_decay)
        _log(config.run, {"step": state.step, "seconds": round(elapsed, 1), **metrics})
        if on_progress:
            on_progress(Progress(stage=config.stage, done=state.step, total=None))
        if time.monotonic() - saved > config.save_every_s:
            save_checkpoint(config.run, config.stage, state)
            write_sheet(config.run / f"sheet_{config.stage}.png", pictures)
            saved = time.monotonic()
    return save_checkpoint(config.run, config.stage, state)


def bf16_is_fast() -> bool:
    """Whether this processor multiplies bfloat16 in hardware; emulated, it is many times slower than float32."""
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def _start(config: TrainConfig, resume: bool) -> TrainState:
    nets = LiteNetworks()
    if config.initial is not None:
        load_pipeline_weights(nets, config.initial)
    nets.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(nets).requires_grad_(False)
    state = TrainState(nets, averaged, _optimizer(nets, config))
    own = config.run / f"{config.stage}.pt"
    if resume and own.exists():
        _load(own, state, optimizer=True)
    else:
        for stage in BEFORE[config.stage]:
            if (config.run / f"{stage}.pt").exists():
                _load(config.run / f"{stage}.pt", state, optimizer=False)
                break
    for name in FROZEN[config.stage]:  # build on the averaged result of the stages before
        part = nets.get_submodule(name)
        part.load_state_dict(averaged.get_submodule(name).state_dict())
        part.eval()
    return state


def load_pipeline_weights(nets: LiteNetworks, folder: Path) -> list[str]:
    """Start networks from a saved pipeline, also when they have grown since.

    A tensor of another size keeps the leading part that both sizes share, and zeros in the rest: a widened layer
    computes at first what it computed before.

    Args:
        nets: Networks to fill.
        folder: Pipeline folder with one sub-folder per network.

    Returns:
        Names of tensors that the folder does not know; they keep their random values.

    Raises:
        InputError: If the folder lacks a network.
    """
    unknown: list[str] = []
    for name, module in nets.named_children():
        file = folder / name / "diffusion_pytorch_model.safetensors"
        if not file.exists():
            raise InputError(f"expected the weights of {name} at {file}, found none; name a pipeline folder")
        saved = load_file(file)
        for key, value in module.state_dict().items():
            old = saved.get(key)
            if old is None or old.ndim != value.ndim:
                unknown.append(f"{name}.{key}")
            elif old.shape == value.shape:
                value.copy_(old)
            else:
                shared = tuple(slice(min(a, b)) for a, b in zip(old.shape, value.shape, strict=True))
                value.zero_()
                value[shared] = old[shared].to(value.dtype)
    if unknown:
        logger.info("%d tensors are new and start from random values", len(unknown))
    return unknown


def _optimizer(nets: LiteNetworks, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW over what the stage trains; everything else needs no gradient."""
    nets.requires_grad_(False)
    for name in STAGE_PARTS[config.stage]:
        nets.get_submodule(name).requires_grad_(True)
    for name in FROZEN[config.stage]:
        nets.get_submodule(name).requires_grad_(False)
    parameters = [p for p in nets.parameters() if p.requires_grad]
    return torch.optim.AdamW(parameters, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)


def _load(path: Path, state: TrainState, *, optimizer: bool) -> None:
    saved = torch.load(path, weights_only=True, map_location="cpu")
    state.nets.load_state_dict(saved["nets"])
    state.averaged.load_state_dict(saved["averaged"])
    if optimizer:
        state.optimizer.load_state_dict(saved["optimizer"])
        state.step = saved["step"]


def _schedule(step: int, share: float) -> float:
    """Linear warm-up over 50 steps, then a cosine from 1 to 0.02."""
    return min(1.0, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


def _step(
    config: TrainConfig, state: TrainState, batch: dict[str, torch.Tensor], generator: torch.Generator
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """One optimisation step; returns metrics and pictures."""
    strength = min(1.0, state.step / FULL_AUGMENTATION_STEPS)
    pictures: dict[str, torch.Tensor] = {}
    if config.stage == "motion":
        losses, _ = motion_step(state.nets, batch, generator, strength, config.bf16)
        loss, metrics = total(losses), {k: v.item() for k, v in losses.items()}
    elif config.stage == "warp":
        loss, metrics, _, _, out = warp_step(state.nets, batch, generator, strength, config.bf16)
        pictures = _warp_pictures(batch, out)
    else:
        with torch.no_grad():
            # Paint is learnt on true motion: with the encoder's mistakes in it, the best paint would be a blur.
            _, metrics, motion, features, out = warp_step(
                state.nets, batch, generator, 0.5, config.bf16, taught_share=1.0
            )
        loss, more, pictures = denoise_step(state.nets, batch, generator, motion, features, out, config.bf16)
        metrics |= more
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, 5.0)
    if torch.isfinite(norm):
        state.optimizer.step()
    else:
        logger.warning("step %d skipped: the gradient is not finite", state.step)
    metrics["loss"] = loss.item()
    named = {"source": batch["source"], "driver": batch["driver"], "target": batch["target"]}
    return metrics, named | pictures


@torch.no_grad()
def _warp_pictures(batch: dict[str, torch.Tensor], out: LiteWarpOutput) -> dict[str, torch.Tensor]:
    return {
        "warped": show(batch["source"] * 2 - 1, out) / 2 + 0.5,
        "visible": enlarge(torch.sigmoid(out.visibility_logits), batch["source"].shape[-1]),
    }


@torch.no_grad()
def _average(state: TrainState, decay: float) -> None:
    decay = min(decay, (1 + state.step) / (10 + state.step))
    for mean, value in zip(state.averaged.parameters(), state.nets.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)
    for kept, counted in zip(state.averaged.buffers(), state.nets.buffers(), strict=True):
        kept.copy_(counted)


def _log(run: Path, row: dict[str, Any]) -> None:
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(rounded) + "\n")


def save_checkpoint(run: Path, stage: str, state: TrainState) -> Path:
    """Write the state to `run/<stage>.pt`, replacing it in one move."""
    path = run / f"{stage}.pt"
    temporary = path.with_suffix(".tmp")
    values = {
        "nets": state.nets.state_dict(),
        "averaged": state.averaged.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
    }
    torch.save(values, temporary)
    os.replace(temporary, path)
    return path


def write_sheet(path: Path, pictures: dict[str, torch.Tensor], rows: int = 8) -> None:
    """Write a sheet with one sample per row and one column per picture, `(B, 3 or 1, S, S)` in [0, 1]."""
    columns = [p[:rows].float().cpu().expand(-1, 3, -1, -1) for p in pictures.values()]
    sheet = torch.cat([torch.cat(list(c), dim=1) for c in columns], dim=2)  # (3, rows S, columns S)
    array = (sheet.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(array).save(path)


def export(run: Path, weights_folder: Path, profile: str = "lite") -> Path:
    """Save the averaged networks as a pipeline with 16-bit weights and write the manifest.

    Args:
        run: Folder with `warp.pt` and, when stage 2 has begun, `denoise.pt`.
        weights_folder: Folder that holds `manifest.json`; the pipeline goes to its sub-folder `profile`.
        profile: Profile that is trained here.

    Returns:
        The pipeline's folder.

    Raises:
        InputError: If there is no checkpoint.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    from portrait_anim.pipelines.portrait import PortraitAnimationPipeline

    path = next((run / f"{stage}.pt" for stage in ("denoise", "warp") if (run / f"{stage}.pt").exists()), None)
    if path is None:
        raise InputError(f"expected warp.pt or denoise.pt in {run}, found neither; train a stage first")
    averaged = LiteNetworks()
    averaged.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["averaged"])
    averaged.half()
    folder = weights_folder / profile
    pipeline = PortraitAnimationPipeline(
        averaged.motion_encoder,
        averaged.reference_encoder,
        averaged.warp_field,
        averaged.denoiser,
        FlowMatchEulerDiscreteScheduler(),
    )
    pipeline.save_pretrained(folder)
    write_manifest(folder)
    return folder


def write_manifest(folder: Path) -> None:
    """Write the manifest beside a pipeline folder that was trained here, such as `weights/lite`."""
    entries = [
        WeightEntry(
            file=file.relative_to(folder.parent).as_posix(),
            licence="CC-BY-NC-SA-4.0" if file.suffix == ".safetensors" else "Apache-2.0",
            source="trained by portrait_anim.training on rendered people who do not exist",
            profile=folder.name,
        )
        for file in sorted(folder.rglob("*"))
        if file.suffix in (".safetensors", ".json")
    ]
    build_manifest(folder.parent, entries)


def replace_tensors(folder: Path, network: str, tensors: dict[str, torch.Tensor]) -> None:
    """Exchange or add some tensors of one network of a pipeline folder, in 16 bit, and renew the manifest.

    Args:
        folder: Pipeline folder.
        network: Name of the network's sub-folder.
        tensors: New tensors by their names in the network.
    """
    file = folder / network / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    state |= {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}
    temporary = file.with_suffix(".tmp")
    save_file(state, temporary)
    os.replace(temporary, file)
    write_manifest(folder)
