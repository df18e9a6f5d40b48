"""The loop of one stage: optimisation steps until its time or its steps are over, with saving, sheets and measuring."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from portrait_anim.training.draws import Draws, RankDraws, step_seed
from portrait_anim.training.journal import Journal, write_sheet
from portrait_anim.training.parallel import Crew
from portrait_anim.training.recipes import StageConfig, TrainConfig
from portrait_anim.training.sources import BatchSource
from portrait_anim.training.stages import DATA_KINDS, DataKind
from portrait_anim.training.state import TrainState
from portrait_anim.training.step import Batch, StepInput, StepResult

logger = logging.getLogger(__name__)

_WARM_UP_STEPS = 50
_MAX_NORM = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainProgress:
    """One step of visible progress.

    Attributes:
        stage: Name of the stage.
        step: Steps done in it.
        share: How far the stage is, 0 to 1.
        loss: Newest loss that was read; NaN before the first.
        seconds_left: Time until the run ends, `None` when it is bound by steps.
    """

    stage: str
    step: int
    share: float
    loss: float
    seconds_left: float | None


ProgressListener = Callable[[TrainProgress], None]


@dataclass(kw_only=True, slots=True)
class StageJob:
    """Everything the loop of one stage needs.

    Attributes:
        config: The run.
        stage: The stage.
        state: Networks and optimizer.
        source: Training batches.
        held_out: Batches of held-out people.
        crew: The processes that train together.
        budget_s: Time of the stage, earlier calls counted in; `None` for no limit.
        should_stop: Asked before every step; true ends the call, not the stage.
        on_progress: Told after every step.
        seconds_after: Time planned for what follows the stage.
    """

    config: TrainConfig
    stage: StageConfig
    state: TrainState
    source: BatchSource
    held_out: list[Batch]
    crew: Crew
    budget_s: float | None
    should_stop: Callable[[], bool]
    on_progress: ProgressListener | None = None
    seconds_after: float = 0.0
    _due: dict[str, float] = field(default_factory=dict)
    _loss: float = math.nan

    @property
    def kind(self) -> DataKind:
        """Kind of the batches."""
        return DATA_KINDS[self.state.spec.data]

    @property
    def journal(self) -> Journal:
        """Writer of this stage's metrics."""
        return Journal(
            run=self.config.run, stage=self.stage.stage, writes=self.crew.is_main, mean=lambda t: self.crew.mean_([t])
        )


def run_stage(job: StageJob) -> bool:
    """Train one stage.

    Args:
        job: What to do.

    Returns:
        Whether the stage is done; false when the call was asked to stop before.
    """
    state, journal = job.state, job.journal
    journal.rewind(state.step)
    if state.step == 0:
        measure(job, journal)
    done = _steps_that_fit(job, journal)
    journal.flush()
    if done:
        if state.spec.conclude is not None:
            for nets in (state.nets, state.averaged):
                state.spec.conclude(nets)
        measure(job, journal)
        if job.on_progress and job.crew.is_main:
            job.on_progress(_progress(job, 1.0))
    if job.crew.is_main:
        state.save(job.config.run, done=done)
    job.crew.wait()
    return done


def _steps_that_fit(job: StageJob, journal: Journal) -> bool:
    """Steps with smaller batches each time the device runs out of memory; see `_steps`."""
    state, group = job.state, job.kind.group
    while True:
        try:
            return _steps(job, journal)
        except torch.cuda.OutOfMemoryError:
            smaller = state.batch_size // 2 // group * group
            if smaller < group or job.crew.world > 1:
                raise
            logger.warning("out of memory at step %d: batches of %d from here on", state.step, smaller)
        # only now, without the exception that holds on to them, can the tensors go
        state.batch_size = smaller
        state.optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()


def _steps(job: StageJob, journal: Journal) -> bool:
    """Steps until the stage is over (true) or the call must stop (false)."""
    state, stage, config = job.state, job.stage, job.config
    generator = torch.Generator(job.crew.device)
    draws: Draws = (
        generator if job.crew.world == 1
        else RankDraws(generator=generator, rank=job.crew.rank, world=job.crew.world)
    )  # fmt: skip
    last = time.monotonic()
    stream = job.source.batches(state.batch_size, state.step)
    while True:
        share = _share(job)
        share = job.crew.agree(-1.0 if share < 1 and job.should_stop() else share)
        if share >= 1 or share < 0:
            return share >= 1
        generator.manual_seed(step_seed(config.seed, stage.stage, state.step))
        learning_rate = stage.learning_rate * _schedule(state.step, share)
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate
        result = _optimise(job, next(stream), draws)
        state.step += 1
        now = time.monotonic()
        state.seconds, last = state.seconds + now - last, now
        facts = {"step": state.step, "seconds": round(state.seconds, 2), "learning_rate": learning_rate}
        journal.add(facts, {"loss": result.loss} | result.metrics)
        if state.step % config.log_every == 0 or state.step == 1:
            job._loss = journal.flush().get("loss", math.nan)
        if job.on_progress and job.crew.is_main:
            job.on_progress(_progress(job, share))
        _housekeeping(job, journal, result)


