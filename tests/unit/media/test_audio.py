from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from portrait_anim.errors import MediaError
from portrait_anim.media.audio import AudioReader, read_audio


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz", "channels"),
    [
        ("a.wav", "pcm_s16le", 8000, 1),
        ("a.wav", "pcm_s24le", 44100, 2),
        ("a.wav", "pcm_u8", 22050, 1),
        ("a.flac", "flac", 96000, 2),
        ("a.mp3", "libmp3lame", 44100, 2),
        ("a.ogg", "libopus", 48000, 1),
        ("a.m4a", "aac", 32000, 2),
        ("a.mka", "ac3", 48000, 2),
    ],
)
def test_codecs(make_sound, click, loudest_s, name, codec, rate_hz, channels):
    samples = click(0.7, rate_hz=rate_hz, duration_s=1.5, channels=channels)
    track = read_audio(make_sound(name, codec, rate_hz, samples))
    assert (track.sample_rate_hz, track.samples.shape[0]) == (rate_hz, channels)
    assert track.samples.dtype == np.float32
    assert np.abs(track.samples).max() <= 1
    assert np.abs(track.samples).max() > 0.4
    assert track.duration_s == pytest.approx(1.5, abs=0.06)
    assert loudest_s(track.samples, rate_hz) == pytest.approx(0.705, abs=0.03)


def test_surround_is_mixed_down(make_sound, click):
    samples = click(0.5, rate_hz=48000, duration_s=1, channels=6)
    track = read_audio(make_sound("a.mka", "flac", 48000, samples))
    assert track.samples.shape[0] == 2
    assert np.abs(track.samples).max() <= 1


@pytest.mark.parametrize(("name", "codec"), [("v.mp4", "aac"), ("v.mkv", "flac"), ("v.webm", "libopus")])
@pytest.mark.parametrize("start_s", [0, 0.3, 1.9])
def test_in_sync_with_the_picture(make_clip, click, loudest_s, name, codec, start_s):
    sound = (codec, 48000, click(2.0, rate_hz=48000, duration_s=3))
    video = "libvpx-vp9" if name == "v.webm" else "libx264"
    path = make_clip(name, num_frames=75, codec=video, sound=sound)
    track = read_audio(path, start_s=start_s, end_s=2.5)
    assert loudest_s(track.samples, 48000) + start_s == pytest.approx(2.005, abs=0.004)
    assert track.duration_s == pytest.approx(2.5 - start_s, abs=0.0005)


def test_picture_that_starts_late_moves_the_sound(make_clip, click, loudest_s):
    sound = ("flac", 48000, click(1.0, rate_hz=48000, duration_s=2))
    ticks = [400 + 40 * k for k in range(40)]
    path = make_clip("late.mkv", num_frames=40, ticks=ticks, time_base=Fraction(1, 1000), sound=sound)
    assert loudest_s(read_audio(path).samples, 48000) == pytest.approx(0.605, abs=0.004)


def test_blocks_join_and_can_be_read_twice(make_sound, click):
    path = make_sound("a.wav", "pcm_s16le", 16000, click(0.5, rate_hz=16000, duration_s=2))
    with AudioReader(path, start_s=0.25, end_s=1.75) as reader:
        first = np.concatenate(list(reader), axis=1)
        second = np.concatenate(list(reader), axis=1)
        left_open = iter(reader)
        next(left_open)
    assert list(left_open) == []
    assert np.array_equal(first, second)
    assert np.array_equal(first, read_audio(path, start_s=0.25, end_s=1.75).samples)
    assert first.shape == (1, 24000)


def test_streams(make_sound, peak_growth):
    path = make_sound("a.wav", "pcm_s16le", 48000, np.zeros((2, 48000 * 100), np.float32))
    setup = "from portrait_anim.media.audio import AudioReader\nlist(AudioReader(sys.argv[1], end_s=1))"
    body = "assert sum(block.shape[1] for block in AudioReader(sys.argv[1])) == 4_800_000"
    assert peak_growth(setup, body, path) < 8  # all of it is 38 MB


def test_no_sound(make_clip, tmp_path):
    path = make_clip("silent.mp4")
    assert read_audio(path) is None
    with pytest.raises(MediaError, match="sound"):
        AudioReader(path)
    Image.new("RGB", (4, 4)).save(tmp_path / "p.png")
    assert read_audio(tmp_path / "p.png") is None


def test_part_beyond_the_end(make_sound, click):
    path = make_sound("a.wav", "pcm_s16le", 8000, click(0.1, rate_hz=8000, duration_s=1))
    assert read_audio(path, start_s=5) is None
    with pytest.raises(MediaError, match="after the start"):
        read_audio(path, start_s=2, end_s=1)


def test_not_media(tmp_path):
    (tmp_path / "a.wav").write_text("hello" * 100)
    (tmp_path / "b.wav").touch()
    for name in ("a.wav", "b.wav", "c.wav"):
        with pytest.raises(MediaError, match="Expected"):
            read_audio(tmp_path / name)
