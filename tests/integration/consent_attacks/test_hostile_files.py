"""Files that are no portrait and no video, crafted names, answers too late; quick."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from portrait_anim.consent.registry import get_challenge, list_cameos
from portrait_anim.consent.store import ConsentStore
from portrait_anim.enrolment import enroll_from_files
from portrait_anim.errors import InputError
from portrait_anim.media.image import read_image
from portrait_anim.media.reader import probe

from . import videos
from .conftest import Tally
from .handing_in import NOW, OTHER, PORTRAIT, VIDEO, ask


class Bomb:
    """An object that makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def zipped(**files: bytes) -> bytes:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "../"), content)
    return stored.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stored.getvalue()


def hostile_files(target: Path) -> dict[str, bytes]:
    bomb = pickle.dumps(Bomb(target))
    stored = io.BytesIO()
    np.savez(stored, landmarks=np.array([Bomb(target)], dtype=object))
    return {
        "pickle": bomb,
        "pickle named as a tensor file": zipped(**{"archive/data.pkl": bomb, "archive/version": b"3\n"}),
        "npz of objects": stored.getvalue(),
        "zip bomb": zipped(zeros=bytes(5_000_000)),
        "zip that leaves its folder": zipped(__escaped=b"x"),
        "tar that leaves its folder": tarred("../../escaped", b"x"),
        "svg with a script": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "playlist of another file": b"#EXTM3U\n#EXTINF:10,\n/etc/passwd\n",
        "list of files to join": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "xml with an entity": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        "head of an mp4": VIDEO.read_bytes()[:4000],
        "mp4 with a hole": VIDEO.read_bytes()[:20_000] + bytes(20_000),
        "text": b"I am Actor A.",
        "nothing": b"",
    }


@pytest.mark.parametrize("role", ["portrait", "video"])
@pytest.mark.parametrize("suffix", [".jpg", ".mp4", ".pt"])
def test_hostile_files_are_refused_and_never_run(
    role: str, suffix: str, store: ConsentStore, tmp_path: Path, tally: Tally
) -> None:
    issued, target = ask(store), tmp_path / "bomb-went-off"
    for name, content in hostile_files(target).items():
        path = tmp_path / f"hostile{suffix}"
        path.write_bytes(content)
        given = {"portrait": PORTRAIT, "video": VIDEO, role: path}
        with pytest.raises(InputError) as refusal:
            enroll_from_files(store, challenge_id=issued.id, now=NOW, **given)
        tally.note(f"hostile file as {role}", [type(refusal.value).__name__])
        assert str(refusal.value), name
        assert "root:" not in str(refusal.value)
    assert not target.exists()
    assert not list(tmp_path.rglob("*escaped*"))
    assert get_challenge(store, issued.id, NOW) == issued
    assert list_cameos(store) == []


def test_hostile_motion_files_are_refused_and_never_run(tmp_path: Path, tally: Tally) -> None:
    from portrait_anim.pipelines.motion_file import load_motion

    target = tmp_path / "bomb-went-off"
    header = json.dumps({"motion": {"dtype": "F32", "shape": [10**9, 256], "data_offsets": [0, 16]}}).encode()
    lies = len(header).to_bytes(8, "little") + header + bytes(16)
    for content in [*hostile_files(target).values(), lies, (2**63).to_bytes(8, "little")]:
        path = tmp_path / "motion.safetensors"
        path.write_bytes(content)
        with pytest.raises(InputError) as refusal:
            load_motion(path)
        tally.note("hostile file as motion", [type(refusal.value).__name__])
    assert not target.exists()


CRAFTED = (
    "me'; DROP TABLE cameos; --.mp4", "$(touch owned).mp4", "`touch owned`.mp4", "-i.mp4", "a\nb.mp4", "%n%s.mp4",
    "..mp4", "\u202e4pm.exe.mp4", "CON.mp4", "a" * 200 + ".mp4", "concat:a|b.mp4",
)  # fmt: skip


