"""The consent store: a database, the operator's keys, and transactions that processes can share.

Every write is one transaction that is alone: whoever has it reads, decides and records, so counters are never
exceeded and the ledger never forks. Any database error becomes a `ConsentError`: what cannot be read is not
allowed.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from portrait_anim.consent.backends import WRITE, Backend, choose
from portrait_anim.consent.face_index import FaceIndex
from portrait_anim.consent.identity import check_vault, prepare
from portrait_anim.consent.key_places import KeyPlace
from portrait_anim.consent.keys import OperatorKeys
from portrait_anim.consent.vault import Vault
from portrait_anim.errors import ConsentError

logger = logging.getLogger(__name__)

KEYS_FOLDER = "keys"
BUSY_TIMEOUT_S = 30.0


class ConsentStore:
    """Where cameos, grants and the ledger are kept; close it or use it as a context manager.

    Made by `open_store`. Safe to share between threads; every process opens its own.

    Attributes:
        home: Folder of the store.
        store_id: Random identifier of this store, part of everything it signs.
        keys: The operator's signing key.
        vault: Encrypts what is personal.
        faces: Enrolled and denied faces in memory, for searches (`people_search`, `denylist`).
    """

    def __init__(
        self, *, home: Path, backend: Backend, engine: Engine, store_id: str, keys: OperatorKeys, vault: Vault
    ) -> None:
        self.home = home
        self.store_id = store_id
        self.keys = keys
        self.vault = vault
        self.faces = FaceIndex()
        self._backend = backend
        self._engine = engine
        self._writing = engine.execution_options(**{WRITE: True})

    def __enter__(self) -> ConsentStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def keys_folder(self) -> Path:
        """Folder of the key files."""
        return self.home / KEYS_FOLDER

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one unchanging state of the store.

        Yields:
            Connection inside a transaction that is rolled back at the end.
        """
        with consent_errors("read the consent store"), self._engine.connect() as connection:
            self._backend.begin(connection, write=False)
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection that alone may write; committed at the end, rolled back on any exception.

        Yields:
            Connection inside a transaction that began by waiting for its turn.
        """
        with consent_errors("write the consent store"), self._writing.connect() as connection:
            transaction = connection.begin()
            self._backend.begin(connection, write=True)
            try:
                with self.faces.kept_by_commit(transaction), transaction:
                    # Another process may have changed the key: from then on nothing is sealed with the old one.
                    check_vault(connection, self.store_id, self.keys, self.vault, self.keys_folder)
                    with self.faces.kept_by_commit(transaction):  # before the next writer can begin
                        yield connection
            finally:
                self.faces.settle(transaction)

    def forget_free_pages(self) -> bool:
        """Remove what erased rows left in free pages and in logs.

        Returns:
            Whether all of it is gone. Not while another reader still needs the former state of an SQLite store:
            then the next call, or the next checkpoint of SQLite itself, does it.
        """
        with consent_errors("compact the consent store"), self._engine.connect() as connection:
            done = self._backend.forget_free_space(connection)
        if not done:
            logger.warning("a reader keeps former rows in the log of the consent store: compact it again later")
        return done

    def close(self) -> None:
        """Close all connections; the store cannot be used afterwards."""
        self._engine.dispose()


def open_store(home: Path, *, url: str | None = None, keys_in: KeyPlace = "file") -> ConsentStore:
    """Open the consent store of a home folder, making it on first use and migrating an older one.

    Args:
        home: Folder for keys, kept videos and, by default, the database; created with access for its owner only.
        url: SQLAlchemy URL of another SQLite file or of a PostgreSQL database; `None` means what `home/database.url`
            says and, where there is no such file, `home/consent.db`.
        keys_in: Where a new store keeps the key that encrypts personal values; an existing one knows.

    Returns:
        The open store.

    Raises:
        ConsentError: If the folder, the database or the keys cannot be used, or do not belong together.
    """
    home = Path(home)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        backend, target = choose(url, home)
    except OSError as error:
        raise ConsentError(
            f"expected a home folder that can be written, got {error}; choose another home or correct its permissions"
        ) from error
    engine = backend.engine(target, BUSY_TIMEOUT_S)
    try:
        with (
            consent_errors(f"open the consent store {target.database}"),
            engine.begin() as connection,
        ):
            backend.begin(connection, write=True)
            identity = prepare(connection, backend, home / KEYS_FOLDER, keys_in)
    except BaseException:
        engine.dispose()
        raise
    store = ConsentStore(
        home=home,
        backend=backend,
        engine=engine,
        store_id=identity.store_id,
        keys=identity.keys,
        vault=identity.vault,
    )
    if identity.migrated:
        store.forget_free_pages()  # version 1 held names in plain
    return store


@contextmanager
def consent_errors(doing: str) -> Iterator[None]:
    """Turn every database error into a `ConsentError`, so that the gate fails closed.

    Args:
        doing: What is being done, for the message.

    Yields:
        Nothing.

    Raises:
        ConsentError: In place of any SQLAlchemy or driver error.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause: object = getattr(error, "orig", None) or error
        # PostgreSQL's further lines repeat the row.
        cause = getattr(getattr(cause, "diag", None), "message_primary", None) or cause
        word = str(cause).lower()
        if "locked" in word or "busy" in word or "lock timeout" in word:
            advice = "another process keeps the store busy: try again when it has finished"
        elif "readonly" in word or "read-only" in word or "unable to open" in word:
            advice = "make the home folder and its files writable for you"
        elif "malformed" in word or "not a database" in word or "no such" in word or "corrupt" in word:
            advice = "the database is damaged: restore it from a backup, nothing is allowed until then"
        elif "disk" in word or "full" in word:
            advice = "free some disk space"
        elif "connection" in word or "connect" in word:
            advice = "start the database server or correct the URL; nothing is allowed until then"
        else:
            advice = "nothing is allowed until this is solved"
        # Values of the statement may be personal: neither the message nor the traceback repeats them.
        raise ConsentError(f"expected to {doing}, got: {cause}; {advice}") from None
