"""Tables of the consent store, version 3.

Rows of every table but `ledger`, `ledger_head`, `checkpoints`, `counters` and `meta` are signed one by one
with the operator's key; the ledger is chained, its head and its checkpoints are signed. Times are ISO 8601
text in UTC with microseconds, so that what is hashed is exactly what is stored.

A column marked `SECRET_TEXT` or `SECRET_BYTES` is encrypted before it reaches the database; NULL stands for
an empty value. The triggers that keep the ledger append-only are in `backends.py`.
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

SCHEMA_VERSION = 3

SECRET_TEXT = "text"  # noqa: S105 - a kind of column, not a password
SECRET_BYTES = "bytes"  # noqa: S105

metadata = MetaData()


def _id(name: str = "id") -> Column[str]:
    return Column(name, String(100), primary_key=True)


def _time(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, String(40), nullable=nullable)


def _secret(name: str, kind: str = SECRET_TEXT) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=True, info={"secret": kind})


def _signature() -> Column[bytes]:
    return Column("signature", LargeBinary, nullable=False)


meta = Table(
    "meta",
    metadata,
    Column("key", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

alembic_version = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), primary_key=True),
)

# Numbers that tell other processes that something changed; nothing is decided by them alone.
counters = Table(
    "counters",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Integer, nullable=False),
)

challenges = Table(
    "challenges",
    metadata,
    _id(),
    _secret("name"),
    Column("nonce", String(64), nullable=False),
    Column("actions", Text, nullable=False),
    _time("issued"),
    _time("expires"),
    Column("portrait_digest", String(128), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("code", String(20), nullable=False),
    Column("code_policy", String(20), nullable=False),
    Column("dot_path", Text, nullable=False),
    Column("adult_declared", Integer, nullable=False),
    Column("link_token_digest", String(64), nullable=False, index=True),
    _signature(),
)

challenge_videos = Table(
    "challenge_videos",
    metadata,
    _id(),
    Column("challenge_id", String(100), ForeignKey("challenges.id"), nullable=False, index=True),
    Column("sha256", String(64), nullable=False, index=True),
    _secret("fingerprint", SECRET_BYTES),
    Column("stored_file", Text, nullable=False),
    _secret("file_key", SECRET_BYTES),
    _time("received"),
    _time("erase_after", nullable=True),
    _time("erased_at", nullable=True),
    _signature(),
)

cameos = Table(
    "cameos",
    metadata,
    _id(),
    _secret("name"),
    Column("kind", String(20), nullable=False, index=True),
    Column("portrait_digest", String(128), nullable=False),
    _secret("template", SECRET_BYTES),
    _time("created"),
    Column("status", String(20), nullable=False),
    Column("statement", Text, nullable=False),
    _time("deleted_at", nullable=True),
    Column("owner_account", String(100), nullable=False, index=True),
    Column("generation", Integer, nullable=False, index=True),
    _signature(),
    Index("ix_cameos_portrait_digest_kind", "portrait_digest", "kind"),
)

grants = Table(
    "grants",
    metadata,
    _id(),
    Column("cameo_id", String(100), ForeignKey("cameos.id"), nullable=False, index=True),
    _secret("grantee"),
    Column("purpose", Text, nullable=False),
    Column("allowed_contexts", Text, nullable=False),
    _time("created"),
    _time("expires"),
    Column("max_renders", Integer, nullable=False),
    Column("max_ms", Integer, nullable=False),
    Column("commercial", Integer, nullable=False),
    _time("revoked_at", nullable=True),
    Column("level", String(20), nullable=False),
    Column("forbidden", Text, nullable=False),
    Column("label_size", String(20), nullable=False),
    Column("grantee_key", String(64), nullable=False),  # keyed digest of the grantee, to find grants by
    _signature(),
    Index("ix_grants_level_grantee_key", "level", "grantee_key"),
)

# What was charged to each grant, kept with the ledger row that changed it last, so that nothing is added up again.
grant_usage = Table(
    "grant_usage",
    metadata,
    _id("grant_id"),
    Column("renders", Integer, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    _signature(),
)

uses = Table(
    "uses",
    metadata,
    _id(),
    Column("cameo_id", String(100), nullable=False),
    _time("time"),
    Column("kind", String(20), nullable=False),
    _secret("grantee"),
    Column("purpose", Text, nullable=False),
    Column("context", Text, nullable=False),
    Column("permit_id", String(100), nullable=False, index=True),
    Column("reason", Text, nullable=False),
    _secret("thumbnail", SECRET_BYTES),
    _time("read_at", nullable=True),
    _signature(),
    Index("ix_uses_cameo_id_time", "cameo_id", "time"),
)

withdrawals = Table(
    "withdrawals",
    metadata,
    _id("permit_id"),
    Column("cameo_id", String(100), nullable=False, index=True),
    _time("time"),
    Column("reason", Text, nullable=False),
    Column("file_deleted", Integer, nullable=False),
    _signature(),
)

outputs = Table(
    "outputs",
    metadata,
    _id("permit_id"),
    Column("path", Text, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    _time("time"),
    _time("deleted_at", nullable=True),
    _signature(),
)

denylist = Table(
    "denylist",
    metadata,
    _id(),
    _secret("template", SECRET_BYTES),
    _secret("label"),
    _time("created"),
    _time("removed_at", nullable=True),
    Column("generation", Integer, nullable=False, index=True),
    _signature(),
)

accounts = Table(
    "accounts",
    metadata,
    _id(),
    _secret("name"),
    Column("role", String(20), nullable=False),
    Column("token_digest", String(64), nullable=False, index=True),
    _time("created"),
    _time("disabled_at", nullable=True),
    _signature(),
)

outbox = Table(
    "outbox",
    metadata,
    _id(),
    Column("cameo_id", String(100), nullable=False, index=True),
    Column("channel", String(20), nullable=False),
    _secret("target"),
    _secret("body"),
    Column("attempts", Integer, nullable=False),
    Column("next_try", String(40), nullable=True, index=True),
    _time("sent_at", nullable=True),
    _time("failed_at", nullable=True),
    _signature(),
)

settings = Table(
    "settings",
    metadata,
    _id("cameo_id"),
    Column("key", String(40), primary_key=True),
    _secret("value"),
    _signature(),
)

ledger = Table(
    "ledger",
    metadata,
    Column("seq", Integer, CheckConstraint("seq >= 1"), primary_key=True, autoincrement=False),
    Column("time", String(40), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("cameo_id", String(100), nullable=True),
    Column("grant_id", String(40), nullable=True),
    Column("permit_id", String(40), nullable=True),
    Column("challenge_id", String(40), nullable=True),
    Column("charge_renders", Integer, nullable=False),
    Column("charge_ms", Integer, nullable=False),
    Column("payload", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
)

# Which columns each index has was chosen by SQLite's query plans on a million rows: with `kind` behind the id,
# "was this permit rendered" never walks all rows of a kind.
for _columns in (
    ("kind", "seq"),
    ("grant_id", "seq"),
    ("cameo_id", "kind", "seq"),
    ("permit_id", "kind", "seq"),
    ("challenge_id", "kind", "seq"),
):
    Index(f"ix_ledger_{'_'.join(_columns)}", *(ledger.c[_name] for _name in _columns))

# The database itself refuses to close a permit twice, to answer a challenge twice, to end a grant or to delete a
# cameo twice. The last two also answer "was it revoked" from an index that holds nothing else.
for _name, _column, _kinds in (
    ("one_end_per_permit", "permit_id", "kind IN ('rendered', 'aborted')"),
    ("one_answer_per_challenge", "challenge_id", "kind IN ('enrolled', 'enrolment_refused')"),
    ("one_revocation_per_grant", "grant_id", "kind = 'revoked'"),
    ("one_deletion_per_cameo", "cameo_id", "kind = 'deleted'"),
):
    Index(_name, ledger.c[_column], unique=True, sqlite_where=text(_kinds), postgresql_where=text(_kinds))

ledger_head = Table(
    "ledger_head",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    _time("time"),
    _signature(),
)
