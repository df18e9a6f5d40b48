"""What a media file holds, told from its header and first frame."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

from portrait_anim.errors import MediaError
from portrait_anim.media import container as containers
from portrait_anim.media.colour import display_matrix, rotation, square_width
from portrait_anim.media.failures import media_errors
from portrait_anim.media.image import is_image, read_size
from portrait_anim.types import MediaInfo, PathLike


def probe(path: PathLike) -> MediaInfo:
    """Look at a media file without reading it all.

    Args:
        path: Video, sound file or picture.

    Returns:
        What it holds. A sound file has width and height 0; a picture has frame rate and duration 0.

    Raises:
        MediaError: If the file is none of these, is damaged or cut off.
    """
    if is_image(path):
        width, height, codec = read_size(path)
        return MediaInfo(
            path=Path(path),
            width=width,
            height=height,
            fps=Fraction(0),
            duration_s=0.0,
            num_frames=1,
            has_audio=False,
            codec=codec,
        )
    with containers.open_input(path) as container, media_errors(path, "read"):
        video = containers.video_stream(container)
        if video is not None:
            containers.check_complete(video, Path(path))
            return _video_info(path, container, video)
        audio = containers.audio_stream(container)
        if audio is None:
            raise MediaError(
                f"Expected a video or sound file, but {path} holds neither that can be decoded. "
                "Convert it to MP4."
            )
        return MediaInfo(
            path=Path(path),
            width=0,
            height=0,
            fps=Fraction(0),
            duration_s=containers.duration(audio, container),
            num_frames=0,
            has_audio=True,
            codec=audio.codec_context.name,
        )


def _video_info(path: PathLike, container: Any, video: Any) -> MediaInfo:
    # The first frame is decoded because only frames carry the display matrix.
    frame = next(containers.decode(container, video, path), None)
    if frame is None:
        raise MediaError(
            f"Expected a video, but no picture of {path} can be decoded. Copy it again or convert it to MP4."
        )
    size = (square_width(frame.width, video.sample_aspect_ratio), frame.height)
    turn = rotation(display_matrix(frame))
    return MediaInfo(
        path=Path(path),
        width=size[turn % 180 // 90],
        height=size[1 - turn % 180 // 90],
        fps=containers.frame_rate(video),
        duration_s=containers.duration(video, container),
        num_frames=video.frames,
        has_audio=containers.audio_stream(container) is not None,
        codec=video.codec_context.name,
        rotation_deg=turn,
    )


def check_range(path: PathLike, start_s: float, end_s: float | None) -> tuple[float, float | None]:
    """Check a part of a clip that the user asks for.

    Args:
        path: The clip, for the message.
        start_s: Where to begin [s].
        end_s: Where to stop [s], or `None`.

    Returns:
        The same two numbers.

    Raises:
        MediaError: If they do not describe a part of positive length.
    """
    if not (math.isfinite(start_s) and start_s >= 0):
        raise MediaError(
            f"Expected a start of 0 s or more for {path}, got {start_s:g} s. Choose another start."
        )
    if end_s is not None and not end_s > start_s:
        raise MediaError(
            f"Expected an end after the start ({start_s:g} s) for {path}, got {end_s:g} s. Swap them."
        )
    return start_s, end_s
