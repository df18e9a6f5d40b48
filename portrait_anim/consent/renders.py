"""Recording how a permitted render ended. Each permit ends once: `rendered`, or `aborted` without a file."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection

from portrait_anim.consent.inbox import follow_use
from portrait_anim.consent.ledger import append_row, recorded
from portrait_anim.consent.permit import RenderPermit, issued_row, permit_facts
from portrait_anim.consent.records import LedgerRow, duration_ms, utc
from portrait_anim.consent.shown_faces import forget_shown_face
from portrait_anim.consent.standing import refusal_of
from portrait_anim.consent.store import ConsentStore
from portrait_anim.consent.withdrawal import remember_file, was_withdrawn
from portrait_anim.errors import ConsentDenied, ConsentError

OVERRUN_TOLERANCE_S = 0.5
"""How much longer than permitted a file may be [s]: sound and the last frame round up."""


def record_render(
    store: ConsentStore,
    permit: RenderPermit,
    *,
    output_digest: str,
    duration_s: float,
    num_frames: int,
    now: datetime,
    output: Path | None = None,
) -> LedgerRow:
    """Record a finished render; the permit is then spent.

    When it no longer holds, or the video is too long, the row says `aborted` and the file must be destroyed.

    Args:
        store: The open store.
        permit: The permit that was used.
        output_digest: sha256 of the finished file, hexadecimal.
        duration_s: Length of the video [s].
        num_frames: Number of frames.
        now: Current time, timezone-aware.
        output: Where the file will lie, if it stays here, so that a withdrawal finds it.

    Returns:
        The ledger row.

    Raises:
        ConsentDenied: If the file must not be kept.
        ConsentError: If the permit was ended before, or the store cannot be written.
    """
    now = utc(now)
    spent_ms = duration_ms(duration_s)
    payload: dict[str, object] = {
        "output_digest": output_digest,
        "num_frames": num_frames,
        "duration_ms": spent_ms,
    }
    with store.write() as connection:
        issued = issued_row(connection, store, permit)
        reserved_ms = issued.charge_ms
        _not_ended(connection, permit)
        refusal = refusal_of(connection, store, permit_facts(permit), issued, now)
        refusal = refusal or _too_long(permit, duration_s)
        ended: Literal["rendered", "aborted"] = "rendered" if refusal is None else "aborted"
        row = append_row(
            connection, store, ended, now=now, cameo_id=permit.cameo_id, grant_id=permit.grant_id, permit_id=permit.id,
            # A few milliseconds of rounding are not charged; a real overrun is.
            charge_ms=min(spent_ms - reserved_ms, 0) if refusal is None else spent_ms - reserved_ms,
            payload=payload if refusal is None else {**payload, "reason": refusal.reason},
        )  # fmt: skip
        forget_shown_face(connection, store, permit.cameo_id, permit.id)
        if refusal is None and output is not None:
            remember_file(connection, store, permit.id, output, output_digest, now=now)
        if refusal is None or refusal.reason != "withdrawn":  # of a withdrawn one the inbox tells more already
            follow_use(connection, store, permit.id, ended, now=now, reason=refusal.reason if refusal else "")
    if refusal is not None:
        raise refusal
    return row


def record_abort(
    store: ConsentStore, permit: RenderPermit, *, reason: str, rendered_s: float = 0.0, now: datetime
) -> LedgerRow:
    """Record a render that ended without a file; the permit is then spent.

    A render that showed nothing is given back to the grant. One that showed frames counts, with the length
    shown: the likeness was used.

    Args:
        store: The open store.
        permit: The permit that was used.
        reason: Why it ended, in a few words, without personal data.
        rendered_s: Length of video that was made and may have been seen [s].
        now: Current time, timezone-aware.

    Returns:
        The ledger row.

    Raises:
        ConsentDenied: If the permit is not from this store.
        ConsentError: If the permit was ended before, or the store cannot be written.
    """
    spent_ms = 0 if rendered_s == 0 else duration_ms(rendered_s)
    with store.write() as connection:
        reserved_ms = issued_row(connection, store, permit).charge_ms
        _not_ended(connection, permit)
        row = append_row(
            connection,
            store,
            "aborted",
            now=now,
            cameo_id=permit.cameo_id,
            grant_id=permit.grant_id,
            permit_id=permit.id,
            charge_renders=-1 if spent_ms == 0 else 0,
            charge_ms=spent_ms - reserved_ms,
            payload={"reason": reason[:200], "duration_ms": spent_ms},
        )
        forget_shown_face(connection, store, permit.cameo_id, permit.id)
        if not was_withdrawn(connection, permit.id):
            follow_use(connection, store, permit.id, "aborted", now=now, reason=reason)
    return row


def remember_output(store: ConsentStore, permit_id: str, path: Path, sha256: str) -> None:
    """Note where a file of a render lies, so that a withdrawal destroys it; call it before the file gets its name.

    The file of `record_render(output=...)` is known already; this is for further ones, such as a contact sheet.

    Args:
        store: The open store.
        permit_id: The permit of the render.
        path: Where the file lies.
        sha256: Its digest, hexadecimal.

    Raises:
        ConsentDenied: If this store knows no such render, or its owner withdrew it: destroy the file.
    """
    with store.write() as connection:
        if was_withdrawn(connection, permit_id):
            raise ConsentDenied(
                f"expected a render that stands, got {permit_id}, which its owner withdrew; destroy {os.fspath(path)}",
                reason="withdrawn",
            )
        rendered = recorded(connection, "rendered", permit_id=permit_id)
        if rendered is None:
            raise ConsentDenied(
                f"expected the permit of a finished render, got {permit_id!r}; call record_render() first",
                reason="no_permit",
            )
        remember_file(connection, store, permit_id, path, sha256, now=rendered.time)


def _too_long(permit: RenderPermit, duration_s: float) -> ConsentDenied | None:
    if duration_s <= permit.max_seconds + OVERRUN_TOLERANCE_S:
        return None
    return ConsentDenied(
        f"expected at most {permit.max_seconds:g} s of video, got {duration_s:g} s; ask for the full length",
        reason="too_long",
        grant_id=permit.grant_id,
    )


def _not_ended(connection: Connection, permit: RenderPermit) -> None:
    end = recorded(connection, "rendered", permit_id=permit.id) or recorded(connection, "aborted", permit_id=permit.id)
    if end is not None:
        raise ConsentError(
            f"expected an open permit, got {permit.id}, which was {end.kind} before; each permit is for one render"
        )
