"""The ledger: an append-only, hash-chained record of everything the gate did.

Each row holds the digest of the row before it, so an edited, removed or reordered row breaks the chain. The
newest row is named by a head signed with the operator's key, so removing the last rows is seen as well. What
the chain cannot show is the whole database put back to an older copy of itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType

from sqlalchemy import Connection, Row, func, insert, literal, select, update

from portrait_anim.consent import schema
from portrait_anim.consent.chain import genesis, head_message, row_digest
from portrait_anim.consent.keys import canonical
from portrait_anim.consent.records import LedgerKind, LedgerRow, Usage
from portrait_anim.consent.signed_rows import time_text
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import LedgerTampered

__all__ = ["Ledger", "append_row", "checked_head", "recorded", "time_text", "usage", "verify"]

_BATCH_ROWS = 1000


class Ledger:
    """The ledger of one store.

    Args:
        store: The open store.
    """

    def __init__(self, store: ConsentStore) -> None:
        self._store = store

    def append(self, kind: LedgerKind, payload: Mapping[str, object], now: datetime) -> LedgerRow:
        """Add one row in a transaction of its own.

        Args:
            kind: What happened.
            payload: JSON facts without anything personal.
            now: When it happened, timezone-aware.

        Returns:
            The row as written.

        Raises:
            LedgerTampered: If the end of the chain does not hold.
            ConsentError: If the store cannot be written.
        """
        with self._store.write() as connection:
            return append_row(connection, self._store, kind, now=now, payload=payload)

    def rows(
        self, *, cameo_id: str | None = None, grant_id: str | None = None, kind: str | None = None
    ) -> Iterator[LedgerRow]:
        """Iterate over the rows, oldest first.

        Args:
            cameo_id: Only rows about this cameo.
            grant_id: Only rows about this grant.
            kind: Only rows of this kind.

        Yields:
            Rows in order.
        """
        query = select(schema.ledger).order_by(schema.ledger.c.seq)
        for column, value in (("cameo_id", cameo_id), ("grant_id", grant_id), ("kind", kind)):
            if value is not None:
                query = query.where(schema.ledger.c[column] == value)
        with self._store.read() as connection:
            found = connection.execution_options(yield_per=_BATCH_ROWS).execute(query)
            for row in found:
                yield _row(row)

    def verify(self) -> int:
        """Check every row, the chain and the signed head.

        Returns:
            Number of rows.

        Raises:
            LedgerTampered: If a row was edited, deleted, inserted or reordered.
        """
        return verify(self._store)


def verify(store: ConsentStore) -> int:
    """Check every row of the ledger, the chain and the signed head.

    Args:
        store: The open store.

    Returns:
        Number of rows.

    Raises:
        LedgerTampered: If a row was edited, deleted, inserted or reordered; `row` names the first that is
            wrong.
    """
    with store.read() as connection:
        head_seq, head_digest = _signed_head(connection, store)
        previous, expected_seq = genesis(store.store_id), 1
        query = select(schema.ledger).order_by(schema.ledger.c.seq)
        for row in connection.execution_options(yield_per=_BATCH_ROWS).execute(query):
            if row.seq != expected_seq:
                raise _broken(expected_seq, f"row {row.seq} in its place: rows were deleted or renumbered")
            if row.previous != previous:
                raise _broken(row.seq, "a row that does not follow the one before it")
            if row.digest != row_digest(dict(row._mapping), previous):
                raise _broken(row.seq, "content that does not have its digest: the row was edited")
            previous, expected_seq = row.digest, expected_seq + 1
    if (expected_seq - 1, previous) != (head_seq, head_digest):
        raise _broken(min(expected_seq, head_seq + 1), f"{expected_seq - 1} rows where the signed head says {head_seq}")
    return head_seq


def append_row(
    connection: Connection,
    store: ConsentStore,
    kind: LedgerKind,
    *,
    now: datetime,
    payload: Mapping[str, object],
    cameo_id: str | None = None,
    grant_id: str | None = None,
    permit_id: str | None = None,
    challenge_id: str | None = None,
    charge_renders: int = 0,
    charge_ms: int = 0,
) -> LedgerRow:
    """Add one row inside a write transaction that also holds what the row is about.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        kind: What happened.
        now: When it happened, timezone-aware.
        payload: JSON facts without anything personal.
        cameo_id: Cameo concerned.
        grant_id: Grant concerned.
        permit_id: Permit concerned.
        challenge_id: Challenge concerned.
        charge_renders: Renders to add to the grant's use.
        charge_ms: Length to add to the grant's use [ms].

    Returns:
        The row as written.

    Raises:
        LedgerTampered: If the end of the chain does not hold.
    """
    seq, previous = checked_head(connection, store)
    values: dict[str, object] = {
        "seq": seq + 1,
        "time": time_text(now),
        "kind": kind,
        "cameo_id": cameo_id,
        "grant_id": grant_id,
        "permit_id": permit_id,
        "challenge_id": challenge_id,
        "charge_renders": charge_renders,
        "charge_ms": charge_ms,
        "payload": canonical(payload).decode(),
    }
    digest = row_digest(values, previous)
    connection.execute(insert(schema.ledger).values(**values, previous=previous, digest=digest))
    signature = store.keys.sign(head_message(store.store_id, seq + 1, digest))
    connection.execute(update(schema.ledger_head).values(seq=seq + 1, digest=digest, signature=signature))
    return _row(connection.execute(select(schema.ledger).where(schema.ledger.c.seq == seq + 1)).one())


def checked_head(connection: Connection, store: ConsentStore) -> tuple[int, str]:
    """Return position and digest of the newest row after checking it against the signed head.

    Args:
        connection: Open connection.
        store: The store of the connection.

    Returns:
        `(seq, digest)`; `(0, genesis)` for an empty ledger.

    Raises:
        LedgerTampered: If head and last row disagree.
    """
    seq, digest = _signed_head(connection, store)
    table = schema.ledger
    last = connection.execute(select(table).order_by(table.c.seq.desc()).limit(1)).one_or_none()
    found = (0, genesis(store.store_id)) if last is None else (last.seq, last.digest)
    if found != (seq, digest):
        raise _broken(min(seq, found[0]) + 1, f"row {found[0]} as the last where the signed head says {seq}")
    if last is not None and row_digest(dict(last._mapping), last.previous) != digest:
        raise _broken(seq, "content that does not have its digest: the row was edited")
    return seq, digest


def usage(connection: Connection, grant_id: str) -> Usage:
    """Add up what was charged to a grant.

    Args:
        connection: Open connection.
        grant_id: The grant.

    Returns:
        Renders and length charged so far, open permits included.
    """
    table = schema.ledger
    total = connection.execute(
        select(func.coalesce(func.sum(table.c.charge_renders), 0), func.coalesce(func.sum(table.c.charge_ms), 0)).where(
            table.c.grant_id == grant_id
        )
    ).one()
    return Usage(renders=int(total[0]), milliseconds=int(total[1]))


def recorded(connection: Connection, kind: LedgerKind, **ids: str) -> LedgerRow | None:
    """Return the first row of a kind with these ids, or `None`.

    Args:
        connection: Open connection.
        kind: What happened.
        **ids: Column names, such as `permit_id`, with the value looked for.

    Returns:
        The row, or `None` when it never happened.
    """
    # Written into the statement, not bound: SQLite uses the partial indices of `schema.py` only then.
    kinds = literal(kind, literal_execute=True)
    query = select(schema.ledger).where(schema.ledger.c.kind == kinds).order_by(schema.ledger.c.seq).limit(1)
    for column, value in ids.items():
        query = query.where(schema.ledger.c[column] == value)
    found = connection.execute(query).one_or_none()
    return None if found is None else _row(found)


def _signed_head(connection: Connection, store: ConsentStore) -> tuple[int, str]:
    head = connection.execute(select(schema.ledger_head)).one_or_none()
    if head is None:
        raise _broken(None, "no head")
    if not store.keys.verify(head_message(store.store_id, head.seq, head.digest), head.signature):
        raise _broken(None, "a head that the operator's key did not sign")
    return int(head.seq), str(head.digest)


def _row(row: Row[tuple[object, ...]]) -> LedgerRow:
    values = dict(row._mapping)
    try:
        payload = json.loads(str(values.pop("payload")))
        moment = datetime.fromisoformat(str(values.pop("time")))
    except ValueError as error:
        raise _broken(int(row.seq), "content that cannot be read") from error
    return LedgerRow(**values, time=moment, payload=MappingProxyType(payload))


def _broken(row: int | None, found: str) -> LedgerTampered:
    where = "its end" if row is None else f"row {row}"
    return LedgerTampered(
        f"expected an unbroken ledger, got {found} (at {where}); the database was changed outside the "
        "program: "
        "keep it as evidence and restore a backup",
        row=row,
    )
