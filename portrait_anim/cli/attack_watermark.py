"""`portrait-anim attack-watermark`: what survives encoders, crops, filters and filming, as a table."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from portrait_anim.cli.console import emit, progress_bars, say, show_table
from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import Json

if TYPE_CHECKING:
    from portrait_anim.evaluation.attacks import Attack
    from portrait_anim.evaluation.watermark_report import AttackResult, Visibility
    from portrait_anim.evaluation.watermark_rivals import Mark
    from portrait_anim.types import UInt8Array

_TEST_ID: Final = 0x5EED_C0FFEE_42 & ((1 << 48) - 1)


def attack_watermark(
    file: Annotated[
        Path, typer.Argument(help="Picture or video. If it has no mark, it gets one for the test.", show_default=False)
    ],
    single_frame: Annotated[
        bool, typer.Option("--single-frame", help="Read one frame; only attacks that one frame must survive.")
    ] = False,
    pairs: Annotated[bool, typer.Option("--pairs", help="All pairs of attacks; takes hours.")] = False,
    only: Annotated[
        str | None, typer.Option(help="Only attacks whose name holds one of these, such as crop,JPEG.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.04, help="Use at most so much of the video.")] = 4.0,
    seed: Annotated[int, typer.Option(min=0, help="Draws places and noise.")] = 0,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also the marks of the package invisible-watermark, if installed.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Folder for attacks.json and attacks.png.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Attack the invisible watermark of a file and say what is left: bit accuracy, and whether it is still found."""
    from portrait_anim.evaluation import attacks as table
    from portrait_anim.evaluation.watermark_report import write_report

    chosen = table.table()
    if pairs:
        chosen = table.pairs(chosen)
    if single_frame:
        chosen = [attack for attack in chosen if attack.single]
    if only is not None:
        words = [word.strip().lower() for word in only.split(",") if word.strip()]
        chosen = [attack for attack in chosen if any(word in attack.name.lower() for word in words)]
    if not chosen:
        raise typer.BadParameter(f"expected part of the name of an attack, got {only!r}", param_hint="--only")
    frames = _frames(file, seconds)
    results, looks = _measure(frames, chosen, single_frame=single_frame, seed=seed, compare=compare)
    _show(results, looks)
    if report is not None:
        plot = write_report(report, results, looks)
        say(f"Report: {plot.resolve()}", style="bold green")
    emit({"visibility": looks, "results": results}, as_json=as_json)


def _frames(file: Path, seconds: float) -> list[UInt8Array]:
    from portrait_anim.media.image import is_image, read_image
    from portrait_anim.media.reader import VideoReader

    if is_image(file):
        return [read_image(file)]
    with VideoReader(file) as video:
        count = max(1, round(seconds * float(video.fps or 25)))
        return [frame.image for frame in itertools.islice(video, count)]


def _measure(
    frames: list[UInt8Array], chosen: Sequence[Attack], *, single_frame: bool, seed: int, compare: bool
) -> tuple[list[AttackResult], list[Visibility]]:
    from portrait_anim.evaluation.watermark_report import measure, visibility
    from portrait_anim.evaluation.watermark_rivals import OwnMark
    from portrait_anim.provenance.watermark import read_frames

    there = read_frames(frames)
    render_id = _TEST_ID if there is None else there.render_id
    say(f"Render id {render_id:012x}: " + ("marked for this test" if there is None else "found in the file"))
    marks: list[Mark] = [OwnMark(render_id), *(_rivals(render_id) if compare else [])]
    results, looks = [], []
    with progress_bars() as on_progress:
        for mark in marks:
            if there is not None and isinstance(mark, OwnMark):
                marked = frames
            else:
                marked = mark.mark(frames)
                looks.append(visibility(mark.name, frames, marked))
            results += measure(mark, marked, chosen, seed=seed, single_frame=single_frame, on_progress=on_progress)
    return results, looks


def _rivals(payload: int) -> list[Mark]:
    from portrait_anim.evaluation.watermark_rivals import RivalMark

    try:
        return [RivalMark("dwtDct", payload), RivalMark("rivaGan", payload)]
    except ImportError as error:
        say(f"No comparison: the package invisible-watermark cannot be used ({error}).", style="yellow")
        return []


def _show(results: Sequence[AttackResult], looks: Sequence[Visibility]) -> None:
    for look in looks:
        similarity = "" if look.ssim is None else f", SSIM {look.ssim:.4f}"
        say(f"{look.mark}: PSNR {look.psnr_db:.1f} dB{similarity}")
    names = list(dict.fromkeys(result.mark for result in results))
    rows = []
    for attack in dict.fromkeys(result.attack for result in results):
        row: list[object] = [attack]
        for name in names:
            result = next(item for item in results if item.attack == attack and item.mark == name)
            row += [f"{100 * result.bit_accuracy:.0f} %", "found" if result.detected else "NOT FOUND"]
        rows.append(row)
    heads = [head for name in names for head in (f"{name}: bits", "mark")]
    show_table("Watermark after attacks", ("attack", *heads), rows)
    for name in names:
        own = [result for result in results if result.mark == name]
        say(f"{name}: found after {sum(result.detected for result in own)} of {len(own)} attacks")


def register(app: GuardedTyper) -> None:
    """Add the command to the application."""
    app.command("attack-watermark")(attack_watermark)
