"""Files of a public Google Drive folder, without a key and without an account.

The folder's embedded view lists names. A file is asked for by its identifier; for large ones Drive shows a page first,
with a form that leads to the file. Where Drive refuses, its page says why.
"""

from __future__ import annotations

import re
from collections import deque
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from portrait_anim.models.xportrait2.download import OnBytes, Refused, Unreachable, download

if TYPE_CHECKING:
    import requests

_FILE_LINK: Final = re.compile(r"/file/d/([\w-]+)")
_FOLDER_LINK: Final = re.compile(r"/folders/([\w-]+)")
_MOST_FOLDERS: Final = 20
_MOST_PAGES: Final = 3  # before a file
_TIMEOUT_S: Final = 60


class DriveFolder:
    """A public folder; it is listed when the first file is asked for.

    Args:
        url: Its page, `https://HOST/drive/folders/IDENTIFIER`.
        pause_s: Pause before asking a silent source again [s].
    """

    def __init__(self, url: str, *, pause_s: float = 1.0) -> None:
        self._url, self._pause_s = url, pause_s
        self._files: dict[str, str] | None = None

    def fetch(self, name: str, target: Path, on_bytes: OnBytes | None = None) -> list[str]:
        """Download one file.

        Args:
            name: Its name in the folder, or in a folder below it.
            target: Where it goes.
            on_bytes: Told about progress.

        Returns:
            Why that was not possible, or nothing.

        Raises:
            Unreachable: If Drive does not answer.
            WeightsMissing: If the disk is full; what came is kept.
            WeightsCorrupt: If the file was damaged on the way.
        """
        import requests

        with requests.Session() as session:  # a page before the file may set a cookie that the file asks for
            if self._files is None:
                self._files = self._list(session)
            identifier = self._files.get(name)
            if identifier is None:
                found = ", ".join(sorted(self._files)) or "nothing that everybody may see"
                return [f"{self._url} has no {name}, it shows {found}: look at it in a browser"]
            return self._load(session, name, self._at(f"/uc?export=download&id={identifier}"), target, on_bytes)

    def _load(
        self, session: requests.Session, name: str, url: str, target: Path, on_bytes: OnBytes | None
    ) -> list[str]:
        """Go through the pages before a file; returns why it was not possible, or nothing."""
        for _ in range(_MOST_PAGES):
            try:
                download(url, target, session=session, on_bytes=on_bytes, pause_s=self._pause_s)
                return []
            except Refused as error:
                page = _read(error.page)
                if page.action is None:
                    return [f"Google Drive does not give {name}: {page.why()}; {_by_hand(self._url)}"]
                url = _submitted(urljoin(error.url, page.action), page.fields)
        return [f"Google Drive does not give {name}: it shows one page after the other; {_by_hand(self._url)}"]

    def _list(self, session: requests.Session) -> dict[str, str]:
        """Identifiers of all files by name; of two with one name, that of the outer folder."""
        waiting, seen, found = deque(_FOLDER_LINK.findall(self._url)), set[str](), dict[str, str]()
        while waiting and len(seen) < _MOST_FOLDERS:
            identifier = waiting.popleft()
            if identifier not in seen:
                seen.add(identifier)
                page = _read(self._show(session, identifier))
                found = page.files | found
                waiting.extend(page.folders)
        return found

    def _show(self, session: requests.Session, identifier: str) -> str:
        """A folder's embedded view as HTML; empty if it is not for everybody."""
        import requests

        try:
            answer = session.get(self._at(f"/embeddedfolderview?id={identifier}"), timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise Unreachable(f"{urlsplit(self._url).netloc} cannot be reached from here") from error
        return answer.text if answer.ok else ""

    def _at(self, path: str) -> str:
        return urljoin(self._url, path)


class _Page(HTMLParser):
    """What matters of a page of Drive.

    Attributes:
        files: Identifiers of listed files by name.
        folders: Identifiers of listed folders.
        action: Address of the form that leads to a file; `None` without one.
        fields: Its fields.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, str] = {}
        self.folders: list[str] = []
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._link, self._reading = "", ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember the last link; read forms and what error pages say."""
        values = {key: value or "" for key, value in attrs}
        if tag == "a":
            self._link = values.get("href", "")
        elif tag == "form" and values.get("id", "").replace("-", "").lower() == "downloadform":
            self.action = values.get("action", "")
        elif tag == "input" and self.action is not None and values.get("name"):
            self.fields[values["name"]] = values.get("value", "")
        classes = values.get("class", "").split()
        self._reading = next((known for known in ("flip-entry-title", *_REASONS) if known in (*classes, tag)), "")

    def handle_data(self, data: str) -> None:
        """Read names and reasons."""
        if self._reading == "flip-entry-title":
            self._enter(data.strip())
        elif self._reading:
            self._texts.setdefault(self._reading, " ".join(data.split()))
        self._reading = ""

    def _enter(self, name: str) -> None:
        """Note the entry of a folder that the last link leads to."""
        file, folder = _FILE_LINK.search(self._link), _FOLDER_LINK.search(self._link)
        if file:
            self.files.setdefault(name, file[1])
        elif folder:
            self.folders.append(folder[1])

    def why(self) -> str:
        """Why there is no file, in Drive's own words if it has any."""
        return next((self._texts[kind] for kind in _REASONS if self._texts.get(kind)), "it is not for everybody")


_REASONS: Final = ("uc-error-subcaption", "uc-error-caption", "title")


def _read(html: str) -> _Page:
    page = _Page()
    page.feed(html)
    page.close()
    return page


def _submitted(action: str, fields: dict[str, str]) -> str:
    """Address to which a browser would go when the form is sent."""
    parts = urlsplit(action)
    query = urlencode({**dict(parse_qsl(parts.query)), **fields})
    return urlunsplit(parts._replace(query=query))


def _by_hand(url: str) -> str:
    return f"try again tomorrow, or download it from {url} in a browser"
