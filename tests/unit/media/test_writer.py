from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from portrait_anim.errors import MediaError
from portrait_anim.media.audio import AudioReader, read_audio
from portrait_anim.media.reader import VideoReader, probe
from portrait_anim.media.writer import VideoWriter
from portrait_anim.types import AudioTrack

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 150, 120), (90, 60, 50))


def bars(height: int = 32) -> np.ndarray:
    return np.array(COLOURS, np.uint8)[None].repeat(height, 0).repeat(32, 1)


def write(path, *, num_frames=10, image=None, fps=Fraction(25), audio=None):
    image = bars() if image is None else image
    with VideoWriter(path, fps=fps, size=(image.shape[1], image.shape[0]), audio=audio) as video:
        for _ in range(num_frames):
            video.write(image)
        assert video.num_frames == num_frames
        assert video.duration_s == pytest.approx(float(num_frames / fps))
    return path


@pytest.mark.parametrize(
    "fps", [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(557, 19)]
)
def test_frame_rate_is_exact(tmp_path, fps):
    path = write(tmp_path / "o.mp4", fps=fps, num_frames=40)
    assert probe(path).fps == fps
    with VideoReader(path) as frames:
        times = [frame.time_s for frame in frames]
    assert times == pytest.approx([float(k / fps) for k in range(40)], abs=1e-4)


def test_colours_come_back(tmp_path):
    with VideoReader(write(tmp_path / "o.mp4")) as frames:
        image = list(frames)[4].image
    assert np.abs(image[16, 16::32].astype(int) - COLOURS).max() <= 3


def test_tags_codec_and_layout(tmp_path, click):
    track = AudioTrack(samples=click(0.1, rate_hz=48000, duration_s=1, channels=2), sample_rate_hz=48000)
    path = write(tmp_path / "o.mp4", audio=track)
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        codec = video.codec_context
        tags = (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range)
        assert [int(tag) for tag in tags] == [1, 1, 1, 1]  # bt709 three times, limited range
        assert (codec.name, codec.pix_fmt, sound.codec_context.name) == ("h264", "yuv420p", "aac")
        assert video.codec_tag == "avc1"
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert data.count(b"colrnclx") == 1


def test_luma_is_bt709_limited(tmp_path):
    """Green has Y = 16 + 219 * 0.7152 in BT.709 (it would be 145 in BT.601)."""
    path = write(tmp_path / "o.mp4", image=np.full((32, 32, 3), (0, 255, 0), np.uint8))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        luma = np.frombuffer(frame.planes[0], np.uint8)[0]
    assert int(luma) == pytest.approx(16 + 219 * 0.7152, abs=1.1)


@pytest.mark.parametrize("size", [(63, 47), (1, 1), (64, 47), (17, 16)])
def test_odd_sizes_are_made_even(tmp_path, size):
    image = np.full((size[1], size[0], 3), 120, np.uint8)
    with VideoReader(write(tmp_path / "o.mp4", image=image)) as frames:
        shown = next(iter(frames)).image
    assert shown.shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
    assert np.abs(shown.astype(int) - 120).max() <= 3


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22000, 44100, 48000, 192000])
def test_sound_is_in_sync_and_as_long_as_the_picture(tmp_path, click, loudest_s, rate_hz):
    track = AudioTrack(samples=click(1.0, rate_hz=rate_hz, duration_s=5), sample_rate_hz=rate_hz)
    path = write(tmp_path / "o.mp4", num_frames=40, audio=track)
    with AudioReader(path) as reader:
        samples = np.concatenate(list(reader), axis=1)
        assert loudest_s(samples, reader.sample_rate_hz) == pytest.approx(1.005, abs=0.003)
        assert samples.shape[1] / reader.sample_rate_hz == pytest.approx(
            1.6, abs=1024 / reader.sample_rate_hz
        )
    assert probe(path).duration_s == pytest.approx(1.6, abs=0.001)


def test_sound_shorter_than_the_picture(tmp_path, click):
    track = AudioTrack(samples=click(0.1, rate_hz=48000, duration_s=0.5), sample_rate_hz=48000)
    path = write(tmp_path / "o.mp4", num_frames=50, audio=track)
    assert read_audio(path).duration_s == pytest.approx(0.5, abs=0.03)
    assert probe(path).num_frames == 50


def test_sound_streams_from_a_file(tmp_path, make_sound, click, loudest_s):
    source = make_sound("s.wav", "pcm_s16le", 44100, click(2.0, rate_hz=44100, duration_s=4, channels=2))
    with AudioReader(source, start_s=1.5) as reader:
        path = write(tmp_path / "o.mp4", num_frames=50, audio=reader)
    track = read_audio(path)
    assert loudest_s(track.samples, track.sample_rate_hz) == pytest.approx(0.505, abs=0.003)
    assert track.samples.shape[0] == 2


def test_empty_track_means_no_sound(tmp_path):
    track = AudioTrack(samples=np.zeros((2, 0), np.float32), sample_rate_hz=48000)
    assert not probe(write(tmp_path / "o.mp4", audio=track)).has_audio


