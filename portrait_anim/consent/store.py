"""The consent store: one SQLite file, the operator's keys, and transactions that two processes can share.

Every write is one `BEGIN IMMEDIATE` transaction: whoever has it reads, decides and records alone, so counters
are never exceeded and the ledger never forks. Any database error becomes a `ConsentError`: what cannot be
read is not allowed.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, Engine, create_engine, event, insert, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from portrait_anim.consent import schema
from portrait_anim.consent.chain import genesis, head_message
from portrait_anim.consent.keys import OperatorKeys, canonical, load_keys, load_or_create_keys
from portrait_anim.errors import ConsentError, LedgerTampered

logger = logging.getLogger(__name__)

DATABASE_FILE = "consent.db"
KEYS_FOLDER = "keys"
BUSY_TIMEOUT_S = 30.0
_WRITE = "portrait_anim_write"


class ConsentStore:
    """Where cameos, grants and the ledger are kept; close it or use it as a context manager.

    Made by `open_store`. Safe to share between threads; every process opens its own.

    Attributes:
        home: Folder of the store.
        store_id: Random identifier of this store, part of everything it signs.
        keys: The operator's keys.
    """

    def __init__(self, *, home: Path, engine: Engine, store_id: str, keys: OperatorKeys) -> None:
        self.home = home
        self.store_id = store_id
        self.keys = keys
        self._engine = engine
        self._writing = engine.execution_options(**{_WRITE: True})

    def __enter__(self) -> ConsentStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one unchanging state of the store.

        Yields:
            Connection inside a transaction that is rolled back at the end.
        """
        with consent_errors("read the consent store"), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection that alone may write; committed at the end, rolled back on any exception.

        Yields:
            Connection inside a `BEGIN IMMEDIATE` transaction.
        """
        with consent_errors("write the consent store"), self._writing.begin() as connection:
            yield connection

    def forget_free_pages(self) -> None:
        """Move the write-ahead log into the database and empty it: erased rows are then in neither file."""
        with consent_errors("compact the consent store"), self._engine.connect() as connection:
            cursor = connection.connection.cursor()  # below SQLAlchemy: no transaction may be open
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.close()

    def close(self) -> None:
        """Close all connections; the store cannot be used afterwards."""
        self._engine.dispose()


def open_store(home: Path, *, url: str | None = None) -> ConsentStore:
    """Open the consent store of a home folder, making it on first use.

    Args:
        home: Folder for the database and the keys; created with access for its owner only.
        url: SQLAlchemy URL of another SQLite file; `None` means `home/consent.db`.

    Returns:
        The open store.

    Raises:
        ConsentError: If the folder, the database or the keys cannot be used, or do not belong together.
    """
    home = Path(home)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = _sqlite_url(url, home)
        if url is None:
            # Made here, not by SQLite, so that the file and its log are private whatever the umask says.
            os.close(os.open(home / DATABASE_FILE, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise ConsentError(
            f"expected a home folder that can be written, got {error}; choose another home or correct its permissions"
        ) from error
    engine = _engine(target)
    try:
        with (
            consent_errors(f"open the consent store {target.database}"),
            engine.execution_options(**{_WRITE: True}).begin() as connection,
        ):
            store_id, keys = _prepare(connection, home / KEYS_FOLDER)
    except BaseException:
        engine.dispose()
        raise
    return ConsentStore(home=home, engine=engine, store_id=store_id, keys=keys)


@contextmanager
def consent_errors(doing: str) -> Iterator[None]:
    """Turn every database error into a `ConsentError`, so that the gate fails closed.

    Args:
        doing: What is being done, for the message.

    Yields:
        Nothing.

    Raises:
        ConsentError: In place of any SQLAlchemy or sqlite3 error.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause = getattr(error, "orig", None) or error
        word = str(cause).lower()
        if "locked" in word or "busy" in word:
            advice = "another process keeps the store busy: try again when it has finished"
        elif "readonly" in word or "read-only" in word or "unable to open" in word:
            advice = "make the home folder and its files writable for you"
        elif "malformed" in word or "not a database" in word or "no such" in word or "corrupt" in word:
            advice = "the database is damaged: restore it from a backup, nothing is allowed until then"
        elif "disk" in word or "full" in word:
            advice = "free some disk space"
        else:
            advice = "nothing is allowed until this is solved"
        raise ConsentError(f"expected to {doing}, got: {cause}; {advice}") from error


def _sqlite_url(url: str | None, home: Path) -> URL:
    if url is None:
        return URL.create("sqlite", database=str(home / DATABASE_FILE))
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConsentError(f"expected a database URL, got {url!r}; use sqlite:///path/to/consent.db") from error
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise ConsentError(
            f"expected the URL of an SQLite file, got {parsed.render_as_string()}; use sqlite:///path/to/consent.db"
        )
    return parsed


def _engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")  # a revocation survives a power cut
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")  # erased templates are overwritten

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get(_WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; the switch ignores SQLite's busy timeout, so waiting is done here."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _prepare(connection: Connection, keys_folder: Path) -> tuple[str, OperatorKeys]:
    """Make the tables of a new store, or check that an existing one belongs to the keys.

    Returns:
        Store identifier and keys.
    """
    schema.metadata.create_all(connection)
    for trigger in schema.SQLITE_TRIGGERS:
        connection.exec_driver_sql(trigger)
    found: dict[str, str] = {row.key: row.value for row in connection.execute(select(schema.meta))}
    if not found:
        occupied = any(connection.execute(select(table)).first() for table in schema.metadata.sorted_tables)
        if occupied:
            raise LedgerTampered(
                "expected the identity of the store, got none beside existing records; "
                "restore the database from a backup"
            )
        return _initialise(connection, keys_folder)
    keys = load_keys(keys_folder)
    try:
        signature = bytes.fromhex(found.pop("signature", ""))
    except ValueError:
        signature = b""
    if found.get("operator") != keys.public_key.hex():
        raise ConsentError(
            "expected the operator's key that made this consent store, got another; "
            "restore the original key file from a backup"
        )
    if not keys.verify(canonical(found), signature):
        raise LedgerTampered("expected the signed identity of the store, got an altered one; restore a backup")
    if found["schema"] != str(schema.SCHEMA_VERSION):
        raise ConsentError(
            f"expected a consent store of version {schema.SCHEMA_VERSION}, got {found['schema']}; "
            "use the program version that wrote it"
        )
    return found["store_id"], keys


def _initialise(connection: Connection, keys_folder: Path) -> tuple[str, OperatorKeys]:
    keys = load_or_create_keys(keys_folder)
    store_id = secrets.token_hex(16)
    facts = {"operator": keys.public_key.hex(), "schema": str(schema.SCHEMA_VERSION), "store_id": store_id}
    signed = {**facts, "signature": keys.sign(canonical(facts)).hex()}
    connection.execute(insert(schema.meta), [{"key": key, "value": value} for key, value in signed.items()])
    start = genesis(store_id)
    head = keys.sign(head_message(store_id, 0, start))
    connection.execute(insert(schema.ledger_head).values(id=1, seq=0, digest=start, signature=head))
    logger.info("consent store %s made", store_id)
    return store_id, keys
