"""One large file from a model hub: goes on where it stopped, and counts only when its checksum is right.

A file grows beside its place under the name `NAME.part`, over as many calls as it takes.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from portrait_anim.errors import WeightsCorrupt, WeightsMissing
from portrait_anim.weights import file_sha256

OnBytes = Callable[[int, int], None]
"""Told bytes there and bytes in all (0 if unknown)."""

_CHUNK: Final = 1 << 16  # of a piece that breaks off, nothing is kept
_TIMEOUT_S: Final = (10, 60)  # to connect, between two pieces
_ATTEMPTS: Final = 5  # without a single new byte
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class NotPublished(Exception):
    """The source has no file of this name."""


class NotAllowed(Exception):
    """The source wants to know who asks."""


class Unreachable(Exception):
    """The source does not answer."""


def download(
    url: str,
    target: Path,
    *,
    headers: Mapping[str, str] | None = None,
    on_bytes: OnBytes | None = None,
    pause_s: float = 1.0,
) -> None:
    """Load a file, going on with what an earlier call left.

    Args:
        url: Where it is.
        target: Where it goes; its folder is made.
        headers: Sent with the request, for example who asks.
        on_bytes: Told about progress.
        pause_s: Pause before asking a silent source again [s].

    Raises:
        NotPublished: If there is no such file.
        NotAllowed: If it is not for everybody.
        Unreachable: If the source does not answer, or falls silent again and again; what came is kept.
        WeightsMissing: If the disk is full; what came is kept.
        WeightsCorrupt: If the file is not what its source says; it is deleted.
    """
    import requests

    part = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    silent = 0
    while True:
        before = _size(part)
        try:
            published = _load(url, part, headers or {}, on_bytes)
            break
        except requests.RequestException as error:
            silent = 0 if _size(part) > before else silent + 1
            if silent == _ATTEMPTS or not isinstance(error, _interruptions()):
                raise Unreachable(f"{_host(url)} cannot be reached from here") from error
            time.sleep(pause_s if silent else 0)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise WeightsMissing(
                f"expected room for {target.name} in {target.parent}, got a full disk; make room and run this command "
                "again, which goes on from here",
                files=[target.name],
            ) from error
    _check(part, published)
    part.replace(target)


def _load(url: str, part: Path, headers: Mapping[str, str], on_bytes: OnBytes | None) -> str:
    """Append what is missing to `part`; returns the checksum that the source publishes, or nothing."""
    import requests

    have = _size(part)
    asked = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=asked, stream=True, timeout=_TIMEOUT_S) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            if answer.headers.get("Content-Range", "") == f"bytes */{have}":
                return _published(answer)
            part.unlink()
            return _load(url, part, headers, on_bytes)
        _refuse(answer)
        resumed = answer.status_code == requests.codes.partial_content
        have = have if resumed else 0
        total = have + int(answer.headers.get("Content-Length", -have))  # 0 when it is not told
        with part.open("ab" if resumed else "wb") as file:
            for piece in answer.iter_content(_CHUNK):
                file.write(piece)
                have += len(piece)
                if on_bytes:
                    on_bytes(have, total)
        if have < total:
            raise requests.ConnectionError(f"{total - have} bytes are missing")
        return _published(answer)


def _refuse(answer: Any) -> None:
    import requests

    if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
        raise NotAllowed
    if answer.status_code == requests.codes.not_found:
        raise NotPublished
    answer.raise_for_status()


def _published(answer: Any) -> str:
    """Checksum in the answer, or in those that led to it: hubs name large files by their SHA-256."""
    for one in (*answer.history, answer):
        tag = one.headers.get("X-Linked-ETag") or one.headers.get("ETag") or ""
        if _SHA256.fullmatch(tag.strip('"')):
            return str(tag.strip('"'))
    return ""


def _check(part: Path, published: str) -> None:
    if not published:
        return
    actual = file_sha256(part)
    if actual != published:
        part.unlink()
        raise WeightsCorrupt(
            f"expected {part.stem} with sha256 {published}, got {actual}: damaged on the way, so it is deleted; run "
            "this command again",
            expected=published,
            actual=actual,
        )


def _interruptions() -> tuple[type[Exception], ...]:
    """What may pass when it is tried again."""
    import requests

    return (
        requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError,
        requests.exceptions.HTTPError,
    )  # fmt: skip


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _host(url: str) -> str:
    return url.split("/")[2]
