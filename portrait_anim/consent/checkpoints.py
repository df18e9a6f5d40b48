"""Checkpoints: the operator's signature under the ledger as it was at a moment.

The signed head only vouches for the newest row. Checkpoints vouch for every thousandth one, and name the
checkpoint before, so that after damage it is known up to which row, and since when, the ledger still holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from portrait_anim.consent import schema
from portrait_anim.consent.chain import checkpoint_message
from portrait_anim.consent.signed_rows import moment_of, time_text
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import LedgerTampered

CHECKPOINT_ROWS = 1000
"""A checkpoint is made with every row whose number is a multiple of this, and on demand in between."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A signed state of the ledger.

    Attributes:
        seq: Position of the row it seals.
        digest: Digest of that row, hexadecimal.
        time: When it was made [UTC].
    """

    seq: int
    digest: str
    time: datetime


def add_checkpoint(connection: Connection, store: ConsentStore, seq: int, digest: str, now: datetime) -> Checkpoint:
    """Seal the ledger up to its newest row; one that is sealed already stays as it is.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        seq: Position of the newest row.
        digest: Digest of that row.
        now: Current time, timezone-aware.

    Returns:
        The checkpoint.

    Raises:
        LedgerTampered: If the newest checkpoint is not the operator's.
    """
    former = newest_checkpoint(connection, store)
    if former is not None and former.seq == seq:
        return former
    made, former_seq = time_text(now), 0 if former is None else former.seq
    signature = store.keys.sign(checkpoint_message(store.store_id, seq, digest, made, former_seq))
    connection.execute(insert(schema.checkpoints).values(seq=seq, digest=digest, time=made, signature=signature))
    return Checkpoint(seq=seq, digest=digest, time=moment_of(made))


def checkpoint_is_due(seq: int) -> bool:
    """Say whether a checkpoint is made with row `seq`."""
    return seq % CHECKPOINT_ROWS == 0


def newest_checkpoint(connection: Connection, store: ConsentStore) -> Checkpoint | None:
    """Read the newest checkpoint, or `None` when there is none.

    Raises:
        LedgerTampered: If the operator's key did not sign it.
    """
    table = schema.checkpoints
    rows = connection.execute(select(table).order_by(table.c.seq.desc()).limit(2)).all()
    if not rows:
        return None
    former_seq = rows[1].seq if len(rows) > 1 else 0
    return _checked(store, rows[0].seq, rows[0].digest, rows[0].time, former_seq, rows[0].signature)


def read_checkpoints(connection: Connection, store: ConsentStore) -> Iterator[Checkpoint]:
    """Iterate over the checkpoints, oldest first.

    Args:
        connection: Open connection.
        store: The store of the connection.

    Yields:
        Checkpoints whose signature holds.

    Raises:
        LedgerTampered: At the first that the operator's key did not sign, or before which one is missing.
    """
    former_seq = 0
    for row in connection.execute(select(schema.checkpoints).order_by(schema.checkpoints.c.seq)):
        yield _checked(store, row.seq, row.digest, row.time, former_seq, row.signature)
        former_seq = row.seq


def _checked(store: ConsentStore, seq: int, digest: str, time: str, former_seq: int, signature: bytes) -> Checkpoint:
    if not store.keys.verify(checkpoint_message(store.store_id, seq, digest, time, former_seq), signature):
        raise LedgerTampered(
            f"expected checkpoints of the ledger that the operator's key signed, got another at row {seq} "
            "(forged, or the one before it was removed); the database was changed outside the program: "
            "keep it as evidence and restore a backup",
            row=seq,
        )
    return Checkpoint(seq=seq, digest=digest, time=moment_of(time))
