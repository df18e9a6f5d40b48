"""Recipes: functions that return everything that decides a training run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from portrait_anim.errors import InputError
from portrait_anim.training.stages import DATA_KINDS, stage_spec
from portrait_anim.weights import weights_dir


@dataclass(frozen=True, kw_only=True, slots=True)
class StageConfig:
    """How one stage trains.

    Attributes:
        stage: Row of the stage table.
        share: Share of the run's time, relative to the other stages.
        num_steps: Steps at most.
        batch_size: Samples per step and process.
        learning_rate: Peak of the cosine schedule.
        ema_decay: Decay of the averaged weights.
        ramp_steps: Photometric damage grows to its full strength over so many steps.

    Raises:
        InputError: If there is no such stage.
        ValueError: If a number is out of range.
    """

    stage: str
    share: float = 1.0
    num_steps: int = 1_000_000
    batch_size: int = 16
    learning_rate: float = 1e-3
    ema_decay: float = 0.99
    ramp_steps: int = 600

    def __post_init__(self) -> None:
        group = DATA_KINDS[stage_spec(self.stage).data].group
        if self.batch_size < 1 or self.batch_size % group:
            raise ValueError(
                f"expected a batch size of stage {self.stage} that is a multiple of {group}, got {self.batch_size}"
            )
        if self.share <= 0 or self.num_steps < 1:
            raise ValueError(f"expected share and num_steps above 0, got {self.share} and {self.num_steps}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that decides a training run.

    Attributes:
        stages: What is trained, one after the other.
        run: Folder for checkpoints, metrics and sheets.
        data: Folder of shards, or `None`.
        pack: Data pack to render from where there are no shards, or `None`.
        initial: Pipeline folder whose weights a fresh run starts from; `None` starts from random ones.
        budget_minutes: Time of the whole run, earlier calls counted in; `None` for no limit.
        finish_share: Share of the time for calibration and export, relative to the stages' shares; 0 leaves the
            calibration out.
        seed: Seed of data order and every random draw.
        device: `"cpu"`, `"cuda"` or `"auto"`.
        bf16: Use bfloat16 where the device multiplies it in hardware.
        num_threads: CPU threads; 0 keeps torch's choice.
        save_every_s: Seconds between checkpoints.
        sheet_every_s: Seconds between sample sheets.
        measure_every_s: Seconds between measurements on held-out people.
        measure_batches: Batches of such a measurement.
        measure_size: Samples per such batch.
        log_every: Steps between readings of the metrics.
        reuse: How often a sample that is rendered on the way is used.
        chunk_batches: Batches' worth of samples rendered at a time.
        render_batch: Samples rendered together.
    """

    stages: tuple[StageConfig, ...]
    run: Path
    data: Path | None = None
    pack: Path | None = None
    initial: Path | None = None
    budget_minutes: float | None = 60.0
    finish_share: float = 0.0
    seed: int = 0
    device: str = "cpu"
    bf16: bool = True
    num_threads: int = 0
    save_every_s: float = 240.0
    sheet_every_s: float = 240.0
    measure_every_s: float = 180.0
    measure_batches: int = 4
    measure_size: int = 16
    log_every: int = 10
    reuse: int = 3
    chunk_batches: int = 4
    render_batch: int = 64


def gpu() -> TrainConfig:
    """All stages on one GPU with 80 GB within 25 minutes, on from weights that exist."""
    return TrainConfig(
        stages=(
            StageConfig(stage="motion", share=7.0, batch_size=256, ema_decay=0.998, ramp_steps=400),
            StageConfig(stage="warp", share=5.0, batch_size=128, learning_rate=6e-4, ema_decay=0.998),
            StageConfig(stage="denoise", share=7.0, batch_size=128, learning_rate=8e-4, ema_decay=0.998),
            StageConfig(stage="temporal", share=1.5, batch_size=96, learning_rate=2e-4, ema_decay=0.995),
            StageConfig(stage="distill", share=2.0, batch_size=96, learning_rate=2e-4, ema_decay=0.995),
        ),
        run=Path("runs/gpu"),
        initial=weights_dir() / "lite",
        device="cuda",
        budget_minutes=25.0,
        finish_share=1.5,
        save_every_s=100.0,
        sheet_every_s=120.0,
        measure_every_s=60.0,
        measure_batches=4,
        measure_size=64,
        log_every=20,
        chunk_batches=3,
        render_batch=128,
    )