def test_same_input_gives_same_bytes(tmp_path, click):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (60, 48, 64, 3), dtype=np.uint8)
    track = AudioTrack(samples=click(0.5, rate_hz=44100, duration_s=3, channels=2), sample_rate_hz=44100)
    for name in ("a.mp4", "b.mp4"):
        with VideoWriter(tmp_path / name, fps=Fraction(25), size=(64, 48), audio=track) as video:
            for image in images:
                video.write(image)
        time.sleep(1.1 if name == "a.mp4" else 0)  # a time of day in the file would show
    data = (tmp_path / "a.mp4").read_bytes()
    assert data == (tmp_path / "b.mp4").read_bytes()
    assert b"Lavf" not in data
    assert b"Lavc" not in data


def test_one_frame(tmp_path):
    path = write(tmp_path / "o.mp4", num_frames=1)
    assert probe(path).num_frames == 1


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(MediaError, match="at least one frame"):
        write(tmp_path / "o.mp4", num_frames=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("after", [0, 1, 100])
def test_failure_leaves_nothing_and_keeps_what_was_there(tmp_path, kind, after):
    (tmp_path / "o.mp4").write_bytes(b"before")
    writer = VideoWriter(tmp_path / "o.mp4", fps=Fraction(25), size=(224, 32))
    with pytest.raises(kind), writer as video:  # noqa: PT012
        for _ in range(after):
            video.write(bars())
        raise kind
    assert [file.name for file in tmp_path.iterdir()] == ["o.mp4"]
    assert (tmp_path / "o.mp4").read_bytes() == b"before"


def test_temporary_file_is_beside_the_target(tmp_path):
    with VideoWriter(tmp_path / "o.mp4", fps=Fraction(25), size=(224, 32)) as video:
        video.write(bars())
        assert not (tmp_path / "o.mp4").exists()
        assert len(list(tmp_path.iterdir())) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["o.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of processes are a Unix matter")
class TestInAnotherProcess:
    PROGRAM = """
import resource, signal, sys
from fractions import Fraction
import numpy as np
from portrait_anim.errors import MediaError
from portrait_anim.media.writer import VideoWriter
path, limit, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores Ctrl-C
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
rng = np.random.default_rng(0)
try:
    with VideoWriter(path, fps=Fraction(25), size=(128, 128)) as video:
        print("ready", flush=True)
        for _ in range(count):
            video.write(rng.integers(0, 255, (128, 128, 3), dtype=np.uint8))
except MediaError as error:
    print(error)
    sys.exit(7)
"""

    @pytest.mark.parametrize(("limit", "count"), [(30_000, 200), (200_000, 200), (50_000, 20), (100, 3)])
    def test_disk_full(self, tmp_path, limit, count):
        command = [sys.executable, "-c", self.PROGRAM, str(tmp_path / "o.mp4"), str(limit), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (7, "")
        assert "disk is full" in done.stdout
        assert not list(tmp_path.iterdir())

    def test_ctrl_c(self, tmp_path):
        command = [sys.executable, "-c", self.PROGRAM, str(tmp_path / "o.mp4"), "0", "1000000"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            try:
                _, errors = process.communicate(timeout=60)
            finally:
                process.kill()
        assert "KeyboardInterrupt" in errors
        assert not list(tmp_path.iterdir())


def test_disk_full_while_finishing_keeps_the_old_file(tmp_path):
    """Everything fits but the index at the end."""
    (tmp_path / "o.mp4").write_bytes(b"before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        writer = VideoWriter(tmp_path / "o.mp4", fps=Fraction(25), size=(224, 32))
        with pytest.raises(MediaError, match="disk is full"), writer as video:  # noqa: PT012
            video.write(bars())
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [file.name for file in tmp_path.iterdir()] == ["o.mp4"]
    assert (tmp_path / "o.mp4").read_bytes() == b"before"


def test_unwritable_folder(tmp_path, as_nobody):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    with as_nobody(), pytest.raises(MediaError, match="permission was denied"):
        write(folder / "o.mp4")
    assert not list(folder.iterdir())


def test_impossible_targets(tmp_path):
    (tmp_path / "d.mp4").mkdir()
    with pytest.raises(MediaError, match="none"):
        write(tmp_path / "d.mp4")
    with pytest.raises(MediaError, match="Create it first"):
        write(tmp_path / "no" / "o.mp4")
    for name in ("o.avi", "o", "o.png"):
        with pytest.raises(MediaError, match=r"\.mp4"):
            write(tmp_path / name)


def test_wrong_arguments(tmp_path):
    path = tmp_path / "o.mp4"
    for wrong in ({"fps": Fraction(0)}, {"size": (0, 4)}, {"crf": 60}):
        with pytest.raises(ValueError, match="Expected"):
            VideoWriter(path, **{"fps": Fraction(25), "size": (4, 4), **wrong})
    with VideoWriter(path, fps=Fraction(25), size=(224, 32)) as video:
        video.write(bars())
        for image in (bars(64), bars().astype(np.float32), bars()[..., 0]):
            with pytest.raises(ValueError, match="Expected"):
                video.write(image)
    with pytest.raises(ValueError, match="with"):
        video.write(bars())
    many = AudioTrack(samples=np.zeros((6, 100), np.float32), sample_rate_hz=48000)
    with pytest.raises(ValueError, match="channels"):
        write(path, audio=many)
    assert os.listdir(tmp_path) == ["o.mp4"]


def test_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "r.mp4").write_bytes(b"before")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real" / "r.mp4")
    write(tmp_path / "link.mp4")
    assert (tmp_path / "link.mp4").is_symlink()
    assert probe(tmp_path / "real" / "r.mp4").num_frames == 10
