"""A whole training run: stage after stage within one budget, then calibration and export; resumable anywhere.

The run folder holds a checkpoint folder per stage, `metrics.jsonl`, sheets, `summary_<stage>.json` and `curves.png`.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from portrait_anim.training import checkpoint
from portrait_anim.training.calibration import calibrate
from portrait_anim.training.export import export
from portrait_anim.training.journal import summarise
from portrait_anim.training.loop import ProgressListener, StageJob, run_stage
from portrait_anim.training.networks import LiteNetworks, bf16_is_fast
from portrait_anim.training.parallel import Crew, open_crew
from portrait_anim.training.recipes import StageConfig, TrainConfig
from portrait_anim.training.sources import Materials
from portrait_anim.training.stages import DATA_KINDS, stage_spec
from portrait_anim.training.state import averaged_networks, start

logger = logging.getLogger(__name__)

_OPTIMIZER_COPIES: Final = 2  # AdamW keeps two moments of every trained parameter


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOutcome:
    """How a call ended.

    Attributes:
        finished: Whether all stages are done.
        stage: Stage that was last worked on.
        exported: Folder of the exported pipeline, or `None`.
    """

    finished: bool
    stage: str
    exported: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePlan:
    """What a stage would do.

    Attributes:
        stage: Its name.
        aim: What it is for.
        state: `"done"`, `"step 120"` or `"to do"`.
        minutes: Its part of the budget, `None` when it is bound by steps.
        num_steps: Steps at most.
        batch_size: Samples per step and process.
        trained_parameters: How many numbers train.
        checkpoint_bytes: Size of its checkpoint [byte].
    """

    stage: str
    aim: str
    state: str
    minutes: float | None
    num_steps: int
    batch_size: int
    trained_parameters: int
    checkpoint_bytes: int


def plan(config: TrainConfig, *, resume: bool = True) -> list[StagePlan]:
    """What `train` would do, without doing it."""
    nets = LiteNetworks()
    total = sum(p.numel() for p in nets.state_dict().values())
    shares = sum(stage.share for stage in config.stages) + config.finish_share
    out = []
    for stage in config.stages:
        spec = stage_spec(stage.stage)
        frozen = {id(p) for name in spec.frozen for p in nets.get_submodule(name).parameters()}
        count = sum(p.numel() for n in spec.trains for p in nets.get_submodule(n).parameters() if id(p) not in frozen)
        trained = sum(v.numel() for name in spec.trains for v in nets.get_submodule(name).state_dict().values())
        teacher = sum(p.numel() for p in nets.denoiser.parameters()) if spec.has_teacher else 0
        found = _facts(config, stage) if resume else {}
        out.append(
            StagePlan(
                stage=stage.stage,
                aim=spec.aim,
                state="done" if found.get("done") else f"step {found['step']}" if found else "to do",
                minutes=None if config.budget_minutes is None else config.budget_minutes * stage.share / shares,
                num_steps=stage.num_steps,
                batch_size=stage.batch_size,
                trained_parameters=count,
                checkpoint_bytes=4 * (total + trained + teacher + _OPTIMIZER_COPIES * count),
            )
        )
    return out


def train(
    config: TrainConfig,
    *,
    resume: bool = True,
    export_to: Path | None = None,
    stop_after_minutes: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: ProgressListener | None = None,
) -> TrainOutcome:
    """Run all stages until their time or their steps are over.

    Args:
        config: What to do.
        resume: Go on where an earlier call in `config.run` stopped; stages that are done are not repeated. Otherwise
            the checkpoints of these stages are removed first; other stages in the folder stay.
        export_to: Weights folder for the pipeline when all stages are done; `None` exports nothing.
        stop_after_minutes: Save and return after this time although the budget is not used up; a later call goes on.
        should_stop: Asked before every step; true saves and returns.
        on_progress: Told after every step.

    Returns:
        How it ended.

    Raises:
        InputError: If data, device or starting weights are not there.
        ModelError: If a checkpoint does not fit or is damaged.
    """
    with closing(open_crew(config.device)) as crew:
        config = _settle(config, crew)
        clock = _Clock(config, resume=resume, stop_after_minutes=stop_after_minutes, should_stop=should_stop)
        materials = Materials(
            device=crew.device, seed=config.seed, data=config.data, pack=config.pack, reuse=config.reuse,
            chunk_batches=config.chunk_batches, render_batch=config.render_batch, rank=crew.rank, world=crew.world,
        )  # fmt: skip
        names = [stage.stage for stage in config.stages]
        if not resume and crew.is_main:
            for name in names:
                shutil.rmtree(config.run / name, ignore_errors=True)
        crew.wait()
        for number, stage in enumerate(config.stages):
            if _facts(config, stage).get("done"):
                continue
            if not _train_stage(config, number, crew, materials, clock, on_progress):
                return TrainOutcome(finished=False, stage=stage.stage)
        exported = None
        if crew.is_main and export_to is not None:
            exported = _finish(config, names, materials, export_to, crew.device)
        return TrainOutcome(finished=True, stage=names[-1], exported=exported)


def _facts(config: TrainConfig, stage: StageConfig) -> dict[str, Any]:
    """Facts of a stage's checkpoint; empty without one."""
    folder = config.run / stage.stage
    return checkpoint.facts(folder) if checkpoint.exists(folder) else {}


