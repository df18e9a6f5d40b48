"""Read video files as a stream of upright sRGB frames with true timestamps."""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from portrait_anim.errors import MediaError
from portrait_anim.media import container as containers
from portrait_anim.media.colour import FrameConverter
from portrait_anim.media.failures import media_errors
from portrait_anim.media.header import check_range, probe
from portrait_anim.media.image import read_image
from portrait_anim.media.timing import resample
from portrait_anim.types import Frame, PathLike

__all__ = ["VideoReader", "probe", "resample"]

logger = logging.getLogger(__name__)

_MAX_PIXELS = 100_000_000
# A frame this much off the asked time still counts as being at that time (containers round to milliseconds).
_TIME_TOLERANCE_S = 0.0015
# How far before the asked time to look for a key frame, tried in this order.
_SEEK_MARGINS_S = (0.1, 3.0, 30.0)


class VideoReader:
    """A video file as a stream of upright frames; may be iterated more than once.

    Only a few frames are in memory at any time, however long the file is. The frame on screen at `start_s`
    comes first, with time 0. A picture file counts as a clip of one frame.

    Args:
        path: File to read.
        start_s: Where to begin [s], measured from the first frame of the file.
        end_s: Where to stop [s], exclusive; `None` reads to the end.

    Attributes:
        info: What the header says.

    Raises:
        MediaError: If the file is no video, is damaged or cut off, or if the part asked for does not exist.

    Example:
        >>> with VideoReader("clip.mp4", start_s=1.5) as frames:
        ...     for frame in frames:
        ...         print(frame.time_s, frame.image.shape)
    """

    def __init__(self, path: PathLike, *, start_s: float = 0.0, end_s: float | None = None) -> None:
        self._path = Path(path)
        self._start_s, self._end_s = check_range(path, start_s, end_s)
        self._iterations: weakref.WeakSet[Generator[Frame, None, None]] = weakref.WeakSet()
        self.info = probe(path)
        if self.info.width == 0:
            raise MediaError(f"Expected a video, but {path} holds only sound. Give a clip with a picture.")
        if self.info.width * self.info.height > _MAX_PIXELS:
            raise MediaError(
                f"Expected frames of at most 100 megapixels, "
                f"but {path} has {self.info.width}x{self.info.height}. Scale it down first."
            )

    @property
    def fps(self) -> Fraction:
        """Frame rate of the file [1/s]; 0 for a picture."""
        return self.info.fps

    @property
    def expected_frames(self) -> int | None:
        """About how many frames iteration will give, for progress bars; `None` when the header is silent."""
        if self.info.fps == 0:
            return 1
        if self.info.duration_s <= 0:
            return None
        end_s = min(self.info.duration_s, self._end_s if self._end_s is not None else math.inf)
        return max(1, round((end_s - self._start_s) * self.info.fps))

    def __enter__(self) -> VideoReader:
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

    def __iter__(self) -> Generator[Frame, None, None]:
        """Read the frames from the beginning of the part asked for.

        Returns:
            Generator of frames in order of time, which is measured from `start_s`.

        Raises:
            MediaError: If the file is damaged, ends early, or has no frame in the part asked for.
        """
        iteration = self._read()
        self._iterations.add(iteration)
        return iteration

    def _read(self) -> Generator[Frame, None, None]:
        if self.info.fps == 0:
            yield Frame(image=read_image(self._path), time_s=0.0, index=0)
            return
        with containers.open_input(self._path) as container, media_errors(self._path, "read"):
            yield from self._frames(container)

    def _frames(self, container: Any) -> Iterator[Frame]:
        stream = _threaded_video(container)
        convert = FrameConverter(stream.sample_aspect_ratio)
        index, waiting, last_s = 0, None, -math.inf
        for time_s, picture in self._timed(container, stream):
            last_s = time_s
            if self._end_s is not None and time_s >= self._end_s - _TIME_TOLERANCE_S:
                break
            if time_s <= self._start_s + _TIME_TOLERANCE_S:
                waiting = picture  # on screen at start_s, unless a later one is
                continue
            if waiting is not None:
                yield Frame(image=convert(waiting), time_s=0.0, index=index)
                index, waiting = index + 1, None
            yield Frame(image=convert(picture), time_s=time_s - self._start_s, index=index)
            index += 1
        else:
            self._check_end(container, stream, last_s)
        if waiting is not None:
            yield Frame(image=convert(waiting), time_s=0.0, index=index)
            index += 1
        if index == 0:
            raise MediaError(
                f"Expected frames of {self._path} from {self._start_s:g} s on, but none could be decoded. "
                "Choose another part of the clip or convert it to MP4."
            )

    def _timed(self, container: Any, stream: Any) -> Iterator[tuple[float, Any]]:
        """Give decoded frames with their time on the clip's clock [s], beginning at or before `start_s`."""
        origin_s = containers.start_time(stream)
        period_s = 1 / self.info.fps
        previous_s: Fraction | None = None
        for frame in self._decode_from(container, stream, float(origin_s) + self._start_s):
            if frame.pts is not None:
                time_s = frame.pts * frame.time_base - origin_s
            else:
                time_s = Fraction(0) if previous_s is None else previous_s + period_s
            if previous_s is not None and time_s <= previous_s:
                logger.debug("%s: frame at %s s comes late and is left out", self._path, float(time_s))
                continue
            previous_s = time_s
            yield float(time_s), frame

    def _decode_from(self, container: Any, stream: Any, target_s: float) -> Iterator[Any]:
        if self._start_s > 0 and self.info.duration_s > 0:  # without a duration there are no times to seek by
            for margin_s in _SEEK_MARGINS_S:
                if not containers.seek_before(container, stream, target_s - min(margin_s, self._start_s)):
                    break
                frames = containers.decode(container, stream, self._path)
                first = next(frames, None)
                if first is not None and first.pts is not None and first.pts * stream.time_base <= target_s:
                    yield first
                    yield from frames
                    return
                frames.close()
            containers.seek_before(container, stream, target_s - self._start_s)
        yield from containers.decode(container, stream, self._path)

    def _check_end(self, container: Any, stream: Any, last_s: float) -> None:
        """Refuse a clip that ends before its header says, and a start beyond the end."""
        promised_s = containers.stream_duration(stream, container)
        shown_until_s = last_s + float(1 / self.info.fps)
        if promised_s - shown_until_s > max(1.0, 0.1 * promised_s):
            raise MediaError(
                f"Expected {promised_s:.1f} s of video in {self._path}, but it is damaged or cut off after "
                f"{max(shown_until_s, 0):.1f} s. Copy it again, or choose an end before that point."
            )
        if self._start_s >= max(shown_until_s, promised_s):
            raise MediaError(
                f"Expected a start within the clip, got {self._start_s:g} s, but {self._path} lasts "
                f"{max(shown_until_s, promised_s):.2f} s. Choose an earlier start."
            )


def _threaded_video(container: Any) -> Any:
    stream = containers.video_stream(container)
    assert stream is not None, "probe() has seen it"
    stream.thread_type = "AUTO"
    return stream
