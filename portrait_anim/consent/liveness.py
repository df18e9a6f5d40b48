"""Whether a challenge video was performed by the living person of a portrait. Pure: values in, report out.

What it catches: missing, wrong, late, hurried or reordered steps; several people or a swap of people; cuts; a
photograph held or waved before the camera; a flat picture that is turned; with the evidence of `recording_checks`
also copies of earlier videos, marked generated ones, and coarse views of a screen. What it does not catch: a sharp,
steady screen that shows the very person performing the very steps, or a video made up by a generator that can follow
the challenge within its ten minutes and carries no mark. A challenge is random, expires and is spent by one attempt,
which is what stands against prepared recordings. docs/CONSENT.md has the figures.

Left and right are the subject's own. In an ordinary recording the subject's left is at image right; a
recording that was saved as a mirror image must be declared, because a face alone does not tell the two apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from portrait_anim.consent.dot import DotPath
from portrait_anim.consent.evidence import EnrolmentPolicy, RecordingEvidence
from portrait_anim.consent.face_signals import measure
from portrait_anim.consent.liveness_types import CheckResult, LivenessLimits, LivenessReport, StepResult
from portrait_anim.consent.matching import MatchPolicy, check_embedding
from portrait_anim.consent.movement_print import movement_print
from portrait_anim.consent.movements import INSTRUCTIONS, judge_steps
from portrait_anim.consent.presence import (
    check_alive,
    check_continuity,
    check_identity,
    check_recording,
    check_rest,
    check_solid,
)
from portrait_anim.consent.recording_checks import judge_recording
from portrait_anim.consent.records import Challenge, LivenessFrame
from portrait_anim.consent.tempo import check_clock, check_tempo
from portrait_anim.types import IdentityEmbedding

__all__ = [
    "INSTRUCTIONS",
    "CheckResult",
    "LivenessLimits",
    "LivenessReport",
    "StepResult",
    "verify_challenge",
]


def verify_challenge(
    challenge: Challenge,
    frames: Iterable[LivenessFrame],
    portrait_embedding: IdentityEmbedding,
    *,
    evidence: RecordingEvidence | None = None,
    policy: EnrolmentPolicy | None = None,
    earlier: Iterable[bytes] = (),
    match: MatchPolicy | None = None,
    limits: LivenessLimits | None = None,
    mirrored: bool = False,
    handed_in: datetime | None = None,
) -> LivenessReport:
    """Judge a challenge video.

    Args:
        challenge: What was asked. Whether it is still open is not judged here.
        frames: What was measured in the video, in order of time; frames without a face are left out. No more
            is read than the longest accepted video.
        portrait_embedding: Who is on the portrait.
        evidence: What was measured in the recording as a whole. Without it only the face is judged, which enrols
            nobody: `enrolling.enroll` demands it.
        policy: What the operator demands of the recording.
        earlier: Prints of movements of all videos that were handed in before.
        match: How alike faces must be.
        limits: How large and how soon movements must be.
        mirrored: Whether the recording is a mirror image of the person.
        handed_in: When the recording was handed in [UTC]; it must not last longer than since the challenge.

    Returns:
        The report, with one plain sentence per failure.

    Raises:
        ValueError: If landmarks or embeddings are malformed.
    """
    match, limits, policy = match or MatchPolicy(), limits or LivenessLimits(), policy or EnrolmentPolicy()
    check_embedding(portrait_embedding)
    seen = _bounded(frames, limits)
    recording = check_recording(seen, limits)
    if not recording.passed:
        others = () if evidence is None else judge_recording(challenge, evidence, None, policy, limits)
        return LivenessReport(passed=False, steps=(), checks=(recording, *others))
    signals = measure(seen, mirrored=mirrored)
    identity, template = check_identity(seen, signals, portrait_embedding, match, limits)
    dot = DotPath.from_json(challenge.dot_path) if challenge.dot_path else None
    steps, order = judge_steps(challenge.actions, signals, limits, dot)
    checks: tuple[CheckResult, ...] = (
        recording, check_rest(signals, limits), check_continuity(signals), identity, check_alive(signals, limits),
        check_solid(signals, limits), order, check_tempo(steps, limits),
    )  # fmt: skip
    if evidence is not None:
        checks += (check_clock(challenge, evidence, handed_in),)
        checks += judge_recording(challenge, evidence, signals, policy, limits, earlier)
    passed = len(steps) > 0 and all(step.passed for step in steps) and all(check.passed for check in checks)
    return LivenessReport(
        passed=passed, steps=steps, checks=checks, template=template, movements=movement_print(signals)
    )


def _bounded(frames: Iterable[LivenessFrame], limits: LivenessLimits) -> list[LivenessFrame]:
    """Read frames until one is later than any accepted video, so that an endless video costs nothing more."""
    seen: list[LivenessFrame] = []
    for frame in frames:
        seen.append(frame)
        if frame.time_s - seen[0].time_s > limits.max_duration_s:
            break
    return seen
