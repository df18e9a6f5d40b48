"""Changing the key that encrypts personal values.

The new key is made and named in the signed identity first, so that from then on every process seals with it;
then old values are sealed anew, a few hundred per transaction; at last, when no value of an older key is left,
the older keys are deleted. Stopped anywhere in between, all keys that are needed still exist, and doing it again
goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, func, or_, select, update

from portrait_anim.consent import schema
from portrait_anim.consent.identity import OLDER_KEYS, VAULT, open_vault, signed_facts, write_facts
from portrait_anim.consent.key_places import KeyPlace, key_source
from portrait_anim.consent.ledger import append_row
from portrait_anim.consent.signed_rows import opened_row, sealed_row
from portrait_anim.consent.store import ConsentStore
from portrait_anim.consent.vault import sealed_prefix
from portrait_anim.errors import LedgerTampered

BATCH_ROWS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Rotation:
    """What a change of the key did.

    Attributes:
        version: Version of the key that seals from now on.
        place: Where it is kept.
        rows: How many rows were sealed anew.
        tampered: How many rows were changed outside the program and stay sealed with an older key.
        old_keys_deleted: Whether the older keys were deleted; not while such rows need them as evidence.
    """

    version: int
    place: KeyPlace
    rows: int
    tampered: int
    old_keys_deleted: bool


def rotate(
    store: ConsentStore,
    *,
    now: datetime,
    place: KeyPlace | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Rotation:
    """Make a new key, seal everything with it, and delete the older keys.

    A rotation that was stopped is finished by the next one.

    Args:
        store: The open store.
        now: Current time, timezone-aware.
        place: Where the new key is kept, `"file"` or `"keyring"`; where the former one is when `None`.
        on_progress: Told the number of rows sealed so far.

    Returns:
        What was done.

    Raises:
        ConsentError: If the new key cannot be kept, or the store cannot be written.
    """
    version = _name_new_key(store, place)
    rows = tampered = 0
    for table in _tables():
        key = list(table.primary_key.columns)
        after: tuple[object, ...] | None = None
        while True:
            with store.write() as connection:
                done, broken, after = _seal_batch(connection, store, table, key, after)
            rows, tampered = rows + done, tampered + broken
            if on_progress is not None:
                on_progress(rows)
            if after is None:
                break
    deleted = _forget_old_keys(store, version, now=now, rows=rows, tampered=tampered)
    store.forget_free_pages()
    return Rotation(version=version, place=store.vault.place, rows=rows, tampered=tampered, old_keys_deleted=deleted)


def _name_new_key(store: ConsentStore, place: KeyPlace | None) -> int:
    with store.write() as connection:
        facts = signed_facts(connection, store.keys)
        version = store.vault.active + 1
        source = key_source(place or store.vault.place, store.keys_folder, store.store_id)
        source.forget(version)  # left by a rotation that was stopped before anything was sealed with it
        source.make(version)
        older = {**store.vault.older, store.vault.active: store.vault.place}
        facts[VAULT] = f"{version}:{source.place}"
        facts[OLDER_KEYS] = ",".join(f"{number}:{where}" for number, where in sorted(older.items()))
        write_facts(connection, store.keys, facts)
        store.vault.adopt(open_vault(facts, store.keys_folder))
    return version


def _tables() -> list[Table]:
    return [table for table in schema.metadata.sorted_tables if _secret_columns(table)]


def _secret_columns(table: Table) -> list[str]:
    return [column.name for column in table.columns if "secret" in column.info]


def _is_old(table: Table, prefix: bytes) -> ColumnElement[bool]:
    """Say in SQL whether a row holds a value that another key than the active one sealed."""
    return or_(*(_differs(table.c[name], prefix) for name in _secret_columns(table)))


def _differs(column: ColumnElement[bytes], prefix: bytes) -> ColumnElement[bool]:
    return column.is_not(None) & (func.substr(column, 1, len(prefix)) != prefix)


def _seal_batch(
    connection: Connection,
    store: ConsentStore,
    table: Table,
    key: Sequence[ColumnElement[str]],
    after: tuple[object, ...] | None,
) -> tuple[int, int, tuple[object, ...] | None]:
    """Seal the next rows anew; return how many, how many do not hold, and the key of the last one if more follow."""
    query = select(table).where(_is_old(table, sealed_prefix(store.vault.active))).order_by(*key).limit(BATCH_ROWS)
    if after is not None:
        query = query.where(_follows(key, after))
    found = connection.execute(query).all()
    done = 0
    for row in found:
        try:
            plain = opened_row(store, table, row._mapping)
        except LedgerTampered:
            continue
        same = [column == row._mapping[column] for column in key]
        connection.execute(update(table).where(*same).values(**sealed_row(store, table, plain)))
        done += 1
    last = tuple(found[-1]._mapping[column] for column in key) if len(found) == BATCH_ROWS else None
    return done, len(found) - done, last


def _follows(key: Sequence[ColumnElement[str]], after: tuple[object, ...]) -> ColumnElement[bool]:
    if len(key) == 1:
        return key[0] > after[0]
    return (key[0] > after[0]) | ((key[0] == after[0]) & _follows(key[1:], after[1:]))


def _forget_old_keys(store: ConsentStore, version: int, *, now: datetime, rows: int, tampered: int) -> bool:
    """Delete the older keys while no other process can write, if nothing is sealed with them any more."""
    with store.write() as connection:
        prefix = sealed_prefix(version)
        needed = any(
            connection.execute(select(table.c.signature).where(_is_old(table, prefix)).limit(1)).first()
            for table in _tables()
        )
        current = store.vault.active == version  # else another rotation has begun meanwhile
        append_row(
            connection,
            store,
            "keys_rotated",
            now=now,
            payload={"version": version, "rows": rows, "tampered": tampered, "old_keys_deleted": not needed},
        )
    if needed or not current:
        return False
    for older, place in store.vault.older.items():
        key_source(place, store.keys_folder, store.store_id).forget(older)
    with store.write() as connection:
        facts = signed_facts(connection, store.keys)
        if store.vault.active == version:
            facts.pop(OLDER_KEYS, None)
            write_facts(connection, store.keys, facts)
            store.vault.adopt(open_vault(facts, store.keys_folder))
    return True
