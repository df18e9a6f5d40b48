"""Which movements a face made, and whether they are the ones asked for, in order and in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final

import numpy as np

from portrait_anim.consent.dot import DotPath, agreement
from portrait_anim.consent.face_signals import FaceSignals
from portrait_anim.consent.liveness_types import CheckResult, LivenessLimits, StepResult
from portrait_anim.consent.records import ChallengeAction
from portrait_anim.types import Float64Array

INSTRUCTIONS: Final[Mapping[ChallengeAction, str]] = MappingProxyType(
    {
        "turn_left": "turn your head to your left",
        "turn_right": "turn your head to your right",
        "look_up": "look up with your head",
        "look_down": "look down with your head",
        "tilt": "tilt your head to one shoulder",
        "blink_twice": "blink twice",
        "open_mouth": "open your mouth wide",
        "smile": "smile broadly",
        "raise_brows": "raise your eyebrows",
        "follow_dot": "start the moving dot and follow it with your eyes",
    }
)
"""What to tell the person; left and right are the person's own."""

_OPPOSITE: Final[Mapping[ChallengeAction, ChallengeAction]] = MappingProxyType(
    {"turn_left": "turn_right", "turn_right": "turn_left", "look_up": "look_down", "look_down": "look_up"}
)
_ADVICE: Final[Mapping[ChallengeAction, str]] = MappingProxyType(
    {
        "blink_twice": "close both eyes fully two times within a second or two, facing the camera",
        "follow_dot": "the eyes did not go where the dot went: keep the head still, follow the dot with your eyes, and "
        "hold the camera close to the screen that shows it",
    }
)
_OVERLAP_S: Final = 0.3
_STRAY_STRENGTH: Final = 1.3
_NEIGHBOUR_S: Final = 0.4
_BRIDGE_S: Final = 0.15
_LONGEST_BLINK_S: Final = 0.8
_FRONTAL_DEG: Final = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Movement:
    """One movement that was seen.

    Attributes:
        action: Which one.
        start_s: When it reached its threshold [s].
        end_s: When it last was above its threshold [s].
        strength: Its largest size, 1 at the threshold.
    """

    action: ChallengeAction
    start_s: float
    end_s: float
    strength: float


def find_movements(
    signals: FaceSignals, limits: LivenessLimits, dot: DotPath | None = None
) -> tuple[Movement, ...]:
    """Find every movement that a challenge may ask for.

    Args:
        signals: What was measured.
        limits: How large movements must be.
        dot: Path of the dot that was shown, if one was.

    Returns:
        The movements in order of their start; they may overlap.
    """
    found: list[Movement] = []
    for action, strength in strengths(signals, limits).items():
        spans = _spans(signals.time_s, strength)
        if action == "blink_twice":
            closings = [span for span in spans if span[1] - span[0] <= _LONGEST_BLINK_S]
            found.extend(
                Movement(action=action, start_s=first[0], end_s=second[1], strength=min(first[2], second[2]))
                for first, second in pairwise(closings)
                if second[0] - first[1] <= limits.blink_pause_s
            )
        else:
            found.extend(
                Movement(action=action, start_s=start, end_s=end, strength=peak)
                for start, end, peak in spans
                if end - start >= limits.hold_s
            )
    if dot is not None:
        found.extend(_followings(signals, limits, dot))
    return tuple(sorted(found, key=lambda movement: (movement.start_s, movement.end_s)))


def strengths(signals: FaceSignals, limits: LivenessLimits) -> dict[ChallengeAction, Float64Array]:
    """Return how strongly each action is shown in each frame, `(T,)` each, 1 at the threshold.

    Args:
        signals: What was measured.
        limits: How large movements must be.
    """
    yaw = signals.yaw_deg - np.median(signals.yaw_deg)
    pitch = signals.pitch_deg - np.median(signals.pitch_deg)
    roll = signals.roll_deg - np.median(signals.roll_deg)
    # Expressions are read from the front only: a turned or lowered face looks as if it smiled or closed its
    # eyes.
    frontal = (np.abs(yaw) < _FRONTAL_DEG) & (np.abs(pitch) < _FRONTAL_DEG)

    def growth(values: Float64Array) -> Float64Array:
        ratio: Float64Array = values / max(_rest(values, signals), 1e-6) - 1.0
        return ratio

    gap = signals.mouth_open - _rest(signals.mouth_open, signals)
    return {
        "turn_left": yaw / limits.turn_deg,
        "turn_right": -yaw / limits.turn_deg,
        "look_up": pitch / limits.nod_deg,
        "look_down": -pitch / limits.nod_deg,
        "tilt": np.abs(roll) / limits.tilt_deg,
        "blink_twice": np.where(frontal, -growth(signals.eye_open) / limits.blink_ratio, 0.0),
        "open_mouth": np.where(frontal, gap / limits.mouth_open, 0.0),
        "smile": np.where(frontal, growth(signals.mouth_width) / limits.smile_ratio, 0.0),
        "raise_brows": np.where(frontal, growth(signals.brow_height) / limits.brow_ratio, 0.0),
    }


