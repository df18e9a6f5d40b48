"""`portrait-anim train`: all stages of the `lite` profile, or one, within a budget."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from portrait_anim.cli.console import emit, say, show_table
from portrait_anim.cli.guard import EXIT_INTERRUPTED, GuardedTyper
from portrait_anim.cli.options import Json

if TYPE_CHECKING:
    from portrait_anim.training.loop import TrainProgress
    from portrait_anim.training.recipes import TrainConfig

_LIMITS = "Limits"


def train(
    recipe: Annotated[
        str, typer.Argument(help="gpu, cpu, cpu_motion, cpu_warp, cpu_denoise or tiny.", show_default=False)
    ],
    data: Annotated[Path | None, typer.Option(help="Folder of rendered shards.", show_default=False)] = None,
    pack: Annotated[
        Path | None, typer.Option(help="Data pack, to render samples on the way.", show_default=False)
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints, metrics and sheets.", show_default="the recipe's")
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option("--from", help="Pipeline folder to start from, as weights/lite.", show_default="the recipe's"),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoints in --run.")] = True,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or auto.", show_default="the recipe's")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides data order and every random draw.")] = 0,
    export_to: Annotated[
        Path | None, typer.Option("--export", help="At the end write 16-bit weights there.", show_default=False)
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the learning curves at the end.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
    budget_minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="Time of the whole run, earlier calls counted in.", show_default="the recipe's",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    stop_after: Annotated[
        float | None,
        typer.Option(
            min=0.0, metavar="MINUTES", help="Save and leave after this time, to go on in a later call.",
            show_default=False, rich_help_panel=_LIMITS,
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps per stage at most.", show_default=False, rich_help_panel=_LIMITS)
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Samples per step.", show_default="the recipe's", rich_help_panel=_LIMITS),
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Train on rendered people who do not exist; a run goes on where it stopped, in the stage where it stopped."""
    from portrait_anim.training import run as training
    from portrait_anim.training.recipes import get_recipe, with_stage_limits

    config = with_stage_limits(get_recipe(recipe), num_steps=steps, batch_size=batch_size)
    config = replace(
        config, data=data, pack=pack, initial=initial or config.initial, seed=seed, run=run or config.run,
        device=device or config.device, budget_minutes=budget_minutes or config.budget_minutes,
    )  # fmt: skip
    if dry_run:
        _show_plan(config, resume=resume, as_json=as_json)
        return
    with _stop_requests() as should_stop, _progress(config) as on_progress:
        outcome = training.train(
            config, resume=resume, export_to=export_to, stop_after_minutes=stop_after, should_stop=should_stop,
            on_progress=on_progress,
        )  # fmt: skip
    if plot:
        from portrait_anim.training.curves import plot as draw

        say(f"Curves: {draw(config.run)}")
    say("All stages are done." if outcome.finished else f"Stopped in stage {outcome.stage}; the same command goes on.")
    if outcome.exported is not None:
        say(f"Weights: {outcome.exported}")
    emit(outcome, as_json=as_json)
    if should_stop():
        raise typer.Exit(EXIT_INTERRUPTED)


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a wish to stop after the step at hand; the second one interrupts.

    Yields:
        Whether a signal came.
    """
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        say("Stopping after this step; everything will be saved. Once more to stop at once.", style="yellow")

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(config: TrainConfig) -> Iterator[Callable[[TrainProgress], None]]:
    """Draw a bar per stage with step, loss and the time left for the whole run."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

    bars = Progress(
        TextColumn("{task.description:<9}"), BarColumn(bar_width=24), TaskProgressColumn(),
        TextColumn("step {task.fields[step]}  loss {task.fields[loss]}"), TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"), console=Console(stderr=True),
    )  # fmt: skip
    tasks: dict[str, TaskID] = {}

    def update(progress: TrainProgress) -> None:
        if progress.stage not in tasks:
            for task in bars.tasks:
                bars.update(task.id, completed=1.0, left="")
            tasks[progress.stage] = bars.add_task(progress.stage, total=1.0, step=0, loss="", left="")
        left = "" if progress.seconds_left is None else f"{math.ceil(progress.seconds_left / 60)} min left in all"
        loss = "" if math.isnan(progress.loss) else f"{progress.loss:.4f}"
        bars.update(tasks[progress.stage], completed=progress.share, step=progress.step, loss=loss, left=left)

    with bars:
        yield update


def _show_plan(config: TrainConfig, *, resume: bool, as_json: bool) -> None:
    from portrait_anim.training.run import plan

    stages = plan(config, resume=resume)
    show_table(
        f"Run in {config.run} on {config.device}",
        ("stage", "aim", "state", "minutes", "steps at most", "batch", "trained", "checkpoint"),
        [
            (
                s.stage, s.aim, s.state, "-" if s.minutes is None else f"{s.minutes:.1f}", s.num_steps, s.batch_size,
                f"{s.trained_parameters / 1e6:.2f} M", f"{s.checkpoint_bytes / 1e6:.0f} MB",
            )
            for s in stages
        ],
    )  # fmt: skip
    emit([asdict(s) for s in stages], as_json=as_json)


def register(app: GuardedTyper) -> None:
    """Add the command to the application."""
    app.command("train")(train)