def test_names_of_files_are_only_names(store: ConsentStore, tmp_path: Path, tally: Tally) -> None:
    issued, folder = ask(store), tmp_path / "in"
    folder.mkdir()
    for name in CRAFTED:
        path = folder / name
        path.write_bytes(b"no video")
        with pytest.raises(InputError) as refusal:
            enroll_from_files(store, challenge_id=issued.id, portrait=PORTRAIT, video=path, now=NOW)
        tally.note("crafted file name", [type(refusal.value).__name__])
    for name in (
        "../../../../etc/passwd",
        "/dev/zero",
        "/proc/self/mem",
        "http://127.0.0.1:9/a.mp4",
        "pipe:0",
        "a\0.mp4",
    ):
        for given in ({"video": Path(name)}, {"portrait": Path(name)}):
            call = {"portrait": PORTRAIT, "video": VIDEO, **given}
            with pytest.raises(InputError) as refusal:
                enroll_from_files(store, challenge_id=issued.id, now=NOW, **call)
            tally.note("crafted file name", [type(refusal.value).__name__])
    assert not list(Path().glob("owned"))
    assert {path.name for path in folder.iterdir()} == set(CRAFTED)
    assert get_challenge(store, issued.id, NOW) == issued


def test_a_file_too_large_is_refused_before_it_is_read(store: ConsentStore, tmp_path: Path, tally: Tally) -> None:
    issued = ask(store)
    for role, size in (("video", 600 << 20), ("portrait", 100 << 20)):
        path = tmp_path / f"{role}.mp4"
        with path.open("wb") as file:
            file.write(b"\0\0\0\x18ftypmp42")
            file.truncate(size)  # takes no room on the disk
        call = {"portrait": PORTRAIT, "video": VIDEO, role: path}
        with pytest.raises(InputError, match="at most"):
            enroll_from_files(store, challenge_id=issued.id, now=NOW, **call)
        tally.note("oversized upload", ["MediaError"])
    long = videos.film(tmp_path / "long.mp4", [np.zeros((64, 64, 3), np.uint8)] * 100, fps=Fraction(1))
    with pytest.raises(InputError, match="at most 90 s"):
        enroll_from_files(store, challenge_id=issued.id, portrait=PORTRAIT, video=long, now=NOW)
    tally.note("oversized upload", ["MediaError"])


def test_a_video_without_a_length_in_its_header_is_not_read_for_ever(
    store: ConsentStore, tmp_path: Path, tally: Tally
) -> None:
    issued, path = ask(store), tmp_path / "endless.webm"
    with av.open(str(path), "w", format="webm", options={"live": "1"}) as container:
        stream = container.add_stream("libvpx", rate=2)
        stream.width = stream.height = 96
        small = cv2.resize(read_image(PORTRAIT), (96, 96))
        for packet in (packet for _ in range(300) for packet in stream.encode(av.VideoFrame.from_ndarray(small))):
            container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    assert probe(path).duration_s == 0
    with pytest.raises(InputError, match="at most 90 s and 5400 frames, got more than 18"):
        enroll_from_files(store, challenge_id=issued.id, portrait=PORTRAIT, video=path, now=NOW)
    tally.note("oversized upload", ["MediaError"])
    assert get_challenge(store, issued.id, NOW) == issued


def test_another_portrait_than_the_one_asked_about_is_refused(
    attack: Callable[..., list[str]], store: ConsentStore
) -> None:
    assert attack("portrait exchanged", VIDEO, portrait=OTHER, challenge=ask(store)) == ["portrait_mismatch"]


def test_late_and_early_answers_are_refused(attack: Callable[..., list[str]]) -> None:
    for shift in (timedelta(minutes=10), timedelta(days=1), timedelta(seconds=-1)):
        assert attack("late or early answer", VIDEO, now=NOW + shift) == ["challenge_expired"]
