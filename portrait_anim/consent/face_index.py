"""Enrolled and denied faces in memory: opened once, then compared with one matrix product.

The database counts every change of a face (`generation`). Before each search the index reads only the rows
that changed since, also those that other processes wrote, within the transaction of the search.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from sqlalchemy import Connection, Table, func, select

from portrait_anim.consent import schema
from portrait_anim.consent.backends import WRITE
from portrait_anim.consent.matching import check_embedding, distance
from portrait_anim.consent.signed_rows import Sealer, Values, changed, opened_row
from portrait_anim.consent.templates import embeddings_of
from portrait_anim.types import Float32Array, IdentityEmbedding

FaceGroup = Literal["real", "fictional", "denied"]

_MARGIN = 2e-3
"""How far the fast float32 distance may be off (most near 0); what is this near to a limit is measured exactly."""

_NEWEST = {table.name: select(func.max(table.c.generation)) for table in (schema.cameos, schema.denylist)}

# Ledger rows that say how many rows each table must hold: one that was removed would no longer be searched.
_BORN = {"cameos": ("enrolled", "enrolled_fictional"), "denylist": ("denied_added",)}


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceMatch:
    """One face near to the one looked for.

    Attributes:
        id: Id of the cameo or of the denylist entry.
        group: What it belongs to.
        distance: Euclidean distance (dlib) or 1 - cosine (arcface); 0 is identical.
    """

    id: str
    group: FaceGroup
    distance: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Gallery:
    """The vectors of one face model.

    Attributes:
        vectors: `(N, D)` float32, of unit length for arcface.
        squared: `(N,)` float32 squared lengths.
        owners: Ids of the N vectors; people have several.
    """

    vectors: Float32Array
    squared: Float32Array
    owners: list[str]


@dataclass(kw_only=True, slots=True)
class _Known:
    """Everybody of one group.

    Attributes:
        people: Embeddings by id.
        matrices: The vectors per backend.
        incomparable: Per backend the id of somebody without a vector of it, or `None`.
    """

    people: dict[str, tuple[IdentityEmbedding, ...]] = field(default_factory=dict)
    matrices: dict[str, _Gallery] = field(default_factory=dict)
    incomparable: dict[str, str | None] = field(default_factory=dict)


class FaceIndex:
    """All faces of one store. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generations = {"cameos": 0, "denylist": 0}
        self._known: dict[FaceGroup, _Known] = {}
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
            for match in _nearest(self._current(connection, store, group), group, face, limit, within)
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
        found = min(_nearest(known, group, face, 1, within), key=lambda match: (match.distance, match.id), default=None)
        return found, _incomparable(known, face.backend)

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
        return _incomparable(self._current(connection, store, group), backend)

    def anybody(self, connection: Connection, store: Sealer, group: FaceGroup) -> str | None:
        """Return the id of anybody of a group, or `None` when it is empty."""
        return next(iter(self._current(connection, store, group).people), None)

    def _current(self, connection: Connection, store: Sealer, group: FaceGroup) -> _Known:
        table = schema.denylist if group == "denied" else schema.cameos
        with self._lock:
            # NULL without rows. Larger here than there is harmless: another thread saw a newer state.
            newest = connection.execute(_NEWEST[table.name]).scalar() or 0
            if newest > self._generations[table.name] or not self._known:
                self._read_changes(connection, store, table)
                if connection.get_execution_options().get(WRITE, False):
                    self._unsettled.add(id(connection.get_transaction()))
            return self._known.setdefault(group, _Known())

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
            known[group] = _arranged(people)
        self._known, self._generations[table.name] = known, generation


def _counts(row: Values) -> bool:
    return bool(row["removed_at"] is None if "removed_at" in row else row["status"] == "active")


def _comparable(face: IdentityEmbedding, other: IdentityEmbedding) -> bool:
    return other.backend == face.backend and other.vector.shape == face.vector.shape


