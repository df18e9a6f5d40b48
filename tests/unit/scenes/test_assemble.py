from __future__ import annotations

from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from portrait_anim.errors import MediaError
from portrait_anim.media.audio import read_audio
from portrait_anim.media.reader import VideoReader
from portrait_anim.media.writer import VideoWriter
from portrait_anim.provenance.claims import ConsentPart, ManifestClaims
from portrait_anim.provenance.verify import verify
from portrait_anim.scenes.assemble import Cut, assemble, change_rate, film_sound
from portrait_anim.types import AudioTrack, Float32Array

FPS = Fraction(25)


def tone(hz: float, seconds: float, rate: int) -> Float32Array:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate))[None].astype(np.float32)


def clip(path: Path, grey: int, frames: int, size: tuple[int, int], audio: AudioTrack | None = None) -> Cut:
    with VideoWriter(path, fps=FPS, size=size, audio=audio) as video:
        for _ in range(frames):
            video.write(np.full((size[1], size[0], 3), grey, np.uint8))
    return Cut(path=path, num_frames=frames)


def claims(*kinds: str) -> ManifestClaims:
    return ManifestClaims(
        cameo_id="cam_1",
        cameo_kind="fictional",
        grant_id="gra_1",
        permit_id="per_1",
        ledger_row="0" * 64,
        profile="lite",
        seed=0,
        created=datetime(2030, 1, 1, tzinfo=timezone.utc),
        software_version="0",
        parts=tuple(
            ConsentPart(cameo_id=f"cam_{n}", cameo_kind=kind, grant_id=f"gra_{n}", permit_id=f"per_{n}")  # type: ignore[arg-type]
            for n, kind in enumerate(kinds, start=1)
        ),
    )


def test_shots_follow_each_other_with_their_sound_and_everybodys_consent(tmp_path: Path) -> None:
    sound = AudioTrack(samples=tone(440, 2, 44_100), sample_rate_hz=44_100)
    cuts = [
        clip(tmp_path / "a.mp4", 60, 10, (96, 96)),
        clip(tmp_path / "b.mp4", 200, 15, (96, 128), sound),
        clip(tmp_path / "c.mp4", 120, 5, (96, 96)),
    ]
    film, told = tmp_path / "film.mp4", []
    assemble(
        cuts, film, fps=FPS, size=(96, 96), claims=claims("real", "fictional"), home=tmp_path / "home",
        on_frame=told.append,
    )  # fmt: skip
    with VideoReader(film) as reader:
        frames = [frame.image for frame in reader]
        assert reader.fps == FPS
    assert told == list(range(1, 31))
    assert [round(float(frame[40:56, 40:56].mean()), -1) for frame in frames] == [60] * 10 + [200] * 15 + [120] * 5
    # The tall shot keeps its shape: black left and right.
    assert frames[12][40:56, :8].mean() < 20
    track = read_audio(film)
    assert track is not None
    assert track.duration_s == pytest.approx(30 / 25, abs=0.05)
    loud = np.abs(track.samples).mean(axis=0)
    marks = [round(second * track.sample_rate_hz) for second in (0.0, 0.38, 0.42, 0.98, 1.02, 1.15)]
    silent, heard, after = (loud[a:b].mean() for a, b in zip(marks[::2], marks[1::2], strict=True))
    assert heard > 0.2
    assert max(silent, after) < 0.02
    report = verify(film, home=tmp_path / "home")
    assert report.ok
    assert "Joined from 2 renders" in " ".join(report.findings)
    assert [part["cameo_kind"] for part in report.claims["consent"]["parts"]] == ["real", "fictional"]


def test_a_short_file_is_held_and_a_long_one_is_cut(tmp_path: Path) -> None:
    short = Cut(path=clip(tmp_path / "a.mp4", 60, 4, (64, 64)).path, num_frames=6)
    long = Cut(path=clip(tmp_path / "b.mp4", 200, 9, (64, 64)).path, num_frames=5)
    film = tmp_path / "film.mp4"
    assemble([short, long], film, fps=FPS, size=(64, 64), claims=claims(), home=tmp_path / "home")
    with VideoReader(film) as reader:
        assert [frame.image.mean() > 130 for frame in reader] == [False] * 6 + [True] * 5


def test_a_shot_shown_much_smaller_gets_a_readable_label(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    assemble(
        [clip(tmp_path / "a.mp4", 60, 3, (512, 512))], film, fps=FPS, size=(128, 128), claims=claims(),
        home=tmp_path / "home",
    )  # fmt: skip
    with VideoReader(film) as reader:
        assert next(iter(reader)).image.std() > 3


def test_nothing_is_left_when_joining_is_stopped(tmp_path: Path) -> None:
    cuts = [clip(tmp_path / "a.mp4", 60, 10, (64, 64))]
    folder = tmp_path / "out"
    folder.mkdir()

    def stop(done: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assemble(
            cuts, folder / "film.mp4", fps=FPS, size=(64, 64), claims=claims(), home=tmp_path / "home", on_frame=stop
        )
    assert list(folder.iterdir()) == []


def test_no_shots_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="at least one"):
        assemble([], tmp_path / "film.mp4", fps=FPS, size=(64, 64), claims=claims(), home=tmp_path / "home")


def test_silent_shots_make_a_film_without_sound(tmp_path: Path) -> None:
    assert film_sound([clip(tmp_path / "a.mp4", 60, 3, (64, 64))], FPS) is None


@pytest.mark.parametrize(("old", "new"), [(44_100, 48_000), (48_000, 44_100), (16_000, 48_000), (48_000, 48_000)])
def test_changing_the_rate_keeps_the_tone(old: int, new: int) -> None:
    changed = change_rate(AudioTrack(samples=tone(440, 1, old), sample_rate_hz=old), new)
    assert changed.shape == (1, new)
    np.testing.assert_allclose(changed[:, 200:-200], tone(440, 1, new)[:, 200:-200], atol=2e-3)
