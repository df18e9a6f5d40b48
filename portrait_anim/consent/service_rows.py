"""Rows of videos, uses, withdrawals, files, accounts, messages and settings: between records and the database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete

from portrait_anim.consent import schema
from portrait_anim.consent.service_records import Account, ChallengeVideo, OutboxItem, Output, Use, Withdrawal
from portrait_anim.consent.signed_rows import (
    Values,
    find_row,
    find_rows,
    moment_of,
    optional_moment,
    optional_text,
    put_row,
    time_text,
)
from portrait_anim.consent.store import ConsentStore


def put_challenge_video(connection: Connection, store: ConsentStore, video: ChallengeVideo, *, new: bool) -> None:
    """Write what is known about a challenge video."""
    values = {
        "id": video.id,
        "challenge_id": video.challenge_id,
        "sha256": video.sha256,
        "fingerprint": video.fingerprint,
        "stored_file": video.stored_file,
        "file_key": video.file_key,
        "received": time_text(video.received),
        "erase_after": optional_text(video.erase_after),
        "erased_at": optional_text(video.erased_at),
    }
    put_row(connection, store, schema.challenge_videos, values, new=new)


def find_challenge_videos(
    connection: Connection,
    store: ConsentStore,
    *,
    challenge_id: str | None = None,
    sha256: str | None = None,
    due_before: datetime | None = None,
) -> list[ChallengeVideo]:
    """Read challenge videos, oldest first; every condition that is given must hold.

    Args:
        connection: Open connection.
        store: The store of the connection.
        challenge_id: Only videos of this challenge.
        sha256: Only videos with this digest.
        due_before: Only videos that are not erased and should have been by this moment.
    """
    table = schema.challenge_videos
    conditions = []
    if challenge_id is not None:
        conditions.append(table.c.challenge_id == challenge_id)
    if sha256 is not None:
        conditions.append(table.c.sha256 == sha256)
    if due_before is not None:
        conditions += [table.c.erased_at.is_(None), table.c.erase_after <= time_text(due_before)]
    rows = find_rows(connection, store, table, *conditions, order_by=table.c.received)
    return [ChallengeVideo(**_with_times(row, "received", optional=("erase_after", "erased_at"))) for row in rows]


def put_use(connection: Connection, store: ConsentStore, use: Use, *, new: bool) -> None:
    """Write an entry of an owner's inbox."""
    values = {
        "id": use.id,
        "cameo_id": use.cameo_id,
        "time": time_text(use.time),
        "kind": use.kind,
        "grantee": use.grantee,
        "purpose": use.purpose,
        "context": use.context,
        "permit_id": use.permit_id,
        "reason": use.reason,
        "thumbnail": use.thumbnail,
        "read_at": optional_text(use.read_at),
    }
    put_row(connection, store, schema.uses, values, new=new)


def find_uses(
    connection: Connection,
    store: ConsentStore,
    *,
    cameo_id: str | None = None,
    permit_id: str | None = None,
    use_id: str | None = None,
    unread: bool = False,
    limit: int | None = None,
) -> list[Use]:
    """Read inbox entries, newest first; every condition that is given must hold.

    Args:
        connection: Open connection.
        store: The store of the connection.
        cameo_id: Only entries about this cameo.
        permit_id: Only entries about this permit.
        use_id: Only this entry.
        unread: Only entries that were not read.
        limit: How many at most.
    """
    table = schema.uses
    wanted = ((table.c.cameo_id, cameo_id), (table.c.permit_id, permit_id), (table.c.id, use_id))
    conditions = [column == value for column, value in wanted if value is not None]
    if unread:
        conditions.append(table.c.read_at.is_(None))
    rows = find_rows(connection, store, table, *conditions, order_by=table.c.time.desc(), limit=limit)
    return [Use(**_with_times(row, "time", optional=("read_at",))) for row in rows]


def put_withdrawal(connection: Connection, store: ConsentStore, withdrawal: Withdrawal, *, new: bool) -> None:
    """Write a withdrawal."""
    values = {
        "permit_id": withdrawal.permit_id,
        "cameo_id": withdrawal.cameo_id,
        "time": time_text(withdrawal.time),
        "reason": withdrawal.reason,
        "file_deleted": int(withdrawal.file_deleted),
    }
    put_row(connection, store, schema.withdrawals, values, new=new)


