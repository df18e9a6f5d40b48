"""Attacks on enrolment. Every one must be refused; each prints how many were tried and what refused them."""

from __future__ import annotations

import io
import json
import pickle
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import av
import numpy as np
import pytest

from portrait_anim.consent.evidence import EnrolmentPolicy
from portrait_anim.consent.ledger import Ledger
from portrait_anim.consent.records import Challenge
from portrait_anim.consent.registry import get_challenge, list_cameos
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.enrolment import enroll_from_files, issue_challenge_for
from portrait_anim.errors import ConsentDenied, InputError, LivenessFailed
from portrait_anim.media.image import read_image
from portrait_anim.weights import samples_dir

from . import attacks

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
SAMPLES = samples_dir()
PORTRAIT, OTHER, VIDEO = (SAMPLES / name for name in ("portrait.jpg", "portrait_b.jpg", "challenge.mp4"))
PERFORMED = tuple(step["action"] for step in json.loads((SAMPLES / "challenge.json").read_text())["actions"])


class Scripted(Random):
    """A source of randomness that draws given actions."""

    def __init__(self, actions: Sequence[str] = PERFORMED) -> None:
        super().__init__()  # ids differ
        self.actions = list(actions)

    def sample(self, population: Sequence[Any], k: int, **_: Any) -> list[Any]:
        return self.actions


@dataclass
class Tally:
    """What was tried and what refused it."""

    tried: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)

    def note(self, attack: str, reasons: Sequence[str]) -> None:
        self.tried[attack] += 1
        self.refused[attack] += bool(reasons)
        self.reasons.setdefault(attack, Counter()).update(reasons)


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    counted = Tally()
    yield counted
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        for attack, tried in counted.tried.items():
            by = ", ".join(f"{reason} {count}" for reason, count in counted.reasons[attack].most_common())
            sys.stdout.write(f"\n  {attack}: {counted.refused[attack]} of {tried} refused ({by})")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConsentStore]:
    with open_store(tmp_path / "home") as opened:
        yield opened


def ask(
    store: ConsentStore, *, portrait: Path = PORTRAIT, actions: Sequence[str] = PERFORMED, **changes: Any
) -> Challenge:
    call = {"name": "Actor A", "adult_declared": True, "now": NOW, "code_policy": "off", **changes}
    return issue_challenge_for(store, portrait=portrait, random=Scripted(actions), num_actions=6, **call)


@pytest.fixture
def attack(store: ConsentStore, tally: Tally) -> Callable[..., list[str]]:
    """Hand in a video; return the failed checks and steps, after making sure that nobody was enrolled."""

    def run(name: str, video: Path, *, portrait: Path = PORTRAIT, challenge: Challenge | None = None, **changes: Any):
        issued = challenge or ask(store, portrait=portrait)
        before = list_cameos(store)
        try:
            enroll_from_files(store, challenge_id=issued.id, portrait=portrait, video=video, **{"now": NOW, **changes})
        except LivenessFailed as error:
            (row,) = [row for row in Ledger(store).rows(kind="enrolment_refused") if row.challenge_id == issued.id]
            failed = list(row.payload["failed_checks"])  # type: ignore[call-overload]
            failed += ["step"] * any(failure.startswith("step ") for failure in error.failures)
            words = list(error.failures)
        except (ConsentDenied, InputError) as error:
            failed, words = [getattr(error, "reason", type(error).__name__)], [str(error)]
        else:
            failed, words = [], []
        tally.note(name, failed)
        assert failed, f"{name} was accepted"
        assert all(words)
        assert list_cameos(store) == before
        return failed

    return run


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return attacks.frames_of(VIDEO)


# -- files that are no portrait and no video; quick ---------------------------------------------------------------


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
    long = attacks.film(tmp_path / "long.mp4", [np.zeros((64, 64, 3), np.uint8)] * 100, fps=Fraction(1))
    with pytest.raises(InputError, match="at most 90 s"):
        enroll_from_files(store, challenge_id=issued.id, portrait=PORTRAIT, video=long, now=NOW)
    tally.note("oversized upload", ["MediaError"])


