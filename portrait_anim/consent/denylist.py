"""People who opted out without enrolling: the operator keeps their faces, encrypted, so that nobody renders them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from portrait_anim.consent import schema
from portrait_anim.consent.ledger import append_row
from portrait_anim.consent.matching import MatchPolicy, check_embedding
from portrait_anim.consent.records import Cameo, clean_text, utc
from portrait_anim.consent.rows import next_generation
from portrait_anim.consent.service_records import DeniedFace
from portrait_anim.consent.signed_rows import (
    Values,
    find_rows,
    moment_of,
    optional_moment,
    optional_text,
    put_row,
    time_text,
)
from portrait_anim.consent.store import ConsentStore
from portrait_anim.consent.templates import embeddings_bytes, embeddings_of
from portrait_anim.errors import ConsentDenied
from portrait_anim.types import IdentityEmbedding


@dataclass(frozen=True, kw_only=True, slots=True)
class DeniedMatch:
    """Why a face must not be used.

    Attributes:
        id: The denylist entry.
        distance: How far the face is from it, or `None` when it cannot be compared with the entry.
    """

    id: str
    distance: float | None


def add_denied(
    store: ConsentStore, embeddings: Sequence[IdentityEmbedding], *, label: str, now: datetime
) -> DeniedFace:
    """Put somebody on the denylist.

    Args:
        store: The open store.
        embeddings: Who it is, at least one; one per face model in use, since others cannot be compared with it.
        label: What the operator calls the entry, such as the number of the request; encrypted.
        now: Current time, timezone-aware.

    Returns:
        The entry.

    Raises:
        ValueError: If there is no embedding, or one is malformed, or the label is no line of text.
        ConsentError: If the store cannot be written.
    """
    if not embeddings:
        raise ValueError("expected at least one embedding of the person to protect, got none; measure a picture")
    for embedding in embeddings:
        check_embedding(embedding)
    entry = DeniedFace(
        id=f"den_{secrets.token_hex(8)}",
        embeddings=tuple(embeddings),
        label=clean_text(label, "label"),
        created=utc(now),
    )
    with store.write() as connection:
        _put(connection, store, entry, new=True)
        payload: dict[str, object] = {"denied_id": entry.id, "templates": len(entry.embeddings)}
        append_row(connection, store, "denied_added", now=now, payload=payload)
    return entry


def remove_denied(store: ConsentStore, denied_id: str, *, now: datetime) -> DeniedFace:
    """Take somebody off the denylist: face and label are erased; removing twice changes nothing.

    Args:
        store: The open store.
        denied_id: The entry.
        now: Current time, timezone-aware.

    Returns:
        What is left of the entry.

    Raises:
        ConsentDenied: If there is no such entry.
    """
    with store.write() as connection:
        found = [
            _entry(row) for row in find_rows(connection, store, schema.denylist, schema.denylist.c.id == denied_id)
        ]
        if not found:
            raise ConsentDenied(
                f"expected the id of a denylist entry, got {denied_id!r}; list the entries to see their ids",
                reason="no_entry",
            )
        if found[0].removed_at is not None:
            return found[0]
        removed = replace(found[0], embeddings=(), label="", removed_at=utc(now))
        _put(connection, store, removed, new=False)
        append_row(connection, store, "denied_removed", now=now, payload={"denied_id": denied_id})
    store.forget_free_pages()
    return removed


def list_denied(store: ConsentStore, *, removed: bool = False) -> list[DeniedFace]:
    """Return the denylist, oldest entry first.

    Args:
        store: The open store.
        removed: Whether removed entries are included.

    Raises:
        LedgerTampered: If an entry was changed outside the program.
    """
    table = schema.denylist
    conditions = [] if removed else [table.c.removed_at.is_(None)]
    with store.read() as connection:
        return [_entry(row) for row in find_rows(connection, store, table, *conditions, order_by=table.c.created)]


def find_denied(
    connection: Connection, store: ConsentStore, face: IdentityEmbedding, match: MatchPolicy | None = None
) -> DeniedMatch | None:
    """Say whether a face is, or cannot be told from, somebody on the denylist.

    Args:
        connection: Open connection.
        store: The store of the connection.
        face: The face in question.
        match: How alike faces must be to count as one person.

    Returns:
        The nearest entry within the limit; else an entry that cannot be compared (it was measured with another
        face model); else `None`: the face may be used as far as the denylist goes.

    Raises:
        LedgerTampered: If an entry was changed outside the program.
        ValueError: If the face is not a finite vector other than zero, or its backend is unknown.
    """
    within = (match or MatchPolicy()).limit(face.backend)
    found, other = store.faces.standing_against(connection, store, face, group="denied", within=within)
    if found is not None:
        return DeniedMatch(id=found.id, distance=found.distance)
    return None if other is None else DeniedMatch(id=other, distance=None)


def is_denied(
    connection: Connection,
    store: ConsentStore,
    cameo: Cameo,
    match: MatchPolicy | None = None,
    *,
    face: IdentityEmbedding | None = None,
) -> bool:
    """Say whether a portrait, or else the cameo itself, shows somebody on the denylist.

    A face that cannot be compared with an entry counts only against figures: real people proved who they are.

    Args:
        connection: Open connection.
        store: The store of the connection.
        cameo: The cameo in use.
        match: How alike faces must be to count as one person.
        face: The face on the portrait, or `None` for those that were enrolled.

    Raises:
        LedgerTampered: If an entry was changed outside the program.
    """
    faces = cameo.embeddings if face is None else (face,)
    found = [denied for one in faces if (denied := find_denied(connection, store, one, match)) is not None]
    return any(denied.distance is not None or cameo.kind == "fictional" for denied in found)


def _put(connection: Connection, store: ConsentStore, entry: DeniedFace, *, new: bool) -> None:
    values = {
        "id": entry.id,
        "template": embeddings_bytes(entry.embeddings),
        "label": entry.label,
        "created": time_text(entry.created),
        "removed_at": optional_text(entry.removed_at),
        "generation": next_generation(connection),
    }
    put_row(connection, store, schema.denylist, values, new=new)


def _entry(row: Values) -> DeniedFace:
    return DeniedFace(
        id=row["id"],
        embeddings=embeddings_of(row["template"]),
        label=row["label"],
        created=moment_of(row["created"]),
        removed_at=optional_moment(row["removed_at"]),
    )
