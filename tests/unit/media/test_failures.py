from __future__ import annotations

import errno
import os
import sys

import av.error
import pytest

import portrait_anim.media as media
from portrait_anim.errors import MediaError
from portrait_anim.media.failures import media_errors, require_file


@pytest.mark.parametrize("action", ["read", "write"])
def test_every_error_of_pyav_is_mapped(action):
    assert len(av.error.classes) > 20
    for code, kind in av.error.classes.items():
        with pytest.raises(MediaError, match=r"Expected.*clip\.mp4") as caught, media_errors("clip.mp4", action):
            raise kind(code, "something went wrong", "clip.mp4")
        assert isinstance(caught.value.__cause__, kind)


@pytest.mark.parametrize(
    ("number", "action", "words"),
    [
        (errno.ENOSPC, "write", "disk is full"),
        (errno.EDQUOT, "write", "disk is full"),
        (errno.EACCES, "write", "able to write"),
        (errno.EROFS, "write", "able to write"),
        (errno.EACCES, "read", "able to read"),
        (errno.EIO, "read", "copy it again"),
        (errno.EIO, "write", "Try another"),
    ],
)
def test_system_errors_say_what_to_do(number, action, words):
    with pytest.raises(MediaError, match=words), media_errors("clip.mp4", action):
        raise OSError(number, os.strerror(number))


def test_other_errors_pass():
    with pytest.raises(KeyError), media_errors("clip.mp4", "read"):
        raise KeyError("ours")
    with pytest.raises(MediaError, match="mine"), media_errors("clip.mp4", "read"):
        raise MediaError("mine")


@pytest.mark.skipif(sys.platform == "win32", reason="Unix permissions")
def test_unreadable_file(tmp_path, as_nobody):
    (tmp_path / "a.mp4").write_text("x")
    (tmp_path / "a.mp4").chmod(0)
    with as_nobody(), pytest.raises(MediaError, match="permission"):
        media.probe(tmp_path / "a.mp4")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs a device file")
def test_devices_are_not_read():
    with pytest.raises(MediaError, match="not a file"):
        require_file("/dev/zero")


def test_public_names_are_sorted_and_exist():
    assert media.__all__ == sorted(media.__all__, key=lambda name: (name.islower(), name))
    assert all(hasattr(media, name) for name in media.__all__)


def test_import_does_not_need_torch():
    import subprocess

    program = "import sys, portrait_anim.media; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
