"""Rows of challenges, cameos and grants: between records and the database."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from sqlalchemy import Connection, and_, func, insert, or_, select, update

from portrait_anim.consent import schema
from portrait_anim.consent.ledger import recorded
from portrait_anim.consent.records import Cameo, CameoKind, Challenge, Grant, duration_ms
from portrait_anim.consent.signed_rows import (
    Values,
    changed,
    find_row,
    find_rows,
    matching_rows,
    moment_of,
    optional_moment,
    optional_text,
    put_row,
    time_text,
)
from portrait_anim.consent.store import ConsentStore
from portrait_anim.consent.templates import faces_bytes, faces_of

FACES = "faces"
"""Counter that grows with every change of an enrolled or denied face."""


def put_challenge(connection: Connection, store: ConsentStore, challenge: Challenge, *, new: bool = True) -> None:
    """Write a challenge."""
    values = {
        "id": challenge.id,
        "name": challenge.name,
        "nonce": challenge.nonce,
        "actions": json.dumps(challenge.actions),
        "issued": time_text(challenge.issued),
        "expires": time_text(challenge.expires),
        "portrait_digest": challenge.portrait_digest,
        "purpose": challenge.purpose,
        "code": challenge.code,
        "code_policy": challenge.code_policy,
        "dot_path": challenge.dot_path,
        "adult_declared": int(challenge.adult_declared),
        "link_token_digest": challenge.link_token_digest,
    }
    put_row(connection, store, schema.challenges, values, new=new)


def find_challenge(
    connection: Connection,
    store: ConsentStore,
    challenge_id: str | None = None,
    *,
    link_token_digest: str | None = None,
) -> Challenge | None:
    """Read a challenge by its id, or by the digest of its enrolment link.

    Args:
        connection: Open connection.
        store: The store of the connection.
        challenge_id: Its id.
        link_token_digest: sha256 of the one-time token of its link, not empty; used when no id is given.

    Returns:
        The challenge, or `None` when there is none.

    Raises:
        LedgerTampered: If the row was changed outside the program.
    """
    table = schema.challenges
    if challenge_id is not None:
        condition = table.c.id == challenge_id
    elif link_token_digest:
        condition = table.c.link_token_digest == link_token_digest
    else:
        return None
    for row in find_rows(connection, store, table, condition, limit=1):
        return Challenge(
            id=row["id"],
            name=row["name"],
            nonce=row["nonce"],
            actions=tuple(json.loads(row["actions"])),
            issued=moment_of(row["issued"]),
            expires=moment_of(row["expires"]),
            portrait_digest=row["portrait_digest"],
            purpose=row["purpose"],
            code=row["code"],
            code_policy=row["code_policy"],
            dot_path=row["dot_path"],
            adult_declared=bool(row["adult_declared"]),
            link_token_digest=row["link_token_digest"],
        )
    return None


def put_cameo(connection: Connection, store: ConsentStore, cameo: Cameo, *, new: bool) -> None:
    """Write a cameo; its name and its embeddings are encrypted, and none are kept when it has none."""
    values = {
        "id": cameo.id,
        "name": cameo.name,
        "kind": cameo.kind,
        "portrait_digest": cameo.portrait_digest,
        "template": faces_bytes(cameo.portrait_embeddings, cameo.video_embeddings),
        "created": time_text(cameo.created),
        "status": cameo.status,
        "statement": cameo.statement,
        "deleted_at": optional_text(cameo.deleted_at),
        "owner_account": cameo.owner_account,
        "generation": next_generation(connection),
    }
    put_row(connection, store, schema.cameos, values, new=new)


def find_cameo(connection: Connection, store: ConsentStore, cameo_id: str) -> Cameo | None:
    """Read a cameo, or `None` when there is none with this id.

    Raises:
        LedgerTampered: If the row was changed outside the program or brought back after its deletion.
    """
    row = find_row(connection, store, schema.cameos, cameo_id)
    if row is None:
        return None
    cameo = cameo_of(row)
    if cameo.status != "deleted" and recorded(connection, "deleted", cameo_id=cameo_id):
        raise changed(f"cameo {cameo_id}, which the ledger says was deleted")
    return cameo


def all_cameos(
    connection: Connection, store: ConsentStore, kind: CameoKind | None = None, *, owner_account: str | None = None
) -> list[Cameo]:
    """Read all cameos, oldest first, deleted ones included. Slow with many: searches use `people_search`.

    Args:
        connection: Open connection.
        store: The store of the connection.
        kind: Only cameos of this kind.
        owner_account: Only cameos of this account.

    Raises:
        LedgerTampered: If a row was changed outside the program.
    """
    table = schema.cameos
    conditions = [table.c.kind == kind] if kind else []
    if owner_account is not None:
        conditions.append(table.c.owner_account == owner_account)
    rows = find_rows(connection, store, table, *conditions)
    return sorted((cameo_of(row) for row in rows), key=lambda cameo: (cameo.created, cameo.id))


def put_grant(connection: Connection, store: ConsentStore, grant: Grant, *, new: bool) -> None:
    """Write a grant; whom it names is encrypted."""
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
        "revoked_at": optional_text(grant.revoked_at),
        "level": grant.level,
        "forbidden": grant.forbidden,
        "label_size": grant.label_size,
        "grantee_key": _grantee_key(store, grant.grantee) if grant.grantee else "",
    }
    put_row(connection, store, schema.grants, values, new=new)


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
    wanted = {"id": grant_id} if grant_id is not None else {} if cameo_id is None else {"cameo_id": cameo_id}
    return _checked_grants(connection, matching_rows(connection, store, schema.grants, **wanted))


def find_grants_for(connection: Connection, store: ConsentStore, names: Collection[str]) -> list[Grant]:
    """Read the grants that may be for somebody, oldest first; only these are opened.

    Args:
        connection: Open connection.
        store: The store of the connection.
        names: The names that this person goes by, such as name and account id.

    Returns:
        Those that name the person, those for everyone, and those for the owner of a cameo that is the person's.

    Raises:
        LedgerTampered: If a row was changed outside the program or restored to before its revocation.
    """
    grants, cameos = schema.grants.c, schema.cameos.c
    keys = [_grantee_key(store, name) for name in names]
    own = select(cameos.id).where(cameos.owner_account.in_(names), cameos.owner_account != "")
    rows = find_rows(
        connection,
        store,
        schema.grants,
        or_(
            and_(grants.level == "person", grants.grantee_key.in_(keys)),
            grants.level == "everyone",
            and_(grants.level == "owner", grants.cameo_id.in_(own)),
        ),
    )
    return _checked_grants(connection, rows)


def _grantee_key(store: ConsentStore, grantee: str) -> str:
    return store.keys.lookup("grantee", grantee)


def _checked_grants(connection: Connection, rows: Iterable[Values]) -> list[Grant]:
    grants = [_grant(row) for row in rows]
    for grant in grants:
        if grant.revoked_at is None and recorded(connection, "revoked", grant_id=grant.id):
            raise changed(f"grant {grant.id}, which the ledger says was revoked")
    return sorted(grants, key=lambda grant: (grant.created, grant.id))


def cameo_of(row: Values) -> Cameo:
    """Return the cameo of an opened row."""
    portrait, video = faces_of(row["template"], real=row["kind"] == "real")
    return Cameo(
        id=row["id"],
        name=row["name"],
        kind=row["kind"],
        portrait_digest=row["portrait_digest"],
        portrait_embeddings=portrait,
        video_embeddings=video,
        created=moment_of(row["created"]),
        status=row["status"],
        statement=row["statement"],
        deleted_at=optional_moment(row["deleted_at"]),
        owner_account=row["owner_account"],
    )


def next_generation(connection: Connection) -> int:
    """Count one change of a face, and return the count; other processes see it when this one commits."""
    counters = schema.counters
    counted = connection.execute(
        update(counters).where(counters.c.name == FACES).values(value=counters.c.value + 1)
    ).rowcount
    if not counted:
        connection.execute(insert(counters).values(name=FACES, value=_largest_generation(connection) + 1))
    return int(connection.execute(select(counters.c.value).where(counters.c.name == FACES)).scalar_one())


def _grant(row: Values) -> Grant:
    return Grant(
        id=row["id"],
        cameo_id=row["cameo_id"],
        grantee=row["grantee"],
        purpose=row["purpose"],
        allowed_contexts=tuple(json.loads(row["allowed_contexts"])),
        created=moment_of(row["created"]),
        expires=moment_of(row["expires"]),
        max_renders=row["max_renders"],
        max_seconds=row["max_ms"] / 1000,
        commercial=bool(row["commercial"]),
        revoked_at=optional_moment(row["revoked_at"]),
        level=row["level"],
        forbidden=row["forbidden"],
        label_size=row["label_size"],
    )


def _largest_generation(connection: Connection) -> int:
    tables = (schema.cameos, schema.denylist)
    return max(int(connection.execute(select(func.max(table.c.generation))).scalar() or 0) for table in tables)
