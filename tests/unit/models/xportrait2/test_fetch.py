"""Downloads from a hub on this machine: interrupted, damaged, refused, absent, onto a full disk."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from portrait_anim.errors import WeightsCorrupt, WeightsMissing
from portrait_anim.models.xportrait2.download import Unreachable, download
from portrait_anim.models.xportrait2.fetch import fetch
from portrait_anim.models.xportrait2.published import FILES, missing_files

CONTENT = bytes(range(256)) * 8000  # 2 MB
FROM_HUB = [file for file in FILES if file.needed and file.source.repository]


class Hub(ThreadingHTTPServer):
    """Serves files as a model hub does, and what can go wrong with it.

    Attributes:
        files: Content by path.
        cut_after: Bytes after which a connection breaks; `None` never.
        status: Answer to everything, if not 0.
        wrong_sum: Whether the published checksum is another file's.
        asked: Path and `Range` of every request.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked = {}, []
        self.cut_after, self.status, self.wrong_sum = None, 0, False

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        hub = self.server
        hub.asked.append((self.path, self.headers.get("Range", "")))
        content = hub.files.get(self.path)
        if hub.status or content is None:
            self.send_error(hub.status or 404)
            return
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if first >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if first else 200)
        digest = hashlib.sha256(b"other" if hub.wrong_sum else content).hexdigest()
        self.send_header("X-Linked-ETag", f'"{digest}"')
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        rest = content[first:]
        self.wfile.write(rest if hub.cut_after is None else rest[: hub.cut_after])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub():
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.files["/file.bin"] = CONTENT
    for file in FROM_HUB:
        server.files[f"/{file.source.repository}/resolve/main/{file.name_at_source}"] = CONTENT + file.path.encode()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def load(hub, target, **changes):
    download(hub.url + "file.bin", target, pause_s=0, **changes)


def test_a_file_arrives_whole_and_progress_ends_at_its_size(hub, tmp_path):
    told = []
    load(hub, tmp_path / "sub" / "file.bin", on_bytes=lambda done, total: told.append((done, total)))
    assert (tmp_path / "sub" / "file.bin").read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["file.bin"]


def test_a_line_that_breaks_again_and_again_still_brings_the_file(hub, tmp_path):
    hub.cut_after = 300_000
    load(hub, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert len(hub.asked) > 5
    assert all(span.startswith("bytes=") for _, span in hub.asked[1:])


def test_a_later_call_goes_on_where_the_first_stopped(hub, tmp_path):
    def stop(done, total):
        if done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(hub, tmp_path / "file.bin", on_bytes=stop)
    kept = (tmp_path / "file.bin.part").stat().st_size
    assert kept > 0
    assert not (tmp_path / "file.bin").exists()
    load(hub, tmp_path / "file.bin")
    assert hub.asked[-1][1] == f"bytes={kept}-"
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_that_is_whole_or_too_long_is_understood(hub, tmp_path):
    part = tmp_path / "file.bin.part"
    part.write_bytes(CONTENT)
    load(hub, tmp_path / "file.bin")
    part.write_bytes(CONTENT + b"of another version")
    load(hub, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_wrong_checksum_is_said_and_nothing_stays(hub, tmp_path):
    hub.wrong_sum = True
    with pytest.raises(WeightsCorrupt, match=r"file\.bin.*damaged on the way") as caught:
        load(hub, tmp_path / "file.bin")
    assert caught.value.actual == hashlib.sha256(CONTENT).hexdigest()
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_fails_or_is_silent_is_given_up(hub, tmp_path):
    hub.status = 503
    with pytest.raises(Unreachable, match="127"):
        load(hub, tmp_path / "file.bin")
    assert len(hub.asked) == 5
    with pytest.raises(Unreachable):
        download("http://127.0.0.1:1/file.bin", tmp_path / "file.bin", pause_s=0)


def test_a_full_disk_is_said_and_what_came_is_kept(hub, tmp_path):
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, before[1]))  # the system refuses to write more
    try:
        with pytest.raises(WeightsMissing, match=r"full disk.*goes on from here"):
            load(hub, tmp_path / "file.bin")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "file.bin.part").stat().st_size > 1_000_000
    load(hub, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


# -- all files of the model -------------------------------------------------------------------------------------------


@pytest.fixture
def by_hand(tmp_path):
    """A download folder in which the files from Google Drive are already."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    for file in FILES:
        if file.source.drive_folder:
            (folder / file.path).write_bytes(b"from a browser")
    return folder


def test_all_files_of_the_hub_come_to_their_places(hub, by_hand):
    seen = []
    fetch(by_hand, accepted=True, hub=hub.url, pause_s=0, on_file=seen.append)
    assert missing_files(by_hand) == []
    assert seen == [file.path for file in FROM_HUB]
    for file in FROM_HUB:
        assert (by_hand / file.path).read_bytes() == CONTENT + file.path.encode()
    hub.asked.clear()
    fetch(by_hand, accepted=True, hub=hub.url)
    assert hub.asked == []


def test_an_alternative_is_taken_where_the_first_name_is_gone(hub, by_hand):
    file = next(file for file in FROM_HUB if file.alternatives)
    first = f"/{file.source.repository}/resolve/main/{file.name_at_source}"
    other = f"/{file.source.repository}/resolve/main/{file.alternatives_at_source[0]}"
    hub.files[other] = hub.files.pop(first)
    fetch(by_hand, accepted=True, hub=hub.url, pause_s=0)
    assert file.find(by_hand).name == file.alternatives[0]
    del hub.files[other]
    file.find(by_hand).unlink()
    with pytest.raises(WeightsMissing, match="has no"):
        fetch(by_hand, accepted=True, hub=hub.url, pause_s=0)


@pytest.mark.parametrize(("status", "message"), [(401, "hf auth login"), (403, "hf auth login"), (500, "reached")])
def test_refusals_say_what_to_do_and_where_files_go(hub, by_hand, status, message):
    hub.status = status
    with pytest.raises(WeightsMissing, match=message) as caught:
        fetch(by_hand, accepted=True, hub=hub.url, pause_s=0)
    assert set(caught.value.files) == {file.path for file in FROM_HUB}
    for file in FROM_HUB:
        assert str(by_hand / file.path) in str(caught.value)
        assert file.source.url in str(caught.value)


def test_nothing_is_asked_before_the_licences_are_accepted(hub, tmp_path):
    with pytest.raises(WeightsMissing, match="licences"):
        fetch(tmp_path / "x", accepted=False, hub=hub.url)
    assert hub.asked == []
    assert not (tmp_path / "x").exists()
