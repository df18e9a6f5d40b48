"""A large consent store for measurements: many cameos, and a long ledger of honest rows, written fast.

Rows are chained, signed and encrypted exactly as the gate does it, one by one; only the transactions are larger
and the head is signed once at the end of each. `Ledger.verify` accepts the result as it accepts any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice

import numpy as np
from sqlalchemy import Connection, insert, update

from portrait_anim.consent import schema
from portrait_anim.consent.chain import genesis, head_message, row_digest
from portrait_anim.consent.checkpoints import add_checkpoint, checkpoint_is_due
from portrait_anim.consent.keys import canonical
from portrait_anim.consent.records import Cameo, Grant
from portrait_anim.consent.rows import put_cameo, put_grant
from portrait_anim.consent.signed_rows import sealed_row, time_text
from portrait_anim.consent.store import ConsentStore
from portrait_anim.types import IdentityEmbedding

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
GRANTEE = "Studio North"
PURPOSE = "film"
CONTEXT = "animate"
RENDER_MS = 2000
_BATCH_ROWS = 20_000
_EVERY_FICTIONAL = 10
"""One cameo of so many is a figure; the others are real people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inhabitant:
    """One cameo of the population, with the grant that opens it.

    Attributes:
        cameo: The cameo.
        grant: Its grant.
    """

    cameo: Cameo
    grant: Grant


def invented_face(number: int) -> IdentityEmbedding:
    """Return the dlib embedding of a person who does not exist; two of them are about 0.8 apart."""
    vector = np.random.default_rng(number).normal(size=128) * 0.05
    return IdentityEmbedding(vector=vector.astype(np.float32), backend="dlib")


def populate(store: ConsentStore, *, num_cameos: int, num_rows: int) -> list[Inhabitant]:
    """Fill an empty store.

    Args:
        store: The open store.
        num_cameos: How many cameos, each with one grant.
        num_rows: How many ledger rows in all; at least two per cameo.

    Returns:
        The cameos with their grants.

    Raises:
        ValueError: If there are too few rows for the cameos.
    """
    if num_rows < 2 * num_cameos:
        raise ValueError(f"expected at least {2 * num_cameos} rows for {num_cameos} cameos, got {num_rows}")
    people = inhabitants(num_cameos)
    with store.write() as connection:
        for one in people:
            put_cameo(connection, store, one.cameo, new=True)
            put_grant(connection, store, one.grant, new=True)
    writer = _LedgerWriter(store)
    events = islice(_events(people), num_rows)
    while batch := list(islice(events, _BATCH_ROWS)):
        with store.write() as connection:
            writer.write(connection, batch)
    with store.write() as connection:
        writer.write_sums(connection)
    return people


def inhabitants(num_cameos: int) -> list[Inhabitant]:
    """Return the cameos and grants that `populate` writes, the same every time."""
    return [_inhabitant(number) for number in range(num_cameos)]


def _inhabitant(number: int) -> Inhabitant:
    fictional = number % _EVERY_FICTIONAL == 0
    cameo = Cameo(
        id=f"cam_{number:016x}",
        name=f"Person {number}",
        kind="fictional" if fictional else "real",
        portrait_digest=hashlib.sha256(str(number).encode()).hexdigest(),
        portrait_embeddings=(invented_face(number),),
        video_embeddings=() if fictional else (invented_face(number),),
        created=START,
        statement="Invented by a random number generator." if fictional else "",
    )
    grant = Grant(
        id=f"gra_{number:016x}",
        cameo_id=cameo.id,
        grantee=GRANTEE,
        purpose=PURPOSE,
        allowed_contexts=(CONTEXT,),
        created=START,
        expires=START + timedelta(days=3650),
        max_renders=1_000_000,
        max_seconds=1_000_000.0,
    )
    return Inhabitant(cameo=cameo, grant=grant)


