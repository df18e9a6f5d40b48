"""Encrypted copies of challenge videos, kept for a time; `retention.erase_due` erases them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from portrait_anim.consent.sealed_files import CHUNK_BYTES, erase_file, seal_file
from portrait_anim.consent.service_rows import find_challenge_videos
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentError

FOLDER: Final = "challenge_videos"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptVideo:
    """The encrypted copy of a challenge video.

    Attributes:
        stored_file: Name of the file in the home folder.
        file_key: Key of the file.
    """

    stored_file: str
    file_key: bytes = field(repr=False)


def keep_video(store: ConsentStore, video: Path) -> KeptVideo:
    """Copy a video into the home folder, encrypted with a key of its own.

    Args:
        store: The open store.
        video: The file as handed in; not changed.

    Returns:
        Where the copy lies, and its key.

    Raises:
        ConsentError: If it cannot be read or written; nothing is left behind.
    """
    name = f"{FOLDER}/{secrets.token_hex(16)}.sealed"
    try:
        (store.home / FOLDER).mkdir(mode=0o700, exist_ok=True)
        with video.open("rb") as file:
            key = seal_file(_chunks(file), store.home / name)
    except OSError as error:
        raise ConsentError(f"expected to keep an encrypted copy of the video, got {error}; free some space") from error
    return KeptVideo(stored_file=name, file_key=key)


def forget_unrecorded(store: ConsentStore, challenge_id: str, kept: KeptVideo) -> None:
    """Erase a copy that no row of the store speaks of, because the attempt ended before it was recorded.

    Args:
        store: The open store.
        challenge_id: The challenge that was being answered.
        kept: The copy.
    """
    with store.read() as connection:
        videos = find_challenge_videos(connection, store, challenge_id=challenge_id)
    if all(video.stored_file != kept.stored_file for video in videos):
        erase_file(store.home / kept.stored_file)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(CHUNK_BYTES):
        yield piece
