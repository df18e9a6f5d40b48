"""Checking the whole ledger: every row, the chain, the checkpoints, the signed head and the sums of use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select

from portrait_anim.consent import schema
from portrait_anim.consent.chain import CHAINED_COLUMNS, ChainedValues, chained_digest, genesis
from portrait_anim.consent.checkpoints import CHECKPOINT_ROWS, Checkpoint, read_checkpoints
from portrait_anim.consent.ledger import broken, signed_head
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import LedgerTampered

_STREAMED = {"yield_per": 1000}
_Sums = dict[str, list[int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerReport:
    """What checking the ledger found.

    Attributes:
        rows: Number of rows that were read and hold.
        checkpoints: Number of checkpoints that were reached and hold.
        sound_seq: Row of the last checkpoint that holds, 0 for none: up to there nothing was changed.
        sound_since: When that checkpoint was made [UTC], or `None`.
        damage: What does not hold, or `None`.
    """

    rows: int
    checkpoints: int
    sound_seq: int
    sound_since: datetime | None
    damage: LedgerTampered | None


@dataclass(kw_only=True, slots=True)
class _Progress:
    """How far a check came."""

    rows: int = 0
    digest: str
    reached: list[Checkpoint] = field(default_factory=list)
    sums: _Sums = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))


def check_ledger(store: ConsentStore) -> int:
    """Check every row of the ledger, the chain, the checkpoints, the signed head and the sums of use.

    Args:
        store: The open store.

    Returns:
        Number of rows.

    Raises:
        LedgerTampered: If anything was edited, deleted, inserted or reordered; `row` names the first row that is
            wrong, and the message says up to which checkpoint the ledger holds.
    """
    report = inspect_ledger(store)
    if report.damage is None:
        return report.rows
    if report.sound_since is None:
        since = "No checkpoint lies before the damage."
    else:
        since = (
            f"Rows 1 to {report.sound_seq} are as the checkpoint of {report.sound_since:%Y-%m-%d %H:%M:%S} UTC "
            "sealed them; the damage is behind them."
        )
    raise LedgerTampered(f"{report.damage}. {since}", row=report.damage.row) from None


def inspect_ledger(store: ConsentStore) -> LedgerReport:
    """Check the ledger like `check_ledger`, and report damage instead of raising it.

    Args:
        store: The open store.

    Raises:
        ConsentError: If the store cannot be read.
    """
    progress = _Progress(digest=genesis(store.store_id))
    damage: LedgerTampered | None = None
    with store.read() as connection:
        try:
            _check(connection, store, progress)
        except LedgerTampered as error:
            damage = error
    last = progress.reached[-1] if progress.reached else None
    return LedgerReport(
        rows=progress.rows,
        checkpoints=len(progress.reached),
        sound_seq=0 if last is None else last.seq,
        sound_since=None if last is None else last.time,
        damage=damage,
    )


def _check(connection: Connection, store: ConsentStore, progress: _Progress) -> None:
    head_seq, head_digest = signed_head(connection, store)
    checkpoints = read_checkpoints(connection, store)
    with closing(_rows(connection)) as rows:
        _follow(rows, checkpoints, progress)
    if (progress.rows, progress.digest) != (head_seq, head_digest):
        raise broken(
            min(progress.rows, head_seq) + (progress.rows != head_seq),
            f"{progress.rows} rows where the signed head says {head_seq}"
            if progress.rows != head_seq
            else "a last row that is not the one of the signed head: the chain was written anew",
        )
    beyond = next(checkpoints, None)
    if beyond is not None:
        raise broken(head_seq + 1, f"{head_seq} rows where a checkpoint sealed row {beyond.seq}")
    _check_intervals(connection, progress)
    _check_sums(connection, progress.sums)


def _follow(
    rows: Iterator[tuple[ChainedValues, str, str]], checkpoints: Iterator[Checkpoint], progress: _Progress
) -> None:
    """Follow the chain past the checkpoints."""
    previous, expected, sums = progress.digest, 1, progress.sums
    following = next(checkpoints, None)
    for values, row_previous, digest in rows:
        seq, grant_id = values[0], values[4]
        if seq != expected:
            raise broken(expected, f"row {seq} in its place: rows were deleted or renumbered")
        if row_previous != previous:
            raise broken(seq, "a row that does not follow the one before it")
        try:
            computed = chained_digest(values, previous)
        except (TypeError, UnicodeEncodeError):
            computed = ""
        if digest != computed:
            raise broken(seq, "content that does not have its digest: the row was edited")
        if grant_id is not None:
            charged = sums[grant_id]
            charged[0] += values[7]
            charged[1] += values[8]
            charged[2] = seq
        if following is not None and following.seq == seq:
            if following.digest != digest:
                raise broken(seq, "another row than the checkpoint sealed: the chain was written anew before it")
            progress.reached.append(following)
            following = next(checkpoints, None)
        previous, expected = digest, expected + 1
        progress.rows, progress.digest = seq, digest
    if following is not None:
        raise broken(expected, f"{expected - 1} rows where a checkpoint sealed row {following.seq}")


def _rows(connection: Connection) -> Generator[tuple[ChainedValues, str, str], None, None]:
    table = schema.ledger
    columns = [table.c[name] for name in (*CHAINED_COLUMNS, "previous", "digest")]
    query = select(*columns).order_by(table.c.seq)
    with connection.execute(query, execution_options=_STREAMED) as found:
        for batch in found.partitions():
            for row in batch:
                *values, previous, digest = row
                yield tuple(values), previous, digest


def _check_intervals(connection: Connection, progress: _Progress) -> None:
    """Find checkpoints that were removed at the end; those before are named by the ones that follow them."""
    last = progress.reached[-1].seq if progress.reached else 0
    if progress.rows - last >= CHECKPOINT_ROWS:
        raise broken(progress.rows, f"no checkpoint since row {last}: the newest ones were removed")


def _check_sums(connection: Connection, sums: _Sums) -> None:
    """Compare the kept sums of use with the ledger; their signatures are checked whenever they are used."""
    kept = {
        row.grant_id: [row.renders, row.milliseconds, row.seq] for row in connection.execute(select(schema.grant_usage))
    }
    for grant_id, expected in sums.items():
        if kept.pop(grant_id, None) != expected:
            raise broken(expected[2], f"kept sums of grant {grant_id} that are not those of its rows")
    if kept:
        raise broken(None, f"kept sums of grant {min(kept)}, which has no rows")
