"""`portrait-anim verify`: what is known about files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portrait_anim.cli.console import emit, plain, progress_bars, say
from portrait_anim.cli.guard import EXIT_PROVENANCE, GuardedTyper
from portrait_anim.cli.options import Home, Json

if TYPE_CHECKING:
    from portrait_anim.verification import VerificationReport


def verify(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE_OR_FOLDER...", help="Files or folders to look at.", show_default=False)
    ],
    home: Home,
    as_json: Json = False,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Time to search each file for the mark; 0 does not look.")
    ] = 20.0,
    manifest: Annotated[bool, typer.Option("--manifest", help="Show the manifest of a recovered original.")] = False,
) -> None:
    """Say who signed files, whether they were altered, and whether consent stands.

    Works on any file of anyone. A file that lost its manifest is found again by
    its invisible mark, or by what it looks like.

    Exit code 0 when there is no doubt about any file, 4 on any doubt.
    """
    from portrait_anim.verification import list_files, verify_all

    listed = [file for path in files for file in list_files(path)]
    reports: list[tuple[Path, VerificationReport]] = []
    with progress_bars(quiet=len(listed) < 2) as on_progress:
        for file, report in verify_all(listed, home=home, mark_budget_s=patience, on_progress=on_progress):
            reports.append((file, report))
    emit([_facts(file, report, manifest=manifest) for file, report in reports], as_json=as_json)
    for file, report in reports:
        _tell(file, report, manifest=manifest and not as_json)
    if len(reports) > 1:
        good = sum(report.ok for _, report in reports)
        say(f"{good} of {len(reports)} files verified.", style=_style(good == len(reports)))
    if not all(report.ok for _, report in reports):
        raise typer.Exit(EXIT_PROVENANCE)


def _facts(file: Path, report: VerificationReport, *, manifest: bool) -> dict[str, Any]:
    """The report for machines."""
    facts: dict[str, Any] = {"file": str(file), **plain(report)}
    if manifest and report.recovery is not None:
        facts["recovery"]["manifest"] = json.loads(report.recovery.manifest)
    return facts


def _tell(file: Path, report: VerificationReport, *, manifest: bool) -> None:
    """The report for people."""
    say(f"{file}: {_verdict(report)}", style=_style(report.ok))
    for finding in report.findings:
        say(f"  {finding}")
    if manifest and report.recovery is not None:
        say("  The original's manifest:")
        for line in json.dumps(json.loads(report.recovery.manifest), indent=2).splitlines():
            say(f"    {line}")


def _verdict(report: VerificationReport) -> str:
    if report.ok:
        return "verified"
    if report.only_mark:
        return "not verified: only the watermark survived"
    if report.recovery is not None:
        return "not verified: a changed copy of a known original"
    return f"not verified ({report.state})"


def _style(ok: bool) -> str:
    return "bold green" if ok else "bold red"


def register(app: GuardedTyper) -> None:
    """Add the command to the application."""
    app.command("verify")(verify)
