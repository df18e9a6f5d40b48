"""`portrait-anim account`: who may use the consent service."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from portrait_anim.cli.console import emit, plain, say, show_table
from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import Home, Json, now_utc, usage_errors

if TYPE_CHECKING:
    from portrait_anim.consent.service_records import Account

app = GuardedTyper(help="Accounts and enrolment links of the consent service.", no_args_is_help=True)

AccountId = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Account id, such as acc_0123456789abcdef.")]
Days = Annotated[int, typer.Option(min=1, max=3650, help="How long the token holds.")]


@app.command("add")
def add(
    name: Annotated[str, typer.Option(help="Name, as grants call this person.", show_default=False)],
    role: Annotated[
        str, typer.Option(metavar="owner|grantee|operator|worker", help="What it may do.", show_default=False)
    ],
    home: Home,
    days: Days = 365,
    as_json: Json = False,
) -> None:
    """Make an account; its token is shown once."""
    from portrait_anim.consent.accounts import create_account
    from portrait_anim.consent.store import open_store

    with usage_errors(), open_store(home) as store:
        account, token = create_account(
            store, name=name, role=role, now=now_utc(), lifetime=timedelta(days=days)  # type: ignore[arg-type]
        )
    _show_token(account, token, as_json=as_json)


@app.command("renew")
def renew(account_id: AccountId, home: Home, days: Days = 365, as_json: Json = False) -> None:
    """Give an account a new token; the former one is worthless at once."""
    from portrait_anim.consent.accounts import renew_token
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        account, token = renew_token(store, account_id, now=now_utc(), lifetime=timedelta(days=days))
    _show_token(account, token, as_json=as_json)


@app.command("list")
def list_all(
    home: Home,
    disabled: Annotated[bool, typer.Option("--disabled", help="Show disabled ones too.")] = False,
    as_json: Json = False,
) -> None:
    """List the accounts."""
    from portrait_anim.consent.accounts import list_accounts
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        accounts = list_accounts(store, disabled=disabled)
    emit([_shown(account) for account in accounts], as_json=as_json)
    show_table(
        "Accounts", ("id", "name", "role", "since (UTC)", "state"),
        [(a.id, a.name, a.role, f"{a.created:%Y-%m-%d %H:%M}", "disabled" if a.disabled_at else "in use")
         for a in accounts],
    )  # fmt: skip


@app.command("disable")
def disable(account_id: AccountId, home: Home, as_json: Json = False) -> None:
    """Disable an account for good; cameos and grants are not touched."""
    from portrait_anim.consent.accounts import disable_account
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        account = disable_account(store, account_id, now_utc())
    emit(_shown(account), as_json=as_json)
    say(f"Disabled {account.id}.", style="bold")


@app.command("link")
def link(
    name: Annotated[str, typer.Option(help="Name of the person who will enrol.", show_default=False)],
    home: Home,
    hours: Annotated[int, typer.Option(min=1, max=720, help="How long the link opens.")] = 72,
    address: Annotated[str, typer.Option(help="Address of the service, as the phone reaches it.")] = "",
    as_json: Json = False,
) -> None:
    """Make a one-time link through which a person enrols from a phone."""
    from portrait_anim.consent.links import create_link
    from portrait_anim.consent.store import open_store

    with usage_errors(), open_store(home) as store:
        made, token = create_link(store, name=name, now=now_utc(), lifetime=timedelta(hours=hours))
    target = f"{address.rstrip('/')}/enrol/{token}"
    emit({"link": target, "expires": made.expires}, as_json=as_json)
    say(f"Give this link to {made.name} only; it opens until {made.expires:%Y-%m-%d %H:%M} UTC and works once:")
    say(f"  {target}", style="bold")


def _shown(account: Account) -> dict[str, object]:
    """Return an account for the operator's eyes."""
    return {**plain(account), "name": account.name}


def _show_token(account: Account, token: str, *, as_json: bool) -> None:
    from portrait_anim.consent.accounts import token_expiry

    expires = token_expiry(token)
    emit({"account": _shown(account), "token": token, "expires": expires}, as_json=as_json)
    say(f"{account.id} ({account.name}, {account.role}). Its token, shown only now, until {expires:%Y-%m-%d} UTC:")
    if not as_json:
        typer.echo(token)
