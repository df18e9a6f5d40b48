"""Version 1: challenges, cameos, grants and the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    """Make the tables of the first version."""
    tables().create_all(op.get_bind())


def tables() -> sa.MetaData:
    """Return the tables as the first version made them."""
    metadata = sa.MetaData()
    sa.Table("meta", metadata, sa.Column("key", sa.String(40), primary_key=True), _text("value"))
    sa.Table(
        "challenges",
        metadata,
        sa.Column("id", sa.String(40), primary_key=True),
        *(_text(name) for name in ("name", "nonce", "actions", "issued", "expires")),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    sa.Table(
        "cameos",
        metadata,
        sa.Column("id", sa.String(40), primary_key=True),
        _text("name"),
        sa.Column("kind", sa.String(20), nullable=False, index=True),
        sa.Column("portrait_digest", sa.String(128), nullable=False, index=True),
        sa.Column("template", sa.LargeBinary, nullable=True),
        *(_text(name) for name in ("created", "status", "statement")),
        sa.Column("deleted_at", sa.String(40), nullable=True),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    sa.Table(
        "grants",
        metadata,
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("cameo_id", sa.String(40), sa.ForeignKey("cameos.id"), nullable=False, index=True),
        *(_text(name) for name in ("grantee", "purpose", "allowed_contexts", "created", "expires")),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("max_renders", "max_ms", "commercial")),
        sa.Column("revoked_at", sa.String(40), nullable=True),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    ledger = sa.Table(
        "ledger",
        metadata,
        sa.Column("seq", sa.Integer, sa.CheckConstraint("seq >= 1"), primary_key=True, autoincrement=False),
        sa.Column("time", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False, index=True),
        sa.Column("cameo_id", sa.String(100), nullable=True, index=True),
        *(
            sa.Column(name, sa.String(40), nullable=True, index=True)
            for name in ("grant_id", "permit_id", "challenge_id")
        ),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("charge_renders", "charge_ms")),
        _text("payload"),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
    )
    sa.Table(
        "ledger_head",
        metadata,
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    for name, column, kinds in (
        ("one_end_per_permit", "permit_id", "kind IN ('rendered', 'aborted')"),
        ("one_answer_per_challenge", "challenge_id", "kind IN ('enrolled', 'enrolment_refused')"),
    ):
        where = sa.text(kinds)
        sa.Index(name, ledger.c[column], unique=True, sqlite_where=where, postgresql_where=where)
    return metadata


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)
