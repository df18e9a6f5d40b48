"""Open media containers safely, and read from their headers what the rest of this package needs."""

from __future__ import annotations

import logging
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from portrait_anim.errors import MediaError
from portrait_anim.media.failures import media_errors, require_file
from portrait_anim.types import PathLike

logger = logging.getLogger(__name__)

# Demuxers that may be used. Left out on purpose: `tty` turns any text file into a video, playlists (`hls`,
# `concat`, `dash`) open other files or the network, and the picture demuxers belong to Pillow.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpeg,mpegts,mpegvideo,m4v,h261,h263,h264,hevc,av1,obu,ivf,"
    "ogg,asf,rm,nut,mxf,gxf,dv,gif,apng,yuv4mpegpipe,vc1,roq,wtv,"
    "wav,w64,mp3,flac,aac,ac3,eac3,dts,truehd,amr,amrnb,amrwb,aiff,au,caf,tta,wv,ape,voc,mpc,mpc8"
)
_FALLBACK_FPS = Fraction(25)
_MAX_FPS = 480
_MAX_DAMAGED_SHARE = 0.05
_MAX_DAMAGED_COUNT = 3


def open_input(path: PathLike) -> Any:
    """Open a video or sound file with PyAV.

    Args:
        path: File to open. Only local files are opened, and none that they refer to.

    Returns:
        An `av.container.InputContainer`, to be closed by the caller.

    Raises:
        MediaError: If the file is not a video or sound file.
    """
    file = require_file(path)
    with media_errors(path, "read"):
        return av.open(
            f"file:{file}",
            metadata_errors="replace",
            options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"},
        )


def video_stream(container: Any) -> Any | None:
    """Pick the stream with the moving picture.

    Args:
        container: An open input container.

    Returns:
        The first decodable video stream that is not cover art, or `None`.
    """
    for stream in container.streams.video:
        if stream.codec_context is not None and not is_cover_art(stream):
            return stream
    return None


def audio_stream(container: Any) -> Any | None:
    """Pick the sound stream.

    Args:
        container: An open input container.

    Returns:
        The first decodable audio stream, or `None`.
    """
    for stream in container.streams.audio:
        if stream.codec_context is not None and stream.codec_context.sample_rate:
            return stream
    return None


def is_cover_art(stream: Any) -> bool:
    """Tell whether a video stream is the still cover of a sound file."""
    return bool(stream.disposition.value & 0x400)  # AV_DISPOSITION_ATTACHED_PIC


def frame_rate(stream: Any) -> Fraction:
    """Decide on the frame rate of a video stream.

    The rate derived from the timestamps is exact for constant frame rates and meaningless for variable ones,
    for which the average is taken.

    Args:
        stream: A PyAV video stream.

    Returns:
        Frames per second; 25 when the file says nothing credible.
    """
    average = _credible(stream.average_rate)
    nominal = _credible(stream.guessed_rate)
    if average and nominal and abs(nominal - average) <= average / 100:
        return nominal
    return average or nominal or _FALLBACK_FPS


def _credible(rate: Fraction | None) -> Fraction | None:
    if not rate or not 0 < rate <= _MAX_FPS:
        return None
    return Fraction(rate).limit_denominator(1001)


def start_time(stream: Any) -> Fraction:
    """Give the presentation time of the first frame of a stream [s]."""
    return Fraction(stream.start_time or 0) * Fraction(stream.time_base)


def duration(stream: Any, container: Any) -> float:
    """Give the length of a stream as its header promises it.

    Args:
        stream: A PyAV stream.
        container: Its container, whose length is the fallback.

    Returns:
        Seconds, 0 when unknown.
    """
    promised = stream_duration(stream, container)
    if promised:
        return promised
    return float(container.duration or 0) / int(av.time_base)


def stream_duration(stream: Any, container: Any) -> float:
    """Give the length of this very stream as its header promises it [s]; 0 when unknown."""
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        # ffmpeg shortens the duration of an AVI file to what is there, but keeps the promised frames.
        return float(stream.frames / stream.average_rate)
    if stream.duration:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "")  # Matroska: 00:00:02.000000000
    try:
        hours, minutes, seconds = (float(part) for part in tag.split(":"))
    except ValueError:
        return 0.0
    return hours * 3600 + minutes * 60 + seconds


def check_complete(stream: Any, path: Path) -> None:
    """Refuse a file whose index points beyond its end.

    Args:
        stream: The video stream; containers without an index at hand pass.
        path: The file on disk.

    Raises:
        MediaError: If the file was cut off.
    """
    entries = getattr(stream, "index_entries", ())  # PyAV has them from version 17 on
    if len(entries) == 0:
        return
    last = entries[len(entries) - 1]
    needed, size = last.pos + last.size, path.stat().st_size
    if needed > size:
        raise MediaError(
            f"Expected a complete file, but {path} is cut off: it should have at least {needed} bytes "
            f"and has {size}. Copy or download it again."
        )


def seek_before(container: Any, stream: Any, target_s: float) -> bool:
    """Jump to a key frame at or before a time.

    Args:
        container: An open input container.
        stream: The stream that counts.
        target_s: Time on the file's own clock [s].

    Returns:
        Whether the container could jump; if not, it stands where it stood.
    """
    try:
        container.seek(int(target_s / stream.time_base), stream=stream, backward=True)
    except (av.error.FFmpegError, OverflowError):
        return False
    return True


def decode(container: Any, stream: Any, path: PathLike) -> Generator[Any, None, None]:
    """Decode from where the container stands, leaving out a few damaged packets.

    Args:
        container: An open input container.
        stream: The stream to decode.
        path: File, for the log.

    Yields:
        PyAV frames, in order of presentation.

    Raises:
        av.error.FFmpegError: If too much is damaged.
    """
    damaged, total = 0, 0
    for packet in container.demux(stream):
        total += 1
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            damaged += 1
            if damaged > max(_MAX_DAMAGED_COUNT, _MAX_DAMAGED_SHARE * total):
                raise
            logger.warning("%s: packet %d is damaged and is left out", path, total)
            continue
        yield from frames
