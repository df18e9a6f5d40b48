"""`portrait-anim ledger`: look at the hash-chained record of everything the gate did."""

from __future__ import annotations

from typing import Annotated

import typer

from portrait_anim.cli.console import emit, say, show_table
from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import Home, Json, now_utc

app = GuardedTyper(help="Check and show the record of everything the consent gate did.", no_args_is_help=True)


@app.command("verify")
def verify_ledger(home: Home, as_json: Json = False) -> None:
    """Check that no entry was edited, removed or inserted; exit code 4 if one was."""
    from portrait_anim.consent.ledger import Ledger
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        count = Ledger(store).verify()
    emit({"ok": True, "rows": count}, as_json=as_json)
    say(f"The ledger holds: {count} entries, none altered.", style="bold green")


@app.command("checkpoint")
def checkpoint(home: Home, as_json: Json = False) -> None:
    """Sign the present state, so that older entries cannot be changed unseen even with the newest ones replaced."""
    from portrait_anim.consent.maintenance import seal_ledger
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        seq = seal_ledger(store, now_utc())
    emit({"sealed_up_to": seq}, as_json=as_json)
    say(f"The ledger is sealed up to entry {seq}." if seq else "The ledger is empty.", style="bold green")


@app.command("show")
def show_ledger(
    home: Home,
    cameo: Annotated[str | None, typer.Option(help="Only entries about this cameo.", show_default=False)] = None,
    grant: Annotated[str | None, typer.Option(help="Only entries about this grant.", show_default=False)] = None,
    kind: Annotated[str | None, typer.Option(help="Only entries of this kind.", show_default=False)] = None,
    last: Annotated[int, typer.Option(min=1, help="How many of the newest entries.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the newest entries."""
    from collections import deque

    from portrait_anim.consent.ledger import Ledger
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        rows = list(deque(Ledger(store).rows(cameo_id=cameo, grant_id=grant, kind=kind), maxlen=last))
    emit(rows, as_json=as_json)
    cells = [(row.seq, f"{row.time:%m-%d %H:%M}", row.kind, row.cameo_id, row.grant_id) for row in rows]
    show_table("Ledger (UTC)", ("row", "time", "kind", "cameo", "grant"), cells)
