"""What is kept of every published file, so that one whose manifest was stripped is found again.

A small SQLite file of its own, `provenance.db` in the home folder, beside the consent store and not in it: nothing in
it decides about a permission, it may be thrown away without harm to the ledger, and an erasure empties it without
touching the chain. It holds no picture: identifiers, the manifest, and a perceptual fingerprint of about 300 bytes
per second.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from sqlalchemy import (
    Column,
    Engine,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    func,
    select,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from portrait_anim.errors import ProvenanceError
from portrait_anim.provenance.definition import watermark_text
from portrait_anim.provenance.fingerprint import SAME_RENDER, VideoFingerprint, may_match, similarity

INDEX_FILE: Final = "provenance.db"

_BUSY_TIMEOUT_S: Final = 30.0
_BATCH: Final = 200

_metadata = MetaData()
_published = Table(
    "published",
    _metadata,
    Column("sha256", String(64), primary_key=True),
    Column("watermark", String(12), nullable=True, index=True),
    Column("permit_id", String(128), nullable=False, index=True),
    Column("cameos", Text, nullable=False),  # identifiers with a space before and after each
    Column("created", String(40), nullable=False),
    Column("manifest", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("source", LargeBinary, nullable=True),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFile:
    """One published file.

    Attributes:
        sha256: Checksum of the file as published, 64 hexadecimal digits.
        watermark: Number of its watermark, or `None`.
        permit_id: Permit that it was rendered with; the first one of a film.
        cameo_ids: Whose likeness: everybody who is seen.
        created: When it was made [UTC].
        manifest: Its manifest store as JSON text.
        fingerprint: What it looks like.
        source: What the portrait that it was made from looks like, or `None`. A still of a render and the portrait are
            nearly the same picture; only with this is a still claimed, and the portrait itself never.
    """

    sha256: str
    watermark: int | None
    permit_id: str
    cameo_ids: tuple[str, ...]
    created: datetime
    manifest: str = field(repr=False)
    fingerprint: VideoFingerprint = field(repr=False)
    source: VideoFingerprint | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lookalike:
    """A published file that looks like another.

    Attributes:
        file: The file.
        similarity: How alike, `SAME_RENDER` to 1.
        rival: How alike the best file of another render is, 0 to `similarity`: two renders of one portrait can look
            much the same.
    """

    file: PublishedFile
    similarity: float
    rival: float


class RenderIndex:
    """The index of one home folder.

    Args:
        home: The installation's home folder. Reading creates nothing; the file is made by the first `add`.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / INDEX_FILE

    @property
    def exists(self) -> bool:
        """Whether anything was ever published from here."""
        return self._path.exists()

    def add(self, published: PublishedFile) -> None:
        """Remember a file; one with the same checksum is replaced.

        Args:
            published: What to remember.

        Raises:
            ProvenanceError: If the index cannot be written.
        """
        values = {
            "sha256": published.sha256,
            "watermark": None if published.watermark is None else watermark_text(published.watermark),
            "permit_id": published.permit_id,
            "cameos": f" {' '.join(published.cameo_ids)} ",
            "created": published.created.astimezone(timezone.utc).isoformat(),
            "manifest": published.manifest,
            "fingerprint": published.fingerprint.to_bytes(),
            "source": None if published.source is None else published.source.to_bytes(),
        }
        with self._engine("write", create=True) as engine, engine.begin() as connection:
            _metadata.create_all(connection)
            statement = insert(_published).values(values)
            connection.execute(statement.on_conflict_do_update(index_elements=["sha256"], set_=values))

    def by_watermark(self, watermark: int) -> PublishedFile | None:
        """Find the file with a watermark.

        Args:
            watermark: The 48-bit number.

        Returns:
            The first file that was published with it, or `None`.

        Raises:
            ProvenanceError: If the index cannot be read.
        """
        query = select(_published).where(_published.c.watermark == watermark_text(watermark))
        for row in self._rows(query.order_by(_published.c.created).limit(1)):
            return self._read(row)
        return None

    def by_fingerprint(self, wanted: VideoFingerprint) -> Lookalike | None:
        """Find the file that looks most like another.

        Args:
            wanted: Fingerprint of a file, perhaps a part, re-encoded, scaled or mirrored.

        Returns:
            The file and how alike it is, or `None` when nothing is alike by `SAME_RENDER` or more.

        Raises:
            ProvenanceError: If the index cannot be read.
        """
        scores: dict[str, tuple[float, str]] = {}  # the best file of every permit
        columns = _published.c
        for row in self._rows(select(columns.sha256, columns.permit_id, columns.fingerprint, columns.source)):
            known = self._unpack(row.fingerprint)
            if not may_match(known, wanted):
                continue
            score = similarity(known, wanted)
            if len(wanted.times_s) == 1 and not self._is_no_source(row.source, wanted, score):
                continue
            scores[row.permit_id] = max(scores.get(row.permit_id, (0.0, "")), (score, row.sha256))
        ranked = sorted(scores.values(), reverse=True)
        if not ranked or ranked[0][0] < SAME_RENDER:
            return None
        for row in self._rows(select(_published).where(columns.sha256 == ranked[0][1])):
            rival = ranked[1][0] if len(ranked) > 1 else 0.0
            return Lookalike(file=self._read(row), similarity=ranked[0][0], rival=rival)
        return None

    def _is_no_source(self, source: bytes | None, still: VideoFingerprint, score: float) -> bool:
        """Whether a still is more like the render than like the portrait behind it."""
        return source is not None and similarity(self._unpack(source), still) < score

    def forget(self, cameo_id: str) -> int:
        """Erase every file that shows a cameo, alone or with others, for good.

        Args:
            cameo_id: Whose files.

        Returns:
            How many files were forgotten.

        Raises:
            ProvenanceError: If the index cannot be written.
        """
        if not self.exists:
            return 0
        with self._engine("write") as engine, engine.begin() as connection:
            return connection.execute(
                delete(_published).where(func.instr(_published.c.cameos, f" {cameo_id} ") > 0)
            ).rowcount

    def _read(self, row: Row[tuple[object, ...]]) -> PublishedFile:
        values = row._mapping
        return PublishedFile(
            sha256=values["sha256"],
            watermark=None if values["watermark"] is None else int(values["watermark"], 16),
            permit_id=values["permit_id"],
            cameo_ids=tuple(values["cameos"].split()),
            created=datetime.fromisoformat(values["created"]),
            manifest=values["manifest"],
            fingerprint=self._unpack(values["fingerprint"]),
            source=None if values["source"] is None else self._unpack(values["source"]),
        )

    def _unpack(self, data: bytes) -> VideoFingerprint:
        try:
            return VideoFingerprint.from_bytes(data)
        except ValueError as error:
            raise _unusable("read", self._path, error) from error

    def _rows(self, query: object) -> Iterator[Row[tuple[object, ...]]]:
        if not self.exists:
            return
        with self._engine("read") as engine, engine.connect() as connection:
            yield from connection.execution_options(yield_per=_BATCH).execute(query)  # type: ignore[call-overload]

    @contextmanager
    def _engine(self, doing: str, *, create: bool = False) -> Iterator[Engine]:
        engine: Engine | None = None
        try:
            if create:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            engine = create_engine(
                URL.create("sqlite", database=str(self._path)), connect_args={"timeout": _BUSY_TIMEOUT_S}
            )
            event.listen(engine, "connect", _erase_what_is_deleted)
            yield engine
        except (SQLAlchemyError, sqlite3.Error, OSError, ValueError) as error:
            raise _unusable(doing, self._path, error) from error
        finally:
            if engine is not None:
                engine.dispose()


def _erase_what_is_deleted(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA secure_delete = ON")


def _unusable(doing: str, path: Path, error: Exception) -> ProvenanceError:
    return ProvenanceError(
        f"expected to {doing} the index of published files {path}, got: {getattr(error, 'orig', None) or error}; "
        "restore it from a backup, or move it away: it is built anew from the next render on, older files are then "
        "found by their manifest only"
    )
