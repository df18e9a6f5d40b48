"""The figures of a report, what they must reach, and their means over pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from portrait_anim.evaluation.metrics import mean_of
from portrait_anim.evaluation.records import PairResult
from portrait_anim.evaluation.signals import SIGNAL_NAMES
from portrait_anim.evaluation.truth import TruthTable

FIGURES: Final = {
    "identity_mean": "identity distance (dlib), mean",
    "identity_p90": "identity distance (dlib), 90th percentile",
    "identity_worst": "identity distance (dlib), worst",
    "arcface_mean": "identity distance (ArcFace), mean",
    "arcface_worst": "identity distance (ArcFace), worst",
    "beyond_gate": "frames beyond the gate's identity threshold (0.44)",
    "driver_beyond_gate": "the same of drivers: their frames beyond it from their own first frame",
    "other_person": "frames that look like another person (0.60)",
    "no_face": "frames without a detectable face",
    "failures": "failed frames: no face, or beyond the gate's threshold",
    "steadiness": "second difference of landmarks, output over driver",
    "flicker": "flicker of still background [grey levels per frame]",
    "sharpness": "sharpness in the face, output over portrait",
    "seam": "worst paste-back seam, gradient over the portrait's own",
    "lag": "lag, mean over signals [frames]",
    "speed_std": "speed, spread over the driver's",
    "speed_p95": "speed, 95th percentile over the driver's",
    "acceleration_std": "acceleration, spread over the driver's",
    "acceleration_p95": "acceleration, 95th percentile over the driver's",
    "speed_kurtosis": "kurtosis of speed over the driver's (below 1: more even)",
    "seconds_per_frame": "whole pipeline [s per frame]",
    "evaluation_s": "measuring [s per frame]",
}

CLEARLY_DB: Final = 1.0
CLEARLY_SSIM: Final = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Means over some pairs.

    Attributes:
        num_pairs: Pairs that were measured.
        num_frames: Frames in all.
        r: Mean correlation by signal, over the pairs whose driver moves it; an output that stands still counts 0.
        slope: Mean slope by signal; likewise.
        lag: Mean lag by signal [frames].
        moved_in: Pairs that count, by signal.
        figures: Mean of every figure.
    """

    num_pairs: int
    num_frames: int
    r: dict[str, float | None]
    slope: dict[str, float | None]
    lag: dict[str, float | None]
    moved_in: dict[str, int]
    figures: dict[str, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One bar and whether it is reached.

    Attributes:
        figure: What is measured.
        bar: What it must reach, in words.
        value: What it is; `None` when not measured.
        passed: Whether it is reached; `None` when not measured.
    """

    figure: str
    bar: str
    value: float | None
    passed: bool | None


_LEAST_R: Final = {
    "mouth_open": 0.92, "mouth_width": 0.80, "eye_open": 0.80, "brow": 0.60, "gaze_x": 0.70, "yaw": 0.95,
    "pitch": 0.95, "roll": 0.95,
}  # fmt: skip
_POSE: Final = ("yaw", "pitch", "roll")
_POSE_SLOPES: Final = (0.8, 1.2)
_LARGEST: Final = {
    "identity_mean": 0.35, "identity_p90": 0.50, "steadiness": 1.3, "failures": 0.005, "seconds_per_frame": 0.25,
}  # fmt: skip
_SMALLEST: Final = {"sharpness": 0.8}


def summarise(pairs: Iterable[PairResult]) -> Summary:
    """Mean of every figure over the measured pairs among `pairs`."""
    measured = [pair for pair in pairs if pair.status == "measured"]
    scores = {name: [pair.signals[name] for pair in measured if name in pair.signals] for name in SIGNAL_NAMES}
    return Summary(
        num_pairs=len(measured),
        num_frames=sum(pair.num_frames for pair in measured),
        r={name: mean_of(0.0 if s.r is None else s.r for s in rows) for name, rows in scores.items()},
        slope={name: mean_of(0.0 if s.slope is None else s.slope for s in rows) for name, rows in scores.items()},
        lag={name: mean_of(s.lag for s in rows) for name, rows in scores.items()},
        moved_in={name: len(rows) for name, rows in scores.items()},
        figures={name: mean_of(pair.figures.get(name) for pair in measured) for name in FIGURES},
    )


def summarise_by(pairs: Sequence[PairResult], key: Mapping[str, str], attribute: str) -> dict[str, Summary]:
    """Means by group.

    Args:
        pairs: All pairs.
        key: Group by name of a portrait or clip; names without one are left out.
        attribute: `"portrait"` or `"clip"`.

    Returns:
        Summary by group, sorted.
    """
    groups = sorted({group for group in key.values() if group})
    return {group: summarise(pair for pair in pairs if key.get(getattr(pair, attribute)) == group) for group in groups}


def judge(summary: Summary, truth: TruthTable | None) -> list[Verdict]:
    """Hold the means against the bars.

    Args:
        summary: Means over all pairs.
        truth: Scores on rendered people, when they were measured.

    Returns:
        One verdict per bar.
    """
    verdicts = [
        _verdict(f"r {name}", f"at least {least:.2f}", summary.r[name], least, None) for name, least in _LEAST_R.items()
    ]
    low, high = _POSE_SLOPES
    verdicts += [_verdict(f"slope {name}", f"{low} to {high}", summary.slope[name], low, high) for name in _POSE]
    verdicts += [
        _verdict(FIGURES[name], f"at most {most:g}", summary.figures[name], None, most)
        for name, most in _LARGEST.items()
    ]
    verdicts += [
        _verdict(FIGURES[name], f"at least {least:g}", summary.figures[name], least, None)
        for name, least in _SMALLEST.items()
    ]
    for name, label, margin, unit in (("psnr", "PSNR", CLEARLY_DB, " dB"), ("ssim", "SSIM", CLEARLY_SSIM, "")):
        lead = _lead(truth, name)
        verdicts.append(
            _verdict(f"{label} above the better baseline", f"at least {margin:g}{unit}", lead, margin, None)
        )
    return verdicts


def _verdict(figure: str, bar: str, value: float | None, least: float | None, most: float | None) -> Verdict:
    passed = None
    if value is not None:
        passed = (least is None or value >= least) and (most is None or value <= most)
    return Verdict(figure=figure, bar=bar, value=value, passed=passed)


def _lead(truth: TruthTable | None, name: str) -> float | None:
    """By how much our frames are better than the better baseline."""
    if truth is None:
        return None
    values = [getattr(truth.scores[method], name) for method in ("full", "still", "landmarks")]
    ours, *theirs = (v for v in values)
    return None if None in values else float(ours - max(theirs))
