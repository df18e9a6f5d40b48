"""`portrait-anim grant`: give, show, confirm and end permissions."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from portrait_anim.cli.console import emit, plain, say, show_table
from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import OPERATOR, CameoId, GrantId, Home, Json, now_utc, parse_expiry, usage_errors

if TYPE_CHECKING:
    from portrait_anim.consent.records import Grant

app = GuardedTyper(help="Give, show, confirm and end permissions to animate a cameo.", no_args_is_help=True)


@app.command("give")
def give(
    cameo_id: CameoId,
    expires: Annotated[str, typer.Option(help="A span (12h, 30d) or a date (2030-01-31).", show_default=False)],
    home: Home,
    purpose: Annotated[str, typer.Option(help='What for; "any" allows every purpose.', show_default=False)],
    max_renders: Annotated[int, typer.Option(min=1, help="Number of videos in all.", show_default=False)],
    max_seconds: Annotated[float, typer.Option(help="Length of video in all, in seconds.", show_default=False)],
    grantee: Annotated[
        str | None, typer.Option(help="Who may render, under the level person.", show_default=OPERATOR)
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(help='Where it may appear; again for more; "any" allows all.', show_default="animate"),
    ] = None,
    forbid: Annotated[
        list[str] | None,
        typer.Option(help="What may not be made, in plain words; again for more.", show_default="nothing"),
    ] = None,
    level: Annotated[
        str, typer.Option(metavar="owner|person|everyone", help="Only the owner, one person, or everyone here.")
    ] = "person",
    label: Annotated[
        str, typer.Option(metavar="small|medium|large", help="Smallest visible label in the video.")
    ] = "small",
    commercial: Annotated[bool, typer.Option("--commercial", help="Allow commercial use.")] = False,
    as_json: Json = False,
) -> None:
    """Allow somebody to animate a cameo, within limits that you state."""
    from portrait_anim.consent import grants
    from portrait_anim.consent.store import open_store

    now = now_utc()
    with usage_errors(), open_store(home) as store:
        made = grants.grant(
            store, cameo_id, grantee=(OPERATOR if level == "person" else "") if grantee is None else grantee,
            purpose=purpose, allowed_contexts=context or ["animate"], expires=parse_expiry(expires, now),
            max_renders=max_renders, max_seconds=max_seconds, now=now, commercial=commercial,
            forbidden="\n".join(forbid or []),
            level=level, label_size=label,  # type: ignore[arg-type]
        )  # fmt: skip
    emit(made, as_json=as_json)
    whom = {"owner": "its owner", "everyone": "everyone here"}.get(made.level, made.grantee)
    say(f"Granted {made.id} to {whom} until {made.expires:%Y-%m-%d %H:%M} UTC", style="bold green")
    if made.forbidden and made.level != "owner":
        say("Before rendering, the grantee confirms to have read what is forbidden:")
        say(f"  portrait-anim grant acknowledge {made.id} --grantee {shlex.quote(made.grantee or 'NAME')}")


@app.command("list")
def list_all(
    home: Home,
    cameo: Annotated[str | None, typer.Option(help="Only grants of this cameo.", show_default=False)] = None,
    grantee: Annotated[str | None, typer.Option(help="Only grants for this person.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """List permissions, ended ones included."""
    from portrait_anim.consent.grants import grants_for, list_grants
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        found = list_grants(store, cameo) if grantee is None else grants_for(store, grantee)
    grants = [grant for grant in found if cameo in (None, grant.cameo_id)]
    emit(grants, as_json=as_json)
    show_grants(grants)


@app.command("show")
def show(grant_id: GrantId, home: Home, as_json: Json = False) -> None:
    """Show one permission in full, with what the owner forbids."""
    from portrait_anim.consent.grants import get_grant
    from portrait_anim.consent.store import open_store
    from portrait_anim.consent.usage import charged

    with open_store(home) as store:
        grant = get_grant(store, grant_id)
        with store.read() as connection:
            used = charged(connection, store, grant_id)
    emit({**plain(grant), "used_renders": used.renders, "used_seconds": used.milliseconds / 1000}, as_json=as_json)
    show_grants([grant])
    say(f"Used: {used.renders} of {grant.max_renders} videos, {used.milliseconds / 1000:g} of {grant.max_seconds:g} s")
    say(f"Commercial use: {'yes' if grant.commercial else 'no'}; visible label at least {grant.label_size}")
    say("Forbidden:" if grant.forbidden else "Nothing is forbidden in words.", style="bold")
    for line in grant.forbidden.splitlines():
        say(f"  - {line}")


@app.command("acknowledge")
def acknowledge(
    grant_id: GrantId,
    home: Home,
    grantee: Annotated[str, typer.Option(help="Who read it.")] = OPERATOR,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Confirm, as the grantee, to have read what the owner forbids."""
    from portrait_anim.consent import acknowledgements
    from portrait_anim.consent.grants import get_grant
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        grant = get_grant(store, grant_id)
        say("The owner forbids:" if grant.forbidden else "The owner forbids nothing in words.", style="bold")
        for line in grant.forbidden.splitlines():
            say(f"  - {line}")
        if not yes:
            typer.confirm(f"Have you, {grantee}, read this and will you keep to it?", abort=True, err=True)
        row = acknowledgements.acknowledge(store, grant_id, grantee=grantee, now=now_utc())
    emit({"grant_id": grant_id, "ledger_row": row.seq}, as_json=as_json)
    say(f"Recorded in ledger row {row.seq}.", style="bold green")


@app.command("revoke")
def revoke(grant_id: GrantId, home: Home, as_json: Json = False) -> None:
    """End a grant at once; running renders stop."""
    from portrait_anim.consent import grants
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        ended = grants.revoke(store, grant_id, now_utc())
    emit(ended, as_json=as_json)
    say(f"Revoked {ended.id}.", style="bold")


def show_grants(grants: Sequence[Grant]) -> None:
    """Write grants as a table for people."""
    show_table(
        "Grants", ("id", "for", "purpose", "contexts", "renders", "seconds", "until (UTC)", "terms", "state"),
        [(g.id, g.grantee or g.level, g.purpose, ", ".join(g.allowed_contexts), g.max_renders, f"{g.max_seconds:g}",
          f"{g.expires:%Y-%m-%d %H:%M}", "read first" if g.forbidden else "", _state(g)) for g in grants],
    )  # fmt: skip


def _state(grant: Grant) -> str:
    if grant.revoked_at is not None:
        return "revoked"
    return "active" if now_utc() < grant.expires else "expired"
