"""Read the sound of any media file, in sync with its picture."""

from __future__ import annotations

import math
import weakref
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from portrait_anim.errors import MediaError
from portrait_anim.media import container as containers
from portrait_anim.media.failures import media_errors
from portrait_anim.media.header import check_range
from portrait_anim.media.image import is_image
from portrait_anim.types import AudioTrack, Float32Array, PathLike

# Decoders need a run-up: MP3 and AAC give wrong sound just after a jump.
_RUN_UP_S = 0.5
# Only these containers know where a time is; in the others everything before is decoded too, which is quick.
_SEEKABLE = ("mov", "matroska")
# Timestamps that are off by less are taken as rounding, not as a gap.
_GAP_TOLERANCE_S = 0.05
_MAX_CHANNELS = 2


class AudioReader:
    """The sound of a media file as a stream of blocks; may be iterated more than once.

    Time 0 is the first frame of the video in the same file, or the first sample if there is none. Sound that
    begins later is preceded by silence. More than two channels are mixed down to stereo.

    Args:
        path: Video or sound file.
        start_s: Where to begin [s].
        end_s: Where to stop [s], exclusive; `None` reads to the end.

    Attributes:
        sample_rate_hz: Samples per second, as in the file.
        channels: 1 or 2.

    Raises:
        MediaError: If the file has no sound, is damaged, or if the part asked for makes no sense.
    """

    def __init__(self, path: PathLike, *, start_s: float = 0.0, end_s: float | None = None) -> None:
        self._path = Path(path)
        self._start_s, self._end_s = check_range(path, start_s, end_s)
        self._iterations: weakref.WeakSet[Generator[Float32Array, None, None]] = weakref.WeakSet()
        with containers.open_input(path) as container:
            stream = containers.audio_stream(container)
            if stream is None:
                raise MediaError(
                    f"Expected sound in {path}, but there is none. Give another file or no sound."
                )
            self.sample_rate_hz = int(stream.codec_context.sample_rate)
            self.channels = min(_MAX_CHANNELS, len(stream.codec_context.layout.channels))

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop all iterations and close the file; safe to call twice."""
        # Close the generators, not their containers: to go on reading a closed container crashes PyAV.
        for iteration in list(self._iterations):
            iteration.close()

    def __iter__(self) -> Generator[Float32Array, None, None]:
        """Read the sound from the beginning of the part asked for.

        Returns:
            Generator of blocks that follow each other without a gap, `(C, n)` float32 in [-1, 1].

        Raises:
            MediaError: If the file is damaged.
        """
        iteration = self._read()
        self._iterations.add(iteration)
        return iteration

    def _read(self) -> Generator[Float32Array, None, None]:
        with containers.open_input(self._path) as container, media_errors(self._path, "read"):
            yield from self._blocks(container)

    def _blocks(self, container: Any) -> Iterator[Float32Array]:
        position = 0
        limit = (
            math.inf if self._end_s is None else round((self._end_s - self._start_s) * self.sample_rate_hz)
        )
        tolerance = 0  # the first block is placed exactly
        for time_s, block in self._timed(container):
            offset = round(time_s * self.sample_rate_hz) - position
            if offset > tolerance:
                yield from self._silence(min(offset, limit - position))
                position = int(min(position + offset, limit))
            late = block[:, -offset:] if offset < -tolerance else block
            samples = late[:, : int(min(late.shape[1], limit - position))]
            if samples.shape[1]:
                yield samples
                position += samples.shape[1]
                tolerance = round(_GAP_TOLERANCE_S * self.sample_rate_hz)
            if position >= limit:
                return

    def _timed(self, container: Any) -> Iterator[tuple[float, Float32Array]]:
        """Give decoded blocks, converted to float, with their time after `start_s` [s]."""
        stream = containers.audio_stream(container)
        video = containers.video_stream(container)
        origin_s = float(containers.start_time(stream if video is None else video)) + self._start_s
        if self._start_s > _RUN_UP_S and container.format.name.split(",")[0] in _SEEKABLE:
            containers.seek_before(container, stream, origin_s - _RUN_UP_S)
        resampler = av.AudioResampler(
            format="fltp", layout="mono" if self.channels == 1 else "stereo", rate=self.sample_rate_hz
        )
        next_s = -math.inf
        for frame in containers.decode(container, stream, self._path):
            time_s = next_s if frame.pts is None else float(frame.pts * frame.time_base) - origin_s
            if not math.isfinite(time_s):
                time_s = -self._start_s
            for block in resampler.resample(frame):
                samples = np.clip(np.nan_to_num(block.to_ndarray()), -1, 1).astype(np.float32, copy=False)
                yield time_s, samples
                time_s += samples.shape[1] / self.sample_rate_hz
            next_s = time_s

    def _silence(self, count: float) -> Iterator[Float32Array]:
        remaining = int(count)
        while remaining > 0:
            length = min(remaining, self.sample_rate_hz)
            yield np.zeros((self.channels, length), dtype=np.float32)
            remaining -= length


def read_audio(path: PathLike, *, start_s: float = 0.0, end_s: float | None = None) -> AudioTrack | None:
    """Read the sound of a media file into memory; for long files, stream with `AudioReader`.

    Args:
        path: Video, sound file or picture.
        start_s: Where to begin [s], measured from the first frame of the video in the file.
        end_s: Where to stop [s], exclusive; `None` reads to the end.

    Returns:
        The sound, or `None` if the file has none (in that part).

    Raises:
        MediaError: If the file is no media file, is damaged, or if the part asked for makes no sense.
    """
    if is_image(path):
        return None
    with containers.open_input(path) as container:
        if containers.audio_stream(container) is None:
            return None
    with AudioReader(path, start_s=start_s, end_s=end_s) as reader:
        blocks = list(reader)
        if not blocks:
            return None
        return AudioTrack(samples=np.concatenate(blocks, axis=1), sample_rate_hz=reader.sample_rate_hz)
