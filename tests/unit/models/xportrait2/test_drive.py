"""Files from a folder on a server that behaves like Google Drive: pages before files, refusals, names."""

from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from portrait_anim.errors import WeightsMissing
from portrait_anim.models.xportrait2.fetch import fetch
from portrait_anim.models.xportrait2.published import FILES, PublishedSource, missing_files

FROM_DRIVE = [file for file in FILES if file.source.drive_folder]
CONTENT = {file.path: bytes(range(256)) * 3000 + file.path.encode() for file in FROM_DRIVE}
LARGE, SMALL = FROM_DRIVE[0].path, FROM_DRIVE[1].path
ENTRY = """
<div class="flip-entry" id="entry-{id}" tabindex="0" role="link"><div class="flip-entry-info">
<a href="https://drive.google.com/{kind}/{id}/view?usp=drive_web" target="_blank">
<div class="flip-entry-list-icon"></div><div class="flip-entry-title">{name}</div></a></div>
<div class="flip-entry-last-modified"><div>3/18/25</div></div></div>"""
SCAN_PAGE = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title><style>p{{}}</style></head>
<body><p class="uc-warning-caption">Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="{action}" method="get"><input type="submit" id="uc-download-link" value="Download
anyway"/><input type="hidden" name="id" value="{id}"><input type="hidden" name="export" value="download"><input
type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="a&amp;b 1"></form></body></html>"""
QUOTA_PAGE = """<html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-caption">Sorry, you can&#39;t view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed this file recently.</p></body></html>"""


class Drive:
    """What the server says.

    Attributes:
        server: A `FileServer`.
        folders: Names in each folder by its identifier; a name is its own identifier, with `-` for `.`.
        large: Files with a page in front.
        pages: Other pages in the place of files: status and HTML.
        closed: Whether everything leads to a page to log in.
    """

    def __init__(self, serve):
        self.server = serve(self.answer)
        self.server.mark = "date"
        self.folders = {"root": list(CONTENT)}
        self.large, self.pages, self.closed = {LARGE}, {}, False

    @property
    def files(self):
        source = replace(FROM_DRIVE[0].source, drive_folder=f"{self.server.url}drive/folders/root")
        return [replace(file, source=source) for file in FROM_DRIVE]

    @property
    def other_host(self):
        return self.server.url.replace("127.0.0.1", "localhost")

    def answer(self, request):
        parts = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if self.closed and parts.path != "/login":
            request.send_page(302, "", Location="/login")
        elif parts.path == "/login":
            request.send_page(200, "<html><title>Sign in - Google Accounts</title><form id=gaia></form></html>")
        elif parts.path == "/embeddedfolderview":
            self.list_folder(request, query["id"])
        elif parts.path == "/uc":
            request.send_page(303, "", Location=f"{self.other_host}download?{parts.query}")
        elif parts.path == "/download":
            self.give(request, query)

    def list_folder(self, request, identifier):
        entries = [
            ENTRY.format(id=name.replace(".", "-"), name=name, kind="file/d" if name in CONTENT else "drive/folders")
            for name in self.folders[identifier]
        ]
        request.send_page(200, f"<html><title>weights</title><div class='flip-entries'>{''.join(entries)}</div></html>")

    def give(self, request, query):
        name = query["id"].replace("-", ".")
        if name in self.pages:
            request.send_page(*self.pages[name])
        elif name in self.large and not self.confirmed(request, query):
            page = SCAN_PAGE.format(action=f"{self.other_host}download", id=query["id"])
            request.send_page(200, page, Set_Cookie="scan=seen")
        else:
            request.send_file(
                CONTENT[name], Content_Disposition=f'attachment; filename="{name}"', Content_Type="text/html"
            )

    def confirmed(self, request, query):
        return (query.get("confirm"), query.get("uuid")) == ("t", "a&b 1") and "scan=seen" in request.headers.get(
            "Cookie", ""
        )


@pytest.fixture
def drive(serve):
    return Drive(serve)


def refused(drive, folder):
    with pytest.raises(WeightsMissing) as caught:
        fetch(folder, accepted=True, files=drive.files, pause_s=0)
    return caught.value


