"""The grantee's word that what the owner forbids was read; without it a grant that forbids something opens nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, select

from portrait_anim.consent import schema
from portrait_anim.consent.grants import known_grant, unknown_grant
from portrait_anim.consent.keys import canonical
from portrait_anim.consent.ledger import append_row
from portrait_anim.consent.policy import is_for
from portrait_anim.consent.records import Grant, LedgerRow, utc
from portrait_anim.consent.rows import find_cameo
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentDenied


def acknowledge(store: ConsentStore, grant_id: str, *, grantee: str, now: datetime) -> LedgerRow:
    """Record that a grantee confirmed to have read what the owner forbids.

    Args:
        store: The open store.
        grant_id: The grant.
        grantee: Who read it; the grant must be for them.
        now: Current time, timezone-aware.

    Returns:
        The ledger row: who as a digest, the text as a digest, signed.

    Raises:
        ConsentDenied: If there is no such grant, it is not for this person, or it has ended.
    """
    now = utc(now)
    with store.write() as connection:
        given = known_grant(connection, store, grant_id)
        cameo = find_cameo(connection, store, given.cameo_id)
        if cameo is None or cameo.status != "active" or not is_for(given, grantee, cameo):
            # The same answer as for an id that does not exist: nobody learns of grants of others.
            raise unknown_grant(grant_id)
        if given.revoked_at is not None or not now < given.expires:
            raise ConsentDenied(
                f"expected a grant that holds, got {grant_id}, which has ended; ask the owner for a new one",
                reason="revoked" if given.revoked_at else "expired", grant_id=grant_id,
            )  # fmt: skip
        return append_row(
            connection, store, "acknowledged", now=now, cameo_id=given.cameo_id, grant_id=given.id,
            payload=_acknowledgement(store, given, grantee_digest(store, grantee)),
        )  # fmt: skip


def acknowledged_grants(
    connection: Connection, store: ConsentStore, grants: Iterable[Grant], grantee: str
) -> frozenset[str]:
    """Return the ids of the grants whose forbidden content somebody confirmed to have read.

    Args:
        connection: Open connection.
        store: The store of the connection.
        grants: Grants to look at; those that forbid nothing need no confirmation and are left out.
        grantee: Who asks.
    """
    found = set()
    table = schema.ledger
    for given in grants:
        if not given.forbidden:
            continue
        # Ed25519 signs deterministically: a row is either exactly one of these, or not the operator's word.
        digests = (grantee_digest(store, grantee), _former_digest(store, grantee))
        wanted = [canonical(_acknowledgement(store, given, digest)).decode() for digest in digests]
        query = select(table.c.seq).where(
            table.c.kind == "acknowledged", table.c.grant_id == given.id, table.c.payload.in_(wanted)
        )
        if connection.execute(query.limit(1)).first() is not None:
            found.add(given.id)
    return frozenset(found)


def was_acknowledged(store: ConsentStore, grant: Grant, grantee: str) -> bool:
    """Say whether somebody confirmed to have read what a grant forbids; `True` when it forbids nothing."""
    with store.read() as connection:
        return not grant.forbidden or grant.id in acknowledged_grants(connection, store, [grant], grantee)


def grantee_digest(store: ConsentStore, grantee: str) -> str:
    """Return who asks as the ledger names them: a digest that nobody without the store's key can guess, hexadecimal."""
    return store.keys.lookup("grantee in the ledger", grantee)


def _former_digest(store: ConsentStore, grantee: str) -> str:
    """Return the digest of rows before version 3 of the store; it had no key, so that names could be guessed."""
    return hashlib.sha256(canonical(["grantee", store.store_id, grantee])).hexdigest()


def _acknowledgement(store: ConsentStore, given: Grant, digest: str) -> dict[str, str]:
    """Return the one payload that says it, signed."""
    facts = {
        "grant_id": given.id,
        "grantee_digest": digest,
        "forbidden_digest": hashlib.sha256(given.forbidden.encode()).hexdigest(),
    }
    return {**facts, "signature": store.keys.sign(canonical(["acknowledged", facts])).hex()}
