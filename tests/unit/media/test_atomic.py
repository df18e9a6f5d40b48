from __future__ import annotations

import errno
import os
import stat
import sys

import pytest

from portrait_anim.errors import MediaError
from portrait_anim.media.writer import atomic_path


def test_success(tmp_path):
    target = tmp_path / "a.png"
    target.write_text("old")
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, OSError])
def test_failure(tmp_path, kind):
    with pytest.raises(kind), atomic_path(tmp_path / "a.png") as temporary:  # noqa: PT012
        temporary.write_text("new")
        raise kind
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_disk_full(tmp_path, number):
    with pytest.raises(MediaError, match="disk is full"), atomic_path(tmp_path / "a.png"):
        raise OSError(number, "full")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Unix permissions")
def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    with atomic_path(tmp_path / "a.png"):
        pass
    assert stat.S_IMODE(os.stat(tmp_path / "a.png").st_mode) == stat.S_IMODE(
        os.stat(tmp_path / "plain").st_mode
    )


def test_unwritable_folder(tmp_path, as_nobody):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    with as_nobody(), pytest.raises(MediaError, match="permission was denied"), atomic_path(folder / "a.png"):
        pass


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_devices_are_not_replaced():
    with pytest.raises(MediaError, match="file name"), atomic_path("/dev/full"):
        pass
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_two_at_once(tmp_path):
    with atomic_path(tmp_path / "a.txt") as one, atomic_path(tmp_path / "a.txt") as two:
        assert one != two
        one.write_text("1")
        two.write_text("2")
    assert (tmp_path / "a.txt").read_text() == "1"
