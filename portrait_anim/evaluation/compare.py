"""Driver against output: from what was measured to the figures of one pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from portrait_anim.consent.matching import MatchPolicy
from portrait_anim.evaluation.curves import FaceCurves
from portrait_anim.evaluation.metrics import lag, mean_of, motion_statistics, pearson, second_difference, slope
from portrait_anim.evaluation.output import OutputMeasurement
from portrait_anim.evaluation.records import SignalScore
from portrait_anim.evaluation.signals import SIGNALS, eye_distance, measure_signals
from portrait_anim.types import Float32Array, Float64Array

OTHER_PERSON: Final = 0.6
"""dlib distance from which its authors call two faces different people."""

_LEAST_CLEAR: Final = 20  # frames without the label on the face that steadiness wants to see

Curves = Mapping[str, Float64Array]


def visible_signals(measured: OutputMeasurement) -> dict[str, Float64Array]:
    """Signals of an output; NaN where the label lies over the face."""
    signals = measure_signals(measured.curves.points.astype(np.float64))
    return {spec.name: np.where(measured.hidden, np.nan, signals[spec.name]) for spec in SIGNALS}


def score_signals(driver: Curves, output: Curves, fps: float) -> dict[str, SignalScore]:
    """Score every signal that the driver moves.

    Args:
        driver: `(T,)` by signal.
        output: The same.
        fps: Frame rate [1/s].

    Returns:
        Scores by signal; signals whose spread is below `SignalSpec.least_std` are left out.
    """
    scores = {}
    for spec in SIGNALS:
        x, y = driver[spec.name], output[spec.name]
        known = np.isfinite(x)
        if not known.any() or x[known].std() < spec.least_std:
            continue
        spread = float(np.nanstd(y)) if np.isfinite(y).any() else None
        both = np.isfinite(x) & np.isfinite(y)
        scores[spec.name] = SignalScore(
            r=pearson(x, y), slope=slope(x, y), lag=lag(x, y), driver_std=float(x[known].std()), output_std=spread,
            **_movement(np.where(both, x, np.nan), np.where(both, y, np.nan), fps),
        )  # fmt: skip
    return scores


def _movement(driver: Float64Array, output: Float64Array, fps: float) -> dict[str, float | None]:
    """Speed and acceleration of the output over the driver's."""
    theirs, ours = motion_statistics(driver, fps), motion_statistics(output, fps)
    if theirs is None or ours is None:
        return {}
    names = ("speed_std", "speed_p95", "acceleration_std", "acceleration_p95", "speed_kurtosis")
    pairs = {name: (getattr(ours, name), getattr(theirs, name)) for name in names}
    return {name: out / reference if reference > 0 else None for name, (out, reference) in pairs.items()}


def figures_of(
    driver: FaceCurves, measured: OutputMeasurement, scores: Mapping[str, SignalScore]
) -> dict[str, float | None]:
    """Every figure of a pair but the times.

    Args:
        driver: Landmarks of the driver.
        measured: The output.
        scores: From `score_signals`.

    Returns:
        Figures by name, see `bars.FIGURES`.
    """
    distances = np.array(list(measured.identity.get("dlib", {}).values()))
    gate = MatchPolicy().limit("dlib")
    unseen = _missed(driver, measured)
    beyond = float((distances > gate).mean()) if len(distances) else None
    arcface = list(measured.identity.get("arcface", {}).values())
    movement = {
        name: mean_of(getattr(score, name) for score in scores.values())
        for name in ("speed_std", "speed_p95", "acceleration_std", "acceleration_p95", "speed_kurtosis")
    }
    return {
        "identity_mean": mean_of(distances),
        "identity_p90": float(np.percentile(distances, 90)) if len(distances) else None,
        "identity_worst": float(distances.max()) if len(distances) else None,
        "beyond_gate": beyond,
        "other_person": float((distances > OTHER_PERSON).mean()) if len(distances) else None,
        "arcface_mean": mean_of(arcface),
        "arcface_worst": max(arcface) if arcface else None,
        "no_face": unseen,
        "failures": None if unseen is None else unseen + (1 - unseen) * (beyond or 0.0),
        "steadiness": _steadiness(driver, measured),
        "flicker": measured.flicker,
        "sharpness": mean_of(measured.sharpness.values()),
        "seam": max(measured.seams.values()) if measured.seams else None,
        "lag": mean_of(score.lag for score in scores.values()),
        **movement,
    }


def _missed(driver: FaceCurves, measured: OutputMeasurement) -> float | None:
    """Share of the frames in which the driver's face is seen and the output's is not, label aside."""
    asked = driver.seen & ~measured.hidden
    return float((asked & ~measured.curves.seen).sum() / asked.sum()) if asked.any() else None


def _steadiness(driver: FaceCurves, measured: OutputMeasurement) -> float | None:
    """Restlessness of the output's landmarks over the driver's, where both are seen and the label is elsewhere."""
    usable = driver.seen & measured.curves.seen & ~measured.near
    if usable.sum() < _LEAST_CLEAR:
        usable = driver.seen & measured.curves.seen & ~measured.hidden
    values = []
    for curves in (measured.curves, driver):
        points = curves.points.astype(np.float64)
        masked = np.where(usable[:, None, None], points[:, :468, :2], np.nan)
        values.append(second_difference(masked, eye_distance(points)))
    ours, theirs = values
    return None if ours is None or not theirs else ours / theirs


def worst_frames(
    driver: Curves, output: Curves, scores: Mapping[str, SignalScore], measured: OutputMeasurement
) -> tuple[tuple[int, str], ...]:
    """Frames worth looking at: the least alike ones, the farthest off in motion, and one without a face.

    Args:
        driver: Signals of the driver.
        output: Signals of the output.
        scores: Scores of the moved signals.
        measured: The output.

    Returns:
        Up to five frame numbers with the reason, each frame once.
    """
    found: dict[int, str] = {}
    alike = measured.identity.get("dlib", {})
    for index in sorted(alike, key=lambda k: -alike[k])[:2]:
        found[index] = f"identity {alike[index]:.2f}"
    misses = [
        np.abs((output[name] - np.nanmean(output[name])) - (driver[name] - np.nanmean(driver[name]))) / score.driver_std
        for name, score in scores.items()
        if np.isfinite(output[name]).any()
    ]
    if misses:
        names = [name for name in scores if np.isfinite(output[name]).any()]
        total: Float32Array | Float64Array = np.where(np.isfinite(misses), misses, 0.0)
        for index in _apart(total.mean(axis=0), 2):
            found.setdefault(index, f"{names[int(total[:, index].argmax())]} off by {total[:, index].max():.1f} std")
    for index in np.flatnonzero(~measured.curves.seen & ~measured.hidden)[:1]:
        found[int(index)] = "no face"
    return tuple(sorted(found.items()))


def _apart(values: Float64Array, count: int) -> list[int]:
    """Places of the highest values, at least a tenth of the clip from each other."""
    gap = max(1, len(values) // 10)
    chosen: list[int] = []
    for index in np.argsort(-values):
        if all(abs(int(index) - other) >= gap for other in chosen):
            chosen.append(int(index))
        if len(chosen) == count:
            break
    return chosen
