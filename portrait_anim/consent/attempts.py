"""How often challenges are asked for one face: asking until one fits a video that exists must not pay.

The count goes by the face, since names and files are changed easily. Challenges of a link are counted by the link.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from portrait_anim.consent import schema
from portrait_anim.consent.links import MAX_ATTEMPTS
from portrait_anim.consent.matching import MatchPolicy, matches
from portrait_anim.consent.service_rows import put_setting
from portrait_anim.consent.signed_rows import find_rows, moment_of, time_text
from portrait_anim.consent.store import ConsentStore
from portrait_anim.consent.templates import embeddings_bytes, embeddings_of
from portrait_anim.errors import ConsentDenied
from portrait_anim.types import IdentityEmbedding

WINDOW: Final = timedelta(days=1)
"""For how long an attempt counts, and its face is kept, encrypted."""

_KEY: Final = "attempt"


def count_attempt(
    connection: Connection, store: ConsentStore, challenge_id: str, face: IdentityEmbedding, now: datetime
) -> None:
    """Count a challenge that is being issued for a face.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        challenge_id: The challenge.
        face: Who is on the portrait.
        now: Current time [UTC].

    Raises:
        ConsentDenied: If this face had too many within a day.
    """
    forget_old_attempts(connection, store, now)
    match = MatchPolicy()
    alike = [issued for _, issued, known in _attempts(connection, store) if matches(face, known, match)]
    if len(alike) >= MAX_ATTEMPTS:
        raise ConsentDenied(
            f"expected at most {MAX_ATTEMPTS} challenges for one face within a day, got one more; "
            f"ask again after {min(alike) + WINDOW:%Y-%m-%d %H:%M} UTC",
            reason="too_many_attempts",
        )
    packed = embeddings_bytes([face])
    assert packed is not None
    put_setting(
        connection, store, challenge_id, _KEY, json.dumps({"issued": time_text(now), "faces": packed.decode()})
    )


def forget_old_attempts(connection: Connection, store: ConsentStore, now: datetime) -> int:
    """Erase the faces of attempts that do not count any more; return how many."""
    old = [challenge_id for challenge_id, issued, _ in _attempts(connection, store) if issued + WINDOW <= now]
    return _forget(connection, store, old)


def forget_attempts_of(connection: Connection, store: ConsentStore, faces: Sequence[IdentityEmbedding]) -> int:
    """Erase the attempts of a person who enrolled, or whose cameo is deleted; return how many."""
    match = MatchPolicy()
    own = [
        challenge_id
        for challenge_id, _, known in _attempts(connection, store)
        if any(matches(face, known, match) for face in faces)
    ]
    return _forget(connection, store, own)


def _attempts(
    connection: Connection, store: ConsentStore
) -> Iterator[tuple[str, datetime, tuple[IdentityEmbedding, ...]]]:
    for row in find_rows(connection, store, schema.settings, schema.settings.c.key == _KEY):
        facts = json.loads(row["value"])
        yield row["cameo_id"], moment_of(facts["issued"]), embeddings_of(facts["faces"].encode())


def _forget(connection: Connection, store: ConsentStore, challenge_ids: Sequence[str]) -> int:
    for challenge_id in challenge_ids:
        put_setting(connection, store, challenge_id, _KEY, "")
    return len(challenge_ids)
