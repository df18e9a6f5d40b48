"""Databases that stores of tests live in, and how somebody with a plain database tool writes into them."""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

POSTGRES = "PORTRAIT_ANIM_TEST_POSTGRES"
"""Environment variable with the URL of a PostgreSQL server that tests may fill; `make test-postgres` sets it."""

TRIGGERED = ("ledger", "ledger_head", "checkpoints")


class Database(Protocol):
    """One database."""

    name: str
    home: Path

    def execute(self, *statements: Any) -> None:
        """Run statements past all triggers."""

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Read rows as they are stored."""


class SqliteDatabase:
    name = "sqlite"

    def __init__(self, home: Path) -> None:
        self.home = home

    def execute(self, *statements: Any) -> None:
        connection = sqlite3.connect(self.home / "consent.db")
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(*statement) if isinstance(statement, tuple) else connection.execute(statement)
        connection.commit()
        connection.close()

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.home / "consent.db")
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()


class PostgresDatabase:
    """A schema of its own on the server of the tests."""

    name = "postgresql"

    def __init__(self, url: str, home: Path) -> None:
        self.home = home
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT")

    @classmethod
    @contextmanager
    def made(cls, server: str, home: Path) -> Iterator["PostgresDatabase"]:
        schema = f"test_{secrets.token_hex(6)}"
        admin = create_engine(server, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        url = make_url(server).update_query_dict({"options": f"-csearch_path={schema}"})
        home.mkdir(parents=True)
        file = home / "database.url"
        file.touch(mode=0o600)
        file.write_text(url.render_as_string(hide_password=False))
        database = cls(file.read_text(), home)
        try:
            yield database
        finally:
            database._engine.dispose()
            with admin.connect() as connection:
                connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
            admin.dispose()

    def execute(self, *statements: Any) -> None:
        with self._engine.connect() as connection:
            for table in TRIGGERED:
                connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            for statement in statements:
                plain, values = statement if isinstance(statement, tuple) else (statement, ())
                connection.exec_driver_sql(plain.replace("%", "%%").replace("?", "%s"), tuple(values))

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement.replace("%", "%%"))]
