"""Everything that differs between SQLite and PostgreSQL, in one place.

Writers take turns on both: SQLite's `BEGIN IMMEDIATE`, or an advisory lock of PostgreSQL that is held until the
transaction ends. Readers see one unchanging state on both. The ledger is append-only by triggers on both.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from portrait_anim.consent.keys import read_secret
from portrait_anim.errors import ConsentError

DATABASE_FILE = "consent.db"
URL_FILE = "database.url"
"""File of a home folder that names another database; it may hold a password, so it is for its owner only."""

WRITE = "portrait_anim_write"
"""Execution option of connections that may write."""

APPEND_ONLY = ("ledger", "checkpoints")
PERSONAL_TABLES = (
    "challenges", "challenge_videos", "cameos", "grants", "uses", "outbox", "settings", "denylist", "accounts",
)  # fmt: skip
_VACUUM_PATIENCE_S = 10.0
_ADVISORY_LOCK = 0x706F727472616974  # "portrait"


class Backend(Protocol):
    """One kind of database."""

    name: str

    def engine(self, url: URL, busy_timeout_s: float) -> Engine:
        """Return an engine; its transactions are begun with `begin`."""

    def begin(self, connection: Connection, *, write: bool) -> None:
        """Begin a transaction that reads one unchanging state, or wait for the turn to write."""

    def make_append_only(self, connection: Connection) -> None:
        """Make the triggers that keep ledger, checkpoints and head; those that exist stay."""

    def forget_free_space(self, connection: Connection) -> bool:
        """Remove what erased rows left behind, outside any transaction; say whether all of it is gone."""


class SqliteBackend:
    """One file in write-ahead mode."""

    name = "sqlite"

    def engine(self, url: URL, busy_timeout_s: float) -> Engine:
        """Return the engine; see `Backend`."""
        engine = create_engine(url, connect_args={"timeout": busy_timeout_s, "check_same_thread": False})

        @event.listens_for(engine, "connect")
        def set_up(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
            connection.isolation_level = None  # transactions are begun by `begin`, not by the driver
            _use_wal(connection, busy_timeout_s)
            connection.execute("PRAGMA synchronous = FULL")  # a revocation survives a power cut
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA cache_size = -32000")  # KiB: the indices of a long ledger
            connection.execute("PRAGMA secure_delete = ON")  # erased templates are overwritten

        return engine

    def begin(self, connection: Connection, *, write: bool) -> None:
        """Begin; see `Backend`."""
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    def make_append_only(self, connection: Connection) -> None:
        """Make the triggers; see `Backend`."""
        for table in APPEND_ONLY:
            for verb in ("UPDATE", "DELETE"):
                connection.exec_driver_sql(
                    f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, 'the {table} table is append-only'); END"
                )
        connection.exec_driver_sql(
            "CREATE TRIGGER IF NOT EXISTS ledger_head_no_delete BEFORE DELETE ON ledger_head "
            "BEGIN SELECT RAISE(ABORT, 'the head of the ledger stays'); END"
        )

    def forget_free_space(self, connection: Connection) -> bool:
        """Move the write-ahead log into the database and empty it; see `Backend`."""
        cursor = connection.connection.cursor()  # below SQLAlchemy: no transaction may be open
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (busy, *_) = cursor.fetchone() or (1,)  # a reader still needs the log
        cursor.close()
        return not busy


class PostgresBackend:
    """A PostgreSQL server, through psycopg."""

    name = "postgresql"

    def engine(self, url: URL, busy_timeout_s: float) -> Engine:
        """Return the engine; see `Backend`."""
        self._busy_timeout_ms = round(busy_timeout_s * 1000)
        try:
            return create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
        except ImportError as error:
            raise ConsentError(
                "expected the driver psycopg for a PostgreSQL store, got none; "
                "run: pip install 'portrait-anim[postgres]'"
            ) from error

    def begin(self, connection: Connection, *, write: bool) -> None:
        """Begin; see `Backend`."""
        if not write:
            connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return
        # Read committed, so that every statement after the lock sees what the writer before committed.
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL READ COMMITTED")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {self._busy_timeout_ms}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")

    def make_append_only(self, connection: Connection) -> None:
        """Make the triggers; see `Backend`."""
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'the %% table is append-only', TG_TABLE_NAME "
            "USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        for table in APPEND_ONLY:
            _replace_trigger(connection, table, "UPDATE OR DELETE", "ROW", f"{table}_append_only")
            _replace_trigger(connection, table, "TRUNCATE", "STATEMENT", f"{table}_no_truncate")
        _replace_trigger(connection, "ledger_head", "DELETE", "ROW", "ledger_head_stays")
        _replace_trigger(connection, "ledger_head", "TRUNCATE", "STATEMENT", "ledger_head_no_truncate")

    def forget_free_space(self, connection: Connection) -> bool:
        """Rewrite the tables that held personal values; see `Backend`."""
        from psycopg.errors import LockNotAvailable

        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(f"SET lock_timeout = {round(_VACUUM_PATIENCE_S * 1000)}")
            try:
                for table in PERSONAL_TABLES:
                    cursor.execute(f"VACUUM (FULL) {table}")
            except LockNotAvailable:
                return False
            finally:
                cursor.execute("RESET lock_timeout")
        return True


def choose(url: str | None, home: Path) -> tuple[Backend, URL]:
    """Return backend and address of a store.

    Args:
        url: SQLAlchemy URL; `None` for the one in `home/database.url` or, where there is no such file, for
            `home/consent.db`, which is made with access for its owner only.
        home: Folder of the store.

    Raises:
        ConsentError: If the URL is not of an SQLite file or of PostgreSQL, or others may read its file.
        OSError: If the file cannot be made.
    """
    if url is None and (home / URL_FILE).exists():
        url = read_secret(home / URL_FILE).decode().strip()
    if url is None:
        # Made here, not by SQLite, so that the file and its log are private whatever the umask says.
        os.close(os.open(home / DATABASE_FILE, os.O_CREAT | os.O_RDWR, 0o600))
        return SqliteBackend(), URL.create("sqlite", database=str(home / DATABASE_FILE))
    advice = "use sqlite:///path/to/consent.db or postgresql+psycopg://user@host/database"
    try:
        parsed = make_url(url)
        name = parsed.get_backend_name()
    except ArgumentError as error:
        raise ConsentError(f"expected a database URL, got something else; {advice}") from error
    if name == "postgresql" and parsed.drivername in ("postgresql", "postgresql+psycopg") and parsed.database:
        return PostgresBackend(), parsed.set(drivername="postgresql+psycopg")
    if name == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return SqliteBackend(), parsed
    raise ConsentError(
        f"expected the URL of an SQLite file or of a PostgreSQL database, got {parsed.render_as_string()}; {advice}"
    )


def _use_wal(connection: sqlite3.Connection, busy_timeout_s: float) -> None:
    """Switch to write-ahead logging; the switch ignores SQLite's busy timeout, so waiting is done here."""
    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _replace_trigger(connection: Connection, table: str, events: str, each: str, name: str) -> None:
    connection.exec_driver_sql(
        f"CREATE OR REPLACE TRIGGER {name} BEFORE {events} ON {table} FOR EACH {each} EXECUTE FUNCTION refuse_change()"
    )
