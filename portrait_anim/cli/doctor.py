"""`portrait-anim doctor`: what was found on this machine, what is missing, and what to do about it."""

from __future__ import annotations

import typer

from portrait_anim import weights
from portrait_anim.cli.console import emit, plain, say, show_table
from portrait_anim.cli.guard import EXIT_FAILURE, GuardedTyper
from portrait_anim.cli.options import Home, Json


def doctor(home: Home, as_json: Json = False) -> None:
    """Look over the installation; exit code 1 when something that is needed is missing."""
    from portrait_anim.doctor import diagnose

    report = diagnose(home, weights.weights_dir())
    emit({"ok": report.ok, **plain(report)}, as_json=as_json)
    show_table("Installation", ("", "state", "found"), [(row.name, row.state, row.found) for row in report.rows])
    for row in report.rows:
        if row.remedy:
            say(f"{row.name}: {row.remedy}", style="bold red" if row.state == "missing" else "yellow")
    if not report.ok:
        raise typer.Exit(EXIT_FAILURE)


def register(app: GuardedTyper) -> None:
    """Add the command to the application."""
    app.command("doctor")(doctor)
