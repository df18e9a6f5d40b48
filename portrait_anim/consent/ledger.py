"""The ledger: an append-only, hash-chained record of everything the gate did.

Each row holds the digest of the row before it, so an edited, removed or reordered row breaks the chain. The
newest row is named by a head signed with the operator's key, so removing the last rows is seen as well. What
the chain cannot show is the whole database put back to an older copy of itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, literal, select, update

from portrait_anim.consent import schema
from portrait_anim.consent.chain import genesis, head_message, row_digest
from portrait_anim.consent.checkpoints import Checkpoint, add_checkpoint, checkpoint_is_due
from portrait_anim.consent.keys import canonical
from portrait_anim.consent.records import LedgerKind, LedgerRow, Usage
from portrait_anim.consent.signed_rows import time_text
from portrait_anim.consent.store import ConsentStore
from portrait_anim.consent.usage import charge
from portrait_anim.errors import LedgerTampered

__all__ = ["Ledger", "append_row", "checked_head", "recorded", "time_text", "usage", "verify"]

_STREAMED = {"yield_per": 1000}
# Built once: building a statement costs more than running it.
_HEAD = select(schema.ledger_head)
_LAST_ROW = select(schema.ledger).order_by(schema.ledger.c.seq.desc()).limit(1)
_INSERT = insert(schema.ledger)
_UPDATE_HEAD = update(schema.ledger_head)


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
        with self._store.read() as connection, connection.execute(query, execution_options=_STREAMED) as found:
            for row in found:
                yield _row(row)

    def checkpoint(self, now: datetime) -> Checkpoint | None:
        """Seal the ledger up to its newest row.

        Args:
            now: Current time, timezone-aware.

        Returns:
            The checkpoint, or `None` for an empty ledger.

        Raises:
            LedgerTampered: If the end of the chain does not hold.
        """
        with self._store.write() as connection:
            seq, digest = checked_head(connection, self._store)
            return add_checkpoint(connection, self._store, seq, digest, now) if seq else None

    def verify(self) -> int:
        """Check every row, the chain and the signed head.

        Returns:
            Number of rows.

        Raises:
            LedgerTampered: If a row was edited, deleted, inserted or reordered.
        """
        return verify(self._store)


def verify(store: ConsentStore) -> int:
    """Check every row, the chain, the checkpoints, the signed head and the sums of use; see `verification`.

    Args:
        store: The open store.

    Returns:
        Number of rows.

    Raises:
        LedgerTampered: If anything was edited, deleted, inserted or reordered.
    """
    from portrait_anim.consent.verification import check_ledger

    return check_ledger(store)


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
    so_far: Usage | None = None,
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
        so_far: The grant's use, if this transaction asked `usage.charged` since the grant's last row; a grant
            always has one, of when it was given.

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
    if grant_id is not None:
        charge(connection, store, grant_id, renders=charge_renders, milliseconds=charge_ms, seq=seq + 1, so_far=so_far)
    digest = row_digest(values, previous)
    connection.execute(_INSERT, {**values, "previous": previous, "digest": digest})
    signature = store.keys.sign(head_message(store.store_id, seq + 1, digest))
    connection.execute(_UPDATE_HEAD, {"seq": seq + 1, "digest": digest, "signature": signature})
    if checkpoint_is_due(seq + 1):
        add_checkpoint(connection, store, seq + 1, digest, now)
    return _record({**values, "previous": previous, "digest": digest})


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
    seq, digest = signed_head(connection, store)
    last = connection.execute(_LAST_ROW).one_or_none()
    found = (0, genesis(store.store_id)) if last is None else (last.seq, last.digest)
    if found != (seq, digest):
        raise broken(min(seq, found[0]) + 1, f"row {found[0]} as the last where the signed head says {seq}")
    if last is not None and row_digest(dict(last._mapping), last.previous) != digest:
        raise broken(seq, "content that does not have its digest: the row was edited")
    return seq, digest


def usage(connection: Connection, grant_id: str) -> Usage:
    """Add up what the ledger charges to a grant; the gate itself uses the kept sums, `usage.charged`.

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
    found = connection.execute(_first_row(kind, tuple(ids)), ids).one_or_none()
    return None if found is None else _row(found)


@cache
def _first_row(kind: LedgerKind, columns: tuple[str, ...]) -> Select[Any]:
    table = schema.ledger
    # Written into the statement, not bound: SQLite uses the partial indices of `schema.py` only then.
    query = select(table).where(table.c.kind == literal(kind, literal_execute=True)).order_by(table.c.seq).limit(1)
    return query.where(*(table.c[column] == bindparam(column) for column in columns))


def signed_head(connection: Connection, store: ConsentStore) -> tuple[int, str]:
    """Return position and digest of the newest row as the operator's key signed them.

    Raises:
        LedgerTampered: If there is no head or its signature does not hold.
    """
    head = connection.execute(_HEAD).one_or_none()
    if head is None:
        raise broken(None, "no head")
    if not store.keys.verify(head_message(store.store_id, head.seq, head.digest), head.signature):
        raise broken(None, "a head that the operator's key did not sign")
    return int(head.seq), str(head.digest)


def _row(row: Row[tuple[object, ...]]) -> LedgerRow:
    return _record(dict(row._mapping))


def _record(values: dict[str, Any]) -> LedgerRow:
    try:
        payload = json.loads(str(values.pop("payload")))
        moment = datetime.fromisoformat(str(values.pop("time")))
    except ValueError as error:
        raise broken(int(values["seq"]), "content that cannot be read") from error
    return LedgerRow(**values, time=moment, payload=MappingProxyType(payload))


def broken(row: int | None, found: str) -> LedgerTampered:
    """Return the error for a ledger that does not hold.

    Args:
        row: First row that is wrong, or `None` for its end.
        found: What was found.
    """
    where = "its end" if row is None else f"row {row}"
    return LedgerTampered(
        f"expected an unbroken ledger, got {found} (at {where}); the database was changed outside the "
        "program: "
        "keep it as evidence and restore a backup",
        row=row,
    )
