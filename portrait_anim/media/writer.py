"""Write MP4 files that every browser plays, complete or not at all."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from portrait_anim.errors import MediaError
from portrait_anim.media.atomic import atomic_path, commit, discard, reserve
from portrait_anim.media.audio import AudioReader
from portrait_anim.media.colour import FrameEncoder
from portrait_anim.media.failures import media_errors
from portrait_anim.media.image import check_image
from portrait_anim.media.soundtrack import SoundEncoder
from portrait_anim.types import AudioTrack, PathLike, UInt8Array

__all__ = ["VideoWriter", "atomic_path"]

_SUFFIXES = (".mp4", ".m4v")
_MAX_SIDE_PX = 16384
_MAX_FPS = 480
# Fixed, because the bytes x264 gives depend on the number of threads, but not on who runs them.
_NUM_THREADS = 4
_BT709 = 1
_LIMITED = 1


class VideoWriter:
    """An H.264 video file that appears under its name when it is complete.

    Frames go to a temporary file beside the target, which is renamed when the `with` block ends well and
    removed when it does not, Ctrl-C included. The same frames and sound give the same bytes.

    Args:
        path: Target, ending in .mp4 or .m4v.
        fps: Frame rate [1/s], kept exactly.
        size: Width and height of the frames [px]; an odd side gets its last row or column twice.
        audio: Sound to add, cut where the picture ends; an `AudioReader` is streamed, never held in memory.
        crf: Constant rate factor of x264, 0 (lossless) to 51 (worst).

    Raises:
        MediaError: If the file cannot be written, or nothing was written to it.
        ValueError: If an argument is out of range.

    Example:
        >>> with VideoWriter("out.mp4", fps=Fraction(25), size=(512, 512)) as video:
        ...     video.write(image)
    """

    def __init__(
        self,
        path: PathLike,
        *,
        fps: Fraction,
        size: tuple[int, int],
        audio: AudioTrack | AudioReader | None = None,
        crf: int = 18,
    ) -> None:
        if not 0 < fps <= _MAX_FPS:
            raise ValueError(f"Expected a frame rate above 0 and up to {_MAX_FPS}, got {fps}.")
        if not all(0 < side <= _MAX_SIDE_PX for side in size):
            raise ValueError(f"Expected sides of 1 to {_MAX_SIDE_PX} px, got {size[0]}x{size[1]}.")
        if not 0 <= crf <= 51:
            raise ValueError(f"Expected crf of 0 to 51, got {crf}.")
        if Path(path).suffix.lower() not in _SUFFIXES:
            raise MediaError(
                f"Expected a video name ending in .mp4, got {Path(path).name}. Rename the output."
            )
        self._path = Path(path)
        self._fps = Fraction(fps)
        self._size = size
        self._audio = audio
        self._crf = crf
        self._container: Any = None
        self._stream: Any = None
        self._sound: SoundEncoder | None = None
        self._convert = FrameEncoder()
        self._num_frames = 0

    @property
    def num_frames(self) -> int:
        """Frames written so far."""
        return self._num_frames

    @property
    def duration_s(self) -> float:
        """Length of the picture so far [s]."""
        return float(self._num_frames / self._fps)

    def __enter__(self) -> VideoWriter:
        self._temporary, self._target = reserve(self._path)
        try:
            with media_errors(self._path, "write"):
                self._open()
        except BaseException:
            self._abandon()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            self._finish()
        except BaseException:
            self._abandon()
            raise

    def write(self, image: UInt8Array) -> None:
        """Append one frame.

        Args:
            image: `(H, W, 3)` uint8 sRGB, of the size given at the start.

        Raises:
            MediaError: If the disk is full or the file cannot be written.
            ValueError: If the image has another form or size, or the writer is not open.
        """
        if self._container is None:
            raise ValueError("Expected an open VideoWriter. Use it in a `with` block.")
        check_image(image)
        if image.shape[:2] != (self._size[1], self._size[0]):
            raise ValueError(
                f"Expected frames of {self._size[0]}x{self._size[1]} px, "
                f"got {image.shape[1]}x{image.shape[0]}."
            )
        padding = ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0))
        frame = self._convert(np.pad(image, padding, mode="edge"))
        frame.pts = self._num_frames
        frame.time_base = 1 / self._fps
        self._num_frames += 1
        with media_errors(self._path, "write"):
            self._container.mux(self._stream.encode(frame))
            if self._sound is not None:
                self._sound.write_until(self._num_frames / self._fps)

    def _open(self) -> None:
        self._container = av.open(
            f"file:{self._temporary}",
            "w",
            format="mp4",
            # bitexact: no version of ffmpeg and no time of day in the file.
            options={"movflags": "+faststart", "fflags": "+bitexact"},
        )
        options = {"crf": str(self._crf), "preset": "medium", "x264-params": "cpu-independent=1"}
        self._stream = self._container.add_stream("libx264", rate=self._fps, options=options)
        codec = self._stream.codec_context
        codec.width, codec.height = (side + side % 2 for side in self._size)
        codec.pix_fmt = "yuv420p"
        codec.time_base = 1 / self._fps
        codec.gop_size = max(1, round(2 * self._fps))
        codec.thread_type = "FRAME"
        codec.thread_count = _NUM_THREADS
        codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
        codec.color_range = _LIMITED
        has_sound = self._audio is not None and not (
            isinstance(self._audio, AudioTrack) and self._audio.samples.shape[1] == 0
        )
        if self._audio is not None and has_sound:
            self._sound = SoundEncoder(self._container, self._audio)

    def _finish(self) -> None:
        if self._num_frames == 0:
            raise MediaError(f"Expected at least one frame for {self._path}, got none. Nothing was written.")
        with media_errors(self._path, "write"):
            self._container.mux(self._stream.encode(None))
            if self._sound is not None:
                self._sound.finish()
            self._container.close()
        self._container = None
        commit(self._temporary, self._target)

    def _abandon(self) -> None:
        container, self._container = self._container, None
        try:
            if container is not None:
                # Closing writes the index, which may fail as well; the file is thrown away in any case.
                with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
                    container.close()
        finally:
            discard(self._temporary)