def test_another_portrait_than_the_one_asked_about_is_refused(
    attack: Callable[..., list[str]], store: ConsentStore
) -> None:
    assert attack("portrait exchanged", VIDEO, portrait=OTHER, challenge=ask(store)) == ["portrait_mismatch"]


def test_late_and_early_answers_are_refused(attack: Callable[..., list[str]]) -> None:
    for shift in (timedelta(minutes=10), timedelta(days=1), timedelta(seconds=-1)):
        assert attack("late or early answer", VIDEO, now=NOW + shift) == ["challenge_expired"]


# -- videos that are judged; slow -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_honest_video_passes_and_its_copies_do_not(
    store: ConsentStore, attack: Callable[..., list[str]], frames: list[np.ndarray], tmp_path: Path
) -> None:
    cameo = enroll_from_files(store, challenge_id=ask(store).id, portrait=PORTRAIT, video=VIDEO, now=NOW)
    assert cameo.kind == "real"
    (row,) = Ledger(store).rows(kind="enrolled")
    assert row.payload["failed_checks"] == []
    again = {"challenge": None, "portrait": PORTRAIT}
    assert "replay" in attack("replay, same file", VIDEO, **again)
    dimmed = [(0.85 * frame[:300, 8:308]).astype(np.uint8) for frame in frames[8:]]
    copies = {
        "encoded anew": attacks.film(tmp_path / "a.mp4", frames, crf=26),
        "cropped, dimmed, trimmed": attacks.film(tmp_path / "b.mp4", dimmed, crf=24),
        "mirrored": attacks.film(tmp_path / "c.mp4", [frame[:, ::-1] for frame in frames]),
    }
    for name, copy in copies.items():
        assert "replay" in attack(f"replay, {name}", copy, **again)


@pytest.mark.slow
def test_another_persons_portrait_is_refused(attack: Callable[..., list[str]]) -> None:
    assert "identity" in attack("wrong person", VIDEO, portrait=OTHER)


@pytest.mark.slow
def test_the_wrong_order_is_refused(attack: Callable[..., list[str]], store: ConsentStore) -> None:
    assert "step" in attack("wrong order", VIDEO, challenge=ask(store, actions=PERFORMED[::-1]))


@pytest.mark.slow
def test_a_mirrored_video_is_refused(
    attack: Callable[..., list[str]], frames: list[np.ndarray], tmp_path: Path
) -> None:
    assert "step" in attack("mirrored", attacks.film(tmp_path / "m.mp4", [frame[:, ::-1] for frame in frames]))


@pytest.mark.slow
def test_a_cut_is_refused(attack: Callable[..., list[str]], frames: list[np.ndarray], tmp_path: Path) -> None:
    moved = [np.roll(frame, 6, axis=1) for frame in frames[150:]]
    cuts = {"jump": frames[:62] + frames[86:], "moved camera": frames[:150] + moved}
    for name, shown in cuts.items():
        failed = attack(f"cut, {name}", attacks.film(tmp_path / "cut.mp4", shown))
        assert {"continuity", "scene"} & set(failed)


@pytest.mark.slow
def test_a_late_step_is_refused(attack: Callable[..., list[str]], frames: list[np.ndarray], tmp_path: Path) -> None:
    rest = frames[55:60]
    swing = (rest + rest[::-1]) * 15  # ten seconds of rest without a jump
    assert "step" in attack("late step", attacks.film(tmp_path / "late.mp4", frames[:55] + swing + frames[55:]))


@pytest.mark.slow
def test_a_recording_from_before_the_challenge_is_refused(attack: Callable[..., list[str]], tmp_path: Path) -> None:
    old = tmp_path / "old.mp4"
    with av.open(str(VIDEO)) as source, av.open(str(old), "w") as target:
        target.metadata["creation_time"] = "2029-12-31T20:00:00.000000Z"
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    assert attack("recorded before the challenge", old) == ["recorded_at"]


