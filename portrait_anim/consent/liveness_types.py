"""Thresholds and results of the liveness check."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from portrait_anim.consent.records import ChallengeAction
from portrait_anim.types import IdentityEmbedding


@dataclass(frozen=True, kw_only=True, slots=True)
class LivenessLimits:
    """What a challenge video must show. Angles and sizes are changes from the person's own rest.

    Attributes:
        turn_deg: Head turn to a side [degrees].
        nod_deg: Look up or down [degrees].
        tilt_deg: Head tilt to a shoulder [degrees].
        mouth_open: Growth of the lip gap [outer-eye distances].
        smile_ratio: Growth of the mouth width, as a fraction.
        brow_ratio: Growth of the brow-to-eye distance, as a fraction.
        blink_ratio: Loss of eye opening, of both eyes, as a fraction.
        blink_pause_s: Longest pause between the two blinks of a pair [s].
        hold_s: Shortest time that a movement other than a blink is held [s].
        dot_agreement: Smallest correlation of the look with the dot that was shown.
        step_s: Longest pause before a step begins [s].
        step_pace_s: Shortest time from one step to the next, in the median [s].
        blink_pair_s: Shortest time from the first closing to the last opening of a pair of blinks [s].
        stray_movements: How many movements that were not asked for are tolerated.
        min_duration_s: Shortest video [s].
        max_duration_s: Longest video [s].
        min_rate_hz: Fewest frames per second, on average.
        max_gap_s: Longest time without a face [s].
        min_samples: Fewest frontal frames in which the identity was measured.
        max_sample_gap_s: Longest time without an identity measured [s].
        rest_yaw_deg: Largest turn of the resting head from the camera [degrees].
        rest_pitch_deg: Largest nod of the resting head from the camera [degrees].
        deformation: Smallest change of shape of lids, mouth or brows [outer-eye distances].
        parallax: Smallest departure of a turned face from a turned flat picture [outer-eye distances].
        parallax_yaw_deg: Turn from which depth can be judged [degrees].
        crowd_fraction: Largest fraction of frames with more than one face.
    """

    turn_deg: float = 18.0
    nod_deg: float = 10.0
    tilt_deg: float = 12.0
    mouth_open: float = 0.18
    smile_ratio: float = 0.12
    brow_ratio: float = 0.08
    blink_ratio: float = 0.45
    blink_pause_s: float = 1.2
    hold_s: float = 0.12
    dot_agreement: float = 0.75
    step_s: float = 8.0
    step_pace_s: float = 1.25
    blink_pair_s: float = 0.25
    stray_movements: int = 1
    min_duration_s: float = 4.0
    max_duration_s: float = 60.0
    min_rate_hz: float = 10.0
    max_gap_s: float = 0.5
    min_samples: int = 5
    max_sample_gap_s: float = 2.0
    rest_yaw_deg: float = 20.0
    rest_pitch_deg: float = 25.0
    deformation: float = 0.04
    parallax: float = 0.03
    parallax_yaw_deg: float = 14.0
    crowd_fraction: float = 0.05

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            smallest = 0 if item.name == "stray_movements" else 1e-9
            if not math.isfinite(value) or value < smallest:
                raise ValueError(f"expected a positive {item.name}, got {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """How one step of a challenge went.

    Attributes:
        action: What was asked.
        passed: Whether it was seen at its place in the order and in time.
        start_s: When it was seen to begin [s], or `None`.
        end_s: When it was seen to end [s], or `None`.
        message: What was seen, in a sentence.
    """

    action: ChallengeAction
    passed: bool
    start_s: float | None
    end_s: float | None
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """How one check of the whole video went.

    Attributes:
        name: The check in a word.
        passed: Whether it holds.
        message: What was found, in a sentence.
        noted: Whether the ledger notes it although it passed, such as a code that was optional and not heard.
    """

    name: str
    passed: bool
    message: str
    noted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class LivenessReport:
    """Everything the verifier found in a challenge video.

    Attributes:
        passed: Whether every step and every check passed.
        steps: One result per step, in the order asked.
        checks: Results of the checks of the whole video.
        template: Mean identity over the frontal frames, or `None` when it could not be formed.
        movements: Print of what moved, or `None` when nothing could be measured.
    """

    passed: bool
    steps: tuple[StepResult, ...]
    checks: tuple[CheckResult, ...]
    template: IdentityEmbedding | None = field(default=None, repr=False)
    movements: bytes | None = field(default=None, repr=False)

    @property
    def failures(self) -> tuple[str, ...]:
        """One sentence per step or check that failed."""
        checks = tuple(check.message for check in self.checks if not check.passed)
        return checks + tuple(step.message for step in self.steps if not step.passed)
