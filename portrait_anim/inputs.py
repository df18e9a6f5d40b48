"""What a render reads: the portrait, and the driving clip, picture or motion file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from portrait_anim.errors import InputError, MediaError
from portrait_anim.media.audio import AudioReader
from portrait_anim.media.image import is_image, read_image
from portrait_anim.media.reader import VideoReader, probe
from portrait_anim.media.timing import resample
from portrait_anim.types import Frame, UInt8Array

if TYPE_CHECKING:
    from portrait_anim.pipelines.motion import MotionSequence

STILL_FPS = Fraction(25)


def read_portrait(path: Path, frame_number: int = 0) -> UInt8Array:
    """Read the source portrait.

    Args:
        path: Picture, or a video.
        frame_number: Which frame of a video.

    Returns:
        `(H, W, 3)` uint8 sRGB.

    Raises:
        MediaError: If the file is neither, or has fewer frames.
    """
    if is_image(path):
        return read_image(path)
    with VideoReader(path) as frames:
        for frame in itertools.islice(frames, frame_number, None):
            return frame.image
    raise MediaError(f"expected a video with a frame {frame_number}, got {path} with fewer; choose an earlier frame")


class DrivingSource:
    """A driving clip, driving picture or motion file, cut to the part asked for.

    Args:
        path: The file.
        start_s: Start of the part [s].
        end_s: End of the part [s]; `None` is the end of the clip.
        fps: Frame rate to bring the clip to [1/s]; `None` keeps its own.
        profile: Profile that a motion file must be of.

    Attributes:
        motion: Motion from a motion file, else `None`.
        fps: Frame rate of the output [1/s].
        num_frames: Expected number of frames, `None` when unknown.

    Raises:
        MediaError: If the file cannot be read or has no picture.
        InputError: If options do not fit the kind of file.
    """

    def __init__(
        self,
        path: Path,
        *,
        start_s: float = 0.0,
        end_s: float | None = None,
        fps: Fraction | None = None,
        profile: str = "lite",
    ) -> None:
        from portrait_anim.pipelines.motion_file import is_motion_file, load_motion

        self.path, self._start_s, self._end_s = path, start_s, end_s
        self.motion: MotionSequence | None = None
        self.num_frames: int | None
        if is_motion_file(path):
            if start_s or end_s is not None or fps is not None:
                raise InputError(
                    f"expected no start, end or fps for a motion file, got them for {path.name}; "
                    "give them to 'motion extract' instead"
                )
            self.motion = load_motion(path, profile=profile)
            self.fps, self.num_frames = self.motion.fps, len(self.motion)
            return
        with VideoReader(path, start_s=start_s, end_s=end_s) as reader:
            self._native, self._has_audio = reader.fps, reader.info.has_audio
            expected, length_s = reader.expected_frames, reader.info.duration_s
        if 0 < length_s <= start_s:
            raise MediaError(f"expected a start before the end of {path.name} ({length_s:.2f} s), got {start_s:g} s")
        self.fps = fps or self._native or STILL_FPS
        rate_change = float(self.fps / self._native) if self._native else 1.0
        self.num_frames = max(1, round(expected * rate_change)) if expected else None

    @property
    def duration_s(self) -> float:
        """Length of the result [s]; measured by decoding when the header is silent."""
        if self.num_frames is None:
            with self.frames() as frames:
                self.num_frames = sum(1 for _ in frames)
        return self.num_frames / float(self.fps)

    @contextmanager
    def frames(self) -> Iterator[Iterator[Frame]]:
        """Open the clip and give its frames at constant rate."""
        with VideoReader(self.path, start_s=self._start_s, end_s=self._end_s) as reader:
            yield iter(reader) if self._native == 0 else resample(reader, self.fps)

    def pictures(self, *, needed: bool) -> AbstractContextManager[Iterator[UInt8Array | None]]:
        """Pictures of the driver in step with the output, or endless `None` where there are none."""
        if self.motion is not None or not needed:
            return nullcontext(itertools.repeat(None))
        return self._pictures()

    @contextmanager
    def _pictures(self) -> Iterator[Iterator[UInt8Array | None]]:
        with self.frames() as frames:
            yield (frame.image for frame in frames)

    def audio(self, choice: str) -> AudioReader | None:
        """Open the sound that goes with the output.

        Args:
            choice: `"driver"`, `"none"` or a sound file.

        Raises:
            MediaError: If a file was named and holds no sound.
        """
        if choice == "none" or (choice == "driver" and (self.motion is not None or not self._has_audio)):
            return None
        if choice == "driver":
            return AudioReader(self.path, start_s=self._start_s, end_s=self._end_s)
        if not Path(choice).exists() or not probe(choice).has_audio:
            raise MediaError(f"expected audio 'driver', 'none' or a file with sound, got {choice!r}; check the path")
        return AudioReader(Path(choice))
