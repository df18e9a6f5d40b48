"""What a deletion erases beside the cameo itself, and the proof of it that the ledger keeps: counts and digests.

Erased: names in challenges, challenge videos and their fingerprints, inbox entries with thumbnails, messages that wait,
where to send them, words in grants and withdrawals, and the owner's account when it owns nothing more. Kept: the hash
chain, ids, times and limits, and the digests of videos, so that a stolen copy of one cannot be handed in again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from portrait_anim.consent import schema
from portrait_anim.consent.accounts import forget_owner
from portrait_anim.consent.attempts import forget_attempts_of
from portrait_anim.consent.ledger import recorded
from portrait_anim.consent.records import Cameo, Challenge
from portrait_anim.consent.rows import find_challenge, find_grants, put_challenge, put_grant
from portrait_anim.consent.service_records import ChallengeVideo
from portrait_anim.consent.service_rows import (
    find_challenge_videos,
    find_withdrawals,
    put_challenge_video,
    put_withdrawal,
)
from portrait_anim.consent.store import ConsentStore


def erase_traces(connection: Connection, store: ConsentStore, cameo: Cameo, now: datetime) -> dict[str, object]:
    """Erase what the store holds about a person beside the cameo's own row, inside the deletion's transaction.

    Encrypted video files become unreadable with their keys here; `retention.erase_due_videos` then deletes the files.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        cameo: The cameo before its deletion.
        now: Current time [UTC].

    Returns:
        What was erased, for the ledger: numbers and digests, nothing personal.
    """
    challenges = list(challenges_of(connection, store, cameo.id))
    videos = videos_of(connection, store, challenges)
    for challenge in challenges:
        put_challenge(connection, store, replace(challenge, name="", portrait_digest="", purpose=""), new=False)
    for video in videos:
        put_challenge_video(connection, store, emptied(video, now), new=False)
    for given in find_grants(connection, store, cameo_id=cameo.id):
        put_grant(connection, store, replace(given, grantee="", forbidden=""), new=False)
    for taken_back in find_withdrawals(connection, store, cameo_id=cameo.id):
        put_withdrawal(connection, store, replace(taken_back, reason=""), new=False)
    uses, outbox, settings = schema.uses, schema.outbox, schema.settings
    with_picture = select(func.count()).where(uses.c.cameo_id == cameo.id, uses.c.thumbnail.is_not(None))
    thumbnails = int(connection.execute(with_picture).scalar_one())
    counts = {
        "uses": connection.execute(delete(uses).where(uses.c.cameo_id == cameo.id)).rowcount,
        "messages": connection.execute(delete(outbox).where(outbox.c.cameo_id == cameo.id)).rowcount,
        "settings": connection.execute(delete(settings).where(settings.c.cameo_id == cameo.id)).rowcount
        + forget_attempts_of(connection, store, cameo.embeddings),
    }
    return {
        "erased_templates": len(cameo.embeddings),
        "erased_names": bool(cameo.name) + sum(bool(challenge.name) for challenge in challenges),
        "erased_portrait": cameo.portrait_digest,
        "erased_videos": [video.sha256 for video in videos],
        "erased_thumbnails": thumbnails,
        **{f"erased_{name}": count for name, count in counts.items()},
        "erased_accounts": int(forget_owner(connection, store, cameo.owner_account, now, besides=cameo.id)),
    }


def challenges_of(connection: Connection, store: ConsentStore, cameo_id: str) -> Iterator[Challenge]:
    """Iterate over the challenges that a person answered to enrol a cameo."""
    row = recorded(connection, "enrolled", cameo_id=cameo_id)
    challenge = None if row is None else find_challenge(connection, store, row.challenge_id)
    if challenge is not None:
        yield challenge


def videos_of(connection: Connection, store: ConsentStore, challenges: Iterable[Challenge]) -> list[ChallengeVideo]:
    """Return what is known of the videos that answered some challenges."""
    return [video for one in challenges for video in find_challenge_videos(connection, store, challenge_id=one.id)]


def emptied(video: ChallengeVideo, now: datetime) -> ChallengeVideo:
    """Return a challenge video of which only the digest can be used; a file that is left is due to be deleted now."""
    erased_at = video.erased_at if video.stored_file else video.erased_at or now
    return replace(video, fingerprint=None, file_key=None, erase_after=now, erased_at=erased_at)
