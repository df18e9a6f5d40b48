"""`portrait-anim weights`: which weight files there are, and whether they are what they should be."""

from __future__ import annotations

from typing import Annotated

import typer

from portrait_anim import weights
from portrait_anim.cli.console import emit, say, show_table
from portrait_anim.cli.guard import EXIT_WEIGHTS, GuardedTyper
from portrait_anim.cli.options import Json

app = GuardedTyper(help="Look over the model weights.", no_args_is_help=True)


@app.command("list")
def list_files(as_json: Json = False) -> None:
    """List the weight files of the manifest."""
    manifest = weights.read_manifest()
    emit(manifest, as_json=as_json)
    rows = [(line.file, line.profile, f"{line.bytes / 1e6:.1f}", line.licence, line.source) for line in manifest.files]
    show_table(f"Weights in {weights.weights_dir()}", ("file", "profile", "MB", "licence", "source"), rows)


@app.command("verify")
def verify_files(
    profile: Annotated[str | None, typer.Option(help="Only this profile.", show_default="all")] = None,
    as_json: Json = False,
) -> None:
    """Compare the weight files with their checksums; exit code 5 when one is missing or corrupt."""
    if profile is not None:
        weights.require(profile)
    statuses = weights.verify(profile)
    emit(statuses, as_json=as_json)
    for status in statuses:
        style = "green" if status.state == "ok" else "bold red"
        say(f"{status.state:8}{status.file.file}  sha256 {status.file.sha256}", style=style)
    if any(status.state != "ok" for status in statuses):
        raise typer.Exit(EXIT_WEIGHTS)
