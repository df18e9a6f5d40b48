"""Recipes: functions that return a complete training configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from portrait_anim.errors import InputError

Stage = Literal["motion", "warp", "denoise"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that decides a training run.

    Attributes:
        stage: `"motion"` trains the motion encoder; `"warp"` trains reference encoder and warp field on the frozen
            motion encoder; `"denoise"` trains the denoiser on the frozen rest.
        data: Folder of shards.
        pattern: Which shards train.
        run: Folder for checkpoints, metrics and sheets.
        initial: Pipeline folder whose weights a fresh run starts from; `None` starts from random ones.
        budget_minutes: Stop gracefully after this time.
        num_steps: Steps at most.
        batch_size: Samples per step.
        learning_rate: Peak of the cosine schedule.
        ema_decay: Decay of the averaged weights.
        seed: Seed of data order and every random draw.
        bf16: Use bfloat16 autocast.
        num_threads: CPU threads; 0 keeps torch's choice.
        save_every_s: Seconds between checkpoints.
    """

    stage: Stage
    data: Path
    run: Path
    initial: Path | None = None
    pattern: str = "*"
    budget_minutes: float = 60.0
    num_steps: int = 100_000
    batch_size: int = 16
    learning_rate: float = 1e-3
    ema_decay: float = 0.99
    seed: int = 0
    bf16: bool = True
    num_threads: int = 0
    save_every_s: float = 240.0


def cpu_motion(data: Path, run: Path, budget_minutes: float = 15.0) -> TrainConfig:
    """Stage 0 on a two-core machine."""
    return TrainConfig(stage="motion", data=data, run=run, pattern="0*", budget_minutes=budget_minutes, batch_size=40)


def cpu_warp(data: Path, run: Path, budget_minutes: float = 60.0) -> TrainConfig:
    """Stage 1 on a two-core machine."""
    return TrainConfig(stage="warp", data=data, run=run, pattern="0*", budget_minutes=budget_minutes)


def cpu_denoise(data: Path, run: Path, budget_minutes: float = 60.0) -> TrainConfig:
    """Stage 2 on a two-core machine."""
    return TrainConfig(stage="denoise", data=data, run=run, pattern="0*", budget_minutes=budget_minutes)


def tiny(data: Path, run: Path, budget_minutes: float = 1.0) -> TrainConfig:
    """Two steps of stage 1, for tests."""
    return TrainConfig(stage="warp", data=data, run=run, budget_minutes=budget_minutes, num_steps=2, batch_size=2)


RECIPES = {"cpu_motion": cpu_motion, "cpu_warp": cpu_warp, "cpu_denoise": cpu_denoise, "tiny": tiny}


def get_recipe(name: str, data: Path, run: Path, budget_minutes: float | None = None) -> TrainConfig:
    """Look up a recipe by name.

    Raises:
        InputError: If there is no such recipe.
    """
    if name not in RECIPES:
        raise InputError(f"expected a recipe among {', '.join(RECIPES)}, got {name!r}")
    recipe = RECIPES[name]
    return recipe(data, run) if budget_minutes is None else recipe(data, run, budget_minutes)
