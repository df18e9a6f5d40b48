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
    from portrait_anim.evaluation.watermark_pairs import PairResult
    from portrait_anim.evaluation.watermark_report import AttackResult, Visibility
    from portrait_anim.evaluation.watermark_rivals import Mark, OwnMark
    from portrait_anim.types import UInt8Array

_SEARCHED_FRAMES: Final = 12  # of a file that may have no mark
_TEST_ID: Final = 0x5EED_C0FFEE_42 & ((1 << 48) - 1)


def attack_watermark(
    file: Annotated[
        Path, typer.Argument(help="Picture or video. If it has no mark, it gets one for the test.", show_default=False)
    ],
    single_frame: Annotated[
        bool, typer.Option("--single-frame", help="Read one frame; only attacks that one frame must survive.")
    ] = False,
    pairs: Annotated[bool, typer.Option("--pairs", help="All pairs of attacks; takes ten minutes and more.")] = False,
    resume: Annotated[
        Path | None, typer.Option(help="File that keeps the results; what it holds is not run again.")
    ] = None,
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

    if pairs and (single_frame or compare or report is not None):
        raise typer.BadParameter("expected it without --single-frame, --compare and --report", param_hint="--pairs")
    frames, fps = _frames(file, seconds)
    if pairs:
        joined = [pair for pair in table.pairs(table.table()) if _wanted(f"{pair[0].name} + {pair[1].name}", only)]
        if not joined:
            raise typer.BadParameter(
                f"expected part of the name of a pair of attacks, got {only!r}", param_hint="--only"
            )
        outcomes = _measure_pairs(frames, fps, joined, resume, seed)
        emit({"results": outcomes}, as_json=as_json)
        return
    chosen = [attack for attack in table.table() if _wanted(attack.name, only) and (attack.single or not single_frame)]
    if not chosen:
        raise typer.BadParameter(f"expected part of the name of an attack, got {only!r}", param_hint="--only")
    results, looks = _measure(frames, chosen, single_frame=single_frame, seed=seed, compare=compare, resume=resume)
    _show(results, looks)
    if report is not None:
        plot = write_report(report, results, looks)
        say(f"Report: {plot.resolve()}", style="bold green")
    emit({"visibility": looks, "results": results}, as_json=as_json)


def _wanted(name: str, only: str | None) -> bool:
    """Whether a name holds one of the words, split by commas."""
    return only is None or any(word.strip().lower() in name.lower() for word in only.split(",") if word.strip())


def _frames(file: Path, seconds: float) -> tuple[list[UInt8Array], float]:
    from portrait_anim.media.image import is_image, read_image
    from portrait_anim.media.reader import VideoReader

    if is_image(file):
        return [read_image(file)], 1.0
    with VideoReader(file) as video:
        fps = float(video.fps or 25)
        return [frame.image for frame in itertools.islice(video, max(1, round(seconds * fps)))], fps


def _own_mark(frames: list[UInt8Array]) -> tuple[OwnMark, bool]:
    """Our mark with the id that the frames carry, and whether they carry one."""
    from portrait_anim.evaluation.watermark_rivals import OwnMark
    from portrait_anim.provenance.watermark import read_frames

    there = read_frames(frames[:_SEARCHED_FRAMES])
    render_id = _TEST_ID if there is None else there.render_id
    say(f"Render id {render_id:012x}: " + ("marked for this test" if there is None else "found in the file"))
    return OwnMark(render_id), there is not None


def _measure_pairs(
    frames: list[UInt8Array], fps: float, joined: Sequence[tuple[Attack, Attack]], resume: Path | None, seed: int
) -> list[PairResult]:
    from portrait_anim.evaluation.watermark_log import ResultLog, clip_header
    from portrait_anim.evaluation.watermark_pairs import PairResult, measure_pairs

    mark, there = _own_mark(frames)
    marked = frames if there else mark.mark(frames)
    log = None if resume is None else ResultLog(resume, PairResult, clip_header(marked, seed))
    with progress_bars() as on_progress:
        results = measure_pairs(
            mark, marked, joined, fps=fps, seed=seed, done=() if log is None else log.results,
            on_result=None if log is None else log.add, on_progress=on_progress,
        )  # fmt: skip
    missed = [result for result in results if not result.detected]
    show_table(
        "Pairs after which the watermark was not found", ("first", "second", "bits", "seconds"),
        [(item.first, item.second, f"{100 * item.bit_accuracy:.0f} %", item.seconds) for item in missed],
    )  # fmt: skip
    for seconds in sorted({result.seconds for result in results}):
        count = sum(result.detected and result.seconds == seconds for result in results)
        say(f"found from {seconds:g} s: {count}")
    say(f"{mark.name}: found after {len(results) - len(missed)} of {len(results)} pairs of attacks")
    return results


def _measure(
    frames: list[UInt8Array],
    chosen: Sequence[Attack],
    *,
    single_frame: bool,
    seed: int,
    compare: bool,
    resume: Path | None,
) -> tuple[list[AttackResult], list[Visibility]]:
    from portrait_anim.evaluation.watermark_log import ResultLog, clip_header
    from portrait_anim.evaluation.watermark_report import AttackResult, measure, visibility

    own, there = _own_mark(frames)
    marks: list[Mark] = [own, *(_rivals(own.render_id) if compare else [])]
    log = None if resume is None else ResultLog(resume, AttackResult, clip_header(frames, seed))
    results, looks = [], []
    with progress_bars() as on_progress:
        for mark in marks:
            if there and mark is own:
                marked = frames
            else:
                marked = mark.mark(frames)
                looks.append(visibility(mark.name, frames, marked))
            results += measure(
                mark, marked, chosen, seed=seed, single_frame=single_frame, done=() if log is None else log.results,
                on_result=None if log is None else log.add, on_progress=on_progress,
            )  # fmt: skip
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
