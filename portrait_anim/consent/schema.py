"""Tables of the consent store, and the triggers that keep the ledger append-only.

Rows of `challenges`, `cameos` and `grants` are signed one by one; the ledger is chained and its head is
signed. Times are ISO 8601 text in UTC with microseconds, so that what is hashed is exactly what is stored.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

SCHEMA_VERSION = 1

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("key", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

challenges = Table(
    "challenges",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("nonce", String(64), nullable=False),
    Column("actions", Text, nullable=False),
    Column("issued", String(40), nullable=False),
    Column("expires", String(40), nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

cameos = Table(
    "cameos",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", String(20), nullable=False, index=True),
    Column("portrait_digest", String(128), nullable=False, index=True),
    Column("template", LargeBinary, nullable=True),
    Column("created", String(40), nullable=False),
    Column("status", String(20), nullable=False),
    Column("statement", Text, nullable=False),
    Column("deleted_at", String(40), nullable=True),
    Column("signature", LargeBinary, nullable=False),
)

grants = Table(
    "grants",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("cameo_id", String(40), ForeignKey("cameos.id"), nullable=False, index=True),
    Column("grantee", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("allowed_contexts", Text, nullable=False),
    Column("created", String(40), nullable=False),
    Column("expires", String(40), nullable=False),
    Column("max_renders", Integer, nullable=False),
    Column("max_ms", Integer, nullable=False),
    Column("commercial", Integer, nullable=False),
    Column("revoked_at", String(40), nullable=True),
    Column("signature", LargeBinary, nullable=False),
)

ledger = Table(
    "ledger",
    metadata,
    Column("seq", Integer, CheckConstraint("seq >= 1"), primary_key=True, autoincrement=False),
    Column("time", String(40), nullable=False),
    Column("kind", String(40), nullable=False, index=True),
    Column("cameo_id", String(100), nullable=True, index=True),
    Column("grant_id", String(40), nullable=True, index=True),
    Column("permit_id", String(40), nullable=True, index=True),
    Column("challenge_id", String(40), nullable=True, index=True),
    Column("charge_renders", Integer, nullable=False),
    Column("charge_ms", Integer, nullable=False),
    Column("payload", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
)

ledger_head = Table(
    "ledger_head",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

# The database itself refuses to close a permit twice or to answer a challenge twice.
Index(
    "one_end_per_permit",
    ledger.c.permit_id,
    unique=True,
    sqlite_where=text("kind IN ('rendered', 'aborted')"),
    postgresql_where=text("kind IN ('rendered', 'aborted')"),
)
Index(
    "one_answer_per_challenge",
    ledger.c.challenge_id,
    unique=True,
    sqlite_where=text("kind IN ('enrolled', 'enrolment_refused')"),
    postgresql_where=text("kind IN ('enrolled', 'enrolment_refused')"),
)

SQLITE_TRIGGERS = (
    "CREATE TRIGGER IF NOT EXISTS ledger_no_update BEFORE UPDATE ON ledger "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS ledger_no_delete BEFORE DELETE ON ledger "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS ledger_head_no_delete BEFORE DELETE ON ledger_head "
    "BEGIN SELECT RAISE(ABORT, 'the head of the ledger stays'); END",
)
