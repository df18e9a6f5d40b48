"""Version 2: encrypted names, what enrolment, inbox and service need, checkpoints, sums of use.

Rows of version 1 whose signature holds are sealed and signed anew. A row whose signature does not hold keeps
its old one, so that it is refused afterwards as it was before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import context, op
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portrait_anim.consent.chain import checkpoint_message
from portrait_anim.consent.key_places import FIRST_VERSION
from portrait_anim.consent.migrations import Sealing, tables_2
from portrait_anim.consent.signed_rows import row_message, sealed_row

revision = "0002"
down_revision: str | None = "0001"

_OLD_TABLES = ("grants", "cameos", "challenges")  # those that refer to others first
_NONCE_BYTES = 12
_ADDED: dict[str, dict[str, object]] = {
    "challenges": {
        "portrait_digest": "",
        "purpose": "",
        "code": "",
        "code_policy": "off",
        "dot_path": "",
        "adult_declared": 0,
        "link_token_digest": "",
    },
    "cameos": {"owner_account": ""},
    "grants": {"level": "person", "forbidden": "", "label_size": "small"},
}


def upgrade() -> None:
    """Move challenges, cameos and grants to their new tables and make the others."""
    connection: sa.Connection = op.get_bind()
    sealing: Sealing = context.config.attributes["sealing"]
    old = sa.MetaData()
    old.reflect(connection, only=[*_OLD_TABLES, "ledger"])
    rows = {
        name: [dict(row._mapping) for row in connection.execute(sa.select(old.tables[name]))] for name in _OLD_TABLES
    }
    for name in _OLD_TABLES:
        op.drop_table(name)
    for index in ("kind", "cameo_id", "grant_id", "permit_id", "challenge_id"):
        op.drop_index(f"ix_ledger_{index}", "ledger")
    tables_2.metadata.create_all(connection)
    for made in sorted(tables_2.ledger.indexes, key=lambda index: str(index.name)):
        made.create(connection, checkfirst=True)
    generation = 0
    for name in reversed(_OLD_TABLES):
        table = tables_2.metadata.tables[name]
        for row in rows[name]:
            generation += name == "cameos"
            connection.execute(sa.insert(table).values(**_moved(sealing, table, row, generation)))
    connection.execute(sa.insert(tables_2.counters).values(name="faces", value=generation))
    _add_up(connection, sealing)
    _seal_ledger(connection, sealing)


def _moved(sealing: Sealing, table: sa.Table, row: dict[str, Any], generation: int) -> dict[str, object]:
    """Return the new row of an old one."""
    signature = row.pop("signature")
    holds = sealing.keys.verify(row_message(sealing.store_id, table.name, row), signature)
    values = {**row, **_ADDED[table.name]}
    if table.name == "cameos":
        values["generation"] = generation
        if values["template"] is not None:
            template = _opened(sealing, str(row["id"]), row["template"])
            holds, values["template"] = holds and template is not None, template
    sealed = sealed_row(sealing, table, values)
    return sealed if holds else {**sealed, "signature": signature}


def _opened(sealing: Sealing, cameo_id: str, sealed: bytes) -> bytes | None:
    """Decrypt a template of version 1, or return `None` when it was changed."""
    key = AESGCM(sealing.vault.raw_key(FIRST_VERSION))
    bound = f"template of {cameo_id} in {sealing.store_id}".encode()
    try:
        return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError):
        return None


def _add_up(connection: sa.Connection, sealing: Sealing) -> None:
    """Write the sums of use that version 1 added up from the ledger each time."""
    ledger = tables_2.ledger.c
    sums = (
        sa.select(
            ledger.grant_id,
            sa.func.sum(ledger.charge_renders).label("renders"),
            sa.func.sum(ledger.charge_ms).label("milliseconds"),
            sa.func.max(ledger.seq).label("seq"),
        )
        .where(ledger.grant_id.is_not(None))
        .group_by(ledger.grant_id)
    )
    for row in connection.execute(sums).all():
        found: Mapping[str, Any] = {
            key: value if key == "grant_id" else int(value) for key, value in row._mapping.items()
        }
        connection.execute(sa.insert(tables_2.grant_usage).values(**sealed_row(sealing, tables_2.grant_usage, found)))


def _seal_ledger(connection: sa.Connection, sealing: Sealing) -> None:
    """Make a checkpoint of the ledger as version 1 left it."""
    last = connection.execute(sa.select(tables_2.ledger).order_by(tables_2.ledger.c.seq.desc()).limit(1)).first()
    if last is not None:
        message = checkpoint_message(sealing.store_id, last.seq, last.digest, last.time, 0)
        values = {"seq": last.seq, "digest": last.digest, "time": last.time, "signature": sealing.keys.sign(message)}
        connection.execute(sa.insert(tables_2.checkpoints).values(**values))
