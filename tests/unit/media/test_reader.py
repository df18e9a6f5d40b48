from __future__ import annotations

import struct
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from portrait_anim.errors import MediaError
from portrait_anim.media.reader import VideoReader, probe

# a, b, c, d of the display matrix -> what numpy does to the stored picture
DISPLAY = {
    "as it is": ((1, 0, 0, 1), 0, lambda image: image),
    "clockwise 90": ((0, 1, -1, 0), 90, lambda image: np.rot90(image, -1)),
    "half turn": ((-1, 0, 0, -1), 180, lambda image: np.rot90(image, 2)),
    "clockwise 270": ((0, -1, 1, 0), 270, lambda image: np.rot90(image, 1)),
    "mirrored": ((-1, 0, 0, 1), 180, lambda image: image[:, ::-1]),
}


def set_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a display matrix where phones write it: into the track header."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def read(path: Path, **part: float) -> list:
    with VideoReader(path, **part) as frames:
        return list(frames)


def corner(frame, row: int = -4, column: int = -4) -> int:
    return int(frame.image[row, column].mean())


def test_constant_rate(make_clip, level):
    frames = read(make_clip("clip.mp4", num_frames=12, fps=Fraction(30000, 1001)))
    assert [frame.index for frame in frames] == list(range(12))
    times = [k * 1001 / 30000 for k in range(12)]
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=1e-9)
    assert [corner(frame) for frame in frames] == pytest.approx([level(k) for k in range(12)], abs=2)
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[0].image.dtype == np.uint8
    assert frames[0].image.flags.c_contiguous


def test_variable_rate_keeps_true_timestamps(make_clip, level):
    ticks = [0, 40, 73, 200, 1200, 1216, 1300]
    path = make_clip("vfr.mkv", num_frames=7, ticks=ticks, time_base=Fraction(1, 1000))
    frames = read(path)
    assert [frame.time_s for frame in frames] == pytest.approx([tick / 1000 for tick in ticks])
    assert [corner(frame) for frame in frames] == pytest.approx([level(k) for k in range(7)], abs=2)


def test_b_frames_come_in_order_of_presentation(make_clip, level):
    path = make_clip("b.mp4", num_frames=30, options={"bf": "3", "b-adapt": "0"})
    frames = read(path)
    assert [corner(frame) for frame in frames] == pytest.approx([level(k) for k in range(30)], abs=2)
    assert frames[0].time_s == 0


@pytest.mark.parametrize("case", DISPLAY)
def test_rotation(make_clip, picture, case):
    matrix, degrees, turned = DISPLAY[case]
    path = make_clip("rotated.mp4", num_frames=2)
    set_display_matrix(path, matrix)
    frame = read(path)[0]
    expected = turned(picture(0, 64, 48))
    assert frame.image.shape == expected.shape
    inner = np.abs(frame.image.astype(int) - expected)[3:-3, 3:-3]
    assert np.median(inner) <= 3
    assert (inner > 60).mean() < 0.1
    info = probe(path)
    assert (info.width, info.height, info.rotation_deg) == (expected.shape[1], expected.shape[0], degrees)


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "size"),
    [
        ("ten.mkv", "libx264", "yuv420p10le", (64, 48)),
        ("odd.mkv", "ffv1", "yuv444p", (63, 47)),
        ("odd420.mkv", "ffv1", "yuv420p", (63, 47)),
        ("rgb.mkv", "ffv1", "bgr0", (64, 48)),
        ("full.mkv", "mjpeg", "yuvj420p", (64, 48)),
        ("grey.mkv", "ffv1", "gray", (64, 48)),
        ("vp9.webm", "libvpx-vp9", "yuv420p", (64, 48)),
        ("old.avi", "mpeg4", "yuv420p", (64, 48)),
        ("stream.ts", "libx264", "yuv420p", (64, 48)),
        ("quick.mov", "prores_ks", "yuv422p10le", (64, 48)),
    ],
)
def test_pixel_formats_and_containers(make_clip, picture, name, codec, pixels, size):
    frames = read(make_clip(name, codec=codec, pixels=pixels, size=size))
    assert len(frames) == 10
    assert frames[0].time_s == 0
    expected = picture(3, *size)
    if pixels == "gray":
        expected = np.repeat((expected @ [0.299, 0.587, 0.114]).astype(np.uint8)[..., None], 3, axis=2)
    assert frames[3].image.shape == expected.shape
    assert np.median(np.abs(frames[3].image.astype(int) - expected)) <= 4
    assert np.abs(frames[3].image[:8, :8].astype(int) - expected[:8, :8]).max() <= 16


def test_pixels_that_are_not_square(make_clip):
    path = make_clip("wide.mkv", pixel_ratio=Fraction(3, 2), size=(64, 48))
    assert (probe(path).width, probe(path).height) == (96, 48)
    assert read(path)[0].image.shape == (48, 96, 3)


