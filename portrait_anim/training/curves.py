"""Learning curves as a picture: `python -m portrait_anim.training.curves RUN`; needs matplotlib."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

from portrait_anim.errors import InputError
from portrait_anim.training.journal import read_metrics

CURVES_FILE: Final = "curves.png"
_LEFT_OUT: Final = ("step", "seconds", "learning_rate", "share", "finite")


def smooth(values: list[float], share: float = 0.05) -> list[float]:
    """Exponential mean over about `share` of the values, without bias at the start."""
    decay = 1 - 1 / max(1.0, share * len(values))
    mean, weight, out = 0.0, 0.0, []
    for value in values:
        mean, weight = decay * mean + (1 - decay) * value, decay * weight + (1 - decay)
        out.append(mean / weight)
    return out


def plot(run: Path) -> Path:
    """Draw every metric of every stage, raw, smoothed and held-out, to `curves.png` in the run.

    Returns:
        The picture.

    Raises:
        InputError: If there are no metrics or matplotlib is not installed.
    """
    rows = read_metrics(run)
    if not rows:
        raise InputError(f"expected metrics in {run}, found none; train first")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("expected matplotlib to draw curves, got none; pip install matplotlib") from error
    stages = list(dict.fromkeys(str(row["stage"]) for row in rows if row.get("stage")))
    panels = {stage: _series([row for row in rows if row["stage"] == stage]) for stage in stages}
    width = max(len(series) for series in panels.values())
    figure = Figure(figsize=(2.6 * width, 2.3 * len(stages)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(stages), width, squeeze=False)
    for line, stage in zip(axes, stages, strict=True):
        for panel in line[len(panels[stage]) :]:
            panel.set_axis_off()
        for panel, (name, series) in zip(line, panels[stage].items(), strict=False):
            _draw(panel, f"{stage}: {name}", series)
    path = run / CURVES_FILE
    figure.savefig(path, dpi=80)
    return path


def _series(rows: list[dict[str, Any]]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Points (step, value) of training and held-out rows per metric, the loss first."""
    names = dict.fromkeys(["loss", *(k for row in rows for k, v in row.items() if isinstance(v, float))])
    out: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for name in names:
        if name in _LEFT_OUT:
            continue
        points: dict[str, list[tuple[int, float]]] = {"train": [], "held_out": []}
        for row in rows:
            if name in row:
                points["held_out" if row.get("held_out") else "train"].append((int(row["step"]), float(row[name])))
        out[name] = points
    return out


def _draw(panel: Any, title: str, series: dict[str, list[tuple[int, float]]]) -> None:
    panel.set_title(title, fontsize=8)
    panel.tick_params(labelsize=6)
    if series["train"]:
        steps, values = zip(*series["train"], strict=True)
        panel.plot(steps, values, color="#b8c4d8", linewidth=0.6)
        panel.plot(steps, smooth(list(values)), color="#20509a", linewidth=1.2)
    if series["held_out"]:
        steps, values = zip(*series["held_out"], strict=True)
        panel.plot(steps, values, color="#c84818", linewidth=1.2, marker="o", markersize=2.5)
    if series["train"] and all(v > 0 for _, v in series["train"]):
        panel.set_yscale("log")


def main(argv: list[str] | None = None) -> int:
    """Draw the curves of a run."""
    parser = argparse.ArgumentParser(prog="curves", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of the run")
    sys.stdout.write(f"{plot(parser.parse_args(argv).run)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
