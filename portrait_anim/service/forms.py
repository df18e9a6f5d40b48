"""Tokens of the enrolment forms: a form counts only if this service showed it, for this link and step, lately."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import Final

from portrait_anim.consent.keys import canonical
from portrait_anim.consent.records import utc
from portrait_anim.consent.store import ConsentStore

LIFETIME: Final = timedelta(hours=1)


def form_token(store: ConsentStore, step: str, subject: str, now: datetime) -> str:
    """Return the hidden field of a form.

    Args:
        store: The store, whose operator signs.
        step: Which form.
        subject: What it is for, such as the digest of a link.
        now: Current time, timezone-aware.
    """
    ends = str(int((utc(now) + LIFETIME).timestamp()))
    return f"{ends}.{base64.urlsafe_b64encode(store.keys.sign(_message(store, step, subject, ends))).decode()}"


def form_holds(store: ConsentStore, token: str, step: str, subject: str, now: datetime) -> bool:
    """Say whether a form came from this service, for this step and subject, within the last hour."""
    ends, _, signature = token.partition(".")
    if not (ends.isascii() and ends.isdigit() and len(ends) <= 12 and utc(now).timestamp() < int(ends)):
        return False
    try:
        made = base64.b64decode(signature, altchars=b"-_", validate=True)
    except ValueError:
        return False
    return store.keys.verify(_message(store, step, subject, ends), made)


def _message(store: ConsentStore, step: str, subject: str, ends: str) -> bytes:
    return canonical(["form", store.store_id, step, subject, ends])
