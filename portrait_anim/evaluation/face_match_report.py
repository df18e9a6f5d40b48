"""Table and DET plot of the face match figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from portrait_anim.evaluation.detection_error import error_curve
from portrait_anim.media.writer import atomic_path
from portrait_anim.types import Float64Array

if TYPE_CHECKING:
    from portrait_anim.evaluation.face_match import FaceMatchFigures

_TICKS: Final = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.5)
_SHOWN: Final = (5e-5, 0.6)


def write_report(figures: Sequence[FaceMatchFigures], folder: Path, *, target_far: float) -> str:
    """Write `face_match.md` and `face_match.png`.

    Args:
        figures: One per face model.
        folder: Folder to write into; made when absent.
        target_far: The share of impostors for which the threshold was chosen.

    Returns:
        The Markdown that was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n\n".join(_table(item, target_far) for item in figures)
    with atomic_path(folder / "face_match.md") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    _plot(figures, folder / "face_match.png")
    return text


def _table(figures: FaceMatchFigures, target_far: float) -> str:
    lines = [
        f"**{figures.backend}**: {figures.people} people with several views, {figures.strangers} others with one "
        f"portrait. Threshold at FAR <= {target_far:.1%}: **{figures.chosen:.3f}**; in use: {figures.current:.3f}.",
        "",
        "| comparison | pairs | FAR / FRR at the measured threshold | at the one in use | EER |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in figures.rows:
        kind = "far" if "far_chosen" in row else "frr"
        measured, used = (f"{kind.upper()} {100 * _number(row[f'{kind}_{at}']):.3f} %" for at in ("chosen", "current"))
        rate = f"{100 * _number(row['equal_error_rate']):.2f} %" if kind == "frr" else "-"
        lines.append(f"| {row['comparison']} | {row['pairs']:,} | {measured} | {used} | {rate} |")
    return "\n".join(lines)


def _plot(figures: Sequence[FaceMatchFigures], path: Path) -> None:
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5 * len(figures), 5.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for axis, item in zip(figure.subplots(1, len(figures), squeeze=False)[0], figures, strict=True):
        axis.set_prop_cycle(color=[colormaps["tab20"](place) for place in range(20)])
        for name, (genuine, impostor) in item.curves.items():
            curve = error_curve(genuine, impostor)
            far, frr = _probit(curve.far), _probit(curve.frr)
            axis.plot(far, frr, lw=1.4, ls="--" if name.startswith("mean") else "-", label=name)
        axis.axvline(_probit(np.array([0.001]))[0], color="#999999", lw=0.8)
        _stretch(axis)
        axis.set_title(f"{item.backend}: {item.people} people, {item.strangers} strangers", fontsize=10)
        axis.legend(fontsize=6, loc="upper right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _stretch(axis: Any) -> None:
    places, labels = _probit(np.array(_TICKS)), [f"{100 * tick:g} %" for tick in _TICKS]
    low, high = _probit(np.array(_SHOWN))
    axis.set(xlim=(low, high), ylim=(low, high), xlabel="FAR", ylabel="FRR")
    axis.set_xticks(places, labels)
    axis.set_yticks(places, labels)
    axis.grid(alpha=0.3)


def _probit(share: Float64Array) -> Float64Array:
    """Quantile of the normal distribution; 0 and 1 are moved to the border of what can be drawn."""
    from scipy.stats import norm

    value: Float64Array = norm.ppf(share.clip(1e-6, 1 - 1e-6))
    return value


def _number(value: object) -> float:
    assert isinstance(value, (int, float))
    return float(value)
