"""`portrait-anim inbox` and `portrait-anim render`: what was done with a likeness, and taking it back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portrait_anim.cli.console import emit, plain, say, show_table
from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import Home, Json, now_utc, usage_errors

if TYPE_CHECKING:
    from portrait_anim.consent.service_records import Use

app = GuardedTyper(help="See every use of your cameo: renders, drafts and refused attempts.", no_args_is_help=True)
render = GuardedTyper(help="Take finished renders back.", no_args_is_help=True)

UseId = Annotated[str, typer.Argument(metavar="USE", help="Entry id, such as use_0123456789abcdef.")]


@app.command("list")
def list_all(
    home: Home,
    cameo: Annotated[str | None, typer.Option(help="Only this cameo.", show_default=False)] = None,
    unread: Annotated[bool, typer.Option("--unread", help="Only entries that were not read.")] = False,
    last: Annotated[int, typer.Option(min=1, help="How many of the newest entries.")] = 50,
    as_json: Json = False,
) -> None:
    """List uses, newest first."""
    from portrait_anim.consent.inbox import list_uses
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        uses = list_uses(store, cameo, unread=unread, limit=last)
    emit([_shown(use) for use in uses], as_json=as_json)
    show_table(
        "Inbox (UTC)", ("id", "time", "what", "by", "purpose", "context", "reason", "read"),
        [(u.id, f"{u.time:%m-%d %H:%M}", u.kind, u.grantee, u.purpose, u.context, u.reason,
          "" if u.read_at is None else "yes") for u in uses],
    )  # fmt: skip


@app.command("show")
def show(
    use_id: UseId,
    home: Home,
    thumbnail: Annotated[
        Path | None, typer.Option("--thumbnail", "-o", help="Write its small picture to this PNG.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show one entry."""
    from portrait_anim.consent.inbox import get_use
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        use = get_use(store, use_id)
    if thumbnail is not None:
        if use.thumbnail is None:
            raise typer.BadParameter(f"{use_id} has no picture: nothing was made, or it was erased")
        _write(thumbnail, use.thumbnail)
    emit(_shown(use), as_json=as_json)
    for name, value in _shown(use).items():
        say(f"{name:>14}: {'' if value is None else value}")


@app.command("read")
def read(
    use_ids: Annotated[list[str], typer.Argument(metavar="USE...", help="Entries.", show_default=False)],
    home: Home,
    as_json: Json = False,
) -> None:
    """Mark entries as read."""
    from portrait_anim.consent.inbox import mark_read
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        uses = [mark_read(store, use_id, now_utc()) for use_id in use_ids]
    emit([_shown(use) for use in uses], as_json=as_json)
    say(f"Marked {len(uses)} as read.")


@render.command("withdraw")
def withdraw(
    permit_id: Annotated[str, typer.Argument(metavar="PERMIT", help="Permit id, as the inbox names it.")],
    home: Home,
    reason: Annotated[str, typer.Option(help="Why, in your words.")] = "",
    as_json: Json = False,
) -> None:
    """Take a render back: its file is destroyed where it lies here, its id goes on the list of withdrawn renders."""
    from portrait_anim.consent import withdrawal
    from portrait_anim.consent.store import open_store

    with usage_errors(), open_store(home) as store:
        made = withdrawal.withdraw(store, permit_id, now_utc(), reason=reason)
    emit(made, as_json=as_json)
    left = "its files here are destroyed" if made.file_deleted else "no file of it was known or deletable here"
    say(f"Withdrew {permit_id}; {left}.", style="bold")


@render.command("withdrawn")
def withdrawn(
    home: Home,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the signed list to this file.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show or write the signed list of withdrawn renders, for publishing."""
    from portrait_anim.consent.store import open_store
    from portrait_anim.consent.withdrawal import signed_list

    with open_store(home) as store:
        made = signed_list(store, now_utc())
    if output is not None:
        _write(output, json.dumps(made, indent=2).encode())
    emit(made, as_json=as_json)
    permits = made["withdrawn"]
    assert isinstance(permits, list)
    show_table("Withdrawn renders", ("permit",), [(permit,) for permit in permits])


def _shown(use: Use) -> dict[str, object]:
    """Return an entry for the owner's eyes."""
    return {**plain(use), "grantee": use.grantee, "has_thumbnail": use.thumbnail is not None}


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it appears complete or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        raise typer.BadParameter(f"expected a file that can be written, got {error}") from error
    finally:
        partial.unlink(missing_ok=True)