def judge_steps(
    actions: Sequence[ChallengeAction], signals: FaceSignals, limits: LivenessLimits, dot: DotPath | None = None
) -> tuple[tuple[StepResult, ...], CheckResult]:
    """Compare the movements seen with the steps asked for.

    Args:
        actions: What was asked, in order.
        signals: What was measured.
        limits: How large and how soon movements must be.
        dot: Path of the dot that was shown, if one was.

    Returns:
        One result per step, and whether there were movements that nobody asked for: a video that shows every
        movement would otherwise answer every challenge.
    """
    movements = find_movements(signals, limits, dot)
    sizes = strengths(signals, limits)
    done_s = float(signals.time_s[0])
    results: list[StepResult] = []
    matched: list[Movement] = []
    for number, action in enumerate(actions, start=1):
        own = [movement for movement in movements if movement.action == action]
        seen = next((movement for movement in own if movement.start_s >= done_s - _OVERLAP_S), None)
        label = f"step {number} ({INSTRUCTIONS[action]})"
        if seen is None:
            passed, message = (
                False,
                label + _missing(action, movements, sizes.get(action), signals.time_s, done_s),
            )
        elif seen.start_s - done_s > limits.step_s:
            passed = False
            message = (
                f"{label} came {seen.start_s - done_s:.1f} s after the step before, at {seen.start_s:.1f} s; "
                f"it must follow within {limits.step_s:g} s"
            )
        else:
            passed, message = True, f"{label} was seen from {seen.start_s:.1f} s to {seen.end_s:.1f} s"
        if seen is not None:
            matched.append(seen)
            done_s = seen.end_s
        results.append(
            StepResult(
                action=action,
                passed=passed,
                start_s=None if seen is None else seen.start_s,
                end_s=None if seen is None else seen.end_s,
                message=message,
            )
        )
    return tuple(results), _judge_strays(movements, matched, limits)


def _judge_strays(movements: Sequence[Movement], matched: Sequence[Movement], limits: LivenessLimits) -> CheckResult:
    strays = [
        movement
        for movement in movements
        if movement.action != "blink_twice"  # people blink unasked
        and movement.strength >= _STRAY_STRENGTH
        and not any(
            movement.start_s <= other.end_s + _NEIGHBOUR_S and movement.end_s >= other.start_s - _NEIGHBOUR_S
            for other in matched
        )
    ]
    seen = "; ".join(f"{INSTRUCTIONS[stray.action]} at {stray.start_s:.1f} s" for stray in strays)
    if len(strays) <= limits.stray_movements:
        return CheckResult(name="order", passed=True, message="nothing else than the steps was performed")
    return CheckResult(
        name="order",
        passed=False,
        message=f"unasked movements were made ({seen}); perform only the steps, in their order",
    )


def _missing(
    action: ChallengeAction,
    movements: Sequence[Movement],
    size: Float64Array | None,
    time_s: Float64Array,
    done_s: float,
) -> str:
    """Explain, in words a person can act on, why a step was not seen after `done_s`."""
    earlier = [movement for movement in movements if movement.action == action]
    if earlier:
        return f" was seen at {earlier[-1].start_s:.1f} s, before the step that comes first; keep the order"
    opposite = _OPPOSITE.get(action)
    if opposite and any(other.action == opposite and other.start_s >= done_s - _OVERLAP_S for other in movements):
        sideways = action in ("turn_left", "turn_right")
        advice = "; if your camera saves a mirror image, say so when you hand in the video" if sideways else ""
        return f" was not seen, the head moved the other way ({INSTRUCTIONS[opposite]}){advice}"
    if size is None or action in _ADVICE:
        return f" was not seen after {done_s:.1f} s; {_ADVICE[action]}"
    best = float(size[time_s >= done_s - _OVERLAP_S].max(initial=0.0))
    if best >= 1.0:
        return " was too short; hold it for half a second"
    if best >= 0.5:
        return f" was too small ({best:.0%} of what is needed); make the movement larger"
    return f" was not seen after {done_s:.1f} s; perform it facing the camera, then return to rest"


def _spans(time_s: Float64Array, strength: Float64Array) -> list[tuple[float, float, float]]:
    """Return `(start, end, peak)` of each stretch above 1, joined over dips that are shallow or short."""
    spans: list[tuple[float, float, float]] = []
    above = np.flatnonzero(strength >= 1.0)
    if not above.size:
        return spans
    for run in np.split(above, np.flatnonzero(np.diff(above) > 1) + 1):
        start, end, peak = float(time_s[run[0]]), float(time_s[run[-1]]), float(strength[run].max())
        if spans:
            between = strength[(time_s > spans[-1][1]) & (time_s < start)]
            if between.min(initial=1.0) > 0.5 or (start - spans[-1][1] < _BRIDGE_S and between.min() > 0.25):
                spans[-1] = (spans[-1][0], end, max(spans[-1][2], peak))
                continue
        spans.append((start, end, peak))
    return spans


def _followings(signals: FaceSignals, limits: LivenessLimits, dot: DotPath) -> list[Movement]:
    """The best moment of each stretch in which the look agrees with the dot."""
    starts, values = agreement(signals, dot)
    agreeing = np.flatnonzero(values >= limits.dot_agreement)
    if not agreeing.size:
        return []
    found = []
    for run in np.split(agreeing, np.flatnonzero(np.diff(agreeing) > 1) + 1):
        best = int(run[values[run].argmax()])
        found.append(
            Movement(
                action="follow_dot",
                start_s=float(starts[best]),
                end_s=float(starts[best]) + dot.duration_s,
                strength=float(values[best]) / limits.dot_agreement,
            )
        )
    return found


def _rest(values: Float64Array, signals: FaceSignals) -> float:
    calm = values[signals.calm]
    return float(np.median(calm if calm.size else values))
