"""Enrolling: a living person who answered a challenge, or a figure that does not exist. Everything is judged here."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from portrait_anim.consent.attempts import forget_attempts_of
from portrait_anim.consent.challenges import check_bound, check_digest, open_challenge
from portrait_anim.consent.evidence import EnrolmentPolicy, RecordingEvidence
from portrait_anim.consent.handover import Handover, hand_over
from portrait_anim.consent.kept_videos import KeptVideo
from portrait_anim.consent.known_faces import Refusal, known_faces, protected_face
from portrait_anim.consent.ledger import append_row
from portrait_anim.consent.liveness import LivenessLimits, LivenessReport, verify_challenge
from portrait_anim.consent.liveness_types import CheckResult
from portrait_anim.consent.matching import MatchPolicy, check_embedding
from portrait_anim.consent.records import MAX_TEXT_LENGTH, Cameo, Challenge, LivenessFrame, clean_text, utc
from portrait_anim.consent.rows import put_cameo
from portrait_anim.consent.service_records import ChallengeVideo
from portrait_anim.consent.service_rows import find_challenge_videos, put_challenge_video
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentDenied, LivenessFailed
from portrait_anim.types import IdentityEmbedding


@dataclass(frozen=True, kw_only=True, slots=True)
class _Attempt:
    """One judged answer, on its way into the store."""

    challenge: Challenge
    report: LivenessReport
    evidence: RecordingEvidence
    cameo: Cameo
    kept: KeptVideo | None
    policy: EnrolmentPolicy
    match: MatchPolicy
    handover: Handover | None
    now: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    """How an attempt ended: the final report, any refusal, and the cameo if there is one."""

    report: LivenessReport
    refusal: Refusal | None
    cameo: Cameo | None


def enroll(
    store: ConsentStore,
    *,
    challenge_id: str,
    portrait_embedding: IdentityEmbedding,
    portrait_digest: str,
    observations: Iterable[LivenessFrame],
    evidence: RecordingEvidence,
    now: datetime,
    kept: KeptVideo | None = None,
    policy: EnrolmentPolicy | None = None,
    match: MatchPolicy | None = None,
    limits: LivenessLimits | None = None,
    mirrored: bool = False,
    handover: Handover | None = None,
) -> Cameo:
    """Enrol a living person who just answered a challenge.

    The challenge is spent by the attempt, whether it succeeds or not; an answer with another portrait than the
    challenge was issued for is refused without spending it.

    Args:
        store: The open store.
        challenge_id: The challenge that the video answers.
        portrait_embedding: Who is on the portrait.
        portrait_digest: sha256 of the decoded portrait, hexadecimal.
        observations: What was measured of the face in the challenge video, in order of time.
        evidence: What was measured in the recording as a whole.
        now: When the video was handed in, timezone-aware.
        kept: The encrypted copy of the video, when one was made.
        policy: What the operator demands.
        match: How alike faces must be.
        limits: Thresholds of the liveness check.
        mirrored: Whether the camera saved a mirror image.
        handover: Link and account of a person who enrols through a link, which is closed with the enrolment.

    Returns:
        The new cameo.

    Raises:
        ConsentDenied: If the challenge is unknown, expired, answered already, or issued for another portrait or
            through another link; if the person is on the denylist or enrolled under another name; if the link was
            used in the meantime.
        LivenessFailed: If the video does not answer it; `failures` says why.
        ValueError: If digest or embedding make no sense.
    """
    now, policy, match = utc(now), policy or EnrolmentPolicy(), match or MatchPolicy()
    check_digest(portrait_digest)
    check_embedding(portrait_embedding)
    with store.read() as connection:
        challenge = open_challenge(connection, store, challenge_id, now)
        earlier = [old.fingerprint for old in find_challenge_videos(connection, store) if old.fingerprint]
    check_bound(challenge, portrait_digest, link_digest="" if handover is None else handover.link_digest)
    report = verify_challenge(
        challenge, observations, portrait_embedding, evidence=evidence, policy=policy, earlier=earlier, match=match,
        limits=limits, mirrored=mirrored, handed_in=now,
    )  # fmt: skip
    attempt = _Attempt(
        challenge=challenge, report=report, evidence=evidence, kept=kept, policy=policy, match=match,
        cameo=_new_cameo(challenge, portrait_embedding, report, now), handover=handover, now=now,
    )  # fmt: skip
    with store.write() as connection:
        outcome = _record(connection, store, attempt)
    return _enrolled(outcome)


def _new_cameo(challenge: Challenge, portrait: IdentityEmbedding, report: LivenessReport, now: datetime) -> Cameo:
    """The cameo that a passed challenge makes, not written yet."""
    return Cameo(
        id=f"cam_{secrets.token_hex(8)}",
        name=challenge.name,
        kind="real",
        portrait_digest=challenge.portrait_digest,
        portrait_embeddings=(portrait,),
        video_embeddings=() if report.template is None else (report.template,),
        created=now,
    )


def _enrolled(outcome: _Outcome) -> Cameo:
    """Return the cameo of an attempt, or raise why there is none."""
    if outcome.cameo is not None:
        return outcome.cameo
    if outcome.refusal is not None:
        raise ConsentDenied(outcome.refusal[1], reason=outcome.refusal[0])
    failures = outcome.report.failures
    raise LivenessFailed(
        "expected a challenge video that shows the person of the portrait performing every step, got: "
        + "; ".join(failures)
        + ". Ask for a new challenge and record it again.",
        failures=failures,
    )


def enroll_fictional(
    store: ConsentStore,
    *,
    name: str,
    statement: str,
    portrait_embedding: IdentityEmbedding,
    portrait_digest: str,
    now: datetime,
    match: MatchPolicy | None = None,
) -> Cameo:
    """Enrol a figure that does not exist, on the operator's signed statement.

    Args:
        store: The open store.
        name: What to call it.
        statement: Why there is nobody to ask, in the operator's words.
        portrait_embedding: Who is on the portrait.
        portrait_digest: sha256 of the decoded portrait, hexadecimal.
        now: Current time, timezone-aware.
        match: How alike faces must be to count as one person.

    Returns:
        The new cameo.

    Raises:
        ConsentDenied: If the face is an enrolled real person's or on the denylist, or cannot be compared with them.
        ValueError: If name, statement, digest or embedding make no sense.
    """
    now, match = utc(now), match or MatchPolicy()
    check_digest(portrait_digest)
    check_embedding(portrait_embedding)
    cameo = Cameo(
        id=f"cam_{secrets.token_hex(8)}",
        name=clean_text(name, "name"),
        kind="fictional",
        portrait_digest=portrait_digest,
        portrait_embeddings=(portrait_embedding,),
        created=now,
        statement=clean_text(statement, "statement", maximum=MAX_TEXT_LENGTH),
    )
    with store.write() as connection:
        refusal = protected_face(connection, store, cameo, match)
        payload: dict[str, object] = {
            "portrait_digest": portrait_digest,
            "statement_digest": hashlib.sha256(cameo.statement.encode()).hexdigest(),
        }
        if refusal is None:
            put_cameo(connection, store, cameo, new=True)
            append_row(connection, store, "enrolled_fictional", now=now, cameo_id=cameo.id, payload=payload)
        else:
            payload["reason"] = refusal[0]
            append_row(connection, store, "enrolment_refused", now=now, payload=payload)
    if refusal is not None:
        raise ConsentDenied(refusal[1], reason=refusal[0])
    return cameo


def _record(connection: Connection, store: ConsentStore, attempt: _Attempt) -> _Outcome:
    """Spend a challenge and write video, cameo and owner, all or nothing, in one transaction."""
    challenge, now = attempt.challenge, attempt.now
    open_challenge(connection, store, challenge.id, now)  # another process may have been faster
    report, refusal, payload = attempt.report, None, dict[str, object]()
    if find_challenge_videos(connection, store, sha256=attempt.evidence.sha256):
        report = _as_replay(report)
    if report.passed:
        refusal, same_face = known_faces(connection, store, attempt.cameo, attempt.match, attempt.policy.same_face)
        payload |= {"same_face_as": same_face} if same_face else {}
        payload |= {"reason": refusal[0]} if refusal else {}
    cameo = attempt.cameo if report.passed and refusal is None else None
    if cameo is not None:
        if attempt.handover is not None:
            cameo = hand_over(connection, store, cameo, attempt.handover, now)
        put_cameo(connection, store, cameo, new=True)
        forget_attempts_of(connection, store, cameo.embeddings)
    _put_video(connection, store, attempt)
    append_row(
        connection, store, "enrolment_refused" if cameo is None else "enrolled", now=now,
        cameo_id=None if cameo is None else cameo.id, challenge_id=challenge.id,
        payload={**_facts_of(attempt, report), **payload},
    )  # fmt: skip
    return _Outcome(report=report, refusal=refusal, cameo=cameo)


def _facts_of(attempt: _Attempt, report: LivenessReport) -> dict[str, object]:
    """What the ledger keeps of an attempt: nothing personal."""
    return {
        "nonce": attempt.challenge.nonce,
        "portrait_digest": attempt.cameo.portrait_digest,
        "video": attempt.evidence.sha256,
        "steps_passed": sum(step.passed for step in report.steps),
        "steps": len(report.steps),
        "failed_checks": [check.name for check in report.checks if not check.passed],
        "notes": [check.name for check in report.checks if check.noted],
    }


def _as_replay(report: LivenessReport) -> LivenessReport:
    """The report of a video whose very file was handed in before.

    Found inside the transaction, so that two processes that hand in one file at a time do not both succeed.
    """
    found = CheckResult(
        name="replay",
        passed=False,
        message="this very file was handed in before; record the new challenge",
    )
    others = tuple(check for check in report.checks if check.name != "replay")
    return replace(report, passed=False, checks=(*others, found))


def _put_video(connection: Connection, store: ConsentStore, attempt: _Attempt) -> None:
    kept, days = attempt.kept, attempt.policy.keep_video_days
    video = ChallengeVideo(
        id=f"vid_{secrets.token_hex(8)}",
        challenge_id=attempt.challenge.id,
        sha256=attempt.evidence.sha256,
        fingerprint=attempt.report.movements,
        stored_file="" if kept is None else kept.stored_file,
        file_key=None if kept is None else kept.file_key,
        received=attempt.now,
        erase_after=attempt.now + timedelta(days=days),
    )
    put_challenge_video(connection, store, video, new=True)
