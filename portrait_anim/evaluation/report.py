"""The report: `report.html` with its plots, and `report.json` with everything in it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from portrait_anim.consent.matching import MatchPolicy
from portrait_anim.evaluation.bars import FIGURES, Summary
from portrait_anim.evaluation.page import STYLE, Html, number, section, table
from portrait_anim.evaluation.plots import plot_heat, plot_identity
from portrait_anim.evaluation.records import PairResult, write_json
from portrait_anim.evaluation.runner import Evaluation
from portrait_anim.evaluation.signals import SIGNAL_NAMES, SIGNALS
from portrait_anim.evaluation.truth import METHODS
from portrait_anim.media.writer import atomic_path

_IDENTITY_BAR: Final = 0.35
_PAIR_FIGURES: Final = (
    "identity_mean", "identity_p90", "identity_worst", "failures", "no_face", "steadiness", "sharpness", "seam",
    "flicker", "speed_std", "acceleration_std", "speed_kurtosis", "seconds_per_frame",
)  # fmt: skip

METHOD: Final = (
    "The same landmark tracker (MediaPipe, 478 points) measures driver and output. Grey curves are the driver's, red "
    "ones the output's, each about its own mean. Frames in which the visible label lies over "
    "brows, eyes, nose or mouth do not count: it would be the label that moves.",
    "Identity: distance of at most 24 frames, evenly spread, to the portrait. Failures are counted among them and the "
    "frames without a face; strictly so: the gate's threshold (0.44) lies below the bar of the 90th percentile.",
    "Steadiness: mean length of the landmarks' second difference in time, in eye distances, output over driver. "
    "Flicker: mean change per frame of background pixels above the chin and outside the hair.",
    "Sharpness: spread of the Laplacian of Gaussian (1 px) inside the face, output over portrait crop, after H.264. "
    "Seam: gradient in the fade of the paste mask over that beside it, over the same ratio of the untouched portrait; "
    "the worst of four frames pasted back in memory.",
    "Naturalness: spread and 95th percentile of speed and acceleration of the moved signals, and kurtosis of speed, "
    "output over driver, mean over signals.",
    "Seconds per frame hold motion extraction, rendering, encoding, signing and verification; not loading.",
    "Operations per frame and stage times: python -m portrait_anim.evaluation.benchmark.",
)


def write_report(found: Evaluation) -> Path:
    """Write the report into the folder of the request.

    Args:
        found: What was measured.

    Returns:
        Path of `report.html`; `report.json` lies beside it.
    """
    out = found.request.out
    plots = _draw_plots(found)
    write_json(out / "report.json", found)
    path = out / "report.html"
    with atomic_path(path) as temporary:
        temporary.write_text(_page(found, plots), encoding="utf-8")
    return path


def _draw_plots(found: Evaluation) -> list[str]:
    """Draw the plots of all pairs; their names below the report's folder."""
    measured = [pair for pair in found.pairs if pair.status == "measured"]
    if not measured:
        return []
    folder = found.request.out / "plots"
    plot_heat(folder / "by_clip.png", found.by_clip, "clip")
    plot_heat(folder / "by_portrait.png", found.by_portrait, "portrait")
    plot_identity(folder / "identity.png", measured, _IDENTITY_BAR, MatchPolicy().limit("dlib"))
    return ["plots/by_clip.png", "plots/by_portrait.png", "plots/identity.png"]


def _page(found: Evaluation, plots: Sequence[str]) -> str:
    parts = [
        section("Bars", _bars(found)),
        section("Signals over time, output against driver", _signals(found.summary)),
        section("Figures", _figures(found.summary)),
        section("Synthetic ground truth", _truth(found)),
        section("Plots", "".join(f'<img src="{html.escape(name)}" alt="">' for name in plots)),
        section("By clip", _breakdown(found.by_clip)),
        section("By portrait", _breakdown(found.by_portrait)),
        *(section(f"By {column}", _breakdown(groups)) for column, groups in found.by_group.items()),
        section("Not usable", _not_usable(found)),
        section("Pairs", "".join(_pair(pair) for pair in found.pairs if pair.status == "measured")),
        section("How it was measured", _method(found)),
    ]
    title = "portrait-anim evaluation"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f"<body><h1>{title}</h1>{_heading(found)}{''.join(parts)}</body></html>\n"
    )


