"""Makers of small media files with every trait that real ones have."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

ClipMaker = Callable[..., Path]


def grey_level(index: int) -> int:
    """Brightness of frame `index` of every test clip."""
    return 20 + 4 * (index % 50)


def test_picture(index: int, width: int, height: int) -> np.ndarray:
    """A grey frame whose top left quarter is red and whose level tells its index."""
    image = np.full((height, width, 3), grey_level(index), np.uint8)
    image[: height // 2, : width // 2] = (230, 20, 20)
    return image


test_picture.__test__ = False


@pytest.fixture
def level() -> Callable[[int], int]:
    return grey_level


@pytest.fixture
def picture() -> Callable[[int, int, int], np.ndarray]:
    return test_picture


@pytest.fixture
def make_clip(tmp_path: Path) -> ClipMaker:
    """Write a clip straight with PyAV, so that the reader is not tested against our own writer."""

    def make(
        name: str,
        *,
        num_frames: int = 10,
        size: tuple[int, int] = (64, 48),
        fps: Fraction = Fraction(25),
        codec: str = "libx264",
        pixels: str = "yuv420p",
        ticks: Sequence[int] | None = None,
        time_base: Fraction | None = None,
        gop: int | None = None,
        options: dict[str, str] | None = None,
        pixel_ratio: Fraction | None = None,
        sound: tuple[str, int, np.ndarray] | None = None,
        noise: bool = False,
        container: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        rng = np.random.default_rng(0)
        with av.open(str(path), "w", options=container or {}) as output:
            stream = output.add_stream(codec, rate=fps, options=options or {})
            stream.width, stream.height, stream.pix_fmt = *size, pixels
            stream.codec_context.time_base = time_base or 1 / fps
            if gop is not None:
                stream.codec_context.gop_size = gop
            if pixel_ratio is not None:
                stream.codec_context.sample_aspect_ratio = pixel_ratio
            audio = _add_sound(output, sound) if sound else None
            for index in range(num_frames):
                image = test_picture(index, *size)
                if noise:
                    image[:, size[0] // 2 :] = rng.integers(0, 255, (size[1], size[0] - size[0] // 2, 3))
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = ticks[index] if ticks else index
                frame.time_base = time_base or 1 / fps
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
            if audio and sound:
                _write_sound(output, audio, sound)
        return path

    return make


@pytest.fixture
def make_sound(tmp_path: Path) -> ClipMaker:
    """Write a file with nothing but sound."""

    def make(name: str, codec: str, rate_hz: int, samples: np.ndarray) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as output:
            stream = _add_sound(output, (codec, rate_hz, samples))
            _write_sound(output, stream, (codec, rate_hz, samples))
        return path

    return make


def _add_sound(output: Any, sound: tuple[str, int, np.ndarray]) -> Any:
    codec, rate_hz, samples = sound
    stream = output.add_stream(codec, rate=rate_hz)
    stream.codec_context.layout = _layout(samples)
    return stream


def _layout(samples: np.ndarray) -> str:
    return {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[0]]


def _write_sound(output: Any, stream: Any, sound: tuple[str, int, np.ndarray]) -> None:
    _, rate_hz, samples = sound
    frame = av.AudioFrame.from_ndarray(samples.astype(np.float32), format="fltp", layout=_layout(samples))
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
    output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


@pytest.fixture
def click() -> Callable[..., np.ndarray]:
    """A tone burst of 10 ms in silence, so that its place can be measured."""

    def make(at_s: float, *, rate_hz: int, duration_s: float, channels: int = 1) -> np.ndarray:
        samples = np.zeros((channels, round(duration_s * rate_hz)), np.float32)
        length = rate_hz // 100
        burst = 0.8 * np.sin(np.arange(length) * 2 * np.pi * 1000 / rate_hz)
        start = round(at_s * rate_hz)
        samples[:, start : start + length] = burst
        return samples

    return make


@pytest.fixture
def loudest_s() -> Callable[[np.ndarray, int], float]:
    """Centre of a click's energy [s]."""

    def find(samples: np.ndarray, rate_hz: int) -> float:
        energy = samples.astype(np.float64).sum(axis=0) ** 2
        return float((energy * np.arange(energy.size)).sum() / energy.sum() / rate_hz)

    return find


@pytest.fixture
def as_nobody() -> Callable[[], AbstractContextManager[None]]:
    """Work without the rights of the superuser, whom permissions do not stop."""

    @contextmanager
    def switch() -> Iterator[None]:
        if not hasattr(os, "geteuid"):
            pytest.skip("Unix permissions")
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return switch


PEAK = """
import sys
def peak_mb():
    # Not getrusage: its maximum is inherited from the process that started this one.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
{setup}
before = peak_mb()
{body}
print(peak_mb() - before)
"""


@pytest.fixture
def peak_growth() -> Callable[..., float]:
    """Run a few lines in a fresh process and give by how much they raise its peak of memory [MB]."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc to measure memory")

    def measure(setup: str, body: str, *arguments: object) -> float:
        command = [sys.executable, "-c", PEAK.format(setup=setup, body=body), *map(str, arguments)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return measure
