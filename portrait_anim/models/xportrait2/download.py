"""One large file from a model hub: goes on where it stopped, and counts only when its checksum is right.

A file grows beside its place under the name `NAME.part`, over as many calls as it takes. `NAME.part.version` says which
version of the file that is, as the source marks it: its checksum, else its tag, else its date. It goes on only with the
same version; where the source marks nothing, it begins again.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from portrait_anim.errors import WeightsCorrupt, WeightsMissing
from portrait_anim.weights import file_sha256

if TYPE_CHECKING:
    import requests

OnBytes = Callable[[int, int], None]
"""Told bytes there and bytes in all (0 if unknown)."""

_CHUNK: Final = 1 << 16  # of a piece that breaks off, nothing is kept
_TIMEOUT_S: Final = (10, 60)  # to connect, between two pieces
_ATTEMPTS: Final = 5  # without a single new byte
_PAGE_CHUNKS: Final = 16  # more of a page is not read
_BEYOND_THE_END: Final = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_BY_SUM: Final = "sha256 "


class Refused(Exception):
    """The source answers, but not with the file.

    Attributes:
        page: What it shows instead, HTML or empty.
        url: Where that is.
    """

    def __init__(self, page: str, url: str) -> None:
        super().__init__(f"{_host(url)} shows a page where a file should be")
        self.page, self.url = page, url


class NotPublished(Refused):
    """The source has no file of this name."""


class NotAllowed(Refused):
    """The source wants to know who asks."""


class Unreachable(Exception):
    """The source does not answer."""


def download(
    url: str,
    target: Path,
    *,
    headers: Mapping[str, str] | None = None,
    session: requests.Session | None = None,
    on_bytes: OnBytes | None = None,
    pause_s: float = 1.0,
) -> None:
    """Load a file, going on with what an earlier call left.

    Args:
        url: Where it is.
        target: Where it goes; its folder is made.
        headers: Sent with the request, for example who asks.
        session: Keeps cookies of earlier answers.
        on_bytes: Told about progress.
        pause_s: Pause before asking a silent source again [s].

    Raises:
        NotPublished: If there is no such file.
        NotAllowed: If it is not for everybody.
        Refused: If there is a page where the file should be.
        Unreachable: If the source does not answer, or falls silent again and again; what came is kept.
        WeightsMissing: If the disk is full; what came is kept.
        WeightsCorrupt: If the file is not what its source says; it is deleted.
    """
    import requests

    part = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    with nullcontext(session) if session else requests.Session() as asking:
        published = _load_patiently(url, part, asking, headers or {}, on_bytes, pause_s)
    _check(part, published)
    part.replace(target)
    _version_file(part).unlink(missing_ok=True)


def _load_patiently(
    url: str,
    part: Path,
    session: requests.Session,
    headers: Mapping[str, str],
    on_bytes: OnBytes | None,
    pause_s: float,
) -> str:
    """Ask again and again while bytes come; returns the checksum that the source publishes, or nothing."""
    import requests

    silent, most = 0, _size(part)
    while True:
        try:
            return _load(url, part, session, headers, on_bytes)
        except requests.RequestException as error:
            silent = 0 if _size(part) > most else silent + 1
            most = max(most, _size(part))
            if silent == _ATTEMPTS or not isinstance(error, _interruptions()):
                raise Unreachable(f"{_host(url)} cannot be reached from here") from error
            time.sleep(pause_s if silent else 0)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            name = part.name.removesuffix(".part")
            raise WeightsMissing(
                f"expected room for {name} in {part.parent}, got a full disk; make room and run this command again, "
                "which goes on from here",
                files=[name],
            ) from error


def _load(url: str, part: Path, session: requests.Session, headers: Mapping[str, str], on_bytes: OnBytes | None) -> str:
    """Append what is missing to `part`; returns the checksum that the source publishes, or nothing."""
    have = _size(part)
    asked = {**headers, "Accept-Encoding": "identity", **(_continuing(part, have) if have else {})}
    with session.get(url, headers=asked, stream=True, timeout=_TIMEOUT_S) as answer:
        whole = answer.status_code == _BEYOND_THE_END
        if not whole:
            _refuse(answer)
        if whole or answer.status_code == HTTPStatus.PARTIAL_CONTENT:
            if not _same_version(answer, part, have):
                _drop(part)
                return _load(url, part, session, headers, on_bytes)
        else:
            have = 0
        if not whole:
            _write(answer, part, have, on_bytes)
        return _version(answer).removeprefix(_BY_SUM) if _version(answer).startswith(_BY_SUM) else ""


def _write(answer: requests.Response, part: Path, have: int, on_bytes: OnBytes | None) -> None:
    """Append an answer to the first `have` bytes."""
    import requests

    total = have + int(answer.headers.get("Content-Length", -have))  # 0 when it is not told
    with part.open("ab" if have else "wb") as file:
        if not have:  # the file is empty at this moment: bytes never lie beside the mark of another version
            _version_file(part).write_text(_version(answer), encoding="utf-8")
        for piece in answer.iter_content(_CHUNK):
            file.write(piece)
            have += len(piece)
            if on_bytes:
                on_bytes(have, total)
    if have < total:
        raise requests.ConnectionError(f"{total - have} bytes are missing")


def _continuing(part: Path, have: int) -> dict[str, str]:
    """Ask for what is missing, or for everything if it is another version by now."""
    known = _known_version(part)
    condition = {"If-Range": known} if known and not known.startswith(_BY_SUM) else {}
    return {"Range": f"bytes={have}-", **condition}


def _same_version(answer: requests.Response, part: Path, have: int) -> bool:
    """Whether what an answer adds to `have` bytes belongs to them."""
    span, version, known = answer.headers.get("Content-Range", ""), _version(answer), _known_version(part)
    fits = span == f"bytes */{have}" if answer.status_code == _BEYOND_THE_END else span.startswith(f"bytes {have}-")
    # A checksum decides at the end, so bytes of unknown origin may stay until then.
    return fits and (version == known if known else version.startswith(_BY_SUM))


def _version(answer: requests.Response) -> str:
    """How the source marks this version of a file, or nothing.

    Hubs name large files by their SHA-256, in the answer or in those that led to it. Weak tags say nothing about bytes.
    """
    for one in (*answer.history, answer):
        tag = one.headers.get("X-Linked-ETag") or one.headers.get("ETag") or ""
        if _SHA256.fullmatch(tag.strip('"')):
            return _BY_SUM + tag.strip('"')
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def _known_version(part: Path) -> str:
    file = _version_file(part)
    return file.read_text(encoding="utf-8") if file.exists() else ""


def _version_file(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def _drop(part: Path) -> None:
    part.unlink()
    _version_file(part).unlink(missing_ok=True)


def _refuse(answer: requests.Response) -> None:
    """Raise unless the answer is a file."""
    kinds: dict[int, type[Refused]] = {
        HTTPStatus.UNAUTHORIZED: NotAllowed, HTTPStatus.FORBIDDEN: NotAllowed, HTTPStatus.NOT_FOUND: NotPublished,
    }  # fmt: skip
    is_page = answer.headers.get("Content-Type", "").startswith("text/html")
    if answer.ok and (not is_page or "attachment" in answer.headers.get("Content-Disposition", "")):
        return
    if answer.ok or answer.status_code in kinds:
        page = b"".join(islice(answer.iter_content(_CHUNK), _PAGE_CHUNKS)) if is_page else b""
        raise kinds.get(answer.status_code, Refused)(page.decode("utf-8", "replace"), answer.url)
    answer.raise_for_status()


def _check(part: Path, published: str) -> None:
    if not published:
        return
    actual = file_sha256(part)
    if actual != published:
        _drop(part)
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