def test_part_of_a_clip(make_clip, level):
    path = make_clip("long.mp4", num_frames=50)
    frames = read(path, start_s=1.0, end_s=1.4)
    assert [frame.time_s for frame in frames] == pytest.approx([k / 25 for k in range(10)])
    assert [frame.index for frame in frames] == list(range(10))
    assert [corner(frame) for frame in frames] == pytest.approx([level(25 + k) for k in range(10)], abs=2)


def test_the_frame_on_screen_at_the_start_comes_first(make_clip, level):
    path = make_clip("vfr.mkv", num_frames=3, ticks=[0, 1000, 5000], time_base=Fraction(1, 1000))
    frames = read(path, start_s=2.5)
    assert [frame.time_s for frame in frames] == pytest.approx([0, 2.5])
    assert [corner(frame) for frame in frames] == pytest.approx([level(1), level(2)], abs=2)
    assert [corner(frame) for frame in read(path, start_s=2.5, end_s=4)] == pytest.approx([level(1)], abs=2)


def test_seeking_does_not_decode_what_comes_before(make_clip):
    path = make_clip("long.mp4", num_frames=200, gop=10, noise=True, container={"movflags": "+faststart"})
    whole = read(path, start_s=7.0)
    data = bytearray(path.read_bytes())
    first, last = len(data) // 10, len(data) // 2  # the first frame stays, for `probe`
    data[first:last] = bytes(last - first)
    path.write_bytes(data)
    again = read(path, start_s=7.0)
    assert len(again) == len(whole) == 25
    assert all(np.array_equal(one.image, two.image) for one, two in zip(whole, again, strict=True))
    with pytest.raises(MediaError, match="damaged"):
        read(path)


def test_can_be_read_twice_and_left_early(make_clip):
    with VideoReader(make_clip("clip.mp4")) as frames:
        first = next(iter(frames))
        assert [frame.index for frame in islice(frames, 3)] == [0, 1, 2]
        everything = list(frames)
    assert len(everything) == 10
    assert np.array_equal(first.image, everything[0].image)


def test_two_iterations_do_not_disturb_each_other(make_clip):
    with VideoReader(make_clip("clip.mp4")) as frames:
        pairs = [(one.index, two.index) for one, two in zip(frames, frames, strict=True)]
        left_open = iter(frames)
        next(left_open)
    assert pairs == [(k, k) for k in range(10)]
    assert list(left_open) == []


def test_stream_without_a_container(make_clip, level):
    path = make_clip("raw.h264", num_frames=60, gop=10, options={"bf": "0"})
    assert len(read(path)) == 60
    assert corner(read(path, start_s=1.0)[0]) == pytest.approx(level(25), abs=2)


def test_frames_stream(make_clip, peak_growth):
    """Fifteen times as many frames must not need more memory."""
    paths = [
        make_clip(f"{count}.mp4", num_frames=count, size=(320, 240), options={"preset": "ultrafast"})
        for count in (30, 450)
    ]
    setup = "from portrait_anim.media.reader import VideoReader\nassert sum(1 for _ in VideoReader(sys.argv[1])) == 30"
    body = "assert sum(1 for _ in VideoReader(sys.argv[2])) == 450"
    assert peak_growth(setup, body, *paths) < 10  # all of them are 104 MB


def test_probe(make_clip, click):
    sound = ("aac", 48000, click(0.1, rate_hz=48000, duration_s=0.5))
    info = probe(make_clip("clip.mp4", num_frames=12, fps=Fraction(24000, 1001), sound=sound))
    assert (info.width, info.height, info.fps, info.num_frames) == (64, 48, Fraction(24000, 1001), 12)
    assert (info.has_audio, info.codec, info.rotation_deg) == (True, "h264", 0)
    assert info.duration_s == pytest.approx(12 * 1001 / 24000, abs=0.01)


def test_probe_of_variable_rate_gives_the_average(make_clip):
    ticks = [0, 40, 73, 200, 1000]
    path = make_clip("vfr.mp4", num_frames=5, ticks=ticks, time_base=Fraction(1, 1000), options={"bf": "0"})
    assert 3 < probe(path).fps < 6


def test_probe_of_sound_and_pictures(make_sound, tmp_path, click):
    info = probe(make_sound("a.wav", "pcm_s16le", 8000, click(0.1, rate_hz=8000, duration_s=1)))
    assert (info.width, info.has_audio, info.duration_s) == (0, True, pytest.approx(1))
    Image.new("RGB", (30, 20)).save(tmp_path / "p.png")
    info = probe(tmp_path / "p.png")
    assert (info.width, info.height, info.fps, info.num_frames, info.codec) == (30, 20, 0, 1, "png")


def test_picture_counts_as_one_frame(tmp_path):
    Image.new("RGB", (30, 20), (9, 8, 7)).save(tmp_path / "p.png")
    with VideoReader(tmp_path / "p.png") as reader:
        assert reader.expected_frames == 1
        (frame,) = reader
    assert frame.time_s == 0
    assert frame.image[0, 0].tolist() == [9, 8, 7]