class _Clock:
    """Shares the time of a run among its stages; what a stage leaves over goes to those behind it."""

    def __init__(
        self, config: TrainConfig, *, resume: bool, stop_after_minutes: float | None, should_stop: Callable[[], bool]
    ) -> None:
        self.started = time.monotonic()
        self.spent_before = sum(float(_facts(config, s).get("seconds", 0)) for s in config.stages if resume)
        self.config = config
        self._deadline = None if stop_after_minutes is None else self.started + 60 * stop_after_minutes
        self._asked = should_stop

    def should_stop(self) -> bool:
        """Whether this call must end."""
        return self._asked() or (self._deadline is not None and time.monotonic() > self._deadline)

    def budget_of(self, number: int, own_seconds: float) -> tuple[float | None, float]:
        """Time of a stage, its earlier calls counted in, and time planned for what follows it [s]."""
        if self.config.budget_minutes is None:
            return None, 0.0
        spent = self.spent_before + time.monotonic() - self.started - own_seconds
        left = max(0.0, 60 * self.config.budget_minutes - spent)
        later = sum(s.share for s in self.config.stages[number + 1 :]) + self.config.finish_share
        mine = left * self.config.stages[number].share / (self.config.stages[number].share + later)
        return mine, left - mine


def _settle(config: TrainConfig, crew: Crew) -> TrainConfig:
    """Make the process ready and drop what the device cannot do."""
    if config.bf16 and not bf16_is_fast(crew.device):
        config = replace(config, bf16=False)
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    if crew.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # shapes stay the same; geometry keeps full float32 products
    torch.manual_seed(config.seed)  # first values of new networks
    config.run.mkdir(parents=True, exist_ok=True)
    return config


def _train_stage(
    config: TrainConfig,
    number: int,
    crew: Crew,
    materials: Materials,
    clock: _Clock,
    on_progress: ProgressListener | None,
) -> bool:
    """Run one stage; whether it is done."""
    stage: StageConfig = config.stages[number]
    spec = stage_spec(stage.stage)
    settings = {"batch_size": stage.batch_size, "learning_rate": stage.learning_rate}
    state = start(spec, config.run, device=crew.device, initial=config.initial, settings=settings)
    kind = DATA_KINDS[spec.data]
    source = materials.training(kind)
    held_out = materials.held_out(kind, config.measure_size, config.measure_batches) if crew.is_main else []
    if not held_out and crew.is_main:
        logger.warning("stage %s: the data has no held-out people, so nothing is measured on them", stage.stage)
    budget_s, after = clock.budget_of(number, state.seconds)
    began, first_step = time.monotonic(), state.step
    job = StageJob(
        config=config, stage=stage, state=state, source=source, held_out=held_out, crew=crew, budget_s=budget_s,
        should_stop=clock.should_stop, on_progress=on_progress, seconds_after=after,
    )  # fmt: skip
    done = run_stage(job)
    if crew.is_main:
        took = time.monotonic() - began
        facts = {
            "done": done, "steps": state.step, "seconds": round(state.seconds, 1), "batch_size": state.batch_size,
            "processes": crew.world, "device": _device_name(crew.device), "bf16": config.bf16,
            "samples_per_s": round((state.step - first_step) * state.batch_size * crew.world / max(took, 1e-9), 2),
            "learning_rate": stage.learning_rate, "seed": config.seed,
        }  # fmt: skip
        summarise(config.run, stage.stage, facts)
    return done


def _finish(
    config: TrainConfig, names: list[str], materials: Materials, export_to: Path, device: torch.device
) -> Path:
    """Calibrate the averaged networks and export them."""
    nets = averaged_networks(config.run, names)
    assert nets is not None
    nets.to(device)
    kind = DATA_KINDS["samples"]
    if config.finish_share > 0:
        held_out = materials.held_out(kind, 32, 8)
        if held_out:
            size = 32 if config.stages[0].batch_size >= 32 else 2
            calibrate(nets, materials.training(kind).batches(size), held_out, pose_batches=110 if size == 32 else 2)
    return export(nets.cpu(), export_to)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
