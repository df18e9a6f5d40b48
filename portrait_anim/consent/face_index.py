"""Enrolled and denied faces in memory: opened once, then compared with one matrix product.

The database counts every change of a face (`generation`). Before each search the index reads only the rows
that changed since, also those that other processes wrote, within the transaction of the search.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Table, func, select

from portrait_anim.consent import schema
from portrait_anim.consent.backends import WRITE
from portrait_anim.consent.face_gallery import (
    FaceGallery,
    FaceGroup,
    FaceMatch,
    arrange,
    nearest_in,
    without_vector,
)
from portrait_anim.consent.matching import check_embedding
from portrait_anim.consent.signed_rows import Sealer, Values, changed, opened_row
from portrait_anim.consent.templates import embeddings_of
from portrait_anim.types import IdentityEmbedding

_NEWEST = {table.name: select(func.max(table.c.generation)) for table in (schema.cameos, schema.denylist)}

# Ledger rows that say how many rows each table must hold: one that was removed would no longer be searched.
_BORN = {"cameos": ("enrolled", "enrolled_fictional"), "denylist": ("denied_added",)}


class FaceIndex:
    """All faces of one store. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generations = {"cameos": 0, "denylist": 0}
        self._known: dict[FaceGroup, FaceGallery] = {}
        self._unsettled: set[int] = set()

    def __repr__(self) -> str:
        return f"FaceIndex({ {group: len(known.people) for group, known in self._known.items()} })"

    def forget(self) -> None:
        """Drop everything; the next search reads it again."""
        with self._lock:
            self._generations = dict.fromkeys(self._generations, 0)
            self._known = {}

    def settle(self, transaction: object) -> None:
        """Say that a write transaction has ended."""
        self._unsettled.discard(id(transaction))

    @contextmanager
    def kept_by_commit(self, transaction: object) -> Iterator[None]:
        """Drop what was read inside a write transaction that fails: its generations will be given out again.

        Args:
            transaction: The transaction.

        Yields:
            Nothing.
        """
        try:
            yield
        except BaseException:
            if id(transaction) in self._unsettled:
                self.forget()
            raise

    def nearest(
        self,
        connection: Connection,
        store: Sealer,
        face: IdentityEmbedding,
        *,
        groups: Sequence[FaceGroup],
        limit: int,
        within: float | None = None,
    ) -> list[FaceMatch]:
        """Find the faces nearest to one.

        Args:
            connection: Open connection.
            store: The store of the connection.
            face: The face looked for.
            groups: Whom to look among.
            limit: How many people at most.
            within: Only people at most this far away.

        Returns:
            One match per person, nearest first; people without a vector of the face's backend are not among them.

        Raises:
            LedgerTampered: If a row was changed outside the program.
            ValueError: If the face is not a finite vector other than zero.
        """
        check_embedding(face)
        found = [
            match
            for group in groups
            for match in nearest_in(self._current(connection, store, group), group, face, limit, within)
        ]
        return sorted(found, key=lambda match: (match.distance, match.id))[:limit]

    def standing_against(
        self, connection: Connection, store: Sealer, face: IdentityEmbedding, *, group: FaceGroup, within: float
    ) -> tuple[FaceMatch | None, str | None]:
        """Say who of a group a face may be.

        Args:
            connection: Open connection.
            store: The store of the connection.
            face: The face in question.
            group: Whom to look among.
            within: Largest distance that counts as the same person.

        Returns:
            The nearest person within the limit, or `None`; and the id of somebody who has no vector of the face's
            backend, so that nobody can say whether it is them, or `None`.

        Raises:
            LedgerTampered: If a row was changed outside the program.
            ValueError: If the face is not a finite vector other than zero.
        """
        check_embedding(face)
        known = self._current(connection, store, group)
        found = min(
            nearest_in(known, group, face, 1, within), key=lambda match: (match.distance, match.id), default=None
        )
        return found, without_vector(known, face.backend)

    def incomparable(self, connection: Connection, store: Sealer, backend: str, group: FaceGroup) -> str | None:
        """Return the id of somebody of a group who has no vector of a backend, or `None`.

        Args:
            connection: Open connection.
            store: The store of the connection.
            backend: The face model in question.
            group: Whom to look among.

        Raises:
            LedgerTampered: If a row was changed outside the program.
        """
        return without_vector(self._current(connection, store, group), backend)

    def anybody(self, connection: Connection, store: Sealer, group: FaceGroup) -> str | None:
        """Return the id of anybody of a group, or `None` when it is empty."""
        return next(iter(self._current(connection, store, group).people), None)

    def _current(self, connection: Connection, store: Sealer, group: FaceGroup) -> FaceGallery:
        table = schema.denylist if group == "denied" else schema.cameos
        with self._lock:
            # NULL without rows. Larger here than there is harmless: another thread saw a newer state.
            newest = connection.execute(_NEWEST[table.name]).scalar() or 0
            if newest > self._generations[table.name] or not self._known:
                self._read_changes(connection, store, table)
                if connection.get_execution_options().get(WRITE, False):
                    self._unsettled.add(id(connection.get_transaction()))
            return self._known.setdefault(group, FaceGallery())

    def _read_changes(self, connection: Connection, store: Sealer, table: Table) -> None:
        known, generation = dict(self._known), self._generations[table.name]
        if generation == 0:
            _check_number(connection, table)
        touched: dict[FaceGroup, dict[str, tuple[IdentityEmbedding, ...]]] = {}
        for stored in connection.execute(select(table).where(table.c.generation > self._generations[table.name])):
            row = opened_row(store, table, stored._mapping)
            group: FaceGroup = "denied" if table is schema.denylist else row["kind"]
            if group not in touched:
                touched[group] = dict(known[group].people) if group in known else {}
            embeddings = embeddings_of(row["template"]) if _counts(row) else ()
            if embeddings:
                touched[group][row["id"]] = embeddings
            else:
                touched[group].pop(row["id"], None)
            generation = max(generation, row["generation"])
        for group, people in touched.items():
            known[group] = arrange(people)
        self._known, self._generations[table.name] = known, generation


def _counts(row: Values) -> bool:
    return bool(row["removed_at"] is None if "removed_at" in row else row["status"] == "active")


def _check_number(connection: Connection, table: Table) -> None:
    """Refuse a table with fewer rows than were ever made; rows are emptied, never removed."""
    ledger = schema.ledger
    made = connection.execute(select(func.count()).where(ledger.c.kind.in_(_BORN[table.name]))).scalar_one()
    kept = connection.execute(select(func.count()).select_from(table)).scalar_one()
    if kept < made:
        raise changed(f"{kept} rows in {table.name} where the ledger says {made} were made")
