"""Download the published files once their licences are accepted, or say what to do by hand."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from portrait_anim.errors import WeightsMissing
from portrait_anim.models.xportrait2.published import DRIVE_FOLDER, PublishedFile, missing_files, require_files, sources
from portrait_anim.weights import file_sha256

_UNREACHABLE: Final = "the Hugging Face Hub cannot be reached from here"


def licence_text() -> str:
    """What is to be accepted before anything is downloaded."""
    lines = [f"  {source.name}: {source.licence}\n    {source.terms}" for source in sources()]
    return "The X-Portrait 2 weights are other people's work, under their own licences:\n" + "\n".join(lines)


def fetch(folder: Path, *, accepted: bool, on_file: Callable[[str], None] | None = None) -> None:
    """Download what is missing; interrupted downloads go on where they stopped.

    Args:
        folder: Where the files go.
        accepted: Whether the user accepts `licence_text`.
        on_file: Told the file that is being downloaded.

    Raises:
        WeightsMissing: If the licences were not accepted, or files cannot be downloaded; lists each with its place.
    """
    if not accepted:
        raise WeightsMissing(f"expected the licences to be accepted first, got no consent.\n{licence_text()}")
    folder.mkdir(parents=True, exist_ok=True)
    reasons: list[str] = []
    for file in missing_files(folder):
        if file.source.repository and _UNREACHABLE not in reasons:
            if on_file:
                on_file(file.path)
            reasons += _from_hub(file, folder)
    if any(file.source.drive_folder for file in missing_files(folder)):
        if on_file:
            on_file(DRIVE_FOLDER)
        reasons += _from_drive(folder)
    try:
        require_files(folder)
    except WeightsMissing as error:
        raise WeightsMissing("\n".join([str(error), *sorted(set(reasons))]), files=error.files) from error


def _from_hub(file: PublishedFile, folder: Path) -> list[str]:
    """Download one file; returns why it was not possible, or nothing."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    # Its retries are announced twice otherwise, by its own handler and by ours.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    place = folder / file.repository_folder
    parent = Path(file.name_at_source).parent
    reason = ""
    for name in (file.name_at_source, *(str(parent / other) for other in file.alternatives)):
        try:
            path = Path(hf_hub_download(file.source.repository, name, local_dir=place))
            expected = _hub_sha256(file.source.repository, name)
        except LocalEntryNotFoundError:
            return [_UNREACHABLE]
        except EntryNotFoundError:
            reason = f"{file.source.repository} has no {name}"
        except GatedRepoError:
            return [f"{file.source.url} asks you to log in and accept its licence: do that, then run 'hf auth login'"]
        except (HfHubHTTPError, OSError) as error:
            return [f"{file.source.repository}: {str(error).splitlines()[0]}"]
        if not expected or file_sha256(path) == expected:
            return []
        path.unlink()
        return [f"{file.path} was damaged on the way: run this command again"]
    return [reason]


def _hub_sha256(repository: str, name: str) -> str:
    """Checksum that the Hub publishes for a large file, or nothing."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    for entry in HfApi().get_paths_info(repository, [name]):
        if isinstance(entry, RepoFile) and entry.lfs is not None:
            return str(entry.lfs.sha256)
    return ""


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
