"""Enrolling, showing and deleting cameos."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from portrait_anim.consent.challenges import ACTIONS, LIFETIME, NUM_ACTIONS, draw_actions, issue_challenge
from portrait_anim.consent.ledger import append_row, recorded
from portrait_anim.consent.liveness import LivenessLimits, LivenessReport, verify_challenge
from portrait_anim.consent.matching import MatchPolicy, check_embedding, matches
from portrait_anim.consent.records import (
    MAX_TEXT_LENGTH,
    Cameo,
    Challenge,
    LivenessFrame,
    clean_text,
    utc,
)
from portrait_anim.consent.rows import (
    all_cameos,
    find_cameo,
    find_challenge,
    find_grants,
    put_cameo,
    put_grant,
)
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentDenied, LivenessFailed
from portrait_anim.types import IdentityEmbedding

__all__ = [
    "ACTIONS",
    "LIFETIME",
    "NUM_ACTIONS",
    "delete_cameo",
    "draw_actions",
    "enroll",
    "enroll_fictional",
    "get_cameo",
    "get_challenge",
    "issue_challenge",
    "list_cameos",
]


def enroll(
    store: ConsentStore,
    *,
    challenge_id: str,
    portrait_embedding: IdentityEmbedding,
    portrait_digest: str,
    observations: Iterable[LivenessFrame],
    now: datetime,
    match: MatchPolicy | None = None,
    limits: LivenessLimits | None = None,
    mirrored: bool = False,
) -> Cameo:
    """Enrol a living person who just answered a challenge.

    The challenge is spent by the attempt, whether it succeeds or not.

    Args:
        store: The open store.
        challenge_id: The challenge that the video answers.
        portrait_embedding: Who is on the portrait.
        portrait_digest: sha256 of the decoded portrait, hexadecimal.
        observations: What was measured in the challenge video, in order of time.
        now: When the video was handed in, timezone-aware.
        match: How alike faces must be.
        limits: Thresholds of the liveness check.
        mirrored: Whether the camera saved a mirror image.

    Returns:
        The new cameo.

    Raises:
        ConsentDenied: If the challenge is unknown, expired or already answered.
        LivenessFailed: If the video does not answer it; `failures` says why.
        ValueError: If digest or embedding make no sense.
    """
    now = utc(now)
    _check_digest(portrait_digest)
    check_embedding(portrait_embedding)
    with store.read() as connection:
        challenge = _open_challenge(connection, store, challenge_id, now)
    report = verify_challenge(
        challenge, observations, portrait_embedding, match=match, limits=limits, mirrored=mirrored
    )
    cameo: Cameo | None = None
    if report.passed and report.template is not None:
        cameo = Cameo(
            id=f"cam_{secrets.token_hex(8)}",
            name=challenge.name,
            kind="real",
            portrait_digest=portrait_digest,
            embeddings=(portrait_embedding, report.template),
            created=now,
        )
    _record_attempt(store, challenge, cameo, report=report, portrait_digest=portrait_digest, now=now)
    if cameo is None:
        raise LivenessFailed(
            "expected a challenge video that shows the person of the portrait performing every step, got: "
            + "; ".join(report.failures)
            + ". Ask for a new challenge and record it again.",
            failures=report.failures,
        )
    return cameo


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
        ConsentDenied: If the face is an enrolled real person's, or cannot be compared with one.
        ValueError: If name, statement, digest or embedding make no sense.
    """
    now = utc(now)
    match = match or MatchPolicy()
    _check_digest(portrait_digest)
    check_embedding(portrait_embedding)
    cameo = Cameo(
        id=f"cam_{secrets.token_hex(8)}",
        name=clean_text(name, "name"),
        kind="fictional",
        portrait_digest=portrait_digest,
        embeddings=(portrait_embedding,),
        created=now,
        statement=clean_text(statement, "statement", maximum=MAX_TEXT_LENGTH),
    )
    with store.write() as connection:
        refusal = _real_person(all_cameos(connection, store, "real"), portrait_embedding, portrait_digest, match)
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


def get_cameo(store: ConsentStore, cameo_id: str) -> Cameo:
    """Return one cameo, also a deleted one.

    Raises:
        ConsentDenied: If there is none with this id.
        LedgerTampered: If it was changed outside the program.
    """
    with store.read() as connection:
        return _known(connection, store, cameo_id)


def list_cameos(store: ConsentStore, *, deleted: bool = False) -> list[Cameo]:
    """Return the cameos, oldest first.

    Args:
        store: The open store.
        deleted: Whether deleted ones are included.
    """
    with store.read() as connection:
        return [cameo for cameo in all_cameos(connection, store) if deleted or cameo.status == "active"]