def test_animated_gif_is_a_clip(tmp_path):
    frames = [Image.new("RGB", (32, 32), (index * 60, 0, 0)) for index in range(4)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100, loop=0)
    read_back = read(tmp_path / "a.gif")
    assert [int(frame.image[5, 5, 0]) for frame in read_back] == pytest.approx([0, 60, 120, 180], abs=4)


def test_one_frame_clip(make_clip):
    path = make_clip("one.mp4", num_frames=1)
    (frame,) = read(path)
    assert frame.time_s == 0
    assert probe(path).fps > 0


def test_one_pixel_clip(make_clip):
    assert read(make_clip("dot.mkv", codec="ffv1", pixels="yuv444p", size=(1, 1)))[0].image.shape == (1, 1, 3)


def test_expected_frames(make_clip):
    path = make_clip("clip.mp4", num_frames=50)
    assert VideoReader(path).expected_frames == 50
    assert VideoReader(path, start_s=1).expected_frames == 25
    assert VideoReader(path, start_s=1, end_s=1.2).expected_frames == 5
    assert VideoReader(path, end_s=1000).expected_frames == 50


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "notes.srt"])
def test_text_is_not_media(tmp_path, name):
    (tmp_path / name).write_text("1\n00:00:01,000 --> 00:00:02,000\nhello\n" * 50)
    for opening in (probe, VideoReader):
        with pytest.raises(MediaError, match="Expected"):
            opening(tmp_path / name)


def test_playlist_is_not_followed(make_clip, tmp_path):
    path = make_clip("clip.ts")
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{path.name}\n#EXT-X-ENDLIST\n")
    (tmp_path / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile {path.name}\n")
    for name in ("list.m3u8", "list.ffconcat"):
        with pytest.raises(MediaError):
            probe(tmp_path / name)


def test_empty_missing_and_folder(tmp_path):
    (tmp_path / "empty.mp4").touch()
    for path, words in ((tmp_path / "empty.mp4", "0 bytes"), (tmp_path / "no.mp4", "does not exist")):
        with pytest.raises(MediaError, match=words):
            probe(path)
    with pytest.raises(MediaError, match="not a file"):
        VideoReader(tmp_path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", ["clip.mp4", "fast.mp4", "clip.mkv", "clip.avi", "clip.webm"])
def test_truncated(make_clip, name, share):
    codec = "libvpx-vp9" if name.endswith("webm") else "mpeg4" if name.endswith("avi") else "libx264"
    fast = {"movflags": "+faststart"} if name == "fast.mp4" else None
    speed = {"cpu-used": "8", "deadline": "realtime"} if codec == "libvpx-vp9" else None
    path = make_clip(name, num_frames=400, codec=codec, noise=True, gop=25, container=fast, options=speed)
    assert len(read(path)) == 400
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    if share == 0.95 and not name.endswith("mp4"):
        assert len(read(path)) > 360  # less than a second is missing, and the container has no index to tell
        return
    with pytest.raises(MediaError, match=r"cut off|damaged"):
        read(path)


def test_audio_only(make_sound, click):
    path = make_sound("a.m4a", "aac", 44100, click(0.1, rate_hz=44100, duration_s=1))
    with pytest.raises(MediaError, match="only sound"):
        VideoReader(path)


def test_cover_art_is_not_a_video(make_sound, tmp_path, click):
    path = make_sound("a.mp3", "libmp3lame", 44100, click(0.1, rate_hz=44100, duration_s=1))
    Image.new("RGB", (32, 32)).save(tmp_path / "cover.jpg")
    body = b"\0image/jpeg\0\x03\0" + (tmp_path / "cover.jpg").read_bytes()
    tag = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes((len(tag) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    sound = path.read_bytes()
    path.write_bytes(b"ID3\x03\0\0" + size + tag + sound[sound.index(b"\xff\xfb") :])
    with pytest.raises(MediaError, match="only sound"):
        VideoReader(path)


@pytest.mark.parametrize(("start_s", "end_s"), [(-1, None), (float("nan"), None), (2, 1), (1, 1), (0, -1)])
def test_part_that_makes_no_sense(make_clip, start_s, end_s):
    with pytest.raises(MediaError, match="Expected"):
        VideoReader(make_clip("clip.mp4"), start_s=start_s, end_s=end_s)


def test_start_beyond_the_end(make_clip):
    path = make_clip("clip.mp4")
    with pytest.raises(MediaError, match=r"lasts 0\.40 s"):
        read(path, start_s=5)


def test_small_damage_is_left_out_and_large_damage_is_an_error(make_clip):
    path = make_clip("clip.mkv", num_frames=200, codec="ffv1", pixels="yuv420p", noise=True)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    hurt = data.copy()
    middle = len(data) // 2
    hurt[middle : middle + 60] = rng.bytes(60)
    path.write_bytes(hurt)
    assert len(read(path)) >= 190
    for place in range(len(data) // 10, len(data), 2000):
        data[place : place + 500] = rng.bytes(min(500, len(data) - place))
    path.write_bytes(data)
    with pytest.raises(MediaError, match="Expected"):
        read(path)
