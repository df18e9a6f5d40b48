"""`portrait-anim denylist`: people who must never be animated here, without enrolling."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portrait_anim.cli.console import emit, plain, progress_bars, say, show_table
from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import Face, Home, Json, now_utc, usage_errors

if TYPE_CHECKING:
    from portrait_anim.consent.service_records import DeniedFace

app = GuardedTyper(help="Protect people who opted out without enrolling.", no_args_is_help=True)


@app.command("add")
def add(
    photos: Annotated[
        list[Path], typer.Argument(metavar="PHOTO...", help="Photos of one person; several help.", show_default=False)
    ],
    label: Annotated[
        str, typer.Option(help="What to call the entry, such as a request number; encrypted.", show_default=False)
    ],
    home: Home,
    face: Face = None,
    as_json: Json = False,
) -> None:
    """Put somebody on the denylist. The photos are measured and not kept."""
    from portrait_anim.consent.denylist import add_denied
    from portrait_anim.consent.store import open_store
    from portrait_anim.enrolment import measure_portrait

    with progress_bars():
        faces = [measure_portrait(photo, face=face).embedding for photo in photos]
    with usage_errors(), open_store(home) as store:
        entry = add_denied(store, faces, label=label, now=now_utc())
    emit(_shown(entry), as_json=as_json)
    say(f"Added {entry.id}. Nobody who looks like this is rendered or enrolled as fictional here.", style="bold green")


@app.command("list")
def list_all(
    home: Home,
    removed: Annotated[bool, typer.Option("--removed", help="Show removed ones too.")] = False,
    as_json: Json = False,
) -> None:
    """List the entries."""
    from portrait_anim.consent.denylist import list_denied
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        entries = list_denied(store, removed=removed)
    emit([_shown(entry) for entry in entries], as_json=as_json)
    show_table(
        "Denylist", ("id", "label", "since (UTC)", "state"),
        [(e.id, e.label, f"{e.created:%Y-%m-%d %H:%M}", "removed" if e.removed_at else "protected") for e in entries],
    )  # fmt: skip


@app.command("remove")
def remove(
    denied_id: Annotated[str, typer.Argument(metavar="ENTRY", help="Entry id, such as den_0123456789abcdef.")],
    home: Home,
    as_json: Json = False,
) -> None:
    """Take somebody off the denylist; the face is erased."""
    from portrait_anim.consent.denylist import remove_denied
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        entry = remove_denied(store, denied_id, now=now_utc())
    emit(_shown(entry), as_json=as_json)
    say(f"Removed {entry.id}.", style="bold")


def _shown(entry: DeniedFace) -> dict[str, object]:
    """Return an entry for the operator's eyes."""
    return {**plain(entry), "label": entry.label}