def _heading(found: Evaluation) -> str:
    options, summary = found.request.options, found.summary
    part = "whole clips" if found.request.seconds is None else f"{found.request.seconds:g} s of each clip"
    failed = sum(pair.status != "measured" for pair in found.pairs)
    lines = (
        f"{summary.num_pairs} pairs measured, {failed} not usable, {summary.num_frames} frames; {part}, "
        f"{options.size_px} px, {options.num_steps} steps, seed {options.seed}",
        f"portrait-anim {found.version}, weights {found.weights[:12]}, {found.machine}, "
        f"{found.request.jobs} pair(s) at once",
        f"{found.created.isoformat(timespec='seconds')}, {found.wall_s:.0f} s; "
        f"{found.num_kept} pairs from an earlier run",
        "Every picture below is AI-generated or a driver's frame; the videos carry the visible label and a signed "
        "manifest.",
    )
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def _bars(found: Evaluation) -> str:
    words = {True: Html('<b class="pass">pass</b>'), False: Html('<b class="fail">fail</b>'), None: "not measured"}
    rows = [(v.figure, v.bar, number(v.value, 3), words[v.passed]) for v in found.verdicts]
    note = "<p>Means over all pairs whose driver moves the signal; an output that stands still counts as r = 0.</p>"
    return note + table(("figure", "bar", "value", ""), rows)


def _signals(summary: Summary) -> str:
    rows = [
        (
            spec.name, summary.moved_in[spec.name], number(summary.r[spec.name]), number(summary.slope[spec.name]),
            number(summary.lag[spec.name], 1), f"{spec.least_std:g} {spec.unit}",
        )
        for spec in SIGNALS
    ]  # fmt: skip
    return table(("signal", "pairs", "r", "slope", "lag [frames]", "driver moves it from a std of"), rows)


def _figures(summary: Summary) -> str:
    rows = [(label, number(summary.figures[name], 3)) for name, label in FIGURES.items()]
    return table(("figure", "mean over pairs"), rows)


def _truth(found: Evaluation) -> str:
    note = f"<p>{html.escape(found.truth_note or 'left out')}</p>"
    if found.truth is None:
        return note
    columns = ("method", "PSNR [dB]", "SSIM", "PSNR face [dB]", "flow error [px]", "flow error face [px]")
    rows = []
    for method, label in METHODS.items():
        s = found.truth.scores[method]
        flow = (number(s.flow_error), number(s.flow_error_face))
        rows.append((label, number(s.psnr), number(s.ssim, 3), number(s.psnr_face), *flow))
    count = f"<p>{found.truth.num_samples} samples, {found.truth.num_skipped} left out (no face found).</p>"
    return note + count + table(columns, rows)


def _breakdown(groups: Mapping[str, Summary]) -> str:
    columns = ("", "pairs", *(f"r {name}" for name in SIGNAL_NAMES), *(_short(name) for name in _PAIR_FIGURES))
    rows = [
        (
            name, s.num_pairs, *(number(s.r[signal]) for signal in SIGNAL_NAMES),
            *(number(s.figures[figure]) for figure in _PAIR_FIGURES),
        )
        for name, s in groups.items()
    ]  # fmt: skip
    return table(columns, rows)


def _not_usable(found: Evaluation) -> str:
    rows = [(pair.portrait, pair.clip, pair.reason) for pair in found.pairs if pair.status != "measured"]
    names = html.escape(", ".join(found.ignored))
    ignored = f"<p>Files of other kinds, left alone: {names}</p>" if names else ""
    return (table(("portrait", "clip", "not usable:"), rows) if rows else "<p>None.</p>") + ignored


def _pair(pair: PairResult) -> str:
    heading = f"{pair.portrait} with {pair.clip}"
    names = list(pair.signals)
    rows: Iterable[Sequence[object]] = [
        ("r", *(number(pair.signals[name].r) for name in names)),
        ("slope", *(number(pair.signals[name].slope) for name in names)),
        ("lag", *(number(pair.signals[name].lag, 1) for name in names)),
    ]
    scores = table(("", *names), rows) if names else "<p>The driver moves nothing.</p>"
    figures = table(
        tuple(_short(name) for name in _PAIR_FIGURES), [[number(pair.figures.get(name)) for name in _PAIR_FIGURES]]
    )
    return (
        f'<h3 id="{html.escape(pair.portrait)}--{html.escape(pair.clip)}">{html.escape(heading)}</h3>'
        f'<img loading="lazy" src="{html.escape(pair.sheet)}" alt="driver above, output below">{scores}{figures}'
        f'<div class="pair"><video controls preload="none" loop src="{html.escape(pair.video)}"></video>'
        f'<img loading="lazy" src="{html.escape(pair.plot)}" alt="signals over time"></div>'
    )


def _method(found: Evaluation) -> str:
    lines = (*METHOD, f"Statement recorded with portraits enrolled for this: {found.request.statement}")
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def _short(name: str) -> str:
    return name.replace("_", " ")