def cpu() -> TrainConfig:
    """All stages on two cores within hours, on from weights that exist."""
    return TrainConfig(
        stages=(
            StageConfig(stage="motion", share=6.0, batch_size=12),
            StageConfig(stage="warp", share=4.0, batch_size=12, learning_rate=6e-4),
            StageConfig(stage="denoise", share=6.0, batch_size=12),
            StageConfig(stage="temporal", share=1.5, batch_size=12, learning_rate=3e-4),
            StageConfig(stage="distill", share=1.5, batch_size=8, learning_rate=3e-4),
        ),
        run=Path("runs/cpu"),
        initial=weights_dir() / "lite",
        budget_minutes=480.0,
        finish_share=0.5,
        measure_every_s=900.0,
        reuse=4,
        render_batch=8,
        chunk_batches=2,
    )


def cpu_motion() -> TrainConfig:
    """Stage `motion` on a two-core machine."""
    return _single(StageConfig(stage="motion", batch_size=12), minutes=15.0)


def cpu_warp() -> TrainConfig:
    """Stage `warp` on a two-core machine."""
    return _single(StageConfig(stage="warp"), minutes=60.0)


def cpu_denoise() -> TrainConfig:
    """Stage `denoise` on a two-core machine."""
    return _single(StageConfig(stage="denoise"), minutes=60.0)


def tiny() -> TrainConfig:
    """Two steps of every stage, for tests."""
    names = ("motion", "warp", "denoise", "temporal", "distill")
    return TrainConfig(
        stages=tuple(StageConfig(stage=name, num_steps=2, batch_size=2) for name in names),
        run=Path("runs/tiny"), budget_minutes=None, bf16=False, measure_batches=1, measure_size=2, log_every=1,
        reuse=2, chunk_batches=1, render_batch=2, finish_share=1.0,
    )  # fmt: skip


def _single(stage: StageConfig, minutes: float) -> TrainConfig:
    return TrainConfig(stages=(stage,), run=Path("runs/lite"), budget_minutes=minutes, reuse=4, render_batch=8)


RECIPES: Final[Mapping[str, Callable[[], TrainConfig]]] = MappingProxyType(
    {"gpu": gpu, "cpu": cpu, "cpu_motion": cpu_motion, "cpu_warp": cpu_warp, "cpu_denoise": cpu_denoise, "tiny": tiny}
)


def get_recipe(name: str) -> TrainConfig:
    """Look up a recipe by name.

    Raises:
        InputError: If there is no such recipe.
    """
    if name not in RECIPES:
        raise InputError(f"expected a recipe among {', '.join(RECIPES)}, got {name!r}")
    return RECIPES[name]()


def with_stage_limits(config: TrainConfig, *, num_steps: int | None, batch_size: int | None) -> TrainConfig:
    """The same run with at most so many steps per stage, or with other batches; batches keep whole groups.

    Args:
        config: A run.
        num_steps: Steps per stage at most; `None` changes nothing.
        batch_size: Samples per step; `None` changes nothing.
    """

    def changed(stage: StageConfig) -> StageConfig:
        group = DATA_KINDS[stage_spec(stage.stage).data].group
        size = stage.batch_size if batch_size is None else max(group, batch_size // group * group)
        steps = stage.num_steps if num_steps is None else min(num_steps, stage.num_steps)
        return replace(stage, batch_size=size, num_steps=steps)

    limited = replace(config, stages=tuple(changed(stage) for stage in config.stages))
    if batch_size is None:
        return limited
    return replace(
        limited,
        measure_size=min(config.measure_size, max(2, batch_size)),
        render_batch=min(config.render_batch, max(2, batch_size)),
    )
