"""The face that a permitted render shows, kept encrypted until its permit ends, so that it can be asked about again.

Whom a photo shows can differ from whom the cameo's other pictures show. What must not be rendered any more is therefore
decided with the face that was measured on the very photo, and with the limits that the permit was given by. The ledger
keeps a keyed digest of both, so that neither can be exchanged or left out.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from portrait_anim.consent import schema
from portrait_anim.consent.ledger import recorded
from portrait_anim.consent.matching import MatchPolicy
from portrait_anim.consent.records import LedgerRow
from portrait_anim.consent.service_rows import find_setting, put_setting
from portrait_anim.consent.signed_rows import changed, find_rows, put_row
from portrait_anim.consent.store import ConsentStore
from portrait_anim.consent.templates import embeddings_bytes, embeddings_of
from portrait_anim.types import IdentityEmbedding

_KEY: Final = "shown "
_DIGEST: Final = "shown_face"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownFace:
    """What a permit was given for.

    Attributes:
        embedding: Who is on the photo that is rendered.
        match: How alike faces must be to count as one person.
    """

    embedding: IdentityEmbedding = field(repr=False)
    match: MatchPolicy


def keep_shown_face(
    connection: Connection, store: ConsentStore, cameo_id: str, permit_id: str, shown: ShownFace
) -> dict[str, str]:
    """Keep the face of a permit that is being given.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        cameo_id: The cameo; its deletion erases the face.
        permit_id: The permit.
        shown: Face and limits.

    Returns:
        What the ledger row of the permit keeps of it.
    """
    packed = embeddings_bytes([shown.embedding])
    assert packed is not None
    text = json.dumps({"faces": packed.decode(), "match": asdict(shown.match)})
    values = {"cameo_id": cameo_id, "key": _KEY + permit_id, "value": text}
    put_row(connection, store, schema.settings, values, new=True)
    return {_DIGEST: store.keys.lookup(_DIGEST, text)}


def find_shown_face(connection: Connection, store: ConsentStore, row: LedgerRow) -> ShownFace | None:
    """Read the face of an open permit.

    Args:
        connection: Open connection.
        store: The store of the connection.
        row: The ledger row that gave the permit.

    Returns:
        Face and limits, or `None` for a permit from before they were kept.

    Raises:
        LedgerTampered: If they were changed or removed outside the program.
    """
    kept = row.payload.get("permit")
    digest = kept.get(_DIGEST) if isinstance(kept, dict) else None
    if digest is None:
        return None
    text = find_setting(connection, store, str(row.cameo_id), f"{_KEY}{row.permit_id}")
    if not hmac.compare_digest(store.keys.lookup(_DIGEST, text), str(digest)):
        raise changed(f"another face than permit {row.permit_id} was given for, or none")
    return _opened(text)


def shown_faces_of(connection: Connection, store: ConsentStore, cameo_id: str) -> dict[str, ShownFace]:
    """Read the faces of all open permits of a cameo, by permit; for the person's own copy."""
    settings = schema.settings.c
    rows = find_rows(
        connection, store, schema.settings, settings.cameo_id == cameo_id, settings.key.startswith(_KEY),
        order_by=settings.key,
    )  # fmt: skip
    return {row["key"].removeprefix(_KEY): _opened(row["value"]) for row in rows}


def forget_shown_face(connection: Connection, store: ConsentStore, cameo_id: str, permit_id: str) -> None:
    """Erase the face of a permit that ended, within the transaction that ends it."""
    put_setting(connection, store, cameo_id, _KEY + permit_id, "")


def forget_abandoned_faces(connection: Connection, store: ConsentStore, given_before: datetime) -> int:
    """Erase the faces of permits that nobody ended, because the program was killed.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        given_before: Permits given up to this moment hold no more [UTC].

    Returns:
        How many were erased.
    """
    settings = schema.settings.c
    kept = connection.execute(select(settings.cameo_id, settings.key).where(settings.key.startswith(_KEY))).all()
    over = []
    for cameo_id, key in kept:
        row = recorded(connection, "authorised", permit_id=key.removeprefix(_KEY))
        if row is None or row.time <= given_before:
            over.append((cameo_id, key))
    for cameo_id, key in over:
        put_setting(connection, store, cameo_id, key, "")
    return len(over)


def _opened(text: str) -> ShownFace:
    facts = json.loads(text)
    (embedding,) = embeddings_of(facts["faces"].encode())
    return ShownFace(embedding=embedding, match=MatchPolicy(**facts["match"]))