def get_challenge(store: ConsentStore, challenge_id: str, now: datetime) -> Challenge:
    """Return a challenge that can still be answered.

    Raises:
        ConsentDenied: If it is unknown, expired or already answered.
    """
    with store.read() as connection:
        return _open_challenge(connection, store, challenge_id, utc(now))


def delete_cameo(store: ConsentStore, cameo_id: str, *, now: datetime) -> Cameo:
    """Delete a cameo: name, portrait digest and templates are erased, its grants end, the ledger stays.

    Args:
        store: The open store.
        cameo_id: The cameo to delete.
        now: Current time, timezone-aware.

    Returns:
        What is left of it; deleting twice changes nothing.

    Raises:
        ConsentDenied: If there is no such cameo.
    """
    now = utc(now)
    with store.write() as connection:
        cameo = _known(connection, store, cameo_id)
        if cameo.status == "deleted":
            return cameo
        erased = replace(
            cameo, name="", portrait_digest="", embeddings=(), statement="", status="deleted", deleted_at=now
        )
        put_cameo(connection, store, erased, new=False)
        for grant in find_grants(connection, store, cameo_id=cameo_id):
            if grant.revoked_at is None:
                put_grant(connection, store, replace(grant, revoked_at=now), new=False)
                append_row(
                    connection,
                    store,
                    "revoked",
                    now=now,
                    cameo_id=cameo_id,
                    grant_id=grant.id,
                    payload={"by": "deletion"},
                )
        append_row(
            connection,
            store,
            "deleted",
            now=now,
            cameo_id=cameo_id,
            payload={"erased_templates": len(cameo.embeddings)},
        )
    store.forget_free_pages()
    return erased


def _open_challenge(connection: Connection, store: ConsentStore, challenge_id: str, now: datetime) -> Challenge:
    challenge = find_challenge(connection, store, challenge_id)
    if challenge is None:
        raise ConsentDenied(
            f"expected the id of an issued challenge, got {challenge_id!r}; ask for one with `cameo challenge`",
            reason="no_challenge",
        )
    answered = recorded(connection, "enrolled", challenge_id=challenge_id) or recorded(
        connection, "enrolment_refused", challenge_id=challenge_id
    )
    if answered:
        raise ConsentDenied(
            f"expected a fresh challenge, got {challenge_id}, which was answered at "
            f"{answered.time.isoformat()}; "
            "ask for a new one: each is good for one attempt",
            reason="challenge_used",
        )
    if not challenge.issued <= now < challenge.expires:
        raise ConsentDenied(
            f"expected an answer between {challenge.issued.isoformat()} and {challenge.expires.isoformat()}, "
            f"got one at {now.isoformat()}; ask for a new challenge and answer it at once",
            reason="challenge_expired",
        )
    return challenge


def _real_person(
    people: Iterable[Cameo], face: IdentityEmbedding, digest: str, match: MatchPolicy
) -> tuple[str, str] | None:
    """Say which rule forbids to call this face fictional, as `(reason, message)`, or `None`."""
    for person in people:
        if person.status != "active":
            continue
        alike = True if digest == person.portrait_digest else matches(face, person.embeddings, match)
        if alike:
            return (
                "matches_real_person",
                "expected a figure that does not exist, got the face of an enrolled real person; "
                "that person enrols with `cameo challenge` and grants the use",
            )
        if alike is None:
            return (
                "not_comparable",
                "expected a face that can be compared with all enrolled people, got one measured with "
                f"{face.backend} "
                "while some were enrolled with another face model; use that face model",
            )
    return None


def _record_attempt(
    store: ConsentStore,
    challenge: Challenge,
    cameo: Cameo | None,
    *,
    report: LivenessReport,
    portrait_digest: str,
    now: datetime,
) -> None:
    """Spend a challenge and write the cameo, if there is one, in one transaction."""
    with store.write() as connection:
        _open_challenge(connection, store, challenge.id, now)  # another process may have been faster
        if cameo is not None:
            put_cameo(connection, store, cameo, new=True)
        append_row(
            connection,
            store,
            "enrolment_refused" if cameo is None else "enrolled",
            now=now,
            cameo_id=None if cameo is None else cameo.id,
            challenge_id=challenge.id,
            payload={
                "nonce": challenge.nonce,
                "portrait_digest": portrait_digest,
                "steps_passed": sum(step.passed for step in report.steps),
                "steps": len(report.steps),
                "failed_checks": [check.name for check in report.checks if not check.passed],
            },
        )


def _known(connection: Connection, store: ConsentStore, cameo_id: str) -> Cameo:
    cameo = find_cameo(connection, store, cameo_id)
    if cameo is None:
        raise ConsentDenied(
            f"expected the id of an enrolled cameo, got {cameo_id!r}; `cameo list` shows them",
            reason="no_cameo",
        )
    return cameo


def _check_digest(digest: str) -> None:
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(f"expected a sha256 of the portrait, 64 hexadecimal digits, got {digest!r}")
