"""Accounts of the service: who somebody is, proved by a random token of which only the digest is kept.

A token says until when it holds. The digest covers the whole token, so nobody can write a later time into it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Final, get_args

from sqlalchemy import Connection

from portrait_anim.consent.ledger import append_row
from portrait_anim.consent.records import Cameo, clean_text, utc
from portrait_anim.consent.rows import all_cameos
from portrait_anim.consent.service_records import Account, Role
from portrait_anim.consent.service_rows import find_accounts, put_account
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentDenied

TOKEN_LIFETIME: Final = timedelta(days=365)
LONGEST_TOKEN_LIFETIME: Final = timedelta(days=3650)

_TOKEN: Final = re.compile(r"pa_([0-9]{1,12})_[A-Za-z0-9_-]{43}")


def create_account(
    store: ConsentStore, *, name: str, role: Role, now: datetime, lifetime: timedelta = TOKEN_LIFETIME
) -> tuple[Account, str]:
    """Make an account.

    Args:
        store: The open store.
        name: Name, unique among the accounts that are not disabled: grants name people.
        role: What it may do: `"owner"`, `"grantee"`, `"operator"` or `"worker"`.
        now: Current time, timezone-aware.
        lifetime: How long its token holds.

    Returns:
        The account and its token, which is shown once and not kept.

    Raises:
        ConsentDenied: If the name is taken.
        ValueError: If name, role or lifetime make no sense.
    """
    token = draw_token(utc(now), lifetime)
    with store.write() as connection:
        account = add_account(connection, store, name=name, role=role, token=token, now=utc(now))
    return account, token


def add_account(
    connection: Connection, store: ConsentStore, *, name: str, role: Role, token: str, now: datetime
) -> Account:
    """Make an account with a given token, within a transaction.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        name: Name, unique among the accounts that are not disabled.
        role: What it may do.
        token: Its token, from `draw_token`.
        now: Current time [UTC].

    Returns:
        The account.

    Raises:
        ConsentDenied: If the name is taken.
        ValueError: If name or role make no sense.
    """
    if role not in get_args(Role):
        raise ValueError(f"expected a role among {', '.join(get_args(Role))}, got {role!r}")
    name = clean_text(name, "name")
    if _is_taken(connection, store, name):
        raise ConsentDenied(f"expected a name that is free, got {name!r}; choose another", reason="name_taken")
    account = Account(
        id=f"acc_{secrets.token_hex(8)}", name=name, role=role, token_digest=token_digest(token), created=now
    )
    put_account(connection, store, account, new=True)
    append_row(connection, store, "account_added", now=now, payload={"account_id": account.id, "role": role})
    return account


def free_name(connection: Connection, store: ConsentStore, wanted: str) -> str:
    """Return a name that no account in use has: the wanted one, or the same with a number.

    Args:
        connection: Open connection.
        store: The store of the connection.
        wanted: A name.
    """
    name, number = wanted, 1
    while _is_taken(connection, store, name):
        number += 1
        name = f"{wanted[:90]} ({number})"
    return name


def renew_token(
    store: ConsentStore, account_id: str, *, now: datetime, lifetime: timedelta = TOKEN_LIFETIME
) -> tuple[Account, str]:
    """Give an account a new token; the former one is worthless at once.

    Args:
        store: The open store.
        account_id: The account.
        now: Current time, timezone-aware.
        lifetime: How long the new token holds.

    Returns:
        The account and its token, which is shown once and not kept.

    Raises:
        ConsentDenied: If there is no such account, or it is disabled.
    """
    token = draw_token(utc(now), lifetime)
    with store.write() as connection:
        account = _known(connection, store, account_id)
        if account.disabled_at is not None:
            raise ConsentDenied(f"expected an account in use, got {account_id}, which is disabled", reason="disabled")
        account = replace(account, token_digest=token_digest(token))
        put_account(connection, store, account, new=False)
        # Whoever renews a token could act with it: that it happened is on record.
        payload = {"event": "token_renewed", "account_id": account_id}
        append_row(connection, store, "note", now=utc(now), payload=payload)
    return account, token


def disable_account(store: ConsentStore, account_id: str, now: datetime) -> Account:
    """Disable an account for good; its token is worthless at once. Cameos and grants are not touched.

    Args:
        store: The open store.
        account_id: The account.
        now: Current time, timezone-aware.

    Returns:
        The account; doing so twice changes nothing.

    Raises:
        ConsentDenied: If there is no such account.
    """
    now = utc(now)
    with store.write() as connection:
        account = _known(connection, store, account_id)
        if account.disabled_at is None:
            account = replace(account, disabled_at=now, token_digest="")
            put_account(connection, store, account, new=False)
            append_row(connection, store, "account_disabled", now=now, payload={"account_id": account_id})
    return account


def get_account(store: ConsentStore, account_id: str) -> Account:
    """Return one account.

    Raises:
        ConsentDenied: If there is none with this id.
    """
    with store.read() as connection:
        return _known(connection, store, account_id)


def list_accounts(store: ConsentStore, *, disabled: bool = False) -> list[Account]:
    """Return the accounts, oldest first; disabled ones too when asked."""
    with store.read() as connection:
        return [account for account in find_accounts(connection, store) if disabled or account.disabled_at is None]


def account_of(store: ConsentStore, token: str, now: datetime) -> Account | None:
    """Return whose token this is, or `None` when it opens nothing: unknown, expired, renewed or disabled.

    Args:
        store: The open store.
        token: What the caller sent.
        now: Current time, timezone-aware.
    """
    form = _TOKEN.fullmatch(token)
    if form is None or not utc(now).timestamp() < int(form[1]):
        return None
    with store.read() as connection:
        found = find_accounts(connection, store, token_digest=token_digest(token))
    return found[0] if len(found) == 1 and found[0].disabled_at is None else None


def cameos_of(store: ConsentStore, account_id: str) -> list[Cameo]:
    """Return the active cameos of an account, oldest first; `""` gives those that no account owns."""
    with store.read() as connection:
        owned = all_cameos(connection, store, owner_account=account_id)
    return [cameo for cameo in owned if cameo.status == "active"]


def forget_owner(
    connection: Connection, store: ConsentStore, account_id: str, now: datetime, *, besides: str = ""
) -> bool:
    """Erase the name of an owner's account that owns nothing any more, and disable it; inside a deletion.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        account_id: The account; `""` for none.
        now: Current time [UTC].
        besides: Cameo that does not count, because it is being deleted.

    Returns:
        Whether it was erased.
    """
    found = find_accounts(connection, store, account_id=account_id) if account_id else []
    if not found or found[0].role != "owner" or found[0].disabled_at is not None:
        return False
    owned = all_cameos(connection, store, owner_account=account_id)
    if any(cameo.status == "active" and cameo.id != besides for cameo in owned):
        return False
    put_account(connection, store, replace(found[0], name="", token_digest="", disabled_at=now), new=False)
    append_row(connection, store, "account_disabled", now=now, payload={"account_id": account_id})
    return True


def token_digest(token: str) -> str:
    """Return what is kept of a token: its sha256, hexadecimal. 256 random bits need no salt and no stretching."""
    return hashlib.sha256(token.encode()).hexdigest()


def draw_token(now: datetime, lifetime: timedelta) -> str:
    """Draw a token: when it stops holding, and 256 random bits.

    Args:
        now: Current time [UTC].
        lifetime: How long it holds.

    Raises:
        ValueError: If the lifetime is not positive or too long.
    """
    if not timedelta(0) < lifetime <= LONGEST_TOKEN_LIFETIME:
        raise ValueError(f"expected a lifetime of up to {LONGEST_TOKEN_LIFETIME.days} days, got {lifetime}")
    return f"pa_{int((now + lifetime).timestamp())}_{secrets.token_urlsafe(32)}"


def token_expiry(token: str) -> datetime:
    """Return when a token stops holding [UTC].

    Raises:
        ValueError: If it is no token.
    """
    form = _TOKEN.fullmatch(token)
    if form is None:
        raise ValueError("expected a token of this service, got other text")
    return datetime.fromtimestamp(int(form[1]), timezone.utc)


def _is_taken(connection: Connection, store: ConsentStore, name: str) -> bool:
    in_use = (other for other in find_accounts(connection, store) if other.disabled_at is None)
    return any(other.name.casefold() == name.casefold() or other.id == name for other in in_use)


def _known(connection: Connection, store: ConsentStore, account_id: str) -> Account:
    found = find_accounts(connection, store, account_id=account_id)
    if not found:
        raise ConsentDenied(
            f"expected the id of an account, got {account_id!r}; `account list` shows them", reason="no_account"
        )
    return found[0]
