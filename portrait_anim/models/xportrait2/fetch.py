"""Download the published files once their licences are accepted, or say what to do by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from portrait_anim.errors import WeightsMissing
from portrait_anim.models.xportrait2.download import NotAllowed, NotPublished, OnBytes, Refused, Unreachable, download
from portrait_anim.models.xportrait2.drive import DriveFolder
from portrait_anim.models.xportrait2.published import (
    FILES,
    HUB,
    PublishedFile,
    missing_files,
    require_files,
    sources,
)


def licence_text() -> str:
    """What is to be accepted before anything is downloaded."""
    lines = [f"  {source.name}: {source.licence}\n    {source.terms}" for source in sources()]
    return "The X-Portrait 2 weights are other people's work, under their own licences:\n" + "\n".join(lines)


def fetch(
    folder: Path,
    *,
    accepted: bool,
    on_file: Callable[[str], None] | None = None,
    on_bytes: OnBytes | None = None,
    files: Sequence[PublishedFile] = FILES,
    hub: str = HUB,
    pause_s: float = 1.0,
) -> None:
    """Download what is missing; interrupted downloads go on where they stopped.

    Args:
        folder: Where the files go.
        accepted: Whether the user accepts `licence_text`.
        on_file: Told the file that is being downloaded.
        on_bytes: Told how much of it is there.
        files: What to download; those that are there already are left alone.
        hub: Address of the Hugging Face Hub, or of a mirror.
        pause_s: Pause before asking a silent source again [s].

    Raises:
        WeightsMissing: If the licences were not accepted, the disk is full, or files cannot be downloaded; lists each
            with its place.
        WeightsCorrupt: If a file was damaged on the way.
    """
    if not accepted:
        raise WeightsMissing(f"expected the licences to be accepted first, got no consent.\n{licence_text()}")
    folder.mkdir(parents=True, exist_ok=True)
    reasons: list[str] = []
    closed: set[str] = set()  # sources that were found out of reach
    drives: dict[str, DriveFolder] = {}
    for file in missing_files(folder, files):
        source = file.source.drive_folder or HUB
        if source in closed:
            continue
        if on_file:
            on_file(file.path)
        try:
            if file.source.drive_folder:
                drive = drives.setdefault(source, DriveFolder(source, pause_s=pause_s))
                reasons += drive.fetch(file.name_at_source, folder / file.path, on_bytes)
            else:
                reasons += _from_hub(file, folder, hub, on_bytes, pause_s)
        except Unreachable as error:
            reasons.append(str(error))
            closed.add(source)
    try:
        require_files(folder, files)
    except WeightsMissing as error:
        raise WeightsMissing("\n".join([str(error), *dict.fromkeys(reasons)]), files=error.files) from error


def _from_hub(file: PublishedFile, folder: Path, hub: str, on_bytes: OnBytes | None, pause_s: float) -> list[str]:
    """Download one file, or an alternative to it; returns why it was not possible, or nothing."""
    from huggingface_hub.utils import build_hf_headers

    for name in (file.name_at_source, *file.alternatives_at_source):
        target = folder / file.repository_folder / name
        url = f"{hub.rstrip('/')}/{file.source.repository}/resolve/main/{name}"
        try:
            download(url, target, headers=build_hf_headers(), on_bytes=on_bytes, pause_s=pause_s)
        except NotPublished:
            continue
        except NotAllowed:
            return [f"{file.source.url} asks you to log in and accept its licence: do that, then run 'hf auth login'"]
        except Refused as error:
            return [f"{error}: look at it in a browser"]
        return []
    return [f"{file.source.repository} has no {file.name_at_source}"]