def _share(job: StageJob) -> float:
    """How far the stage is: by steps or by the clock, whichever is farther."""
    by_steps = job.state.step / job.stage.num_steps
    return by_steps if job.budget_s is None else max(by_steps, job.state.seconds / max(job.budget_s, 1e-3))


def _schedule(step: int, share: float) -> float:
    """Linear warm-up, then a cosine from 1 to 0.02."""
    return min(1.0, (step + 1) / _WARM_UP_STEPS) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


def _optimise(job: StageJob, stored: Batch, draws: Draws) -> StepResult:
    """One optimisation step."""
    state = job.state
    batch = job.kind.prepare(stored, draws, job.kind.group)
    given = StepInput(
        nets=state.nets, draws=draws, strength=min(1.0, state.step / job.stage.ramp_steps), bf16=job.config.bf16,
        teacher=state.teacher,
    )  # fmt: skip
    result = state.spec.step(given, batch)
    state.optimizer.zero_grad(set_to_none=True)
    result.loss.backward()
    parameters = [p for _, p in state.trained()]
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [p.grad for p in parameters if p.grad is not None]
    job.crew.mean_(gradients)
    finite = clip(gradients)
    state.optimizer.step()
    _average(state, job.stage.ema_decay, job.crew)
    return StepResult(loss=result.loss, metrics=result.metrics | {"finite": finite}, pictures=result.pictures)


@torch.no_grad()
def clip(gradients: list[torch.Tensor], max_norm: float = _MAX_NORM) -> torch.Tensor:
    """Scale gradients to a norm of at most `max_norm`, in place and without waiting for the device.

    Gradients that are not finite become 0: the step then only follows its momentum.

    Returns:
        1 where the norm was finite, else 0.
    """
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    finite = torch.isfinite(norm).float()
    scale = torch.where(finite > 0, (max_norm / (norm + 1e-6)).clamp(max=1.0), 0.0)
    for gradient in gradients:
        torch.nan_to_num_(gradient, 0.0, 0.0, 0.0)
    torch._foreach_mul_(gradients, scale)
    return finite


@torch.no_grad()
def _average(state: TrainState, decay: float, crew: Crew) -> None:
    """Follow the trained parameters; running statistics are taken as they are."""
    decay = min(decay, (1 + state.step) / (10 + state.step))
    for part in state.spec.trains:
        nets, averaged = state.nets.get_submodule(part), state.averaged.get_submodule(part)
        crew.mean_(nets.buffers())
        pairs = [(m, v) for m, v in zip(averaged.parameters(), nets.parameters(), strict=True) if v.requires_grad]
        torch._foreach_lerp_([m for m, _ in pairs], [v for _, v in pairs], 1 - decay)
        if buffers := list(averaged.buffers()):
            torch._foreach_copy_(buffers, list(nets.buffers()))


def _progress(job: StageJob, share: float) -> TrainProgress:
    left = None if job.budget_s is None else max(0.0, job.budget_s - job.state.seconds) + job.seconds_after
    return TrainProgress(
        stage=job.stage.stage, step=job.state.step, share=share, loss=job._loss, seconds_left=left
    )


def _housekeeping(job: StageJob, journal: Journal, result: StepResult) -> None:
    """Save, draw a sheet, measure, each when it is due; its time counts as the stage's."""
    config, crew = job.config, job.crew
    if crew.is_main:
        if _is_due(job, "save", config.save_every_s):
            job.state.save(config.run, done=False)
        if _is_due(job, "sheet", config.sheet_every_s):
            write_sheet(config.run / f"sheet_{job.stage.stage}.png", result.pictures())
        if _is_due(job, "measure", config.measure_every_s):
            measure(job, journal)


def _is_due(job: StageJob, what: str, every_s: float) -> bool:
    now = time.monotonic()
    if now - job._due.setdefault(what, now) < every_s:
        return False
    job._due[what] = now
    return True


@torch.no_grad()
def measure(job: StageJob, journal: Journal) -> dict[str, float]:
    """Metrics of the averaged networks on held-out people, undamaged, always with the same draws, into the journal.

    Returns:
        Mean metrics; empty without held-out data.
    """
    if not job.held_out or not job.crew.is_main:
        return {}
    state = job.state
    rows: list[dict[str, torch.Tensor]] = []
    result: StepResult | None = None
    for number, stored in enumerate(job.held_out):
        generator = torch.Generator(job.crew.device).manual_seed(step_seed("held out", number))
        given = StepInput(
            nets=state.averaged, draws=generator, strength=0.0, bf16=job.config.bf16, teacher=state.teacher
        )
        result = state.spec.step(given, job.kind.prepare(stored, generator, job.kind.group))
        rows.append({"loss": result.loss} | result.metrics)
    means = {k: float(torch.stack([row[k] for row in rows]).mean()) for k in rows[0]}
    journal.write([{"step": state.step, "seconds": round(state.seconds, 2), "held_out": True, **means}])
    if result is not None:
        write_sheet(held_out_sheet(job.config.run, job.stage.stage), result.pictures())
    return means


def held_out_sheet(run: Path, stage: str) -> Path:
    """Where the newest sample sheet of held-out people lies."""
    return run / f"sheet_{stage}_held_out.png"
