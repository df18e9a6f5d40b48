"""Where a recording comes from, as its file tells: digest, time, lengths, marks of generators."""

from __future__ import annotations

import hashlib
import math
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from portrait_anim.consent.evidence import OriginMark
from portrait_anim.errors import ManifestInvalid
from portrait_anim.media import container as containers
from portrait_anim.media.failures import media_errors
from portrait_anim.provenance.manifest import read_manifest
from portrait_anim.provenance.watermark import read_file
from portrait_anim.types import PathLike

LOOK_S: Final = 8.0
"""Longest time spent on looking for our watermark [s]."""

_MADE_BY_GENERATOR: Final = "algorithmicmedia"  # ends the IPTC source types of generated and composite media
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=timezone.utc)  # cameras without a clock write 1904 or 1970


def file_digest(path: PathLike) -> str:
    """Return the sha256 of a file, hexadecimal; streams.

    Raises:
        OSError: If it cannot be read.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def origin_marks(path: Path) -> tuple[OriginMark, ...]:
    """Find what a file says about having been generated.

    Args:
        path: The video.

    Returns:
        The marks found; a file from a camera has none.

    Raises:
        MediaError: If it is no video.
    """
    marks: list[OriginMark] = []
    try:
        manifest = read_manifest(path)
    except ManifestInvalid:
        manifest = None
        marks.append("damaged_manifest")
    if manifest is not None:
        if manifest.consent:
            marks.append("own_manifest")
        if any(kind.lower().endswith(_MADE_BY_GENERATOR) for kind in manifest.source_types):
            marks.append("ai_manifest")
    if not marks and read_file(path, budget_s=LOOK_S) is not None:
        marks.append("own_watermark")
    return tuple(marks)


def recorded_at(path: PathLike) -> datetime | None:
    """Return when the camera says it recorded a file [UTC], or `None` when the file does not tell.

    Args:
        path: The video.

    Raises:
        MediaError: If it is no media file.
    """
    with containers.open_input(path) as container:
        told = dict(container.metadata)
        for stream in container.streams:
            told = {**dict(stream.metadata), **told}
    try:
        moment = datetime.fromisoformat(str(told.get("creation_time", "")).replace("Z", "+00:00"))
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc) if moment >= _EARLIEST else None


def track_lengths(path: PathLike) -> tuple[float, float | None]:
    """Measure how long picture and sound last, by the time stamps of their packets; nothing is decoded.

    Args:
        path: The video.

    Returns:
        Length of the picture, and of the sound or `None` when there is none [s]; 0 without time stamps.

    Raises:
        MediaError: If it is no media file.
    """
    with media_errors(path, "read"), containers.open_input(path) as container:
        picture, sound = containers.video_stream(container), containers.audio_stream(container)
        wanted = [stream for stream in (picture, sound) if stream is not None]
        spans = {stream.index: (math.inf, -math.inf) for stream in wanted}
        for packet in container.demux(wanted):
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is not None:
                start = float(stamp * packet.time_base)
                first, last = spans[packet.stream.index]
                end = start + float((packet.duration or 0) * packet.time_base)
                spans[packet.stream.index] = (min(first, start), max(last, end))
        lengths = [
            None if stream is None else max(0.0, spans[stream.index][1] - spans[stream.index][0])
            for stream in (picture, sound)
        ]
    return lengths[0] or 0.0, lengths[1]
