"""Download the published files once their licences are accepted, or say what to do by hand."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from portrait_anim.errors import WeightsMissing
from portrait_anim.models.xportrait2.download import NotAllowed, NotPublished, OnBytes, Unreachable, download
from portrait_anim.models.xportrait2.published import (
    DRIVE_FOLDER,
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
    hub: str = HUB,
    pause_s: float = 1.0,
) -> None:
    """Download what is missing; interrupted downloads go on where they stopped.

    Args:
        folder: Where the files go.
        accepted: Whether the user accepts `licence_text`.
        on_file: Told the file that is being downloaded.
        on_bytes: Told how much of it is there.
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
    for file in missing_files(folder):
        if file.source.repository:
            if on_file:
                on_file(file.path)
            try:
                reasons += _from_hub(file, folder, hub, on_bytes, pause_s)
            except Unreachable as error:
                reasons.append(str(error))
                break
    if any(file.source.drive_folder for file in missing_files(folder)):
        if on_file:
            on_file(DRIVE_FOLDER)
        reasons += _from_drive(folder)
    try:
        require_files(folder)
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
        return []
    return [f"{file.source.repository} has no {file.name_at_source}"]


def _from_drive(folder: Path) -> list[str]:
    """Download the Google Drive folder; returns why it was not possible, or nothing."""
    if importlib.util.find_spec("gdown") is None:
        return ["Google Drive needs a browser, or 'pip install gdown' and this command again"]
    import gdown

    try:
        gdown.download_folder(url=DRIVE_FOLDER, output=str(folder), quiet=True, resume=True)
    except Exception as error:  # noqa: BLE001  gdown raises bare exceptions of requests and its own
        return [f"Google Drive: {str(error).splitlines()[0] if str(error) else type(error).__name__}"]
    return []
