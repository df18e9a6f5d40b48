"""`portrait-anim consent`: the operator's work on the consent store as a whole."""

from __future__ import annotations

from typing import Annotated

import typer

from portrait_anim.cli.console import emit, say
from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import Home, Json, now_utc, usage_errors

app = GuardedTyper(help="Look after the consent store: keys, notifications, retention.", no_args_is_help=True)


@app.command("maintain")
def maintain(home: Home, as_json: Json = False) -> None:
    """Send due notifications, erase what is over, destroy withdrawn files, seal the ledger; run it every minute."""
    from portrait_anim.consent import maintenance
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        done = maintenance.maintain(store, now_utc())
    emit(done, as_json=as_json)
    sent, erased = done.deliveries, done.retention
    say(f"Notifications: {sent.sent} sent, {sent.retried} to be tried again, {sent.given_up} given up")
    say(
        f"Erased: {erased.videos} videos, {erased.names} names, {erased.messages} messages, {erased.faces} faces; "
        f"{erased.failed} failed"
    )
    say(f"Destroyed {done.destroyed} withdrawn files. The ledger is sealed up to row {done.checkpoint}.")


@app.command("rotate-keys")
def rotate_keys(
    home: Home,
    place: Annotated[
        str | None,
        typer.Option(metavar="file|keyring", help="Where the new key is kept.", show_default="where it is now"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Encrypt everything personal with a new key and delete the old one; an interrupted run is finished by the next."""
    from portrait_anim.consent.rotation import rotate
    from portrait_anim.consent.store import open_store

    with usage_errors(), open_store(home) as store:
        done = rotate(store, now=now_utc(), place=place)  # type: ignore[arg-type]
    emit(done, as_json=as_json)
    say(f"Key {done.version} ({done.place}) seals from now on; {done.rows} rows were sealed anew.", style="bold green")
    if not done.old_keys_deleted:
        say(f"Older keys stay: {done.tampered} rows were changed outside the program.", style="bold red")


@app.command("mail-server")
def mail_server(
    home: Home,
    host: Annotated[str, typer.Option(help="SMTP server; empty ends e-mail.", show_default=False)],
    port: Annotated[int, typer.Option(min=1, max=65535)] = 587,
    sender: Annotated[str, typer.Option(help="Address that messages come from.")] = "",
    security: Annotated[str, typer.Option(metavar="starttls|tls|none")] = "starttls",
    user: Annotated[str, typer.Option(help="Account on the server.")] = "",
    password: Annotated[
        str, typer.Option(help="Its password; better in the environment.", envvar="PORTRAIT_ANIM_SMTP_PASSWORD")
    ] = "",
    as_json: Json = False,
) -> None:
    """Choose the mail server through which owners are told about uses; its password is encrypted."""
    from portrait_anim.consent.delivery import MailServer
    from portrait_anim.consent.notify import set_mail_server
    from portrait_anim.consent.store import open_store

    with usage_errors(), open_store(home) as store:
        server = None
        if host:
            server = MailServer(
                host=host, port=port, sender=sender, user=user, password=password,
                security=security,  # type: ignore[arg-type]
            )  # fmt: skip
        set_mail_server(store, server)
    emit({"mail_server": server}, as_json=as_json)
    say("E-mail is off." if server is None else f"E-mail goes through {server.host}:{server.port}.")


@app.command("private-webhooks")
def private_webhooks(
    home: Home,
    allow: Annotated[bool, typer.Option("--allow/--refuse", help="Whether webhooks may reach this network.")] = False,
    as_json: Json = False,
) -> None:
    """Say whether webhooks may reach this machine and its private network; by default they may not."""
    from portrait_anim.consent.notify import allow_private_webhooks
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        allow_private_webhooks(store, allow)
    emit({"private_webhooks": allow}, as_json=as_json)
    say(f"Webhooks {'may' if allow else 'may not'} reach private addresses.")
