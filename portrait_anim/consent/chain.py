"""How ledger rows are chained: pure functions from rows to digests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any

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

ChainedValues = tuple[int, str, str, str | None, str | None, str | None, str | None, int, int, str]
"""Values of `CHAINED_COLUMNS`, in that order."""


def genesis(store_id: str) -> str:
    """Return the digest that the first row of a store follows, hexadecimal."""
    return hashlib.sha256(canonical(["ledger-genesis", store_id])).hexdigest()


def row_digest(values: Mapping[str, Any], previous: str) -> str:
    """Return the digest of a row.

    Args:
        values: Stored column values of the row; those in `CHAINED_COLUMNS` are read.
        previous: Digest of the row before, hexadecimal.

    Returns:
        sha256, hexadecimal.

    Raises:
        TypeError: If a value is not of the type of its column.
    """
    seq, time, kind, cameo, grant, permit, challenge, renders, ms, payload = (values[name] for name in CHAINED_COLUMNS)
    return chained_digest((seq, time, kind, cameo, grant, permit, challenge, renders, ms, payload), previous)


def chained_digest(values: ChainedValues, previous: str) -> str:
    """Return the digest of a row given as a tuple; see `row_digest`.

    Spells the same JSON list as `keys.canonical`, without building an encoder for each row: verification of a long
    ledger spends its time here.

    Args:
        values: The chained columns, in order.
        previous: Digest of the row before, hexadecimal.

    Returns:
        sha256, hexadecimal.

    Raises:
        TypeError: If a value is not of the type of its column.
    """
    seq, time, kind, cameo, grant, permit, challenge, renders, ms, payload = values
    if not (type(seq) is type(renders) is type(ms) is int):
        raise TypeError("expected whole numbers in the ledger, got something else")
    text = encode_basestring
    spelled = (
        f"[{seq},{text(time)},{text(kind)},"
        f"{'null' if cameo is None else text(cameo)},"
        f"{'null' if grant is None else text(grant)},"
        f"{'null' if permit is None else text(permit)},"
        f"{'null' if challenge is None else text(challenge)},"
        f"{renders},{ms},{text(payload)},{text(previous)}]"
    )
    return hashlib.sha256(spelled.encode()).hexdigest()


def head_message(store_id: str, seq: int, digest: str) -> bytes:
    """Return what the operator signs about the newest row.

    Args:
        store_id: Identifier of the store.
        seq: Position of the newest row, 0 for an empty ledger.
        digest: Its digest, or the genesis of the store.
    """
    return canonical(["ledger-head", store_id, seq, digest])


def checkpoint_message(store_id: str, seq: int, digest: str, time: str, former_seq: int) -> bytes:
    """Return what the operator signs about a checkpoint.

    Args:
        store_id: Identifier of the store.
        seq: Position of the row that it seals.
        digest: Digest of that row.
        time: When it was made, as stored.
        former_seq: Position of the checkpoint before, 0 for the first: none can be left out unseen.
    """
    return canonical(["ledger-checkpoint", store_id, seq, digest, time, former_seq])