@pytest.mark.slow
def test_a_still_photo_is_refused(attack: Callable[..., list[str]], tmp_path: Path) -> None:
    photo = read_image(PORTRAIT)
    count = 180
    still = attacks.waved(photo, [0.0] * count, [0.0] * count)
    phase = np.arange(count) / 15.0
    turns = 28.0 * np.clip(1.4 * np.sin(np.pi * (phase - 1.5) / 2.0), 0, 1) * ((phase > 1.5) & (phase < 3.5))
    nods = -16.0 * np.clip(1.4 * np.sin(np.pi * (phase - 6) / 2.0), 0, 1) * ((phase > 6) & (phase < 8))
    videos = {"held still": still, "waved": attacks.waved(photo, turns, nods)}
    for name, shown in videos.items():
        failed = attack(f"still photo, {name}", attacks.film(tmp_path / "photo.mp4", shown))
        assert {"alive", "solid"} & set(failed)


@pytest.mark.slow
@pytest.mark.parametrize(("pitch", "focus", "crf"), [(2.7, 0.2, 18), (2.7, 0.35, 23), (2.2, 0.5, 18), (4.1, 0.3, 23)])
def test_a_sharply_filmed_screen_is_refused(
    pitch: float, focus: float, crf: int, attack: Callable[..., list[str]], frames: list[np.ndarray], tmp_path: Path
) -> None:
    shown = attacks.shown_on_screen(frames, pitch=pitch, focus=focus)
    assert "screen" in attack("filmed screen", attacks.film(tmp_path / "screen.mp4", shown, crf=crf))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The other actor as our own program shows them performing the challenge."""
    from portrait_anim import studio
    from portrait_anim.consent.grants import grant
    from portrait_anim.enrolment import enroll_fictional_from_file

    folder = tmp_path_factory.mktemp("generated")
    with open_store(folder / "home") as store:
        now = datetime.now(timezone.utc)
        cameo = enroll_fictional_from_file(store, portrait=OTHER, name="B", statement="Rendered.", now=now)
        grant(
            store, cameo.id, grantee="operator", purpose="test", allowed_contexts=["animate"],
            expires=now + timedelta(hours=3), max_renders=1, max_seconds=60.0, now=now,
        )  # fmt: skip
    result = studio.animate(
        OTHER, VIDEO, cameo=cameo.id, output=folder / "b.mp4", home=folder / "home", purpose="test", audio="none"
    )
    return result.path


@pytest.mark.slow
def test_our_own_generated_video_is_refused(
    attack: Callable[..., list[str]], generated: Path, store: ConsentStore, tmp_path: Path
) -> None:
    assert "origin" in attack("generated by us, signed", generated, portrait=OTHER)
    bare = attacks.film(tmp_path / "bare.mp4", attacks.frames_of(generated, 480), crf=23)
    assert "origin" in attack("generated by us, signature stripped, encoded anew", bare, portrait=OTHER)


@pytest.mark.slow
def test_a_person_swapped_in_the_middle_is_refused(
    attack: Callable[..., list[str]], generated: Path, frames: list[np.ndarray], tmp_path: Path
) -> None:
    others = attacks.frames_of(generated)
    half = len(frames) // 2
    spans = {"second half": (half, len(frames)), "a second and a half": (half, half + 23)}
    for name, (start, end) in spans.items():
        shown = [others[i] if start <= i < end else frame for i, frame in enumerate(frames)]
        failed = attack(f"swapped person, {name}", attacks.film(tmp_path / "swap.mp4", shown))
        assert {"identity", "continuity", "scene"} & set(failed)


@pytest.mark.slow
def test_the_check_of_age_of_a_deployment_decides(attack: Callable[..., list[str]]) -> None:
    def refuses(**_: Any) -> str:
        return "the register says 16"

    def breaks(**_: Any) -> None:
        raise RuntimeError("the register cannot be reached")

    for check in (refuses, breaks):
        assert attack("refused by the check of age", VIDEO, policy=EnrolmentPolicy(age_check=check)) == ["age"]


@pytest.mark.slow
def test_a_silent_video_does_not_answer_a_required_code(attack: Callable[..., list[str]], store: ConsentStore) -> None:
    assert attack("no code spoken", VIDEO, challenge=ask(store, code_policy="required")) == ["code"]
