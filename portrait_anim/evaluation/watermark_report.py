"""Measures marks under the attacks of the table, and writes what came out as JSON and as a plot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from portrait_anim.evaluation import picture_metrics
from portrait_anim.evaluation.attacks import Attack
from portrait_anim.evaluation.watermark_rivals import Mark
from portrait_anim.media.atomic import atomic_path
from portrait_anim.types import Progress, ProgressCallback, UInt8Array

_SMALLEST_SSIM_PX: Final = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackResult:
    """One mark under one attack.

    Attributes:
        mark: Name of the mark.
        attack: Name of the attack.
        parameters: What the attack does.
        single_frame: Whether only one attacked frame was read.
        bit_accuracy: Share of right bits.
        detected: Whether the mark was found.
        log10_false_positive: Chance of such a result without a mark, as a power of ten.
    """

    mark: str
    attack: str
    parameters: str
    single_frame: bool
    bit_accuracy: float
    detected: bool
    log10_false_positive: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Visibility:
    """How much a mark changes pictures.

    Attributes:
        mark: Name of the mark.
        psnr_db: Mean peak signal-to-noise ratio [dB].
        ssim: Mean structural similarity; `None` for pictures too small for it.
    """

    mark: str
    psnr_db: float
    ssim: float | None


def visibility(name: str, frames: Sequence[UInt8Array], marked: Sequence[UInt8Array]) -> Visibility:
    """Compare marked frames with what they were.

    Args:
        name: Name of the mark.
        frames: `(H, W, 3)` uint8 sRGB each.
        marked: As many.

    Returns:
        The means.
    """
    pairs = list(zip(marked, frames, strict=True))
    ratios = [picture_metrics.psnr(after, before) or 0.0 for after, before in pairs]
    large = min(frames[0].shape[:2]) >= _SMALLEST_SSIM_PX
    ssim = float(np.mean([picture_metrics.ssim(after, before) for after, before in pairs])) if large else None
    return Visibility(mark=name, psnr_db=float(np.mean(ratios)), ssim=ssim)


def measure(
    mark: Mark,
    marked: Sequence[UInt8Array],
    attacks: Iterable[Attack],
    *,
    seed: int = 0,
    single_frame: bool = False,
    done: Sequence[AttackResult] = (),
    on_result: Callable[[AttackResult], None] | None = None,
    on_progress: ProgressCallback | None = None,
) -> list[AttackResult]:
    """Attack marked frames and read them.

    Args:
        mark: Reader.
        marked: Marked frames, `(H, W, 3)` uint8 sRGB each.
        attacks: Attacks to try.
        seed: Draws places and noise; the same for every mark.
        single_frame: Read only the middle one of the attacked frames.
        done: Results of an earlier run, which are taken over.
        on_result: Told every new result.
        on_progress: Told after every attack.

    Returns:
        One result per attack.
    """
    chosen = list(attacks)
    known = {(result.mark, result.attack, result.single_frame): result for result in done}
    results = []
    for number, attack in enumerate(chosen):
        result = known.get((mark.name, attack.name, single_frame))
        if result is None:
            result = _measure_one(mark, marked, attack, seed, single_frame)
            if on_result is not None:
                on_result(result)
        results.append(result)
        if on_progress is not None:
            on_progress(Progress(stage=mark.name, done=number + 1, total=len(chosen)))
    return results


def _measure_one(
    mark: Mark, marked: Sequence[UInt8Array], attack: Attack, seed: int, single_frame: bool
) -> AttackResult:
    rng = np.random.default_rng([seed, *attack.name.encode()])
    attacked = attack(marked, rng)
    outcome = mark.read([attacked[len(attacked) // 2]] if single_frame else attacked)
    return AttackResult(
        mark=mark.name,
        attack=attack.name,
        parameters=attack.parameters,
        single_frame=single_frame,
        bit_accuracy=outcome.bit_accuracy,
        detected=outcome.detected,
        log10_false_positive=outcome.log10_false_positive,
    )


def write_report(folder: Path, results: Sequence[AttackResult], looks: Sequence[Visibility]) -> Path:
    """Write `attacks.json` and `attacks.png`.

    Args:
        folder: Where to write; made if it does not exist.
        results: Results of all marks.
        looks: Visibility of each mark.

    Returns:
        The plot.

    Raises:
        OSError: If the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = {"visibility": [asdict(look) for look in looks], "results": [asdict(result) for result in results]}
    with atomic_path(folder / "attacks.json") as temporary:
        temporary.write_text(json.dumps(data, indent=2), encoding="utf-8")
    plot = folder / "attacks.png"
    _plot(plot, results)
    return plot


def _plot(path: Path, results: Sequence[AttackResult]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    attacks = list(dict.fromkeys(result.attack for result in results))
    marks = list(dict.fromkeys(result.mark for result in results))
    figure = Figure(figsize=(9.0, 1.2 + 0.19 * len(attacks)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    rows = {name: row for row, name in enumerate(attacks)}
    for mark, colour, symbol in zip(marks, ("#1f6fb2", "#c0392b", "#7f8c8d", "#8e44ad"), "osD^", strict=False):
        chosen = [result for result in results if result.mark == mark]
        for detected in (True, False):
            points = [(result.bit_accuracy, rows[result.attack]) for result in chosen if result.detected == detected]
            axis.plot(
                [x for x, _ in points], [y for _, y in points], symbol, ms=5, color=colour, alpha=0.85,
                fillstyle="full" if detected else "none", label=f"{mark}, {'found' if detected else 'not found'}",
            )  # fmt: skip
    axis.set_yticks(range(len(attacks)), attacks, fontsize=7)
    axis.invert_yaxis()
    axis.set_xlim(0.3, 1.03)
    axis.axvline(0.5, color="#aaaaaa", lw=0.8, ls="--")
    axis.set_xlabel("bit accuracy (0.5 is chance)", fontsize=8)
    axis.grid(axis="y", lw=0.3)
    axis.legend(fontsize=7, loc="lower left")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
