"""The state of a stage in training: networks, their average, optimizer; to and from checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from portrait_anim.errors import StateDictMismatch
from portrait_anim.training import checkpoint
from portrait_anim.training.networks import LiteNetworks, load_pipeline_weights
from portrait_anim.training.stages import StageSpec, before

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(slots=True)
class TrainState:
    """What a checkpoint holds.

    Attributes:
        spec: The stage.
        nets: Networks being trained.
        averaged: Exponential moving average of them; what the next stage and the export take.
        optimizer: AdamW over what the stage trains.
        teacher: Networks that the stage started with, frozen, when its step learns from them.
        step: Steps done in this stage.
        seconds: Time that they took.
        batch_size: Samples per step and process; smaller than wanted when memory ran out.
    """

    spec: StageSpec
    nets: LiteNetworks
    averaged: LiteNetworks
    optimizer: torch.optim.Optimizer
    teacher: LiteNetworks | None
    batch_size: int
    step: int = 0
    seconds: float = 0.0

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and values of the parameters that train."""
        return ((name, p) for name, p in self.nets.named_parameters() if p.requires_grad)

    def save(self, run: Path, *, done: bool) -> Path:
        """Write the checkpoint of the stage; `done` says that the stage ended by itself."""
        tensors = {f"averaged.{k}": v for k, v in self.averaged.state_dict().items()}
        own = tuple(f"{part}." for part in self.spec.trains)
        tensors |= {f"nets.{k}": v for k, v in self.nets.state_dict().items() if k.startswith(own)}
        if self.teacher is not None:
            tensors |= {f"teacher.{k}": v for k, v in self.teacher.denoiser.state_dict().items()}
        moments = self.optimizer.state
        for name, parameter in self.trained():
            tensors |= {f"optimizer.{name}.{k}": v for k, v in moments.get(parameter, {}).items() if k in _MOMENTS}
        facts = {
            "stage": self.spec.name, "step": self.step, "seconds": round(self.seconds, 2),
            "batch_size": self.batch_size, "done": done,
        }  # fmt: skip
        return checkpoint.save(run / self.spec.name, tensors, facts)


def start(
    spec: StageSpec, run: Path, *, device: torch.device, initial: Path | None, settings: dict[str, Any]
) -> TrainState:
    """Begin a stage, or take it up again where its checkpoint in the run stands.

    Args:
        spec: The stage.
        run: Folder of the run.
        device: Where to train.
        initial: What the first stage of a run starts from; `None` for random weights.
        settings: `batch_size` and `learning_rate` of the stage.

    Raises:
        StateDictMismatch: If a checkpoint does not fit the networks.
        WeightsMissing: If a piece of a checkpoint is not there.
        WeightsCorrupt: If a piece of a checkpoint was altered.
    """
    nets = LiteNetworks()
    own = checkpoint.load(run / spec.name) if checkpoint.exists(run / spec.name) else None
    earlier = own or next((checkpoint.load(run / s) for s in before(spec.name) if checkpoint.exists(run / s)), None)
    if earlier is not None:
        _fill(nets, _under("averaged.", earlier.tensors))
    elif initial is not None:
        load_pipeline_weights(nets, initial)
    nets.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(nets).requires_grad_(False).eval()
    teacher = copy.deepcopy(averaged) if spec.has_teacher else None
    state = TrainState(
        spec=spec, nets=nets, averaged=averaged, teacher=teacher, batch_size=settings["batch_size"],
        optimizer=_optimizer(spec, nets, settings["learning_rate"]),
    )  # fmt: skip
    if own is not None:
        _take_up(state, own)
    return state


def averaged_networks(run: Path, stages: list[str]) -> LiteNetworks | None:
    """Averaged networks of the last of the stages that has a checkpoint, on the CPU; `None` without any."""
    for stage in reversed(stages):
        if checkpoint.exists(run / stage):
            nets = LiteNetworks().requires_grad_(False).eval()
            _fill(nets, _under("averaged.", checkpoint.load(run / stage).tensors))
            return nets
    return None


def _optimizer(spec: StageSpec, nets: LiteNetworks, learning_rate: float) -> torch.optim.Optimizer:
    """AdamW over what the stage trains; everything else needs no gradient and stays in evaluation mode."""
    nets.requires_grad_(False).eval()
    for name in spec.trains:
        nets.get_submodule(name).requires_grad_(True).train()
    for name in spec.frozen:
        nets.get_submodule(name).requires_grad_(False).eval()
    parameters = [p for p in nets.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=parameters[0].is_cuda
    )


def _take_up(state: TrainState, saved: checkpoint.Checkpoint) -> None:
    _fill(state.nets, _under("nets.", saved.tensors), partly=True)
    if state.teacher is not None:
        _fill(state.teacher.denoiser, _under("teacher.", saved.tensors))
    packed = state.optimizer.state_dict()
    for number, (name, _) in enumerate(state.trained()):
        moments = _under(f"optimizer.{name}.", saved.tensors)
        if moments:
            packed["state"][number] = moments
    state.optimizer.load_state_dict(packed)
    state.step = int(saved.facts["step"])
    state.seconds = float(saved.facts["seconds"])
    state.batch_size = int(saved.facts["batch_size"])


def _fill(module: nn.Module, tensors: dict[str, torch.Tensor], *, partly: bool = False) -> None:
    """Load tensors by name; sizes must fit, and all must be there unless `partly`."""
    here = module.state_dict()
    wrong = sorted(k for k, v in tensors.items() if k not in here or here[k].shape != v.shape)
    lacking = [] if partly else sorted(set(here) - set(tensors))
    if wrong or lacking:
        raise StateDictMismatch(
            f"expected a checkpoint of these networks, got {len(wrong)} tensors that do not fit ({wrong[:3]}) and "
            f"{len(lacking)} missing ones ({lacking[:3]}); the networks have changed: export the old run with the "
            "version that wrote it, then start with --from FOLDER"
        )
    module.load_state_dict(tensors, strict=not partly)


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