def _arranged(people: dict[str, tuple[IdentityEmbedding, ...]]) -> _Known:
    vectors: dict[str, list[Float32Array]] = {}
    owners: dict[str, list[str]] = {}
    for one, embeddings in people.items():
        for embedding in embeddings:
            vector = np.asarray(embedding.vector, dtype=np.float32)
            if embedding.backend != "dlib":
                vector = vector / np.linalg.norm(vector)
            vectors.setdefault(embedding.backend, []).append(vector)
            owners.setdefault(embedding.backend, []).append(one)
    missing = {backend: people.keys() - set(ids) for backend, ids in owners.items()}
    return _Known(
        people=people,
        matrices={backend: _gallery(np.stack(vectors[backend]), owners[backend]) for backend in vectors},
        incomparable={backend: min(ids) if ids else None for backend, ids in missing.items()},
    )


def _gallery(vectors: Float32Array, owners: list[str]) -> _Gallery:
    return _Gallery(vectors=vectors, squared=np.einsum("nd,nd->n", vectors, vectors), owners=owners)


def _incomparable(known: _Known, backend: str) -> str | None:
    return known.incomparable[backend] if backend in known.matrices else next(iter(known.people), None)


def _nearest(
    known: _Known, group: FaceGroup, face: IdentityEmbedding, limit: int, within: float | None
) -> Iterator[FaceMatch]:
    """Measure exactly those who may be among the nearest."""
    for one in _candidates(known, face, limit, within):
        exact = min(distance(face, other) for other in known.people[one] if _comparable(face, other))
        if within is None or exact <= within:
            yield FaceMatch(id=one, group=group, distance=exact)


def _candidates(known: _Known, face: IdentityEmbedding, limit: int, within: float | None) -> list[str]:
    """Return the ids of those who may be among the nearest, by float32 distance."""
    if face.backend not in known.matrices:
        return []
    gallery = known.matrices[face.backend]
    vector = np.asarray(face.vector, dtype=np.float32)
    if vector.shape != gallery.vectors.shape[1:]:
        return []
    apart = _apart(gallery, vector, face.backend)
    if within is not None:
        nearby = np.flatnonzero(apart <= within + _MARGIN)
        return list(dict.fromkeys(gallery.owners[index] for index in nearby))
    wanted = limit
    while True:
        wanted = min(4 * wanted, len(apart))
        nearby = np.argpartition(apart, wanted - 1)[:wanted]
        nearest: dict[str, float] = {}
        for index in nearby[np.argsort(apart[nearby], kind="stable")]:
            nearest.setdefault(gallery.owners[index], float(apart[index]))
        if len(nearest) > limit or wanted == len(apart):
            # Those as near as the last one may take its place once measured exactly.
            reach = sorted(nearest.values())[min(limit, len(nearest)) - 1] + _MARGIN
            if wanted == len(apart) or reach < float(apart[nearby].max()):
                return [one for one, distance_to in nearest.items() if distance_to <= reach]


def _apart(gallery: _Gallery, vector: Float32Array, backend: str) -> Float32Array:
    """Return the distance of every vector of a gallery, `(N,)` float32."""
    if backend == "dlib":
        squared: Float32Array = gallery.squared - 2 * (gallery.vectors @ vector) + vector @ vector
        return np.asarray(np.sqrt(np.maximum(squared, 0)), dtype=np.float32)
    return np.asarray(1 - gallery.vectors @ (vector / np.linalg.norm(vector)), dtype=np.float32)


def _check_number(connection: Connection, table: Table) -> None:
    """Refuse a table with fewer rows than were ever made; rows are emptied, never removed."""
    ledger = schema.ledger
    made = connection.execute(select(func.count()).where(ledger.c.kind.in_(_BORN[table.name]))).scalar_one()
    kept = connection.execute(select(func.count()).select_from(table)).scalar_one()
    if kept < made:
        raise changed(f"{kept} rows in {table.name} where the ledger says {made} were made")
