from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from portrait_anim.errors import MediaError
from portrait_anim.media.image import write_image
from portrait_anim.media.reader import VideoReader
from portrait_anim.provenance.fingerprint import (
    INDEX_RATE_HZ,
    SAME_PORTRAIT,
    SAME_RENDER,
    VideoFingerprint,
    fingerprint,
    hash_image,
    may_match,
    similarity,
)
from portrait_anim.types import UInt8Array

SAMPLES = Path(__file__).parents[3] / "demo" / "samples"
SIDE, FPS, FRAMES = 160, 25, 100


def scene(name: str, count: int = FRAMES) -> list[UInt8Array]:
    """Frames of a demo clip, at a size that a test can afford."""
    with VideoReader(SAMPLES / name) as reader:
        return [scaled(frame.image, SIDE) for frame in itertools.islice(reader, count)]


def write(path: Path, frames: list[UInt8Array], crf: int = 23) -> Path:
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options={"crf": str(crf), "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode())
    return path


def scaled(image: UInt8Array, side: int) -> UInt8Array:
    return np.asarray(Image.fromarray(image).resize((side, side)))


@pytest.fixture(scope="module")
def frames() -> list[UInt8Array]:
    return scene("driving.mp4")


@pytest.fixture(scope="module")
def known(frames: list[UInt8Array], tmp_path_factory: pytest.TempPathFactory) -> VideoFingerprint:
    return fingerprint(write(tmp_path_factory.mktemp("known") / "a.mp4", frames, crf=18), rate_hz=INDEX_RATE_HZ)


def test_times_and_number_of_samples(known: VideoFingerprint) -> None:
    assert len(known.times_s) == 32
    assert known.times_s[0] == 0
    assert np.diff(known.times_s) == pytest.approx(1 / INDEX_RATE_HZ, abs=0.04)


@pytest.mark.parametrize("change", ["strong", "small", "mirrored", "trimmed", "darker", "all"])
def test_changed_copies_are_the_same_render(
    change: str, frames: list[UInt8Array], known: VideoFingerprint, tmp_path: Path
) -> None:
    copies = {
        "strong": lambda: write(tmp_path / "x.mp4", frames, crf=38),
        "small": lambda: write(tmp_path / "x.mp4", [scaled(image, 80) for image in frames]),
        "mirrored": lambda: write(tmp_path / "x.mp4", [image[:, ::-1] for image in frames]),
        "trimmed": lambda: write(tmp_path / "x.mp4", frames[33:71]),
        "darker": lambda: write(tmp_path / "x.mp4", [(image * 0.7).astype(np.uint8) for image in frames]),
        "all": lambda: write(tmp_path / "x.mp4", [scaled(image[:, ::-1], 96) for image in frames[33:77]], crf=32),
    }
    copy = fingerprint(copies[change]())
    assert may_match(known, copy)
    assert similarity(known, copy) >= SAME_RENDER


def test_others_are_not(known: VideoFingerprint, tmp_path: Path) -> None:
    for name in ("driving_b.mp4", "challenge.mp4"):
        other = fingerprint(write(tmp_path / "b.mp4", scene(name, 50)))
        assert similarity(known, other) < SAME_PORTRAIT
        assert similarity(other, known) < SAME_PORTRAIT
    for name in ("portrait.jpg", "portrait_b.jpg"):
        assert similarity(known, fingerprint(SAMPLES / name)) < SAME_PORTRAIT


def test_a_clip_longer_than_the_known_one_is_found_by_its_part(
    frames: list[UInt8Array], known: VideoFingerprint, tmp_path: Path
) -> None:
    longer = scene("driving_b.mp4", 25) + frames
    assert similarity(known, fingerprint(write(tmp_path / "x.mp4", longer))) >= SAME_RENDER


def test_a_still_of_it_is_found(frames: list[UInt8Array], known: VideoFingerprint, tmp_path: Path) -> None:
    write_image(tmp_path / "still.png", frames[51])
    still = fingerprint(tmp_path / "still.png")
    assert still.duration_s == 0
    assert similarity(known, still) >= SAME_RENDER


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_bytes_round_trip_and_symmetry_of_mirroring(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, (count, 4), np.uint64, endpoint=False)
    one = VideoFingerprint(times_s=np.arange(count) / 2, hashes=hashes)
    again = VideoFingerprint.from_bytes(one.to_bytes())
    assert np.array_equal(one.times_s, again.times_s)
    assert np.array_equal(one.hashes, again.hashes)
    assert similarity(one, again) == pytest.approx(1.0, abs=0.01)


def test_mirroring_flips_odd_frequencies_only() -> None:
    image = scene("driving.mp4", 1)[0]
    different = hash_image(image) ^ hash_image(np.ascontiguousarray(image[:, ::-1]))
    bits = np.unpackbits(different.astype("<u8").view(np.uint8), bitorder="little").reshape(16, 16)
    assert bits[:, 1::2].mean() > 0.99
    assert bits[:, 0::2].mean() < 0.01


@pytest.mark.parametrize("data", [b"", b"PAF1", b"PAF1\x02\0\0\0" + bytes(40), b"XXXX\x01\0\0\0" + bytes(40)])
def test_damaged_bytes(data: bytes) -> None:
    with pytest.raises(ValueError, match="fingerprint"):
        VideoFingerprint.from_bytes(data)


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError):
        fingerprint(tmp_path / "x.mp4")
    with pytest.raises(MediaError):
        fingerprint(tmp_path / "absent.mp4")
    with pytest.raises(ValueError, match="rate above 0"):
        fingerprint(tmp_path / "x.mp4", rate_hz=0)
