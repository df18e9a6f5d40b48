"""Giving and ending permissions."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, get_args

from sqlalchemy import Connection

from portrait_anim.consent.ledger import append_row, time_text
from portrait_anim.consent.policy import is_for
from portrait_anim.consent.records import (
    Cameo,
    Grant,
    GrantLevel,
    LabelSize,
    clean_text,
    duration_ms,
    utc,
)
from portrait_anim.consent.rows import find_cameo, find_grants, find_grants_for, put_grant
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentDenied

_LONGEST_TEXT: Final = 2000


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
    level: GrantLevel = "person",
    forbidden: str = "",
    label_size: LabelSize = "small",
) -> Grant:
    """Allow somebody to animate a cameo. Every limit is stated: nothing is allowed by leaving it out.

    Args:
        store: The open store.
        cameo_id: The cameo to open.
        grantee: Who may render, under `level` `"person"`; the other levels name nobody: leave it empty.
        purpose: What for; `"any"` allows every purpose.
        allowed_contexts: Where it may appear, at least one; `"any"` allows every context.
        expires: First moment at which it no longer holds, timezone-aware and in the future.
        max_renders: Number of renders in all, at least 1.
        max_seconds: Length of video in all [s].
        now: Current time, timezone-aware.
        commercial: Whether commercial use is allowed.
        level: `"owner"` (only the account that owns the cameo), `"person"` or `"everyone"` in this deployment.
        forbidden: What may not be made, in plain words of up to 2000 characters; the grantee must confirm to have
            read it (`acknowledge`) before anything is rendered.
        label_size: Smallest visible label.

    Returns:
        The grant as recorded.

    Raises:
        ConsentDenied: If there is no such cameo or it was deleted.
        ValueError: If a limit is missing or makes no sense.
    """
    made = _checked(
        cameo_id=cameo_id, grantee=grantee, purpose=purpose, allowed_contexts=allowed_contexts, expires=utc(expires),
        max_renders=max_renders, max_seconds=max_seconds, now=utc(now), commercial=commercial, level=level,
        forbidden=forbidden, label_size=label_size,
    )  # fmt: skip
    with store.write() as connection:
        _check_open(connection, store, made)
        put_grant(connection, store, made, new=True)
        append_row(
            connection, store, "granted", now=now, cameo_id=cameo_id, grant_id=made.id, payload=_limits(made)
        )  # fmt: skip
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
        given = known_grant(connection, store, grant_id)
        if given.revoked_at is not None:
            return given
        ended = replace(given, revoked_at=now)
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


def grants_for(store: ConsentStore, *grantees: str) -> list[Grant]:
    """Return the grants that are for somebody, ended ones included, oldest first.

    Args:
        store: The open store.
        *grantees: The names that this person goes by, such as name and account id.
    """
    with store.read() as connection:
        found = find_grants_for(connection, store, grantees)
        cameos: dict[str, Cameo | None] = {}
        mine = []
        for given in found:
            if given.cameo_id not in cameos:
                cameos[given.cameo_id] = find_cameo(connection, store, given.cameo_id)
            cameo = cameos[given.cameo_id]
            if cameo is not None and cameo.status == "active" and any(is_for(given, name, cameo) for name in grantees):
                mine.append(given)
    return mine


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


def get_grant(store: ConsentStore, grant_id: str) -> Grant:
    """Return one grant, also an ended one.

    Raises:
        ConsentDenied: If there is none with this id.
        LedgerTampered: If it was changed outside the program.
    """
    with store.read() as connection:
        return known_grant(connection, store, grant_id)


def known_grant(connection: Connection, store: ConsentStore, grant_id: str) -> Grant:
    """Return one grant inside a transaction; see `get_grant`."""
    found = find_grants(connection, store, grant_id=grant_id)
    if not found:
        raise unknown_grant(grant_id)
    return found[0]


def unknown_grant(grant_id: str) -> ConsentDenied:
    """Return the refusal for a grant that is not there, or not there for this person."""
    return ConsentDenied(
        f"expected the id of a grant, got {grant_id!r}; `cameo show` lists the grants", reason="no_grant"
    )


def _limits(made: Grant) -> dict[str, object]:
    """Return what the ledger keeps of a grant: numbers and digests, nothing personal."""
    return {
        "expires": time_text(made.expires),
        "max_renders": made.max_renders,
        "max_ms": duration_ms(made.max_seconds),
        "commercial": made.commercial,
        "level": made.level,
        "forbidden_digest": hashlib.sha256(made.forbidden.encode()).hexdigest(),
        "label_size": made.label_size,
    }


def _check_open(connection: Connection, store: ConsentStore, made: Grant) -> None:
    """Refuse a grant of a cameo that cannot be opened."""
    cameo = find_cameo(connection, store, made.cameo_id)
    if cameo is None:
        raise ConsentDenied(
            f"expected the id of an enrolled cameo, got {made.cameo_id!r}; `cameo list` shows them",
            reason="no_cameo",
        )
    if cameo.status != "active":
        raise ConsentDenied(
            f"expected an active cameo, got {made.cameo_id}, which its owner deleted; enrol again",
            reason="deleted",
        )
    if made.level == "owner" and not cameo.owner_account:
        raise ValueError(f"expected a cameo with an owner's account, got {cameo.id} for level owner; name a person")


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
    level: GrantLevel,
    forbidden: str,
    label_size: LabelSize,
) -> Grant:
    """Build a new grant from what the owner said, or refuse with `ValueError`."""
    if isinstance(allowed_contexts, str):
        raise ValueError(f"expected a list of contexts, got the text {allowed_contexts!r}; put it in a list")
    contexts = tuple(clean_text(context, "context") for context in allowed_contexts)
    if not contexts:
        raise ValueError('expected at least one allowed context, got none; name one, or "any"')
    if isinstance(max_renders, bool) or not isinstance(max_renders, int) or max_renders < 1:
        raise ValueError(f"expected at least 1 render, got {max_renders!r}; give a whole number")
    if level not in get_args(GrantLevel) or label_size not in get_args(LabelSize):
        raise ValueError(
            f"expected a level among {get_args(GrantLevel)} and a label among {get_args(LabelSize)}, "
            f"got {level!r} and {label_size!r}"
        )
    if level != "person" and grantee.strip():
        raise ValueError(f"expected nobody named for the level {level}, got {grantee!r}; leave it out or use person")
    if expires <= now:
        raise ValueError(f"expected an expiry after {now.isoformat()}, got {expires.isoformat()}; give a later time")
    return Grant(
        id=f"gra_{secrets.token_hex(8)}",
        cameo_id=cameo_id,
        grantee=clean_text(grantee, "grantee", empty=level != "person"),
        purpose=clean_text(purpose, "purpose"),
        allowed_contexts=contexts,
        created=now,
        expires=expires,
        max_renders=max_renders,
        max_seconds=duration_ms(max_seconds) / 1000,
        commercial=bool(commercial),
        level=level,
        forbidden=_clean_lines(forbidden),
        label_size=label_size,
    )


def _clean_lines(text: str) -> str:
    """Return what the owner forbids as clean lines, each a printable sentence."""
    lines = [
        clean_text(line, "line of forbidden content", maximum=_LONGEST_TEXT)
        for line in text.splitlines()
        if line.strip()
    ]
    if sum(map(len, lines)) > _LONGEST_TEXT:
        raise ValueError(f"expected at most {_LONGEST_TEXT} characters of forbidden content; shorten it")
    return "\n".join(lines)
