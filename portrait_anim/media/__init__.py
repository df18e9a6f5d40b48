"""Everything that touches picture, video and sound files, and nothing else.

PyAV is used only here, for video and sound; Pillow opens pictures. Above this package there are only numpy
arrays and the types of `portrait_anim.types`.
"""

from __future__ import annotations

from portrait_anim.media.audio import AudioReader, read_audio
from portrait_anim.media.image import (
    from_tensor,
    is_image,
    pixel_digest,
    read_image,
    resize,
    to_tensor,
    write_image,
)
from portrait_anim.media.reader import VideoReader, probe, resample
from portrait_anim.media.writer import VideoWriter, atomic_path

__all__ = [
    "AudioReader",
    "VideoReader",
    "VideoWriter",
    "atomic_path",
    "from_tensor",
    "is_image",
    "pixel_digest",
    "probe",
    "read_audio",
    "read_image",
    "resample",
    "resize",
    "to_tensor",
    "write_image",
]
