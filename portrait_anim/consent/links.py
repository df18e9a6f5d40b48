"""One-time links through which a person enrols from a phone: made by the operator, good for one cameo."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from portrait_anim.consent.accounts import token_digest
from portrait_anim.consent.records import clean_text, utc
from portrait_anim.consent.service_rows import find_setting, put_setting
from portrait_anim.consent.signed_rows import moment_of, time_text
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentDenied

MAX_ATTEMPTS: Final = 10
LINK_LIFETIME: Final = timedelta(days=3)
_LONGEST_LIFETIME: Final = timedelta(days=30)

_KEY: Final = "enrolment_link"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EnrolmentLink:
    """An open link.

    Attributes:
        digest: sha256 of its token, hexadecimal.
        name: Name of the person who enrols.
        expires: First moment at which it no longer opens [UTC].
        attempts: Challenges that were issued through it.
    """

    digest: str
    name: str = field(repr=False)
    expires: datetime
    attempts: int = 0


def create_link(
    store: ConsentStore, *, name: str, now: datetime, lifetime: timedelta = LINK_LIFETIME
) -> tuple[EnrolmentLink, str]:
    """Make a link for one person.

    Args:
        store: The open store.
        name: Name of the person; the name of the cameo and of the account.
        now: Current time, timezone-aware.
        lifetime: How long it opens, at most 30 days.

    Returns:
        The link and its token, the last part of its address, which is not kept.

    Raises:
        ValueError: If name or lifetime make no sense.
    """
    if not timedelta(0) < lifetime <= _LONGEST_LIFETIME:
        raise ValueError(f"expected a lifetime of up to {_LONGEST_LIFETIME.days} days, got {lifetime}")
    token = secrets.token_urlsafe(32)
    link = EnrolmentLink(digest=token_digest(token), name=clean_text(name, "name"), expires=utc(now) + lifetime)
    with store.write() as connection:
        _put(connection, store, link)
    return link, token


def open_link(store: ConsentStore, token: str, now: datetime) -> EnrolmentLink:
    """Return an open link.

    Args:
        store: The open store.
        token: Last part of its address.
        now: Current time, timezone-aware.

    Raises:
        ConsentDenied: If it does not exist, was used, or is too old; the answer is the same for all three.
    """
    with store.read() as connection:
        return _known(connection, store, token, utc(now))


def count_attempt(store: ConsentStore, token: str, now: datetime) -> EnrolmentLink:
    """Count one challenge issued through a link.

    Args:
        store: The open store.
        token: Last part of its address.
        now: Current time, timezone-aware.

    Returns:
        The link with the new count.

    Raises:
        ConsentDenied: If it does not open, or was tried too often.
    """
    with store.write() as connection:
        link = _known(connection, store, token, utc(now))
        if link.attempts >= MAX_ATTEMPTS:
            raise ConsentDenied(
                f"expected at most {MAX_ATTEMPTS} attempts through one link; ask the operator for a new one",
                reason="too_many_attempts",
            )
        counted = replace(link, attempts=link.attempts + 1)
        _put(connection, store, counted)
    return counted


def close_link(connection: Connection, store: ConsentStore, token: str, now: datetime) -> None:
    """Close a link for good, in the transaction that enrols the person.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        token: Last part of its address.
        now: Current time [UTC].

    Raises:
        ConsentDenied: If it does not open; so of two people who use one link at once only one enrols.
    """
    link = _known(connection, store, token, now)
    put_setting(connection, store, f"link {link.digest}", _KEY, "")


def _put(connection: Connection, store: ConsentStore, link: EnrolmentLink) -> None:
    facts = {**asdict(link), "expires": time_text(link.expires)}
    put_setting(connection, store, f"link {link.digest}", _KEY, json.dumps(facts))


def _known(connection: Connection, store: ConsentStore, token: str, now: datetime) -> EnrolmentLink:
    kept = find_setting(connection, store, f"link {token_digest(token)}", _KEY) if _TOKEN.fullmatch(token) else ""
    if kept:
        facts = json.loads(kept)
        link = EnrolmentLink(**{**facts, "expires": moment_of(facts["expires"])})
        if now < link.expires:
            return link
    raise ConsentDenied("expected an open link, got one that was used or is too old; ask for another", reason="no_link")
