"""`portrait-anim evaluate`: how well portraits follow clips, as an HTML report with numbers, plots and sheets."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portrait_anim.cli.console import emit, progress_bars, say, show_table
from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import (
    DEFAULTS,
    OPERATOR,
    Grantee,
    Home,
    Json,
    PresetName,
    animation_options,
    usage_errors,
)
from portrait_anim.evaluation.request import DEFAULT_STATEMENT

if TYPE_CHECKING:
    from portrait_anim.evaluation.runner import Evaluation


def evaluate(
    portraits: Annotated[Path, typer.Option(help="Folder of portraits.", show_default=False)],
    clips: Annotated[Path, typer.Option(help="Folder of driving clips.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the report; what it holds is reused.", show_default=False)],
    home: Home,
    seconds: Annotated[
        float | None, typer.Option(min=0.04, help="Use at most so much of each clip.", show_default="all of it")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.", show_default="the profile's")] = None,
    size: Annotated[
        int | None, typer.Option(help="Side of the generated face, in pixels.", show_default="the profile's")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same frames.")] = DEFAULTS.seed,
    pack: Annotated[
        Path | None,
        typer.Option(help="Data pack of people who do not exist, for figures against the truth.", show_default=False),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples rendered from the pack.")] = 48,
    groups: Annotated[
        Path | None,
        typer.Option(help="CSV of portrait, tone, age, glasses: adds a table by group.", show_default=False),
    ] = None,
    arcface: Annotated[
        Path | None, typer.Option(help="Folder of ArcFace's weights: adds its distances.", show_default=False)
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Pairs at once, each in its own process.")] = 1,
    statement: Annotated[
        str, typer.Option(help="Recorded when a portrait is enrolled as fictional.", rich_help_panel="Consent")
    ] = DEFAULT_STATEMENT,
    grantee: Grantee = OPERATOR,
    profile: Annotated[str, typer.Option(help="Model profile.")] = "lite",
    preset: PresetName = None,
    as_json: Json = False,
) -> None:
    """Animate every portrait with every clip and measure motion, identity, steadiness, sharpness and speed.

    Portraits that are not enrolled are enrolled as fictional, on the recorded statement, and granted for the purpose
    'evaluation'. An interrupted run goes on where it stopped when it is called again.
    """
    from portrait_anim.cli.truth import truth_source
    from portrait_anim.evaluation.report import write_report
    from portrait_anim.evaluation.request import EvaluationRequest
    from portrait_anim.evaluation.runner import evaluate as run

    options = animation_options(
        num_steps=steps, size_px=size, seed=seed, crop_only=True, face="largest", driving_face="largest",
        profile=profile, preset=preset,
    )  # fmt: skip
    if pack is not None and profile != "lite":
        raise typer.BadParameter(f"expected --pack with the profile lite, whose networks are scored; got {profile}")
    with usage_errors():
        request = EvaluationRequest(
            portraits=portraits, clips=clips, out=out, home=home, options=options, seconds=seconds,
            statement=statement, grantee=grantee, groups=groups, arcface=arcface, jobs=jobs, profile=profile,
        )  # fmt: skip
    source = truth_source(pack, samples, seed)
    with progress_bars() as on_progress:
        found = run(
            request, clock=lambda: datetime.now(timezone.utc), truth_samples=source.render, truth_key=source.key,
            truth_note=source.note, on_progress=on_progress, say=say,
        )  # fmt: skip
    report = write_report(found)
    emit({"report": report, "data": report.with_suffix(".json"), "bars": found.verdicts}, as_json=as_json)
    show_outcome(found, report)


def show_outcome(found: Evaluation, report: Path) -> None:
    """Print the bars and where the report is."""
    marks = {True: "pass", False: "FAIL", None: "not measured"}
    rows = [(v.figure, v.bar, "-" if v.value is None else f"{v.value:.3f}", marks[v.passed]) for v in found.verdicts]
    show_table("Means over all pairs", ("figure", "bar", "value", ""), rows)
    failed = sum(pair.status != "measured" for pair in found.pairs)
    say(f"{len(found.pairs)} pairs, {failed} not usable, {found.num_kept} from an earlier run")
    say(f"Synthetic ground truth: {found.truth_note}")
    say(f"Report: {report.resolve()}", style="bold green")


def register(app: GuardedTyper) -> None:
    """Add the command to the application."""
    app.command("evaluate")(evaluate)