def find_withdrawals(
    connection: Connection, store: ConsentStore, *, permit_id: str | None = None, cameo_id: str | None = None
) -> list[Withdrawal]:
    """Read withdrawals, oldest first; all when no condition is given."""
    table = schema.withdrawals
    wanted = ((table.c.permit_id, permit_id), (table.c.cameo_id, cameo_id))
    conditions = [column == value for column, value in wanted if value is not None]
    rows = find_rows(connection, store, table, *conditions, order_by=table.c.time)
    return [Withdrawal(**{**_with_times(row, "time"), "file_deleted": bool(row["file_deleted"])}) for row in rows]


def put_output(connection: Connection, store: ConsentStore, output: Output, *, new: bool) -> None:
    """Write where a finished file lies."""
    values = {
        "permit_id": output.permit_id,
        "path": output.path,
        "sha256": output.sha256,
        "time": time_text(output.time),
        "deleted_at": optional_text(output.deleted_at),
    }
    put_row(connection, store, schema.outputs, values, new=new)


def find_outputs(
    connection: Connection, store: ConsentStore, *, permit_id: str | None = None, sha256: str | None = None
) -> list[Output]:
    """Read where finished files lie, oldest first; all when no condition is given."""
    table = schema.outputs
    wanted = ((table.c.permit_id, permit_id), (table.c.sha256, sha256))
    conditions = [column == value for column, value in wanted if value is not None]
    rows = find_rows(connection, store, table, *conditions, order_by=table.c.time)
    return [Output(**_with_times(row, "time", optional=("deleted_at",))) for row in rows]


def put_account(connection: Connection, store: ConsentStore, account: Account, *, new: bool) -> None:
    """Write an account."""
    values = {
        "id": account.id,
        "name": account.name,
        "role": account.role,
        "token_digest": account.token_digest,
        "created": time_text(account.created),
        "disabled_at": optional_text(account.disabled_at),
    }
    put_row(connection, store, schema.accounts, values, new=new)


def find_accounts(
    connection: Connection, store: ConsentStore, *, account_id: str | None = None, token_digest: str | None = None
) -> list[Account]:
    """Read accounts, oldest first, disabled ones included; all when no condition is given."""
    table = schema.accounts
    wanted = ((table.c.id, account_id), (table.c.token_digest, token_digest))
    conditions = [column == value for column, value in wanted if value is not None]
    rows = find_rows(connection, store, table, *conditions, order_by=table.c.created)
    return [Account(**_with_times(row, "created", optional=("disabled_at",))) for row in rows]


def put_outbox(connection: Connection, store: ConsentStore, item: OutboxItem, *, new: bool) -> None:
    """Write a message to an owner."""
    values = {
        "id": item.id,
        "cameo_id": item.cameo_id,
        "channel": item.channel,
        "target": item.target,
        "body": item.body,
        "attempts": item.attempts,
        "next_try": optional_text(item.next_try),
        "sent_at": optional_text(item.sent_at),
        "failed_at": optional_text(item.failed_at),
    }
    put_row(connection, store, schema.outbox, values, new=new)


def find_outbox(
    connection: Connection,
    store: ConsentStore,
    *,
    due_before: datetime | None = None,
    cameo_id: str | None = None,
    limit: int | None = None,
) -> list[OutboxItem]:
    """Read messages, those due first; every condition that is given must hold.

    Args:
        connection: Open connection.
        store: The store of the connection.
        due_before: Only messages whose next try is not after this moment.
        cameo_id: Only messages about this cameo.
        limit: How many at most.
    """
    table = schema.outbox
    conditions = [] if due_before is None else [table.c.next_try <= time_text(due_before)]
    if cameo_id is not None:
        conditions.append(table.c.cameo_id == cameo_id)
    rows = find_rows(connection, store, table, *conditions, order_by=table.c.next_try, limit=limit)
    return [OutboxItem(**_with_times(row, optional=("next_try", "sent_at", "failed_at"))) for row in rows]


def put_setting(connection: Connection, store: ConsentStore, cameo_id: str, key: str, value: str) -> None:
    """Write one setting of a cameo, in place of the former one; `""` removes it."""
    table = schema.settings
    connection.execute(delete(table).where(table.c.cameo_id == cameo_id, table.c.key == key))
    if value:
        put_row(connection, store, table, {"cameo_id": cameo_id, "key": key, "value": value}, new=True)


def find_setting(connection: Connection, store: ConsentStore, cameo_id: str, key: str) -> str:
    """Read one setting of a cameo, `""` when there is none."""
    row = find_row(connection, store, schema.settings, cameo_id, key)
    return "" if row is None else str(row["value"])


def _with_times(row: Values, *needed: str, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        **row,
        **{name: moment_of(row[name]) for name in needed},
        **{name: optional_moment(row[name]) for name in optional},
    }
