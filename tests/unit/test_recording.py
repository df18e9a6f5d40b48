from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from portrait_anim.consent.evidence import EnrolmentPolicy
from portrait_anim.consent.recording_checks import first_cut
from portrait_anim.consent.records import Challenge
from portrait_anim.errors import MediaError
from portrait_anim.media.reader import VideoReader
from portrait_anim.media.writer import VideoWriter
from portrait_anim.observation import Watched, check_sizes, gather_evidence
from portrait_anim.recording import SceneWatcher, screen_pattern
from portrait_anim.recording_origin import file_digest, origin_marks, recorded_at, track_lengths
from portrait_anim.types import AudioTrack, FaceObservation, Frame
from portrait_anim.weights import samples_dir

SAMPLES = samples_dir()
VIDEO = SAMPLES / "challenge.mp4"
RANDOM = np.random.default_rng(0)
WALL = np.repeat(np.repeat(RANDOM.integers(0, 255, (40, 60, 3), dtype=np.uint8), 12, 0), 12, 1)  # (480, 720, 3)


def face_at(left: float, top: float, side: float) -> FaceObservation:
    box = np.array([left, top, left + side, top + side])
    return FaceObservation(box=box, landmarks=np.zeros((478, 2)), score=1.0)


def watch(images: list[np.ndarray], face: FaceObservation | None = None) -> SceneWatcher:
    watcher = SceneWatcher()
    for index, image in enumerate(images):
        watcher.see(Frame(image=image, time_s=index / 25, index=index), face)
    return watcher


def test_a_backdrop_that_moves_is_followed() -> None:
    images = [np.ascontiguousarray(WALL[:, 2 * step : 2 * step + 480]) for step in range(20)]
    samples = watch(images, face_at(180, 160, 120)).samples()
    assert samples.seen[1:].all()
    assert samples.backdrop[-1] == pytest.approx([-38, 0], abs=3)
    assert watch([images[0]] * 5).samples().backdrop[-1] == pytest.approx([0, 0], abs=0.1)


def test_a_plain_backdrop_is_not_followed() -> None:
    assert not watch([np.full((240, 320, 3), 128, np.uint8)] * 4).samples().seen[1:].any()


def test_a_cut_is_a_sudden_change() -> None:
    calm = [np.ascontiguousarray(WALL[:, step : step + 480]) for step in range(12)]
    other = [image[::-1] for image in calm]
    assert first_cut(watch(calm).samples()) is None
    assert first_cut(watch(calm + other).samples()) == pytest.approx(12 / 25)
    assert first_cut(watch([*calm, *(image[:240] for image in calm)]).samples()) == pytest.approx(12 / 25)


def test_a_raster_over_a_face_stands_out() -> None:
    with VideoReader(VIDEO) as reader:
        image = next(iter(reader)).image
    grey, box = image.mean(axis=2).astype(np.uint8), np.array([90.0, 90.0, 230.0, 230.0])
    own = screen_pattern(grey, box)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    raster = np.clip(grey + 9 * np.sin(2 * np.pi * (0.19 * x + 0.17 * y)), 0, 255).astype(np.uint8)
    shown = screen_pattern(raster, box)
    assert own is not None
    assert shown is not None
    assert own < 1.8
    assert shown > 2.3
    assert screen_pattern(grey, np.array([0.0, 0.0, 60.0, 60.0])) is None


def test_a_digest_is_that_of_the_file() -> None:
    assert file_digest(VIDEO) == hashlib.sha256(VIDEO.read_bytes()).hexdigest()


def stamped(path: Path, metadata: dict[str, str]) -> Path:
    with av.open(str(path), "w") as target:
        target.metadata.update(metadata)
        stream = target.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        for _ in range(3):
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")):
                target.mux(packet)
        for packet in stream.encode():
            target.mux(packet)
    return path


def test_the_camera_tells_when_it_recorded(tmp_path: Path) -> None:
    told = stamped(tmp_path / "a.mp4", {"creation_time": "2030-01-01T12:00:00.000000Z"})
    assert recorded_at(told) == datetime(2030, 1, 1, 12, tzinfo=timezone.utc)
    assert recorded_at(stamped(tmp_path / "b.mp4", {})) is None
    assert recorded_at(stamped(tmp_path / "c.mp4", {"creation_time": "1970-01-01T00:00:00Z"})) is None
    assert recorded_at(stamped(tmp_path / "d.mkv", {"creation_time": "yesterday"})) is None
    (tmp_path / "e.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError):
        recorded_at(tmp_path / "e.mp4")


def test_an_unsigned_recording_has_no_marks() -> None:
    assert origin_marks(SAMPLES / "driving_b.mp4") == ()


def test_a_recording_is_no_longer_or_larger_than_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MediaError, match="cannot be opened"):
        check_sizes(SAMPLES / "portrait.jpg", tmp_path / "absent.mp4")
    check_sizes(SAMPLES / "portrait.jpg", VIDEO)
    monkeypatch.setattr("portrait_anim.observation.MAX_VIDEO_FRAMES", 269)
    with pytest.raises(MediaError, match="at most 90 s and 269 frames, got 270 frames"):
        check_sizes(SAMPLES / "portrait.jpg", VIDEO)


def test_lengths_of_picture_and_sound_are_measured(tmp_path: Path) -> None:
    assert track_lengths(VIDEO) == (pytest.approx(18.0, abs=0.1), None)
    sound = AudioTrack(samples=RANDOM.normal(size=(1, 16_000)).astype(np.float32) * 0.1, sample_rate_hz=16_000)
    path = tmp_path / "film.mp4"
    with VideoWriter(path, fps=Fraction(10), size=(64, 64), audio=sound) as video:
        for _ in range(30):
            video.write(np.zeros((64, 64, 3), np.uint8))
    assert track_lengths(path) == (pytest.approx(3.0, abs=0.15), pytest.approx(1.0, abs=0.2))


def test_a_check_of_age_that_fails_refuses_and_the_log_names_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def check(**_: object) -> str | None:
        raise RuntimeError("no papers of Eve")

    path, now = tmp_path / "film.mp4", datetime(2030, 1, 1, tzinfo=timezone.utc)
    with VideoWriter(path, fps=Fraction(10), size=(64, 64)) as video:
        video.write(np.zeros((64, 64, 3), np.uint8))
    asked = Challenge(
        id="cha_0123456789abcdef", name="Eve", nonce="0", actions=("smile",), issued=now, expires=now,
        code_policy="off",
    )  # fmt: skip
    watched = Watched()
    watched.see(Frame(image=np.zeros((64, 64, 3), np.uint8), time_s=0.0, index=0), None, closely=False)
    evidence = gather_evidence(asked, path, path, watched=watched, policy=EnrolmentPolicy(age_check=check))
    assert evidence.age_refusal == "it could not be made; try again later"
    assert "cha_0123456789abcdef failed: RuntimeError" in caplog.text
    assert "Eve" not in caplog.text
