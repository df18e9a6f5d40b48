"""`portrait-anim cameo`: enrol a likeness, and give and end permission to animate it."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from portrait_anim.cli.console import emit, progress_bars, say, show_table
from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import OPERATOR, Face, Home, Json, parse_expiry, usage_errors

app = GuardedTyper(help="Enrol a likeness; give and end permission to animate it.", no_args_is_help=True)

CameoId = Annotated[str, typer.Argument(metavar="CAMEO", help="Cameo id, such as cam_0123456789abcdef.")]

def _now() -> datetime:
    return datetime.now(timezone.utc)


@app.command("challenge")
def challenge(
    name: Annotated[str, typer.Option(help="Name of the person who will enrol.", show_default=False)],
    home: Home,
    as_json: Json = False,
) -> None:
    """Issue a fresh sequence of movements to perform before a camera, good once and for ten minutes."""
    from portrait_anim.consent.movements import INSTRUCTIONS
    from portrait_anim.consent.registry import issue_challenge
    from portrait_anim.consent.store import open_store

    with usage_errors(), open_store(home) as store:
        issued = issue_challenge(store, name=name, now=_now())
    emit(issued, as_json=as_json)
    say(f"Challenge {issued.id}, to be answered before {issued.expires:%H:%M:%S} UTC", style="bold")
    say("Look into the camera, then do this in order, calmly, about two seconds each:")
    for number, action in enumerate(issued.actions, start=1):
        say(f"  {number}. {INSTRUCTIONS[action]}, then look ahead again")
    say(f"Then: portrait-anim cameo enroll --challenge {issued.id} --portrait PHOTO --video VIDEO")


@app.command("enroll")
def enroll(
    challenge_id: Annotated[str, typer.Option("--challenge", help="Id of the challenge.", show_default=False)],
    portrait: Annotated[Path, typer.Option(help="Photo of the person.", show_default=False)],
    video: Annotated[Path, typer.Option(help="The challenge, performed by the same person.", show_default=False)],
    home: Home,
    face: Face = None,
    mirrored: Annotated[bool, typer.Option("--mirrored", help="The camera saved a mirror image.")] = False,
    as_json: Json = False,
) -> None:
    """Enrol a living person from a portrait and the video that answers a challenge."""
    from portrait_anim.consent.store import open_store
    from portrait_anim.enrolment import enroll_from_files

    with open_store(home) as store, progress_bars() as on_progress:
        cameo = enroll_from_files(
            store, challenge_id=challenge_id, portrait=portrait, video=video, now=_now(), face=face,
            mirrored=mirrored, on_progress=on_progress,
        )  # fmt: skip
    emit(cameo, as_json=as_json)
    say(f"Enrolled {cameo.name} as {cameo.id}. Nothing is allowed yet: `portrait-anim cameo grant {cameo.id} ...`")


@app.command("enroll-fictional")
def enroll_fictional(
    portrait: Annotated[
        Path, typer.Argument(metavar="PORTRAIT", help="Picture of somebody who does not exist.", show_default=False)
    ],
    statement: Annotated[str, typer.Option(help="Why there is nobody to ask; you sign this.", show_default=False)],
    home: Home,
    name: Annotated[str | None, typer.Option(help="What to call the figure.", show_default="the file name")] = None,
    face: Face = None,
    as_json: Json = False,
) -> None:
    """Enrol a painted or invented figure on your signed statement; refused for enrolled real people."""
    from portrait_anim.consent.store import open_store
    from portrait_anim.enrolment import enroll_fictional_from_file

    with usage_errors(), open_store(home) as store:
        cameo = enroll_fictional_from_file(
            store, portrait=portrait, name=name or portrait.stem, statement=statement, now=_now(), face=face
        )
    emit(cameo, as_json=as_json)
    say(f"Enrolled {cameo.name} as {cameo.id}. Nothing is allowed yet: `portrait-anim cameo grant {cameo.id} ...`")


@app.command("list")
def list_all(
    home: Home,
    deleted: Annotated[bool, typer.Option("--deleted", help="Show deleted ones too.")] = False,
    as_json: Json = False,
) -> None:
    """List the enrolled cameos."""
    from portrait_anim.consent.registry import list_cameos
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        cameos = list_cameos(store, deleted=deleted)
    emit(cameos, as_json=as_json)
    show_table(
        "Cameos", ("id", "name", "kind", "status", "enrolled (UTC)"),
        [(c.id, c.name, c.kind, c.status, f"{c.created:%Y-%m-%d %H:%M}") for c in cameos],
    )  # fmt: skip


@app.command("show")
def show(cameo_id: CameoId, home: Home, as_json: Json = False) -> None:
    """Show one cameo and its grants."""
    from portrait_anim.consent.grants import list_grants
    from portrait_anim.consent.registry import get_cameo
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        cameo, grants = get_cameo(store, cameo_id), list_grants(store, cameo_id)
    emit({"cameo": cameo, "grants": grants}, as_json=as_json)
    say(f"{cameo.id}  {cameo.name}  ({cameo.kind}, {cameo.status})", style="bold")
    show_table(
        "Grants", ("id", "grantee", "purpose", "contexts", "renders", "seconds", "until (UTC)", "state"),
        [(g.id, g.grantee, g.purpose, ", ".join(g.allowed_contexts), g.max_renders, f"{g.max_seconds:g}",
          f"{g.expires:%Y-%m-%d %H:%M}", _state(g.revoked_at, g.expires)) for g in grants],
    )  # fmt: skip


@app.command("grant")
def grant(
    cameo_id: CameoId,
    expires: Annotated[str, typer.Option(help="A span (12h, 30d) or a date (2030-01-31).", show_default=False)],
    home: Home,
    purpose: Annotated[str, typer.Option(help='What for; "any" allows every purpose.', show_default=False)],
    max_renders: Annotated[int, typer.Option(min=1, help="Number of videos in all.", show_default=False)],
    max_seconds: Annotated[float, typer.Option(help="Length of video in all, in seconds.", show_default=False)],
    grantee: Annotated[str, typer.Option(help="Who may render.")] = OPERATOR,
    context: Annotated[
        list[str] | None,
        typer.Option(help='Where it may appear; again for more; "any" allows all.', show_default="animate"),
    ] = None,
    commercial: Annotated[bool, typer.Option("--commercial", help="Allow commercial use.")] = False,
    as_json: Json = False,
) -> None:
    """Allow somebody to animate a cameo, within limits that you state."""
    from portrait_anim.consent import grants
    from portrait_anim.consent.store import open_store

    now = _now()
    with usage_errors(), open_store(home) as store:
        made = grants.grant(
            store, cameo_id, grantee=grantee, purpose=purpose, allowed_contexts=context or ["animate"],
            expires=parse_expiry(expires, now), max_renders=max_renders, max_seconds=max_seconds, now=now,
            commercial=commercial,
        )  # fmt: skip
    emit(made, as_json=as_json)
    say(f"Granted {made.id} to {made.grantee} until {made.expires:%Y-%m-%d %H:%M} UTC", style="bold green")


@app.command("revoke")
def revoke(
    grant_id: Annotated[str, typer.Argument(metavar="GRANT", help="Grant id, such as gra_0123456789abcdef.")],
    home: Home,
    as_json: Json = False,
) -> None:
    """End a grant at once; running renders stop."""
    from portrait_anim.consent import grants
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        ended = grants.revoke(store, grant_id, _now())
    emit(ended, as_json=as_json)
    say(f"Revoked {ended.id}.", style="bold")


@app.command("delete")
def delete(
    cameo_id: CameoId,
    home: Home,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a cameo and end all its grants; the ledger keeps that it existed."""
    from portrait_anim.consent.registry import delete_cameo
    from portrait_anim.consent.store import open_store

    if not yes:
        typer.confirm(f"Erase {cameo_id} for good?", abort=True, err=True)
    with open_store(home) as store:
        erased = delete_cameo(store, cameo_id, now=_now())
    emit(erased, as_json=as_json)
    say(f"Deleted {erased.id}; its grants have ended.", style="bold")


def _state(revoked_at: datetime | None, expires: datetime) -> str:
    if revoked_at is not None:
        return "revoked"
    return "active" if _now() < expires else "expired"
