"""How ledger rows are chained: pure functions from rows to digests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from portrait_anim.consent.keys import canonical

CHAINED_COLUMNS = (
    "seq",
    "time",
    "kind",
    "cameo_id",
    "grant_id",
    "permit_id",
    "challenge_id",
    "charge_renders",
    "charge_ms",
    "payload",
)


def genesis(store_id: str) -> str:
    """Return the digest that the first row of a store follows, hexadecimal."""
    return hashlib.sha256(canonical(["ledger-genesis", store_id])).hexdigest()


def row_digest(values: Mapping[str, object], previous: str) -> str:
    """Return the digest of a row.

    Args:
        values: Stored column values of the row; those in `CHAINED_COLUMNS` are read.
        previous: Digest of the row before, hexadecimal.

    Returns:
        sha256, hexadecimal.
    """
    return hashlib.sha256(canonical([*(values[name] for name in CHAINED_COLUMNS), previous])).hexdigest()


def head_message(store_id: str, seq: int, digest: str) -> bytes:
    """Return what the operator signs about the newest row.

    Args:
        store_id: Identifier of the store.
        seq: Position of the newest row, 0 for an empty ledger.
        digest: Its digest, or the genesis of the store.
    """
    return canonical(["ledger-head", store_id, seq, digest])
