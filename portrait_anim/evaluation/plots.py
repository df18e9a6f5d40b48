"""Plots of a report. Figures are drawn without matplotlib's global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from portrait_anim.evaluation.bars import Summary
from portrait_anim.evaluation.records import PairResult, SignalScore
from portrait_anim.evaluation.signals import SIGNAL_NAMES, SIGNALS
from portrait_anim.media.writer import atomic_path
from portrait_anim.types import Float64Array

_DRIVER, _OUTPUT = "#777777", "#c0392b"
_COLUMNS: Final = 4


def plot_signals(
    path: Path,
    driver: Mapping[str, Float64Array],
    output: Mapping[str, Float64Array],
    scores: Mapping[str, SignalScore],
    fps: float,
) -> None:
    """Plot every signal over time, each about its own mean; signals that the driver does not move are pale.

    Args:
        path: PNG to write.
        driver: `(T,)` by signal.
        output: The same.
        scores: Scores of the moved signals.
        fps: Frame rate [1/s].
    """
    rows = -(-len(SIGNALS) // _COLUMNS)
    figure, axes = _figure(11.0, 1.5 * rows, rows, _COLUMNS)
    for axis, spec in zip(axes, SIGNALS, strict=False):
        score = scores.get(spec.name)
        for curves, colour, width in ((driver, _DRIVER, 1.6), (output, _OUTPUT, 1.0)):
            values = curves[spec.name]
            if np.isfinite(values).any():
                time_s = np.arange(len(values)) / fps
                axis.plot(time_s, values - np.nanmean(values), color=colour, lw=width, alpha=1.0 if score else 0.35)
        title = spec.name if score is None else f"{spec.name}  r {_number(score.r)}  slope {_number(score.slope)}"
        axis.set_title(title, fontsize=7, pad=2, color="#999999" if score is None else "black")
        axis.tick_params(labelsize=6, length=2, pad=1)
        axis.margins(x=0)
    _save(figure, path)


def plot_heat(path: Path, summaries: Mapping[str, Summary], title: str) -> None:
    """Plot mean correlation and slope of every signal, one row per clip or portrait.

    Args:
        path: PNG to write.
        summaries: Means by row.
        title: What rows are.
    """
    names = list(summaries)
    figure, axes = _figure(11.0, 1.2 + 0.25 * len(names), 1, 2)
    for axis, what, bounds in ((axes[0], "r", (0.0, 1.0)), (axes[1], "slope", (0.0, 2.0))):
        rows = [[_or_nan(getattr(summaries[name], what)[signal]) for signal in SIGNAL_NAMES] for name in names]
        table = np.array(rows, dtype=np.float64).reshape(len(names), len(SIGNAL_NAMES))
        colours = "RdYlGn" if what == "r" else "RdYlBu"
        axis.imshow(table, vmin=bounds[0], vmax=bounds[1], cmap=colours, aspect="auto")
        for y, x in np.argwhere(np.isfinite(table)):
            axis.text(x, y, f"{table[y, x]:.2f}", ha="center", va="center", fontsize=5.5)
        axis.set_xticks(range(len(SIGNAL_NAMES)), SIGNAL_NAMES, rotation=45, ha="right", fontsize=6)
        axis.set_yticks(range(len(names)), names if what == "r" else [""] * len(names), fontsize=6)
        axis.set_title(f"{what} by {title}", fontsize=8)
    _save(figure, path)


def plot_identity(path: Path, pairs: Sequence[PairResult], bar: float, gate: float) -> None:
    """Plot the identity distance of every pair: mean, 90th percentile and worst.

    Args:
        path: PNG to write.
        pairs: Measured pairs.
        bar: Bar of the mean.
        gate: Threshold of the consent gate.
    """
    known = [pair for pair in pairs if pair.figures.get("identity_mean") is not None]
    figure, axes = _figure(11.0, 2.6, 1, 1)
    for name, marker in (("identity_mean", "o"), ("identity_p90", "_"), ("identity_worst", "x")):
        axes[0].plot([pair.figures[name] for pair in known], marker, ms=5, label=name)
    axes[0].axhline(bar, color="green", lw=0.8, ls="--", label=f"bar of the mean {bar:g}")
    axes[0].axhline(gate, color="red", lw=0.8, ls="--", label=f"gate {gate:g}")
    labels = [f"{pair.portrait} {pair.clip}" for pair in known]
    axes[0].set_xticks(range(len(known)), labels, rotation=60, ha="right", fontsize=5.5)
    axes[0].tick_params(axis="y", labelsize=6)
    axes[0].set_ylabel("dlib distance", fontsize=7)
    axes[0].legend(fontsize=6, ncols=5, loc="upper left")
    axes[0].set_ylim(bottom=0, top=max([0.75] + [1.2 * (pair.figures["identity_worst"] or 0) for pair in known]))
    _save(figure, path)


def _figure(width: float, height: float, rows: int, columns: int) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.ravel())


def _save(figure: Any, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
