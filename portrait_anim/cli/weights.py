"""`portrait-anim weights`: which weight files there are, whether they are right, and how to get those not shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from portrait_anim import weights
from portrait_anim.cli.console import emit, progress_bars, say, show_table
from portrait_anim.cli.guard import EXIT_WEIGHTS, GuardedTyper
from portrait_anim.cli.options import Json
from portrait_anim.types import Progress

app = GuardedTyper(help="Look over the model weights.", no_args_is_help=True)

Published = Annotated[Literal["xportrait2"], typer.Argument(help="Profile whose weights are not shipped.")]
Downloads = Annotated[
    Path | None,
    typer.Option(help="Folder of the published files.", show_default="below the user's data folder"),
]


@app.command("list")
def list_files(as_json: Json = False) -> None:
    """List the weight files of the manifests."""
    files = [line for folder in weights.folders() for line in weights.read_manifest(folder).files]
    emit(weights.Manifest(files=tuple(files)), as_json=as_json)
    rows = [(line.file, line.profile, f"{line.bytes / 1e6:.1f}", line.licence, line.source) for line in files]
    show_table(f"Weights in {weights.weights_dir()}", ("file", "profile", "MB", "licence", "source"), rows)


@app.command("verify")
def verify_files(
    profile: Annotated[str | None, typer.Option(help="Only this profile.", show_default="all")] = None,
    as_json: Json = False,
) -> None:
    """Compare the weight files with their checksums; exit code 5 when one is missing or corrupt."""
    if profile is not None:
        weights.require(profile)
    folders = weights.folders() if profile is None else [weights.locate(profile)]
    statuses = [status for folder in folders for status in weights.verify(profile, folder)]
    emit(statuses, as_json=as_json)
    for status in statuses:
        style = "green" if status.state == "ok" else "bold red"
        say(f"{status.state:8}{status.file.file}  sha256 {status.file.sha256}", style=style)
    if any(status.state != "ok" for status in statuses):
        raise typer.Exit(EXIT_WEIGHTS)


@app.command("fetch")
def fetch_files(
    profile: Published,
    into: Downloads = None,
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="Accept the licences shown.")] = False,
) -> None:
    """Download published files; shows their licences first, and what to do by hand where a download is impossible."""
    from portrait_anim.models.xportrait2.fetch import fetch, licence_text

    say(licence_text())
    folder = into or _downloads(profile)
    accepted = accept_licence or typer.confirm("Do you accept these licences?", err=True)
    with progress_bars() as on_progress:
        current = ""

        def on_file(file: str) -> None:
            nonlocal current
            current = Path(file).name
            say(f"Downloading {file}")

        def on_bytes(done: int, total: int) -> None:
            in_all = total // 1_000_000 or None
            on_progress(Progress(stage=f"{current} [MB]", done=done // 1_000_000, total=in_all))

        fetch(folder, accepted=accepted, on_file=on_file, on_bytes=on_bytes)
    say(f"Next: portrait-anim weights convert {profile} --downloads {folder}", style="bold green")


@app.command("convert")
def convert_files(
    profile: Published,
    downloads: Downloads = None,
    half: Annotated[bool, typer.Option("--half", help="Store 16 bits per number, as the published script.")] = False,
) -> None:
    """Check published files tensor by tensor and write them as safetensors, once."""
    import torch

    from portrait_anim.models.xportrait2.convert import convert

    target = convert(
        downloads or _downloads(profile), weights.user_weights_dir(), dtype=torch.float16 if half else None,
        on_module=lambda name, done, total: say(f"{done + 1}/{total} {name}"),
    )  # fmt: skip
    say(f"Converted to {target}", style="bold green")


def _downloads(profile: str) -> Path:
    return weights.user_weights_dir().parent / "downloads" / profile
