"""Whether a recording runs at the speed of life: steps as far apart as people make them, sound as long as the picture.

Speed alone cannot tell a quick person from a calm one who is played back fast. What is refused here is faster than
people are when they do as they are told; a dot to follow pins the speed down to a tenth, because eyes that follow a dot
played faster are elsewhere (`consent.dot`). docs/CONSENT.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Final

from portrait_anim.consent.evidence import RecordingEvidence
from portrait_anim.consent.liveness_types import CheckResult, LivenessLimits, StepResult
from portrait_anim.consent.records import Challenge

_CLOCK_S: Final = 2.0  # cameras and we count seconds a little differently
_TRACKS_S, _TRACKS_SHARE = 1.5, 0.15  # microphones start late and stop early


def check_tempo(steps: Sequence[StepResult], limits: LivenessLimits) -> CheckResult:
    """Check that the steps were performed no faster than people perform them.

    Args:
        steps: What was seen of each step.
        limits: How fast steps and blinks may be.
    """
    gaps = [
        after.start_s - before.start_s
        for before, after in pairwise(steps)
        if before.start_s is not None and after.start_s is not None and before.action != "follow_dot"
    ]  # the dot has a length of its own
    blinks = [
        step.end_s - step.start_s
        for step in steps
        if step.action == "blink_twice" and step.start_s is not None and step.end_s is not None
    ]
    fault = ""
    # The median, so that one long pause does not hide that all else is hurried.
    if gaps and median(gaps) < limits.step_pace_s:
        fault = f"a step every {median(gaps):.1f} s is faster than people move, or the video was played fast"
    elif blinks and min(blinks) < limits.blink_pair_s:
        fault = f"two blinks in {min(blinks):.2f} s are faster than eyelids, or the video was played fast"
    if fault:
        return CheckResult(
            name="tempo", passed=False, message=fault + "; record it at its own speed, about two seconds for each step"
        )
    return CheckResult(name="tempo", passed=True, message="the steps follow at the pace of a person")


def check_clock(challenge: Challenge, evidence: RecordingEvidence, handed_in: datetime | None) -> CheckResult:
    """Check that the recording is not longer than there was time for it, and that sound and picture are of one length.

    Args:
        challenge: What is answered.
        evidence: What was measured in the file.
        handed_in: When the recording was handed in [UTC], or `None` when that does not matter.
    """
    picture_s, sound_s = evidence.picture_s, evidence.sound_s
    since_s = float("inf") if handed_in is None else (handed_in - challenge.issued).total_seconds()
    fault = ""
    if not picture_s > 0:
        fault = "the video does not tell how long it is; hand in the recording as the camera made it"
    elif picture_s > since_s + _CLOCK_S:
        fault = (
            f"the video is {picture_s:.0f} s long, but the challenge was issued {since_s:.0f} s ago; "
            "record it after you were asked"
        )
    elif sound_s is not None and abs(sound_s - picture_s) > max(_TRACKS_S, _TRACKS_SHARE * picture_s):
        fault = (
            f"the sound lasts {sound_s:.1f} s and the picture {picture_s:.1f} s: they were not recorded together; "
            "hand in the recording as the camera made it"
        )
    return CheckResult(name="clock", passed=not fault, message=fault or "length and time of the recording agree")
