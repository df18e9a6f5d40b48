"""Downloads from a hub on this machine: interrupted, damaged, refused, absent, onto a full disk."""

import hashlib

import pytest

from portrait_anim.errors import WeightsCorrupt, WeightsMissing
from portrait_anim.models.xportrait2.download import Refused, Unreachable, download
from portrait_anim.models.xportrait2.fetch import fetch
from portrait_anim.models.xportrait2.published import FILES, missing_files

CONTENT = bytes(range(256)) * 8000  # 2 MB
OTHER = CONTENT[:-1] + b"!"  # of the same length
LONGER = b"of a later day" + CONTENT
FROM_HUB = [file for file in FILES if file.needed and file.source.repository]


@pytest.fixture
def hub(serve):
    server = serve()
    server.files["/file.bin"] = CONTENT
    for file in FROM_HUB:
        server.files[f"/{file.source.repository}/resolve/main/{file.name_at_source}"] = CONTENT + file.path.encode()
    return server


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
    assert all(span.startswith("bytes=") for _, span, _ in hub.asked[1:])


def begin(hub, target):
    """A first call that is interrupted; returns the bytes that it left."""

    def stop(done, total):
        if done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(hub, target, on_bytes=stop)
    assert not target.exists()
    return target.with_name(target.name + ".part").stat().st_size


@pytest.mark.parametrize("mark", ["sum", "tag", "date"])
def test_a_later_call_goes_on_where_the_first_stopped(hub, tmp_path, mark):
    hub.mark = mark
    kept = begin(hub, tmp_path / "file.bin")
    assert kept > 0
    load(hub, tmp_path / "file.bin")
    ((_, span, condition),) = hub.asked[1:]
    assert span == f"bytes={kept}-"
    assert bool(condition) == (mark != "sum")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("later", [OTHER, LONGER, CONTENT[:50_000]], ids=["same length", "longer", "shorter"])
@pytest.mark.parametrize("obeys", [True, False], ids=["obeys If-Range", "ignores If-Range"])
@pytest.mark.parametrize("mark", ["sum", "tag", "weak tag", "date", ""])
def test_two_versions_are_never_glued_together(hub, tmp_path, mark, obeys, later):
    hub.mark, hub.obeys_if_range = mark, obeys
    begin(hub, tmp_path / "file.bin")
    hub.files["/file.bin"] = later
    load(hub, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == later


@pytest.mark.parametrize("mark", ["sum", "tag", "date", ""])
def test_a_file_may_change_while_the_line_breaks(hub, tmp_path, mark):
    hub.mark, hub.cut_after = mark, 900_000

    def change(done, total):
        hub.files["/file.bin"] = OTHER
        hub.cut_after = None

    load(hub, tmp_path / "file.bin", on_bytes=change)
    assert (tmp_path / "file.bin").read_bytes() == OTHER


@pytest.mark.parametrize("mark", ["tag", ""])
def test_what_is_complete_but_of_another_version_is_loaded_again(hub, tmp_path, mark):
    hub.mark = mark
    begin(hub, tmp_path / "file.bin")
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    hub.files["/file.bin"] = OTHER
    load(hub, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == OTHER


def test_bytes_of_an_unknown_version_stay_only_if_a_checksum_will_decide(hub, tmp_path):
    for mark, requests in (("tag", 2), ("sum", 1)):
        hub.mark = mark
        hub.asked.clear()
        (tmp_path / "file.bin.part").write_bytes(CONTENT[:500])
        load(hub, tmp_path / "file.bin")
        assert (tmp_path / "file.bin").read_bytes() == CONTENT
        assert len(hub.asked) == requests


def test_other_bytes_than_those_asked_for_are_not_appended(hub, tmp_path):
    hub.mark = "tag"
    begin(hub, tmp_path / "file.bin")
    hub.shifts = True
    load(hub, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_line_that_never_brings_more_is_given_up_without_marks(hub, tmp_path):
    hub.mark, hub.cut_after = "", 300_000

    def vary(done, total):
        hub.cut_after = 200_000 + len(hub.asked) % 4 * 50_000

    with pytest.raises(Unreachable):
        load(hub, tmp_path / "file.bin", on_bytes=vary)
    assert len(hub.asked) < 30


def test_a_page_is_no_file_and_what_came_before_stays(serve, hub, tmp_path):
    hub.mark = "tag"
    kept = begin(hub, tmp_path / "file.bin")
    page = serve(lambda request: request.send_page(200, "<title>Log in to this network</title>"))
    with pytest.raises(Refused, match="page") as caught:
        load(page, tmp_path / "file.bin")
    assert "Log in" in caught.value.page
    assert (tmp_path / "file.bin.part").stat().st_size == kept
    with pytest.raises(WeightsMissing, match="shows a page"):
        fetch(tmp_path / "downloads", accepted=True, files=FROM_HUB, hub=page.url, pause_s=0)


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
