"""How much of a grant is spent: a signed sum per grant, tied to the ledger row that changed it last."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, func, select

from portrait_anim.consent import schema
from portrait_anim.consent.records import Usage
from portrait_anim.consent.signed_rows import changed, find_row, put_row
from portrait_anim.consent.store import ConsentStore

_LAST_SEQ = select(func.max(schema.ledger.c.seq)).where(schema.ledger.c.grant_id == bindparam("grant_id"))


def charge(
    connection: Connection,
    store: ConsentStore,
    grant_id: str,
    *,
    renders: int,
    milliseconds: int,
    seq: int,
    so_far: Usage | None = None,
) -> None:
    """Add what a ledger row charges to the sums of its grant; rows that charge nothing count as well.

    Args:
        connection: Connection from `store.write()`, before the row is written.
        store: The store of the connection.
        grant_id: The grant.
        renders: Renders to add; negative when given back.
        milliseconds: Length to add [ms]; negative when given back.
        seq: Position that the row will have.
        so_far: What `charged` returned, if this transaction asked it since the last row of the grant.

    Raises:
        LedgerTampered: If the sums were changed outside the program.
    """
    new = False
    if so_far is None or so_far == Usage():  # without use so far there may be no sums yet
        last = _last_seq(connection, grant_id)
        so_far, new = _kept(connection, store, grant_id, last), last is None
    values = {
        "grant_id": grant_id,
        "renders": so_far.renders + renders,
        "milliseconds": so_far.milliseconds + milliseconds,
        "seq": seq,
    }
    put_row(connection, store, schema.grant_usage, values, new=new)


def charged(connection: Connection, store: ConsentStore, grant_id: str) -> Usage:
    """Return what was charged to a grant.

    Args:
        connection: Open connection.
        store: The store of the connection.
        grant_id: The grant.

    Returns:
        Renders and length charged so far, open permits included.

    Raises:
        LedgerTampered: If the sums were changed outside the program, or put back to an older state.
    """
    return _kept(connection, store, grant_id, _last_seq(connection, grant_id))


def _kept(connection: Connection, store: ConsentStore, grant_id: str, last: int | None) -> Usage:
    row = find_row(connection, store, schema.grant_usage, grant_id)
    if row is None:
        if last is not None:
            raise changed(f"no sums of grant {grant_id}, which the ledger charges in row {last}")
        return Usage()
    if row["seq"] != last:
        raise changed(f"sums of grant {grant_id} as of ledger row {row['seq']} where the ledger says row {last}")
    return Usage(renders=row["renders"], milliseconds=row["milliseconds"])


def _last_seq(connection: Connection, grant_id: str) -> int | None:
    """Return the newest ledger row of a grant, from an index; `None` when there is none."""
    found = connection.execute(_LAST_SEQ, {"grant_id": grant_id}).scalar()
    return None if found is None else int(found)
