"""Writing and reading rows that the operator's key signed, with their secret columns encrypted.

Every row carries a signature over all its other columns as stored, so a row that was edited or made outside
the program is refused when it is read. Secret columns are sealed for their place: a value moved to another
row does not open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from sqlalchemy import ColumnElement, Connection, Insert, Select, Table, Update, bindparam, insert, select, update

from portrait_anim.consent.keys import canonical
from portrait_anim.consent.records import utc
from portrait_anim.consent.schema import SECRET_TEXT
from portrait_anim.errors import LedgerTampered

if TYPE_CHECKING:
    from portrait_anim.consent.keys import OperatorKeys
    from portrait_anim.consent.store import ConsentStore
    from portrait_anim.consent.vault import Vault

Values = Mapping[str, Any]
"""Column values of one row, secret ones in plain."""

_SIGNATURE: Final = "signature"


class Sealer(Protocol):
    """What signs and encrypts rows: a store, or a migration."""

    @property
    def store_id(self) -> str:
        """Identifier of the store."""

    @property
    def keys(self) -> OperatorKeys:
        """The operator's signing key."""

    @property
    def vault(self) -> Vault:
        """Encrypts what is personal."""


def put_row(connection: Connection, store: ConsentStore, table: Table, values: Values, *, new: bool) -> None:
    """Encrypt, sign and write one row.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        table: A table with a signature.
        values: Every column but the signature; secret ones in plain.
        new: Whether the row is inserted; otherwise the row with the same primary key is replaced.
    """
    stored = sealed_row(store, table, values)
    if new:
        connection.execute(_inserting(table), stored)
    else:
        same = {f"same_{column.name}": values[column.name] for column in table.primary_key.columns}
        connection.execute(_replacing(table), {**stored, **same})


@cache
def _inserting(table: Table) -> Insert:
    return insert(table)


@cache
def _replacing(table: Table) -> Update:
    return update(table).where(*(column == bindparam(f"same_{column.name}") for column in table.primary_key.columns))


def sealed_row(store: Sealer, table: Table, values: Values) -> dict[str, object]:
    """Return a row as it is stored: secret columns encrypted, signature added.

    Args:
        store: The store that will hold it.
        table: Its table.
        values: Every column but the signature; secret ones in plain.
    """
    stored: dict[str, object] = dict(values)
    for column in table.columns:
        kind = column.info.get("secret")
        if kind is None:
            continue
        plain = values[column.name]
        if kind == SECRET_TEXT:
            plain = plain.encode()
        stored[column.name] = store.vault.seal(plain, *_place(table, column.name, values)) if plain else None
    return {**stored, _SIGNATURE: store.keys.sign(row_message(store.store_id, table.name, stored))}


def find_rows(
    connection: Connection,
    store: ConsentStore,
    table: Table,
    *conditions: ColumnElement[bool],
    order_by: ColumnElement[Any] | None = None,
    limit: int | None = None,
) -> Iterator[Values]:
    """Read rows, check their signatures and open their secret columns.

    Args:
        connection: Open connection.
        store: The store of the connection.
        table: A table with a signature.
        *conditions: Which rows; all when there is none.
        order_by: In which order.
        limit: How many at most.

    Yields:
        Column values without the signature, secret ones in plain (`""` or `None` where nothing is stored).

    Raises:
        LedgerTampered: If a row was changed outside the program.
    """
    query = select(table).where(*conditions) if conditions else select(table)
    if order_by is not None:
        query = query.order_by(order_by)
    if limit is not None:
        query = query.limit(limit)
    for row in connection.execute(query):
        yield opened_row(store, table, row._mapping)


def find_row(connection: Connection, store: ConsentStore, table: Table, *key: str) -> Values | None:
    """Read one row by its primary key, check its signature and open its secret columns.

    Args:
        connection: Open connection.
        store: The store of the connection.
        table: A table with a signature.
        *key: Values of the primary key, in order.

    Returns:
        Column values as `find_rows` gives them, or `None` when there is no such row.

    Raises:
        LedgerTampered: If the row was changed outside the program.
    """
    return next(
        matching_rows(connection, store, table, **dict(zip(table.primary_key.columns.keys(), key, strict=True))), None
    )


def matching_rows(connection: Connection, store: ConsentStore, table: Table, **values: str) -> Iterator[Values]:
    """Read the rows whose columns have certain values; like `find_rows`, with a statement that is built once.

    Args:
        connection: Open connection.
        store: The store of the connection.
        table: A table with a signature.
        **values: Values by column name.

    Yields:
        Column values as `find_rows` gives them.

    Raises:
        LedgerTampered: If a row was changed outside the program.
    """
    for row in connection.execute(_matching(table, tuple(values)), values):
        yield opened_row(store, table, row._mapping)


@cache
def _matching(table: Table, columns: tuple[str, ...]) -> Select[Any]:
    return select(table).where(*(table.c[column] == bindparam(column) for column in columns))


def opened_row(store: Sealer, table: Table, stored: Mapping[Any, Any]) -> Values:
    """Check the signature of a stored row and open its secret columns.

    Args:
        store: The store that holds it.
        table: Its table.
        stored: Every column as stored.

    Returns:
        Column values without the signature, secret ones in plain.

    Raises:
        LedgerTampered: If the row was changed outside the program.
    """
    values = dict(stored)
    signature = values.pop(_SIGNATURE)
    if not store.keys.verify(row_message(store.store_id, table.name, values), signature):
        key = "/".join(str(values[column.name]) for column in table.primary_key.columns)
        raise changed(f"an altered or forged row {key} in {table.name}")
    for column in table.columns:
        kind = column.info.get("secret")
        if kind is None:
            continue
        sealed = values[column.name]
        plain = None if sealed is None else store.vault.open(sealed, *_place(table, column.name, values))
        values[column.name] = (plain or b"").decode() if kind == SECRET_TEXT else plain
    return values


def row_message(store_id: str, table: str, stored: Mapping[str, object]) -> bytes:
    """Return what is signed about a row.

    Args:
        store_id: The store that holds it.
        table: Name of its table.
        stored: Every column but the signature, as stored.
    """
    plain = {key: value.hex() if isinstance(value, bytes) else value for key, value in stored.items()}
    return canonical(["row", store_id, table, plain])


def time_text(moment: datetime) -> str:
    """Return a moment as it is stored and hashed: ISO 8601 in UTC with microseconds."""
    return utc(moment).isoformat(timespec="microseconds")


def optional_text(moment: datetime | None) -> str | None:
    """Return a moment as it is stored, or `None`."""
    return None if moment is None else time_text(moment)


def moment_of(value: str) -> datetime:
    """Return the moment that a stored time stands for."""
    return datetime.fromisoformat(value)


def optional_moment(value: str | None) -> datetime | None:
    """Return the moment that a stored time stands for, or `None`."""
    return None if value is None else moment_of(value)


def changed(found: str) -> LedgerTampered:
    """Return the error for a record that was changed outside the program.

    Args:
        found: What was found.
    """
    return LedgerTampered(
        f"expected consent records as the program wrote them, got {found}; "
        "the database was changed outside the program: nothing is allowed until a backup is restored"
    )


def _place(table: Table, column: str, values: Values) -> tuple[str, ...]:
    return (table.name, column, *(str(values[key.name]) for key in table.primary_key.columns))