def test_small_and_large_files_come_to_their_places(drive, tmp_path):
    seen, told = [], []
    fetch(
        tmp_path, accepted=True, files=drive.files, pause_s=0, on_file=seen.append,
        on_bytes=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == CONTENT
    assert seen == list(CONTENT)
    assert (len(CONTENT[LARGE]), len(CONTENT[LARGE])) in told
    asked = [path.split("?")[0] for path, _, _ in drive.server.asked]
    assert asked.count("/embeddedfolderview") == 1


def test_a_large_file_goes_on_where_it_stopped(drive, tmp_path):
    def stop(done, total):
        if done > 300_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path, accepted=True, files=drive.files, pause_s=0, on_bytes=stop)
    kept = (tmp_path / f"{LARGE}.part").stat().st_size
    drive.server.asked.clear()
    fetch(tmp_path, accepted=True, files=drive.files, pause_s=0)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == CONTENT
    span, condition = next(line[1:] for line in drive.server.asked if "confirm" in line[0])
    assert span == f"bytes={kept}-"
    assert condition.endswith("GMT")


def test_a_file_that_changed_is_loaded_anew(drive, tmp_path, monkeypatch):
    drive.server.cut_after = 200_000
    drive.server.mark = ""  # breaks at the same byte again and again
    assert "cannot be reached" in str(refused(drive, tmp_path))
    assert (tmp_path / f"{LARGE}.part").stat().st_size > 0
    drive.server.cut_after, drive.server.mark = None, "date"
    monkeypatch.setitem(CONTENT, LARGE, b"of another day" + CONTENT[LARGE])
    fetch(tmp_path, accepted=True, files=drive.files, pause_s=0)
    assert (tmp_path / LARGE).read_bytes() == CONTENT[LARGE]


@pytest.mark.parametrize("status", [200, 403, 404])
def test_refusals_are_said_in_words_of_the_drive_and_the_others_still_come(drive, tmp_path, status):
    drive.pages[SMALL] = (status, QUOTA_PAGE)
    error = refused(drive, tmp_path)
    assert "Too many users have viewed this file recently." in str(error)
    assert error.files == (SMALL,)
    assert drive.files[0].source.drive_folder in str(error)
    assert not list(tmp_path.glob("*.part*"))
    assert len(missing_files(tmp_path, drive.files)) == 1


def test_pages_without_end_are_left(drive, tmp_path):
    drive.pages[LARGE] = (200, SCAN_PAGE.format(action=f"{drive.server.url}download", id=LARGE.replace(".", "-")))
    error = refused(drive, tmp_path)
    assert "one page after the other" in str(error)
    assert error.files == (LARGE,)


def test_a_folder_that_is_not_for_everybody_is_said(drive, tmp_path):
    drive.closed = True
    error = refused(drive, tmp_path)
    assert set(error.files) == set(CONTENT)
    assert "nothing that everybody may see" in str(error)


def test_a_file_that_is_not_for_everybody_is_said(drive, tmp_path):
    drive.pages[SMALL] = (200, "<html><title>Sign in - Google Accounts</title></html>")
    assert f"{SMALL}: Sign in - Google Accounts" in str(refused(drive, tmp_path))


def test_files_in_folders_below_are_found_and_missing_names_are_said(drive, tmp_path):
    first, *others = CONTENT
    drive.folders = {"root": ["sub", first], "sub": ["root", *others[1:]]}  # a folder may link back to its parent
    error = refused(drive, tmp_path)
    assert error.files == (others[0],)
    assert f"has no {others[0]}, it shows " in str(error)
    assert {path.name for path in tmp_path.iterdir()} == set(CONTENT) - {others[0]}


def test_a_drive_that_does_not_answer_is_said_once(tmp_path):
    source = PublishedSource(name="X", licence="Y", terms="Z", drive_folder="http://127.0.0.1:1/drive/folders/root")
    files = [replace(file, source=source) for file in FROM_DRIVE]
    with pytest.raises(WeightsMissing, match=r"127\.0\.0\.1:1 cannot be reached from here") as caught:
        fetch(tmp_path, accepted=True, files=files, pause_s=0)
    assert str(caught.value).count("cannot be reached") == 1
