"""What is kept for a time only: challenge videos, names in challenges without cameo, sent messages, abandoned faces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, or_

from portrait_anim.consent import schema
from portrait_anim.consent.attempts import forget_old_attempts
from portrait_anim.consent.ledger import append_row, recorded
from portrait_anim.consent.records import utc
from portrait_anim.consent.rows import find_challenge, put_challenge
from portrait_anim.consent.sealed_files import erase_file
from portrait_anim.consent.service_rows import find_challenge_videos, put_challenge_video
from portrait_anim.consent.shown_faces import forget_abandoned_faces
from portrait_anim.consent.signed_rows import find_rows, time_text
from portrait_anim.consent.standing import PERMIT_LIFETIME
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentError

KEPT: Final = timedelta(days=30)
"""How long names in challenges that nobody enrolled with, and sent messages, are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionReport:
    """What was erased because its time was over.

    Attributes:
        videos: Challenge videos.
        names: Names in challenges that led to no cameo.
        messages: Messages that were sent or given up.
        faces: Faces of renders that were killed, and of challenges from more than a day ago.
        failed: Videos that could not be erased now and are tried again.
    """

    videos: int = 0
    names: int = 0
    messages: int = 0
    faces: int = 0
    failed: int = 0


def erase_due(store: ConsentStore, now: datetime) -> RetentionReport:
    """Erase everything whose time is over; safe to interrupt and to repeat.

    Args:
        store: The open store.
        now: Current time, timezone-aware.

    Returns:
        What was erased; the ledger has a row about videos, with their digests.
    """
    now = utc(now)
    videos, failed = erase_due_videos(store, now)
    names, messages = _erase_names(store, now - KEPT), _erase_messages(store, now - KEPT)
    with store.write() as connection:
        faces = forget_abandoned_faces(connection, store, now - PERMIT_LIFETIME)
        faces += forget_old_attempts(connection, store, now)
    return RetentionReport(videos=videos, failed=failed, names=names, messages=messages, faces=faces)


def erase_due_videos(store: ConsentStore, now: datetime) -> tuple[int, int]:
    """Erase the challenge videos that are due.

    Digest and fingerprint stay with the row, so that the same video is recognised when it is handed in again.

    Args:
        store: The open store.
        now: Current time [UTC].

    Returns:
        How many were erased, and how many could not be now.
    """
    with store.read() as connection:
        due = find_challenge_videos(connection, store, due_before=now)
    erased, failed = [], 0
    for video in due:
        try:
            if video.stored_file:
                erase_file(store.home / video.stored_file)
        except ConsentError:
            failed += 1
            continue
        with store.write() as connection:
            left = replace(video, stored_file="", file_key=None, erased_at=now)
            put_challenge_video(connection, store, left, new=False)
        if video.stored_file:
            erased.append(video.sha256)
    if erased:
        with store.write() as connection:
            append_row(connection, store, "erased", now=now, payload={"by": "retention", "videos": erased})
    return len(erased), failed


def _erase_names(store: ConsentStore, before: datetime) -> int:
    table, erased = schema.challenges, 0
    old = (table.c.expires <= time_text(before), table.c.name.is_not(None))
    with store.write() as connection:
        for row in list(find_rows(connection, store, table, *old)):
            challenge = find_challenge(connection, store, row["id"])
            if challenge is None or recorded(connection, "enrolled", challenge_id=challenge.id):
                continue
            put_challenge(connection, store, replace(challenge, name="", purpose=""), new=False)
            erased += 1
    return erased


def _erase_messages(store: ConsentStore, before: datetime) -> int:
    table = schema.outbox
    over = or_(table.c.sent_at <= time_text(before), table.c.failed_at <= time_text(before))
    with store.write() as connection:
        return connection.execute(delete(table).where(over)).rowcount
