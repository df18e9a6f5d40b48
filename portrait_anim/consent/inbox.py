"""The owner's inbox: every use of a cameo, also drafts and refused attempts, by whom, when and for what.

Entries are written by the gate itself, in the transaction that decides, so that no caller can forget them. A permit
has one entry, which goes from draft to rendered, aborted or withdrawn and is unread again with every step.
"""

from __future__ import annotations

import io
import secrets
from dataclasses import replace
from datetime import datetime
from typing import Final

from PIL import Image, UnidentifiedImageError
from sqlalchemy import Connection

from portrait_anim.consent.notify import enqueue
from portrait_anim.consent.records import Cameo, utc
from portrait_anim.consent.rows import find_cameo
from portrait_anim.consent.service_records import Use, UseKind
from portrait_anim.consent.service_rows import find_uses, put_use
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentDenied

THUMBNAIL_SIDE_PX: Final = 256
TOLD_PER_HOUR: Final = 5
"""How many people's refused attempts are notified within one hour; each person's first. All are in the inbox."""

_MAX_PICTURE_BYTES: Final = 32 * 1024 * 1024
_MAX_PICTURE_PIXELS: Final = 64_000_000
_RECENT: Final = 20


def record_use(
    connection: Connection,
    store: ConsentStore,
    kind: UseKind,
    *,
    cameo_id: str,
    grantee: str,
    purpose: str,
    context: str,
    now: datetime,
    permit_id: str = "",
    reason: str = "",
    known: Cameo | None = None,
) -> Use | None:
    """Put a new entry into the owner's inbox and queue a notification, inside the gate's transaction.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        kind: What happened.
        cameo_id: The cameo used, or asked for.
        grantee: By whom.
        purpose: What for.
        context: Where.
        now: When, timezone-aware.
        permit_id: Permit concerned.
        reason: Why it was refused.
        known: The cameo, when this transaction read it already.

    Returns:
        The entry, or `None` when nobody's inbox is concerned: no such cameo, or it was deleted.
    """
    cameo = known or find_cameo(connection, store, cameo_id)
    if cameo is None or cameo.status != "active":
        return None
    use = Use(
        id=f"use_{secrets.token_hex(8)}", cameo_id=cameo_id, time=utc(now), kind=kind, grantee=grantee,
        purpose=purpose, context=context, permit_id=permit_id, reason=reason,
    )  # fmt: skip
    loud = kind != "refused" or not _was_told(connection, store, use)
    put_use(connection, store, use, new=True)
    if loud:
        enqueue(connection, store, use, now)
    return use


def follow_use(
    connection: Connection, store: ConsentStore, permit_id: str, kind: UseKind, *, now: datetime, reason: str = ""
) -> Use | None:
    """Say in the inbox how a permitted use went on, inside the gate's transaction.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        permit_id: The permit.
        kind: What happened.
        now: When, timezone-aware.
        reason: Why it ended.

    Returns:
        The entry, or `None` when it is gone because the cameo was deleted.
    """
    found = find_uses(connection, store, permit_id=permit_id)
    if not found:
        return None
    use = replace(found[0], kind=kind, reason=reason[:200], read_at=None)
    put_use(connection, store, use, new=False)
    enqueue(connection, store, use, now)
    return use


def add_thumbnail(store: ConsentStore, permit_id: str, picture: bytes) -> Use | None:
    """Keep a small picture of a render with its inbox entry; encrypted like everything personal.

    Args:
        store: The open store.
        permit_id: The permit of the render.
        picture: A PNG or JPEG frame of it; made at most 256 px wide and high.

    Returns:
        The entry, or `None` when there is none for this permit.

    Raises:
        ValueError: If it is no such picture.
    """
    small = _shrunk(picture)
    with store.write() as connection:
        found = find_uses(connection, store, permit_id=permit_id)
        if not found:
            return None
        use = replace(found[0], thumbnail=small)
        put_use(connection, store, use, new=False)
    return use


def list_uses(
    store: ConsentStore, cameo_id: str | None = None, *, unread: bool = False, limit: int = 100
) -> list[Use]:
    """Return inbox entries, newest first.

    Args:
        store: The open store.
        cameo_id: Only entries about this cameo; `None` for all.
        unread: Only entries that were not read.
        limit: How many at most.
    """
    with store.read() as connection:
        return find_uses(connection, store, cameo_id=cameo_id, unread=unread, limit=limit)


def uses_of_permit(store: ConsentStore, permit_id: str) -> list[Use]:
    """Return the inbox entry of a permit, or nothing when there is none any more."""
    with store.read() as connection:
        return find_uses(connection, store, permit_id=permit_id) if permit_id else []


def get_use(store: ConsentStore, use_id: str) -> Use:
    """Return one inbox entry.

    Raises:
        ConsentDenied: If there is none with this id.
    """
    with store.read() as connection:
        return _known(connection, store, use_id)


def mark_read(store: ConsentStore, use_id: str, now: datetime) -> Use:
    """Note that the owner saw an entry; doing so twice changes nothing.

    Args:
        store: The open store.
        use_id: The entry.
        now: Current time, timezone-aware.

    Raises:
        ConsentDenied: If there is no such entry.
    """
    with store.write() as connection:
        use = _known(connection, store, use_id)
        if use.read_at is None:
            use = replace(use, read_at=utc(now))
            put_use(connection, store, use, new=False)
    return use


def _known(connection: Connection, store: ConsentStore, use_id: str) -> Use:
    found = find_uses(connection, store, use_id=use_id)
    if not found:
        raise ConsentDenied(
            f"expected the id of an inbox entry, got {use_id!r}; `inbox list` shows them", reason="no_use"
        )
    return found[0]


def _was_told(connection: Connection, store: ConsentStore, use: Use) -> bool:
    """Whether enough refusals were notified in this hour: a flood of attempts must not become a flood of mail.

    Hours of the clock, not the time since the last attempt: steady attempts would keep an owner in the dark for ever.
    """
    recent = find_uses(connection, store, cameo_id=use.cameo_id, limit=_RECENT)
    refused = [other for other in recent if other.kind == "refused" and _hour(other.time) == _hour(use.time)]
    people = {other.grantee for other in refused}
    return use.grantee in people or len(people) >= TOLD_PER_HOUR or len(refused) == _RECENT


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _shrunk(picture: bytes) -> bytes:
    """Return a picture as a small PNG without metadata."""
    if len(picture) > _MAX_PICTURE_BYTES:
        raise ValueError(f"expected a picture of at most {_MAX_PICTURE_BYTES} bytes, got {len(picture)}")
    try:
        with Image.open(io.BytesIO(picture), formats=("PNG", "JPEG")) as opened:
            if opened.width * opened.height > _MAX_PICTURE_PIXELS:
                raise ValueError(f"expected a picture of at most {_MAX_PICTURE_PIXELS} pixels, got {opened.size}")
            small = opened.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError("expected a PNG or JPEG picture, got other bytes") from error
    small.thumbnail((THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX))
    packed = io.BytesIO()
    small.save(packed, format="PNG")
    return packed.getvalue()
