"""Version 3: a keyed digest of whom each grant names, by which a person's grants are found without reading all.

Grants whose signature holds are signed anew with it. A grant whose signature does not hold keeps its old one, so that
it is refused afterwards as it was before; it is found by its cameo only.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import context, op

from portrait_anim.consent.migrations import Sealing, tables_2
from portrait_anim.consent.signed_rows import opened_row, sealed_row
from portrait_anim.errors import LedgerTampered

revision = "0003"
down_revision: str | None = "0002"

_PURPOSE = "grantee"


def upgrade() -> None:
    """Move all grants to their new table."""
    connection: sa.Connection = op.get_bind()
    sealing: Sealing = context.config.attributes["sealing"]
    rows = [dict(row._mapping) for row in connection.execute(sa.select(tables_2.grants))]
    op.drop_table("grants")
    grants = _grants()
    grants.create(connection)
    for row in rows:
        connection.execute(sa.insert(grants).values(**_moved(sealing, grants, row)))


def _moved(sealing: Sealing, grants: sa.Table, row: dict[str, Any]) -> dict[str, object]:
    """Return the new row of an old one."""
    try:
        plain = opened_row(sealing, tables_2.grants, row)
    except LedgerTampered:
        return {**row, "grantee_key": ""}
    grantee = plain["grantee"]
    key = sealing.keys.lookup(_PURPOSE, grantee) if grantee else ""
    return sealed_row(sealing, grants, {**plain, "grantee_key": key})


def _grants() -> sa.Table:
    """Return the table as version 3 made it."""
    metadata = sa.MetaData()
    tables_2.cameos.to_metadata(metadata)
    grants = tables_2.grants.to_metadata(metadata)
    grants.append_column(sa.Column("grantee_key", sa.String(64), nullable=False))
    sa.Index("ix_grants_level_grantee_key", grants.c.level, grants.c.grantee_key)
    return grants
