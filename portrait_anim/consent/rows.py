"""Between records and signed database rows.

Every row carries the operator's signature over all its other columns, so a row that was edited or made
outside the program is refused when it is read. Templates are sealed for their cameo: one moved to another row
does not open.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import cast

import numpy as np
from sqlalchemy import Connection, Table, insert, select, update

from portrait_anim.consent import schema
from portrait_anim.consent.keys import canonical
from portrait_anim.consent.ledger import recorded, time_text
from portrait_anim.consent.records import (
    Cameo,
    CameoKind,
    CameoStatus,
    Challenge,
    ChallengeAction,
    Grant,
    duration_ms,
)
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import LedgerTampered
from portrait_anim.types import IdentityEmbedding


def put_challenge(connection: Connection, store: ConsentStore, challenge: Challenge) -> None:
    """Write a new challenge."""
    values = {
        "id": challenge.id,
        "name": challenge.name,
        "nonce": challenge.nonce,
        "actions": json.dumps(challenge.actions),
        "issued": time_text(challenge.issued),
        "expires": time_text(challenge.expires),
    }
    _put(connection, store, schema.challenges, values, new=True)


def find_challenge(connection: Connection, store: ConsentStore, challenge_id: str) -> Challenge | None:
    """Read a challenge, or `None` when there is none with this id.

    Raises:
        LedgerTampered: If the row was changed outside the program.
    """
    rows = _find(connection, store, schema.challenges, "id", challenge_id)
    if not rows:
        return None
    row = rows[0]
    return Challenge(
        id=str(row["id"]),
        name=str(row["name"]),
        nonce=str(row["nonce"]),
        actions=tuple(cast(list[ChallengeAction], json.loads(str(row["actions"])))),
        issued=_time(row["issued"]),
        expires=_time(row["expires"]),
    )


def put_cameo(connection: Connection, store: ConsentStore, cameo: Cameo, *, new: bool) -> None:
    """Write a cameo; its embeddings are encrypted, and none are kept when it has none."""
    values = {
        "id": cameo.id,
        "name": cameo.name,
        "kind": cameo.kind,
        "portrait_digest": cameo.portrait_digest,
        "template": _seal(store, cameo.id, cameo.embeddings) if cameo.embeddings else None,
        "created": time_text(cameo.created),
        "status": cameo.status,
        "statement": cameo.statement,
        "deleted_at": None if cameo.deleted_at is None else time_text(cameo.deleted_at),
    }
    _put(connection, store, schema.cameos, values, new=new)


def find_cameo(connection: Connection, store: ConsentStore, cameo_id: str) -> Cameo | None:
    """Read a cameo, or `None` when there is none with this id.

    Raises:
        LedgerTampered: If the row was changed outside the program or brought back after its deletion.
    """
    rows = _find(connection, store, schema.cameos, "id", cameo_id)
    if not rows:
        return None
    cameo = _cameo(store, rows[0])
    if cameo.status != "deleted" and recorded(connection, "deleted", cameo_id=cameo_id):
        raise _changed(f"cameo {cameo_id}, which the ledger says was deleted")
    return cameo


def all_cameos(connection: Connection, store: ConsentStore, kind: CameoKind | None = None) -> list[Cameo]:
    """Read all cameos, oldest first, deleted ones included.

    Raises:
        LedgerTampered: If a row was changed outside the program.
    """
    rows = _find(connection, store, schema.cameos, *(("kind", kind) if kind else (None, None)))
    return [_cameo(store, row) for row in sorted(rows, key=lambda row: (str(row["created"]), str(row["id"])))]


def put_grant(connection: Connection, store: ConsentStore, grant: Grant, *, new: bool) -> None:
    """Write a grant."""
    values = {
        "id": grant.id,
        "cameo_id": grant.cameo_id,
        "grantee": grant.grantee,
        "purpose": grant.purpose,
        "allowed_contexts": json.dumps(grant.allowed_contexts),
        "created": time_text(grant.created),
        "expires": time_text(grant.expires),
        "max_renders": grant.max_renders,
        "max_ms": duration_ms(grant.max_seconds),
        "commercial": int(grant.commercial),
        "revoked_at": None if grant.revoked_at is None else time_text(grant.revoked_at),
    }
    _put(connection, store, schema.grants, values, new=new)


def find_grants(
    connection: Connection, store: ConsentStore, *, cameo_id: str | None = None, grant_id: str | None = None
) -> list[Grant]:
    """Read grants, oldest first.

    Args:
        connection: Open connection.
        store: The store of the connection.
        cameo_id: Only the grants of this cameo.
        grant_id: Only this grant.

    Raises:
        LedgerTampered: If a row was changed outside the program or restored to before its revocation.
    """
    column, value = ("id", grant_id) if grant_id is not None else ("cameo_id", cameo_id)
    rows = _find(connection, store, schema.grants, *((column, value) if value is not None else (None, None)))
    grants = []
    for row in rows:
        grant = Grant(
            id=str(row["id"]),
            cameo_id=str(row["cameo_id"]),
            grantee=str(row["grantee"]),
            purpose=str(row["purpose"]),
            allowed_contexts=tuple(json.loads(str(row["allowed_contexts"]))),
            created=_time(row["created"]),
            expires=_time(row["expires"]),
            max_renders=int(cast(int, row["max_renders"])),
            max_seconds=int(cast(int, row["max_ms"])) / 1000,
            commercial=bool(row["commercial"]),
            revoked_at=None if row["revoked_at"] is None else _time(row["revoked_at"]),
        )
        if grant.revoked_at is None and recorded(connection, "revoked", grant_id=grant.id):
            raise _changed(f"grant {grant.id}, which the ledger says was revoked")
        grants.append(grant)
    return sorted(grants, key=lambda grant: (grant.created, grant.id))


def _put(connection: Connection, store: ConsentStore, table: Table, values: Mapping[str, object], *, new: bool) -> None:
    signed = {**values, "signature": store.keys.sign(_message(store, table, values))}
    if new:
        connection.execute(insert(table).values(**signed))
    else:
        connection.execute(update(table).where(table.c.id == values["id"]).values(**signed))


def _find(
    connection: Connection, store: ConsentStore, table: Table, column: str | None, value: str | None
) -> list[Mapping[str, object]]:
    query = select(table) if column is None else select(table).where(table.c[column] == value)
    found: list[Mapping[str, object]] = []
    for row in connection.execute(query):
        values = dict(row._mapping)
        signature = values.pop("signature")
        if not store.keys.verify(_message(store, table, values), signature):
            raise _changed(f"an altered or forged row {values['id']} in {table.name}")
        found.append(values)
    return found


def _message(store: ConsentStore, table: Table, values: Mapping[str, object]) -> bytes:
    plain = {key: value.hex() if isinstance(value, bytes) else value for key, value in values.items()}
    return canonical(["row", store.store_id, table.name, plain])


def _cameo(store: ConsentStore, row: Mapping[str, object]) -> Cameo:
    template = row["template"]
    return Cameo(
        id=str(row["id"]),
        name=str(row["name"]),
        kind=cast(CameoKind, row["kind"]),
        portrait_digest=str(row["portrait_digest"]),
        embeddings=() if template is None else _unseal(store, str(row["id"]), cast(bytes, template)),
        created=_time(row["created"]),
        status=cast(CameoStatus, row["status"]),
        statement=str(row["statement"]),
        deleted_at=None if row["deleted_at"] is None else _time(row["deleted_at"]),
    )


def _seal(store: ConsentStore, cameo_id: str, embeddings: tuple[IdentityEmbedding, ...]) -> bytes:
    plain = [
        [embedding.backend, base64.b64encode(np.asarray(embedding.vector, dtype="<f4").tobytes()).decode()]
        for embedding in embeddings
    ]
    return store.keys.seal(canonical(plain), _purpose(store, cameo_id))


def _unseal(store: ConsentStore, cameo_id: str, sealed: bytes) -> tuple[IdentityEmbedding, ...]:
    plain = json.loads(store.keys.unseal(sealed, _purpose(store, cameo_id)))
    return tuple(
        IdentityEmbedding(vector=np.frombuffer(base64.b64decode(data), dtype="<f4").astype(np.float32), backend=backend)
        for backend, data in plain
    )


def _purpose(store: ConsentStore, cameo_id: str) -> str:
    return f"template of {cameo_id} in {store.store_id}"


def _time(value: object) -> datetime:
    return datetime.fromisoformat(str(value))


def _changed(found: str) -> LedgerTampered:
    return LedgerTampered(
        f"expected consent records as the program wrote them, got {found}; "
        "the database was changed outside the program: nothing is allowed until a backup is restored"
    )
