"""`portrait-anim verify`: what is known about files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from portrait_anim.cli.console import emit, plain, say
from portrait_anim.cli.guard import EXIT_PROVENANCE, GuardedTyper
from portrait_anim.cli.options import Home, Json


def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files to look at.", show_default=False)],
    home: Home,
    as_json: Json = False,
) -> None:
    """Say who signed files, whether they were altered, and what was allowed; exit code 4 on any doubt."""
    from portrait_anim.provenance.verify import verify as establish

    reports = {file: establish(file, home=home) for file in files}
    emit([{"file": str(file), **plain(report)} for file, report in reports.items()], as_json=as_json)
    for file, report in reports.items():
        say(f"{file}: {'verified' if report.ok else 'not verified'} ({report.state})", style=_style(report.ok))
        for finding in report.findings:
            say(f"  {finding}")
    if not all(report.ok for report in reports.values()):
        raise typer.Exit(EXIT_PROVENANCE)


def _style(ok: bool) -> str:
    return "bold green" if ok else "bold red"


def register(app: GuardedTyper) -> None:
    """Add the command to the application."""
    app.command("verify")(verify)
