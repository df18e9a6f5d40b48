"""A person's copy of everything that is kept about them (GDPR articles 15 and 20): one zip of JSON and pictures."""

from __future__ import annotations

import base64
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from portrait_anim.consent.erasure import challenges_of, videos_of
from portrait_anim.consent.ledger import Ledger, append_row
from portrait_anim.consent.notify import get_contact
from portrait_anim.consent.records import Cameo, utc
from portrait_anim.consent.rows import find_cameo, find_grants
from portrait_anim.consent.sealed_files import open_sealed_file
from portrait_anim.consent.service_rows import (
    find_accounts,
    find_uses,
    find_withdrawals,
)
from portrait_anim.consent.shown_faces import shown_faces_of
from portrait_anim.consent.signed_rows import time_text
from portrait_anim.consent.store import ConsentStore
from portrait_anim.consent.withdrawal import files_of
from portrait_anim.errors import ConsentDenied, ConsentError

_README: Final = """This archive holds what this installation keeps about you.

cameo.json        your cameo: name, times, status, the numbers that describe your face
challenges.json   the challenge you answered, and what is kept of the video
videos/           the video itself, while it is kept; named like its entry in challenges.json
grants.json       whom you allowed what
uses.json         every use and every refused attempt, by whom, when, for what
thumbnails/       small pictures of finished uses, named like the entries of uses.json
withdrawals.json  what you took back
renders.json      the face on the photo of each render that is running
contact.json      where you are told about uses
account.json      your account of the service (its key is not kept, only a digest)
ledger.json       the rows of the hash-chained record that concern you; they stay after a deletion and hold no name
"""


def export_cameo(store: ConsentStore, cameo_id: str, output: Path, *, now: datetime) -> Path:
    """Write everything that is kept about the person of a cameo to one zip file, readable by its owner only.

    Args:
        store: The open store.
        cameo_id: The cameo.
        output: File to write; appears only when it is complete.
        now: Current time, timezone-aware.

    Returns:
        The file.

    Raises:
        ConsentDenied: If there is no such cameo.
        ConsentError: If the file cannot be written.
    """
    output, now = Path(output), utc(now)
    with store.read() as connection:
        cameo = find_cameo(connection, store, cameo_id)
    if cameo is None:
        raise ConsentDenied(
            f"expected the id of an enrolled cameo, got {cameo_id!r}; `cameo list` shows them", reason="no_cameo"
        )
    try:
        handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")  # made with mode 0600
    except OSError as error:
        raise ConsentError(f"expected a folder that can be written, got {error} for {output}") from error
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in _members(store, cameo, now):
                archive.writestr(member, content)
            for member, chunks in _videos(store, cameo):
                with archive.open(member, "w", force_zip64=True) as target:
                    for chunk in chunks:
                        target.write(chunk)
        os.replace(name, output)
    except OSError as error:
        raise ConsentError(f"expected a file that can be written, got {error} for {output}") from error
    finally:
        Path(name).unlink(missing_ok=True)
    with store.write() as connection:
        append_row(connection, store, "exported", now=now, cameo_id=cameo_id, payload={})
    return output


def _members(store: ConsentStore, cameo: Cameo, now: datetime) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the archive, each with its content."""
    with store.read() as connection:
        challenges = list(challenges_of(connection, store, cameo.id))
        videos = videos_of(connection, store, challenges)
        grants = find_grants(connection, store, cameo_id=cameo.id)
        uses = find_uses(connection, store, cameo_id=cameo.id)
        withdrawals = find_withdrawals(connection, store, cameo_id=cameo.id)
        accounts = find_accounts(connection, store, account_id=cameo.owner_account) if cameo.owner_account else []
        shown = shown_faces_of(connection, store, cameo.id)
        files = [file for use in uses if use.permit_id for file in files_of(connection, store, use.permit_id)]
    yield "README.txt", _README.encode()
    yield "cameo.json", _json({"exported": time_text(now), "store_id": store.store_id, "cameo": cameo})
    yield "challenges.json", _json({"challenges": challenges, "videos": videos})
    yield "grants.json", _json(grants)
    yield "uses.json", _json([{**asdict(use), "thumbnail": _picture_name(use.id, use.thumbnail)} for use in uses])
    for use in uses:
        if use.thumbnail:
            yield str(_picture_name(use.id, use.thumbnail)), use.thumbnail
    yield "withdrawals.json", _json({"withdrawals": withdrawals, "files": files})
    yield "renders.json", _json(shown)
    yield "contact.json", _json(get_contact(store, cameo.id))
    yield "account.json", _json([{**asdict(account), "token_digest": "(not exported)"} for account in accounts])
    yield "ledger.json", _json(list(Ledger(store).rows(cameo_id=cameo.id)))


def _videos(store: ConsentStore, cameo: Cameo) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the challenge videos that are still kept, each with its content in pieces."""
    with store.read() as connection:
        videos = videos_of(connection, store, challenges_of(connection, store, cameo.id))
    for video in videos:
        if video.stored_file and video.file_key is not None:
            yield f"videos/{video.id}", open_sealed_file(store.home / video.stored_file, video.file_key)


def _picture_name(use_id: str, picture: bytes | None) -> str | None:
    return f"thumbnails/{use_id}.png" if picture else None


def _json(value: object) -> bytes:
    return json.dumps(_plain(value), indent=2, ensure_ascii=False).encode()


def _plain(value: Any) -> Any:
    """Turn records into JSON values; unlike in logs, everything the person is entitled to is shown."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return [float(number) for number in value.ravel()]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return time_text(value) if isinstance(value, datetime) else value