def _events(people: Sequence[Inhabitant]) -> Iterator[dict[str, object]]:
    """Yield the ledger of a long life: everybody enrols and grants, then renders follow each other without end."""
    nothing = {"permit_id": None, "challenge_id": None, "charge_renders": 0, "charge_ms": 0}
    for one in people:
        enrolled = "enrolled_fictional" if one.cameo.kind == "fictional" else "enrolled"
        payload = canonical({"portrait_digest": one.cameo.portrait_digest}).decode()
        yield {**nothing, "kind": enrolled, "cameo_id": one.cameo.id, "grant_id": None, "payload": payload}
    for one in people:
        payload = canonical({"commercial": False, "max_ms": 10**9, "max_renders": 10**6}).decode()
        yield {**nothing, "kind": "granted", "cameo_id": one.cameo.id, "grant_id": one.grant.id, "payload": payload}
    random = np.random.default_rng(0)
    number = 0
    while True:
        one = people[int(random.integers(len(people)))]
        permit = f"per_{number:016x}"
        ids = {"cameo_id": one.cameo.id, "grant_id": one.grant.id, "permit_id": permit, "challenge_id": None}
        digest = hashlib.sha256(permit.encode()).hexdigest()
        asked = {
            "portrait_digest": one.cameo.portrait_digest, "grantee_digest": digest, "purpose": PURPOSE,
            "context": CONTEXT, "commercial": False, "duration_ms": RENDER_MS, "profile": "lite",
            "permit_digest": digest,
        }  # fmt: skip
        made = {"output_digest": digest, "num_frames": 50, "duration_ms": RENDER_MS}
        yield {**ids, "kind": "authorised", "charge_renders": 1, "charge_ms": RENDER_MS,
               "payload": canonical(asked).decode()}  # fmt: skip
        yield {**ids, "kind": "rendered", "charge_renders": 0, "charge_ms": 0, "payload": canonical(made).decode()}
        number += 1


class _LedgerWriter:
    """Appends many rows per transaction."""

    def __init__(self, store: ConsentStore) -> None:
        self._store = store
        self._seq, self._digest = 0, genesis(store.store_id)
        self._sums: dict[str, list[int]] = {}

    def write(self, connection: Connection, events: Sequence[dict[str, object]]) -> None:
        """Chain and write rows, with the checkpoints that fall due, and sign the head."""
        rows: list[dict[str, object]] = []
        sealed: list[tuple[int, str, datetime]] = []
        for event in events:
            self._seq += 1
            moment = START + timedelta(seconds=self._seq)
            values = {"seq": self._seq, "time": time_text(moment), **event}
            previous, self._digest = self._digest, row_digest(values, self._digest)
            rows.append({**values, "previous": previous, "digest": self._digest})
            if checkpoint_is_due(self._seq):
                sealed.append((self._seq, self._digest, moment))
            self._add(event)
        connection.execute(insert(schema.ledger), rows)
        for seq, digest, moment in sealed:
            add_checkpoint(connection, self._store, seq, digest, moment)
        signature = self._store.keys.sign(head_message(self._store.store_id, self._seq, self._digest))
        connection.execute(update(schema.ledger_head).values(seq=self._seq, digest=self._digest, signature=signature))

    def write_sums(self, connection: Connection) -> None:
        """Write the kept sums of use of all grants."""
        rows = [
            sealed_row(self._store, schema.grant_usage, {
                "grant_id": grant_id, "renders": renders, "milliseconds": milliseconds, "seq": seq,
            })
            for grant_id, (renders, milliseconds, seq) in self._sums.items()
        ]  # fmt: skip
        connection.execute(insert(schema.grant_usage), rows)

    def _add(self, event: dict[str, object]) -> None:
        grant_id, renders, milliseconds = event["grant_id"], event["charge_renders"], event["charge_ms"]
        if grant_id is None:
            return
        assert isinstance(grant_id, str)
        assert isinstance(renders, int)
        assert isinstance(milliseconds, int)
        sums = self._sums.setdefault(grant_id, [0, 0, 0])
        sums[0] += renders
        sums[1] += milliseconds
        sums[2] = self._seq
