"""Giving and ending permissions."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from portrait_anim.consent.ledger import append_row, time_text
from portrait_anim.consent.records import Grant, clean_text, duration_ms, utc
from portrait_anim.consent.rows import find_cameo, find_grants, put_grant
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentDenied


def grant(
    store: ConsentStore,
    cameo_id: str,
    *,
    grantee: str,
    purpose: str,
    allowed_contexts: Sequence[str],
    expires: datetime,
    max_renders: int,
    max_seconds: float,
    now: datetime,
    commercial: bool = False,
) -> Grant:
    """Allow somebody to animate a cameo. Every limit is stated: nothing is allowed by leaving it out.

    Args:
        store: The open store.
        cameo_id: The cameo to open.
        grantee: Who may render.
        purpose: What for; `"any"` allows every purpose.
        allowed_contexts: Where it may appear, at least one; `"any"` allows every context.
        expires: First moment at which it no longer holds, timezone-aware and in the future.
        max_renders: Number of renders in all, at least 1.
        max_seconds: Length of video in all [s].
        now: Current time, timezone-aware.
        commercial: Whether commercial use is allowed.

    Returns:
        The grant as recorded.

    Raises:
        ConsentDenied: If there is no such cameo or it was deleted.
        ValueError: If a limit is missing or makes no sense.
    """
    made = _checked(
        cameo_id=cameo_id,
        grantee=grantee,
        purpose=purpose,
        allowed_contexts=allowed_contexts,
        expires=utc(expires),
        max_renders=max_renders,
        max_seconds=max_seconds,
        now=utc(now),
        commercial=commercial,
    )
    with store.write() as connection:
        cameo = find_cameo(connection, store, cameo_id)
        if cameo is None:
            raise ConsentDenied(
                f"expected the id of an enrolled cameo, got {cameo_id!r}; `cameo list` shows them",
                reason="no_cameo",
            )
        if cameo.status != "active":
            raise ConsentDenied(
                f"expected an active cameo, got {cameo_id}, which its owner deleted; enrol again",
                reason="deleted",
            )
        put_grant(connection, store, made, new=True)
        append_row(
            connection,
            store,
            "granted",
            now=now,
            cameo_id=cameo_id,
            grant_id=made.id,
            payload={
                "expires": time_text(made.expires),
                "max_renders": made.max_renders,
                "max_ms": duration_ms(made.max_seconds),
                "commercial": made.commercial,
            },
        )
    return made


def revoke(store: ConsentStore, grant_id: str, now: datetime) -> Grant:
    """End a grant at once, also for renders that are running; ending it twice changes nothing.

    Args:
        store: The open store.
        grant_id: The grant to end.
        now: Current time, timezone-aware.

    Returns:
        The ended grant.

    Raises:
        ConsentDenied: If there is no such grant.
    """
    now = utc(now)
    with store.write() as connection:
        found = find_grants(connection, store, grant_id=grant_id)
        if not found:
            raise ConsentDenied(
                f"expected the id of a grant, got {grant_id!r}; `cameo show` lists the grants",
                reason="no_grant",
            )
        if found[0].revoked_at is not None:
            return found[0]
        ended = replace(found[0], revoked_at=now)
        put_grant(connection, store, ended, new=False)
        append_row(
            connection,
            store,
            "revoked",
            now=now,
            cameo_id=ended.cameo_id,
            grant_id=ended.id,
            payload={"by": "owner"},
        )
    return ended


def list_grants(store: ConsentStore, cameo_id: str | None = None) -> list[Grant]:
    """Return grants, oldest first, ended ones included.

    Args:
        store: The open store.
        cameo_id: Only the grants of this cameo; `None` for all.

    Returns:
        The grants.

    Raises:
        LedgerTampered: If a grant was changed outside the program.
    """
    with store.read() as connection:
        return find_grants(connection, store, cameo_id=cameo_id)


def _checked(
    *,
    cameo_id: str,
    grantee: str,
    purpose: str,
    allowed_contexts: Sequence[str],
    expires: datetime,
    max_renders: int,
    max_seconds: float,
    now: datetime,
    commercial: bool,
) -> Grant:
    """Build a new grant from what the owner said, or refuse with `ValueError`."""
    if isinstance(allowed_contexts, str):
        raise ValueError(f"expected a list of contexts, got the text {allowed_contexts!r}; put it in a list")
    contexts = tuple(clean_text(context, "context") for context in allowed_contexts)
    if not contexts:
        raise ValueError('expected at least one allowed context, got none; name one, or "any"')
    if isinstance(max_renders, bool) or not isinstance(max_renders, int) or max_renders < 1:
        raise ValueError(f"expected at least 1 render, got {max_renders!r}; give a whole number")
    if expires <= now:
        raise ValueError(f"expected an expiry after {now.isoformat()}, got {expires.isoformat()}; give a later time")
    return Grant(
        id=f"gra_{secrets.token_hex(8)}",
        cameo_id=cameo_id,
        grantee=clean_text(grantee, "grantee"),
        purpose=clean_text(purpose, "purpose"),
        allowed_contexts=contexts,
        created=now,
        expires=expires,
        max_renders=max_renders,
        max_seconds=duration_ms(max_seconds) / 1000,
        commercial=bool(commercial),
    )
