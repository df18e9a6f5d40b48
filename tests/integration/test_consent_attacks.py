"""Attacks on enrolment. Every one must be refused; each prints how many were tried and what refused them."""

from __future__ import annotations

import functools
import io
import itertools
import json
import pickle
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import av
import numpy as np
import pytest

from portrait_anim.consent import registry
from portrait_anim.consent.challenges import draw_actions, issue_challenge
from portrait_anim.consent.evidence import EnrolmentPolicy, RecordingEvidence
from portrait_anim.consent.ledger import Ledger
from portrait_anim.consent.liveness import verify_challenge
from portrait_anim.consent.recording_checks import code_was_said
from portrait_anim.consent.records import Cameo, Challenge, LivenessFrame
from portrait_anim.consent.registry import get_challenge, list_cameos
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.enrolment import MeasuredPortrait, enroll_from_files, measure_portrait
from portrait_anim.errors import ConsentDenied, InputError, LivenessFailed
from portrait_anim.face.identity import load_identity_encoder
from portrait_anim.media.image import read_image
from portrait_anim.observation import Watched, gather_evidence, observe
from portrait_anim.recording_origin import origin_marks, recorded_at
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


@functools.cache
def person(portrait: Path) -> MeasuredPortrait:
    """A sample portrait, measured once."""
    return measure_portrait(portrait)


def ask(
    store: ConsentStore, *, portrait: Path = PORTRAIT, actions: Sequence[str] = PERFORMED, **changes: Any
) -> Challenge:
    call = {"name": "Actor A", "adult_declared": True, "now": NOW, "code_policy": "off", **changes}
    return issue_challenge(
        store, portrait_digest=person(portrait).digest, random=Scripted(actions), num_actions=6, **call
    )


@dataclass(frozen=True)
class Measured:
    """A video that was measured once, as `enroll_from_files` measures it, to be judged several times."""

    observations: list[LivenessFrame]
    evidence: RecordingEvidence


def measure(store: ConsentStore, video: Path) -> Measured:
    watched = Watched()
    observations = list(observe(video, load_identity_encoder("dlib"), watched=watched))
    challenge, policy = ask(store), EnrolmentPolicy()
    evidence = gather_evidence(challenge, PORTRAIT, video, watched=watched, policy=policy)
    return Measured(observations=observations, evidence=evidence)


def hand_in(
    store: ConsentStore, challenge: Challenge, video: Path | Measured, portrait: Path = PORTRAIT, **changes: Any
) -> Cameo:
    """Enrol from files, or from what was measured in a file before."""
    call = {"challenge_id": challenge.id, "now": NOW, **changes}
    if isinstance(video, Path):
        return enroll_from_files(store, portrait=portrait, video=video, **call)
    return registry.enroll(
        store,
        portrait_embedding=person(portrait).embedding,
        portrait_digest=person(portrait).digest,
        observations=video.observations,
        evidence=video.evidence,
        **call,
    )


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """The sample video, measured."""
    with open_store(tmp_path_factory.mktemp("measured") / "home") as store:
        return measure(store, VIDEO)


@pytest.fixture
def attack(store: ConsentStore, tally: Tally) -> Callable[..., list[str]]:
    """Hand in a video; return the failed checks and steps, after making sure that nobody was enrolled."""

    def run(
        name: str,
        video: Path | Measured,
        *,
        portrait: Path = PORTRAIT,
        challenge: Challenge | None = None,
        **changes: Any,
    ) -> list[str]:
        issued = challenge or ask(store, portrait=portrait)
        before = list_cameos(store)
        try:
            hand_in(store, issued, video, portrait, **changes)
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
    store: ConsentStore,
    attack: Callable[..., list[str]],
    honest: Measured,
    frames: list[np.ndarray],
    tmp_path: Path,
) -> None:
    assert hand_in(store, ask(store), honest).kind == "real"
    (row,) = Ledger(store).rows(kind="enrolled")
    assert row.payload["failed_checks"] == []
    assert attack("replay, same file", honest) == ["replay"]
    dimmed = [(0.85 * frame[:300, 8:308]).astype(np.uint8) for frame in frames[8:]]
    copies = {
        "encoded anew": attacks.film(tmp_path / "a.mp4", frames, crf=26),
        "cropped, dimmed, trimmed, mirrored": attacks.film(tmp_path / "b.mp4", [f[:, ::-1] for f in dimmed], crf=24),
    }
    for name, copy in copies.items():
        assert "replay" in attack(f"replay, {name}", copy)


@pytest.mark.slow
def test_another_persons_portrait_is_refused(attack: Callable[..., list[str]], honest: Measured) -> None:
    assert attack("wrong person", honest, portrait=OTHER) == ["identity"]


@pytest.mark.slow
def test_other_orders_and_other_steps_are_refused(
    attack: Callable[..., list[str]], store: ConsentStore, honest: Measured
) -> None:
    orders = set(itertools.islice(itertools.permutations(PERFORMED), 1, 720, 29))
    for order in orders - {PERFORMED}:
        assert "step" in attack("wrong order", honest, challenge=ask(store, actions=order))
    for seed in range(25):
        drawn = draw_actions(Random(seed))
        assert drawn != PERFORMED[: len(drawn)]
        failed = attack("another challenge", honest, challenge=ask(store, actions=drawn))
        assert {"step", "order"} & set(failed)


