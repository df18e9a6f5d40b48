"""Taking back a finished render: its file is destroyed where it lies here, its id goes on a signed list.

The list can be published: it names permits and times, no person. Whoever verifies a copy of the file elsewhere looks
its permit up there. A copy that left this installation cannot be destroyed; it can be known to be withdrawn.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from portrait_anim.consent import schema
from portrait_anim.consent.inbox import follow_use
from portrait_anim.consent.keys import canonical, signature_holds
from portrait_anim.consent.ledger import append_row, checked_head, recorded
from portrait_anim.consent.records import clean_text, utc
from portrait_anim.consent.service_records import Output, Withdrawal
from portrait_anim.consent.service_rows import find_outputs, find_withdrawals, put_output, put_withdrawal
from portrait_anim.consent.shown_faces import forget_shown_face
from portrait_anim.consent.signed_rows import time_text
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentDenied, LedgerTampered

_LOOKED_AT_AGAIN: Final = timedelta(days=1)
_BLOCK_BYTES: Final = 1 << 20
_FURTHER: Final = "/"  # a permit's second and later files are kept under its id, a slash and a number


def withdraw(store: ConsentStore, permit_id: str, now: datetime, *, reason: str = "") -> Withdrawal:
    """Take back a render, finished or running, and destroy its files.

    Args:
        store: The open store.
        permit_id: Its permit.
        now: Current time, timezone-aware.
        reason: Why, in the owner's words; kept with the withdrawal, not in the ledger.

    Returns:
        The withdrawal; taking back twice changes nothing. `file_deleted` says whether no file is left here.

    Raises:
        ConsentDenied: If this store never gave such a permit.
        ValueError: If the reason is not a line of text.
    """
    now, reason = utc(now), clean_text(reason, "reason", maximum=500, empty=True)
    with store.write() as connection:
        issued = recorded(connection, "authorised", permit_id=permit_id)
        if issued is None or issued.cameo_id is None:
            raise ConsentDenied(
                f"expected the permit of a render made here, got {permit_id!r}; the inbox names the permits",
                reason="no_permit",
            )
        if recorded(connection, "withdrawn", permit_id=permit_id) is None:
            made = Withdrawal(permit_id=permit_id, cameo_id=issued.cameo_id, time=now, reason=reason)
            put_withdrawal(connection, store, made, new=True)
            append_row(
                connection, store, "withdrawn", now=now, cameo_id=issued.cameo_id, grant_id=issued.grant_id,
                permit_id=permit_id, payload={"by": "owner"},
            )  # fmt: skip
            follow_use(connection, store, permit_id, "withdrawn", now=now)
            forget_shown_face(connection, store, issued.cameo_id, permit_id)
    destroy_withdrawn(store, now, permit_id=permit_id)
    with store.read() as connection:
        return find_withdrawals(connection, store, permit_id=permit_id)[0]


def withdraw_all(store: ConsentStore, cameo_id: str, now: datetime, *, reason: str = "") -> list[Withdrawal]:
    """Take back every render of a cameo that was finished or is running.

    Args:
        store: The open store.
        cameo_id: The cameo.
        now: Current time, timezone-aware.
        reason: Why, in the owner's words.

    Returns:
        The withdrawals, also those made before.
    """
    table = schema.ledger
    with store.read() as connection:
        of_cameo = select(table.c.permit_id).where(table.c.cameo_id == cameo_id)
        aborted = set(connection.execute(of_cameo.where(table.c.kind == "aborted")).scalars())
        issued = list(connection.execute(of_cameo.where(table.c.kind == "authorised").order_by(table.c.seq)).scalars())
    return [withdraw(store, str(permit), now, reason=reason) for permit in issued if permit not in aborted]


def is_withdrawn(store: ConsentStore, permit_id: str) -> bool:
    """Say whether the owner took a render back.

    Args:
        store: The open store.
        permit_id: Permit named by the file.
    """
    with store.read() as connection:
        return was_withdrawn(connection, permit_id)


def was_withdrawn(connection: Connection, permit_id: str) -> bool:
    """Say the same inside a transaction; the ledger decides, where nothing can be taken away unseen."""
    return recorded(connection, "withdrawn", permit_id=permit_id) is not None


def remember_file(
    connection: Connection, store: ConsentStore, permit_id: str, path: Path, sha256: str, *, now: datetime
) -> None:
    """Note where a finished file lies, inside a transaction; see `renders.remember_output`."""
    known = files_of(connection, store, permit_id)
    name = permit_id if not known else f"{permit_id}{_FURTHER}{len(known) + 1}"
    place = os.path.abspath(path)  # not resolved: a link is removed as the link it is
    if any((other.path, other.sha256, other.deleted_at) == (place, sha256, None) for other in known):
        return
    put_output(connection, store, Output(permit_id=name, path=place, sha256=sha256, time=utc(now)), new=True)


def files_of(connection: Connection, store: ConsentStore, permit_id: str) -> list[Output]:
    """Return what is known about the files of a render, oldest first."""
    found = find_outputs(connection, store, permit_id=permit_id)
    for number in range(2, 1000):
        further = find_outputs(connection, store, permit_id=f"{permit_id}{_FURTHER}{number}")
        if not further or not found:
            break
        found += further
    return found


def destroy_withdrawn(store: ConsentStore, now: datetime, *, permit_id: str | None = None) -> int:
    """Destroy the files of withdrawn renders that are still here; done at once, and again by maintenance.

    A file is destroyed only if it still is the one that was made: another that took its name since is left alone.
    Withdrawals of the last day are looked at again: a render may have put its file in place just after.

    Args:
        store: The open store.
        now: Current time, timezone-aware.
        permit_id: Only this render; `None` for all.

    Returns:
        Number of files destroyed.
    """
    destroyed = 0
    with store.read() as connection:
        withdrawn = find_withdrawals(connection, store, permit_id=permit_id)
        pending = [item for item in withdrawn if not item.file_deleted or utc(now) - item.time < _LOOKED_AT_AGAIN]
        files = {item.permit_id: files_of(connection, store, item.permit_id) for item in pending}
    for item in pending:
        left = [file for file in files[item.permit_id] if file.deleted_at is None or os.path.lexists(file.path)]
        gone = {file.permit_id: removed for file in left if (removed := _destroy(file)) is not None}
        destroyed += sum(gone.values())
        news = [file for file in left if file.permit_id in gone and file.deleted_at is None]
        ended = bool(files[item.permit_id]) and len(gone) == len(left) and not item.file_deleted
        if not news and not ended:
            continue
        with store.write() as connection:
            for file in news:
                put_output(connection, store, replace(file, deleted_at=utc(now)), new=False)
            if ended:
                put_withdrawal(connection, store, replace(item, file_deleted=True), new=False)
    return destroyed


def signed_list(store: ConsentStore, now: datetime) -> dict[str, object]:
    """Return the list of withdrawn renders for publishing, signed by the operator.

    Args:
        store: The open store.
        now: Current time, timezone-aware.

    Returns:
        JSON with `store_id`, `operator` (public key), `issued`, `ledger_rows` (grows with every newer list),
        `withdrawn` (permit ids) and `signature`.

    Raises:
        LedgerTampered: If the end of the ledger does not hold.
    """
    table = schema.ledger
    with store.read() as connection:
        rows, _ = checked_head(connection, store)
        query = select(table.c.permit_id).where(table.c.kind == "withdrawn").order_by(table.c.seq)
        permits = [str(permit) for permit in connection.execute(query).scalars()]
    facts: dict[str, object] = {
        "store_id": store.store_id,
        "operator": store.keys.public_key.hex(),
        "issued": time_text(now),
        "ledger_rows": rows,
        "withdrawn": permits,
    }
    return {**facts, "signature": store.keys.sign(_list_message(facts)).hex()}


def check_list(document: Mapping[str, object], *, operator: bytes, least_rows: int = 0) -> frozenset[str]:
    """Return the withdrawn permits of a published list after checking it; for whoever verifies files elsewhere.

    Args:
        document: The list as read from JSON.
        operator: The operator's public key, known beforehand; 32 raw bytes.
        least_rows: `ledger_rows` of the newest list seen before: an older one put in its place is refused.

    Returns:
        Ids of the withdrawn permits.

    Raises:
        LedgerTampered: If the list is not the operator's, was changed, or is older than one seen before.
    """
    facts = {key: value for key, value in document.items() if key != "signature"}
    permits, rows = facts.get("withdrawn"), facts.get("ledger_rows")
    try:
        genuine = signature_holds(operator, _list_message(facts), bytes.fromhex(str(document.get("signature", ""))))
    except (ValueError, TypeError):
        genuine = False
    if not genuine or not isinstance(permits, Sequence) or not isinstance(rows, int):
        raise LedgerTampered(
            "expected a list of withdrawals signed by the operator, got an altered or foreign one; fetch it again"
        )
    if rows < least_rows:
        raise LedgerTampered(f"expected a list of {least_rows} ledger rows or more, got {rows}; it is an old copy")
    return frozenset(str(permit) for permit in permits)


def _list_message(facts: Mapping[str, object]) -> bytes:
    return canonical(["withdrawals", dict(facts)])


def _destroy(file: Output) -> bool | None:
    """Delete a file if it is the one that was made; say whether it was, or `None` when it cannot be deleted now."""
    path = Path(file.path)
    try:
        if path.is_symlink() or not path.is_file() or _sha256(path) != file.sha256:
            return False  # gone, or something else bears the name now
        path.unlink()
    except OSError:
        return None
    return True


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
