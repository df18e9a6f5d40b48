"""Whether a challenge video is a fresh, uncut recording of a camera. Pure: values in, one sentence per check out.

What each check can and cannot see is told in docs/CONSENT.md, with figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import numpy as np

from portrait_anim.consent.evidence import EnrolmentPolicy, OriginMark, RecordingEvidence, SceneSamples
from portrait_anim.consent.face_signals import FaceSignals
from portrait_anim.consent.liveness_types import CheckResult, LivenessLimits
from portrait_anim.consent.movement_print import likeness, movement_print
from portrait_anim.consent.records import Challenge

_NOSE: Final = 4
# A change of the whole picture is a cut when it is large and stands out from those before and after it.
_CUT_CHANGE, _CUT_OUTLIER, _CUT_NEIGHBOURS = 0.02, 6.0, 5
_LEAST_SEEN: Final = 0.8  # share of frames in which the backdrop must be followed before anything is said about it
_MOST_HEARD: Final = 24
_NOSE_TRAVEL: Final = 0.12  # of an eye distance that the nose of a turned head leaves its backdrop at least
_MARKS: Final[dict[OriginMark, str]] = {
    "own_watermark": "the video carries the invisible mark of this program, which only generated videos carry",
    "own_manifest": "the video carries the signed statement of this program that it was generated",
    "ai_manifest": "the video carries a signed statement (C2PA) that it was made or changed by a generator",
    "damaged_manifest": "the video carries a statement of origin (C2PA) that was damaged or forged",
}


def judge_recording(
    challenge: Challenge,
    evidence: RecordingEvidence,
    signals: FaceSignals | None,
    policy: EnrolmentPolicy,
    limits: LivenessLimits,
    earlier: Iterable[bytes] = (),
) -> tuple[CheckResult, ...]:
    """Check everything that concerns the recording rather than the face.

    Args:
        challenge: What was asked.
        evidence: What was measured in the file.
        signals: What was measured in the face, or `None` when that was not possible.
        policy: What the operator demands.
        limits: Thresholds of the liveness check.
        earlier: Prints of movements of all videos that were handed in before.

    Returns:
        One result per check.
    """
    checks = [
        check_origin(evidence),
        check_recorded_at(challenge, evidence, policy),
        check_scene(evidence.scene),
        check_screen(evidence, policy),
        check_code(challenge, evidence),
        check_live_score(evidence, policy),
        check_age(evidence),
    ]
    if signals is not None:
        checks += [
            check_backdrop(signals, evidence.scene, limits),
            check_replay(movement_print(signals), earlier, policy),
        ]
    return tuple(checks)


def check_origin(evidence: RecordingEvidence) -> CheckResult:
    """Check that the file does not say of itself that a generator made it."""
    if not evidence.marks:
        return CheckResult(name="origin", passed=True, message="no mark of a generator is in the file")
    return CheckResult(
        name="origin", passed=False, message=_MARKS[evidence.marks[0]] + "; hand in the recording of a camera"
    )


def check_replay(movements: bytes, earlier: Iterable[bytes], policy: EnrolmentPolicy) -> CheckResult:
    """Check that the video is not a copy of one that was handed in before.

    Args:
        movements: Print of the new video, see `movement_print`.
        earlier: Those of all earlier ones.
        policy: From which likeness on it is a copy.
    """
    alike = any(likeness(movements, other) >= policy.replay_likeness for other in earlier)
    message = (
        "the video was handed in before, as it is or changed a little; record the new challenge"
        if alike
        else "the video is like none that was handed in before"
    )
    return CheckResult(name="replay", passed=not alike, message=message)


def check_recorded_at(challenge: Challenge, evidence: RecordingEvidence, policy: EnrolmentPolicy) -> CheckResult:
    """Check that the camera did not record before the challenge was issued. Files may be silent, and may lie."""
    at = evidence.recorded_at
    if at is None:
        return CheckResult(name="recorded_at", passed=True, message="the file does not tell when it was recorded")
    skew = timedelta(seconds=policy.clock_skew_s)
    if challenge.issued - skew <= at <= challenge.expires + skew:
        return CheckResult(name="recorded_at", passed=True, message="the video was recorded after it was asked for")
    return CheckResult(
        name="recorded_at",
        passed=False,
        message=f"the file says that it was recorded at {at.isoformat(timespec='seconds')}, "
        f"but the challenge was issued at {challenge.issued.isoformat(timespec='seconds')}; "
        "record it now, and set the clock of the camera",
    )


def check_scene(scene: SceneSamples) -> CheckResult:
    """Check that the picture as a whole never changes at once, as it does in a cut."""
    at = first_cut(scene)
    if at is None:
        return CheckResult(name="scene", passed=True, message="the picture changes without a cut")
    return CheckResult(
        name="scene",
        passed=False,
        message=f"the whole picture changes at {at:.1f} s, as in a cut; "
        "record the challenge in one go, in steady light",
    )


def first_cut(scene: SceneSamples) -> float | None:
    """Find the first sudden change of the whole picture.

    Args:
        scene: What happens around the face.

    Returns:
        Its time [s], or `None`.
    """
    change = scene.change
    if len(change) < 3:
        return None
    padded = np.pad(change, _CUT_NEIGHBOURS, mode="edge")
    offsets = [offset for offset in range(2 * _CUT_NEIGHBOURS + 1) if offset != _CUT_NEIGHBOURS]
    around = np.median([padded[offset : offset + len(change)] for offset in offsets], axis=0)
    cuts = (change >= _CUT_CHANGE) & (change >= _CUT_OUTLIER * np.maximum(around, 1e-3))
    return float(scene.time_s[int(cuts.argmax())]) if cuts.any() else None


def check_screen(evidence: RecordingEvidence, policy: EnrolmentPolicy) -> CheckResult:
    """Check that the face shows no pattern of a filmed screen or print."""
    if evidence.screen is None:
        return CheckResult(
            name="screen", passed=False, message="the face is too small to be looked at closely; come closer"
        )
    if evidence.screen < policy.screen_pattern:
        return CheckResult(name="screen", passed=True, message="no pattern of a screen lies over the face")
    return CheckResult(
        name="screen",
        passed=False,
        message="a regular pattern lies over the face, as when a screen or a print is filmed; film yourself",
    )


def check_backdrop(signals: FaceSignals, scene: SceneSamples, limits: LivenessLimits) -> CheckResult:
    """Check that a turning head leaves its backdrop behind, which a picture waved with its backdrop does not."""
    if len(scene.time_s) < 2 or scene.seen[1:].mean() < _LEAST_SEEN:
        return CheckResult(
            name="backdrop", passed=True, message="the backdrop is too plain to say whether it moves with the face"
        )
    turned = np.abs(signals.yaw_deg - np.median(signals.yaw_deg)) >= limits.parallax_yaw_deg
    backdrop = np.stack([np.interp(signals.time_s, scene.time_s, scene.backdrop[:, axis]) for axis in (0, 1)], axis=1)
    nose = (signals.points[:, _NOSE, :2] - backdrop) / float(np.median(signals.eye_distance))
    travel = 0.0
    for run in np.split(np.flatnonzero(turned), np.flatnonzero(np.diff(np.flatnonzero(turned)) > 1) + 1):
        before = np.flatnonzero((signals.time_s < signals.time_s[run[0]] - 0.2) & signals.calm) if run.size else run
        if before.size:  # only just before the turn, so that sums of small errors do not count
            start = nose[before[-min(5, before.size) :]].mean(axis=0)
            travel = max(travel, float(np.linalg.norm(nose[run] - start, axis=1).max()))
    if not turned.any() or travel >= _NOSE_TRAVEL:
        return CheckResult(name="backdrop", passed=True, message="the head moves before its backdrop")
    return CheckResult(
        name="backdrop",
        passed=False,
        message="the backdrop moves with the face like parts of one picture; film yourself, not a photo",
    )


def check_code(challenge: Challenge, evidence: RecordingEvidence) -> CheckResult:
    """Check that the six digits were said, as far as the challenge demands it."""
    if not challenge.code or challenge.code_policy == "off":
        return CheckResult(name="code", passed=True, message="no spoken code was asked for")
    required = challenge.code_policy == "required"
    if not evidence.has_sound:
        message = "the video has no sound; allow the microphone and say the six digits aloud"
        return CheckResult(name="code", passed=not required, message=message, noted=not required)
    if evidence.heard is None:
        message = (
            "nobody could listen to the spoken code: the speech recogniser is not installed; "
            "the operator installs `portrait-anim[voice]` or makes the code optional"
        )
        return CheckResult(name="code", passed=not required, message=message, noted=not required)
    if code_was_said(challenge.code, evidence.heard):
        return CheckResult(name="code", passed=True, message="the six digits were heard")
    heard = " ".join(evidence.heard[:_MOST_HEARD]) or "none"
    message = (
        f"the digits heard ({heard}) are not the code; say its six digits one by one, in English, clearly and in order"
    )
    return CheckResult(name="code", passed=not required, message=message, noted=not required)


def code_was_said(code: str, heard: str) -> bool:
    """Say whether a code is among the digits that were heard, one misheard digit allowed.

    Args:
        code: The digits asked for.
        heard: All digits heard, in order.

    Returns:
        Whether a stretch of `heard` agrees in all places but one. With one wrong place allowed, a guess is right once
        in 18,000 times; a recital of more than 24 digits is no answer at all.
    """
    if len(heard) > _MOST_HEARD:
        return False
    stretches = [heard[start : start + len(code)] for start in range(len(heard) - len(code) + 1)]
    return any(sum(a != b for a, b in zip(code, stretch, strict=True)) <= 1 for stretch in stretches)


def check_age(evidence: RecordingEvidence) -> CheckResult:
    """Check what the deployment's own check of age said; whether one was made is the deployment's business."""
    refused = bool(evidence.age_refusal)
    message = f"the check of age refused: {evidence.age_refusal}" if refused else "no check of age refused"
    return CheckResult(name="age", passed=not refused, message=message)


def check_live_score(evidence: RecordingEvidence, policy: EnrolmentPolicy) -> CheckResult:
    """Check the result of the passive liveness network, where one is installed or demanded."""
    if evidence.live_score is None and evidence.liveness_asked:
        return CheckResult(
            name="live_score",
            passed=False,
            message="the liveness network could not judge the video; keep your whole face in the middle, "
            "with space around it",
        )
    if evidence.live_score is None:
        return CheckResult(
            name="live_score",
            passed=policy.passive_liveness != "required",
            message="no passive liveness network judged the video; "
            "the operator installs insightface with its liveness add-on",
        )
    passed = evidence.live_score >= policy.live_score
    message = (
        "the liveness network sees a living face"
        if passed
        else "the liveness network sees a picture or a screen; film yourself, in even light"
    )
    return CheckResult(name="live_score", passed=passed, message=message)
