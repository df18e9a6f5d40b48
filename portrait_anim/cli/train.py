"""`portrait-anim train`: one training stage of the `lite` profile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from portrait_anim.cli.console import progress_bars, say
from portrait_anim.cli.guard import GuardedTyper


def train(
    recipe: Annotated[str, typer.Argument(help="cpu_motion, cpu_warp, cpu_denoise or tiny.", show_default=False)],
    data: Annotated[Path, typer.Option(help="Folder of rendered shards.", show_default=False)],
    run: Annotated[Path, typer.Option(help="Folder for checkpoints, metrics and sheets.")] = Path("runs/lite"),
    budget_minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Stop and save after this time.", show_default="the recipe's")
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option("--from", help="Pipeline folder to start from, as weights/lite.", show_default="random weights"),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Continue from the checkpoint in --run.")] = True,
    export_to: Annotated[
        Path | None, typer.Option("--export", help="Afterwards write 16-bit weights there.", show_default=False)
    ] = None,
) -> None:
    """Train one stage on rendered people who do not exist; stages build on each other in the same --run folder."""
    from portrait_anim.training.loop import export
    from portrait_anim.training.loop import train as run_stage
    from portrait_anim.training.recipes import get_recipe

    config = replace(get_recipe(recipe, data, run, budget_minutes), initial=initial)
    with progress_bars() as on_progress:
        checkpoint = run_stage(config, resume=resume, on_progress=on_progress)
    say(f"Checkpoint: {checkpoint}")
    if export_to is not None:
        export(run, export_to)
        say(f"Weights: {export_to}")


def register(app: GuardedTyper) -> None:
    """Add the command to the application."""
    app.command("train")(train)