@pytest.mark.slow
def test_look_alikes_are_refused_as_often_as_the_threshold_says(
    honest: Measured, store: ConsentStore, tally: Tally
) -> None:
    """Portraits of other synthetic people, handed in with the actor's video."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "portraits"
    if not folder.is_dir():
        pytest.skip("the portraits of synthetic people are not beside this checkout")
    young = {f"{int(number):04d}" for number in (folder / "omi_young_ids.txt").read_text().split()}
    others = [path for path in sorted((folder / "omi").iterdir()) if path.stem not in young][::20]
    challenge = ask(store)
    accepted = 0
    for path in others:
        other = measure_portrait(path, face="largest").embedding
        report = verify_challenge(challenge, honest.observations, other, evidence=honest.evidence)
        tally.note("look-alike among strangers", [check.name for check in report.checks if not check.passed])
        accepted += report.passed
    assert accepted == 0


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
def test_a_recording_from_before_the_challenge_is_refused(
    attack: Callable[..., list[str]], honest: Measured, tmp_path: Path
) -> None:
    old = tmp_path / "old.mp4"
    with av.open(str(VIDEO)) as source, av.open(str(old), "w") as target:
        target.metadata["creation_time"] = "2029-12-31T20:00:00.000000Z"
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    evidence = replace(honest.evidence, recorded_at=recorded_at(old))
    assert attack("recorded before the challenge", replace(honest, evidence=evidence)) == ["recorded_at"]


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.2, 2.5, 5.0])
def test_stretched_time_is_refused(factor: float, attack: Callable[..., list[str]], honest: Measured) -> None:
    frames = [replace(frame, time_s=frame.time_s * factor) for frame in honest.observations]
    attack("stretched time", replace(honest, observations=frames))


@pytest.mark.slow
def test_a_still_photo_is_refused(attack: Callable[..., list[str]], tmp_path: Path) -> None:
    photo = read_image(PORTRAIT)
    count = 120
    still = attacks.waved(photo, [0.0] * count, [0.0] * count)
    phase = np.arange(count) / 15.0
    turns = 28.0 * np.clip(1.4 * np.sin(np.pi * (phase - 1.5) / 2.0), 0, 1) * ((phase > 1.5) & (phase < 3.5))
    nods = -16.0 * np.clip(1.4 * np.sin(np.pi * (phase - 6) / 2.0), 0, 1) * ((phase > 6) & (phase < 8))
    videos = {"held still": still, "waved": attacks.waved(photo, turns, nods)}
    for name, shown in videos.items():
        failed = attack(f"still photo, {name}", attacks.film(tmp_path / "photo.mp4", shown))
        assert {"alive", "solid"} & set(failed)


@pytest.mark.slow
@pytest.mark.parametrize(("pitch", "focus", "crf"), [(2.7, 0.35, 23), (4.1, 0.3, 18)])
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
        OTHER, VIDEO, cameo=cameo.id, output=folder / "b.mp4", home=folder / "home", purpose="test", audio="none",
        start_s=9.0, end_s=10.6,
    )  # fmt: skip
    return result.path


@pytest.mark.slow
def test_our_own_generated_video_is_refused(
    attack: Callable[..., list[str]], generated: Path, honest: Measured, tmp_path: Path
) -> None:
    """The part that is generated is short; the rest of the evidence is that of an honest recording."""
    bare = attacks.film(tmp_path / "bare.mp4", attacks.frames_of(generated, 480), crf=23)
    for name, path in {"signed": generated, "signature stripped, encoded anew": bare}.items():
        evidence = replace(honest.evidence, marks=origin_marks(path))
        assert attack(f"generated by us, {name}", replace(honest, evidence=evidence)) [0] == "origin"


@pytest.mark.slow
def test_a_person_swapped_in_the_middle_is_refused(
    attack: Callable[..., list[str]], generated: Path, frames: list[np.ndarray], tmp_path: Path
) -> None:
    others = attacks.frames_of(generated)
    start = round(9.0 * attacks.FPS)
    shown = frames[:start] + others + frames[start + len(others) :]
    failed = attack("swapped person", attacks.film(tmp_path / "swap.mp4", shown))
    assert "identity" in failed
    assert {"continuity", "scene"} & set(failed)


@pytest.mark.slow
def test_faces_exchanged_in_the_measurements_are_refused(attack: Callable[..., list[str]], honest: Measured) -> None:
    """Only the identity changes, for one sample, at each place in turn: no cut betrays it."""
    other = person(OTHER).embedding
    sampled = [i for i, frame in enumerate(honest.observations) if frame.embedding is not None]
    for place in sampled:
        frames = list(honest.observations)
        frames[place] = replace(frames[place], embedding=other)
        assert "identity" in attack("swapped person, one sample", replace(honest, observations=frames))


@pytest.mark.slow
def test_a_silent_video_does_not_answer_a_required_code(
    attack: Callable[..., list[str]], store: ConsentStore, honest: Measured
) -> None:
    assert attack("no code spoken", honest, challenge=ask(store, code_policy="required")) == ["code"]
    random = Random(7)
    for _ in range(40):
        evidence = replace(honest.evidence, has_sound=True, heard=f"{random.randrange(10**6):06d}")
        challenge = ask(store, code_policy="required")
        if not code_was_said(challenge.code, evidence.heard or ""):
            assert "code" in attack("another code", replace(honest, evidence=evidence), challenge=challenge)
