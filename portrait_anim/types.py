"""Value types that flow through the package (see the table in docs/ARCHITECTURE.md).

Frames are numpy uint8 sRGB, channels last, outside the models; coordinates are pixels with the centre of the
top-left pixel at (0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

UInt8Array: TypeAlias = npt.NDArray[np.uint8]
Float32Array: TypeAlias = npt.NDArray[np.float32]
Float64Array: TypeAlias = npt.NDArray[np.float64]
PathLike: TypeAlias = str | Path

Region = Literal["pose", "mouth", "eyes", "brows", "gaze"]
ALL_REGIONS: tuple[Region, ...] = ("pose", "mouth", "eyes", "brows", "gaze")


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """One step of visible progress.

    Attributes:
        stage: What is being done, in a word or two, for example `"animate"`.
        done: Units finished so far.
        total: Units in all, or `None` when not known beforehand.
        preview: The newest finished frame, `(H, W, 3)` uint8 sRGB, or `None`.
    """

    stage: str
    done: int
    total: int | None = None
    preview: UInt8Array | None = field(default=None, compare=False, repr=False)


ProgressCallback: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioTrack:
    """Decoded sound.

    Attributes:
        samples: `(C, N)` float32 in [-1, 1].
        sample_rate_hz: Samples per second.
    """

    samples: Float32Array
    sample_rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length [s]."""
        return self.samples.shape[1] / self.sample_rate_hz


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaInfo:
    """What a media file holds, as read from its header.

    Attributes:
        path: The file.
        width: Displayed width after rotation [px].
        height: Displayed height after rotation [px].
        fps: Average frame rate [1/s]; 0 for a still image.
        duration_s: Length [s], 0 when unknown.
        num_frames: Frames promised by the header, 0 when unknown.
        has_audio: Whether a sound stream exists.
        codec: Name of the video codec.
        rotation_deg: Clockwise display rotation that readers apply (0, 90, 180, 270).
    """

    path: Path
    width: int
    height: int
    fps: Fraction
    duration_s: float
    num_frames: int
    has_audio: bool
    codec: str
    rotation_deg: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One decoded frame.

    Attributes:
        image: `(H, W, 3)` uint8 sRGB, upright.
        time_s: Presentation time from the start of the clip [s].
        index: 0-based number within what is being read.
    """

    image: UInt8Array
    time_s: float
    index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceObservation:
    """One face in one frame.

    Attributes:
        box: `(4,)` float64, left, top, right, bottom [px].
        landmarks: `(478, 2)` float64 [px] (468 surface points, then 5 points per iris).
        score: Confidence in [0, 1].
        time_s: Time of the frame [s].
        depth: `(478,)` float64 relative depth in units of image width (MediaPipe's z), smaller is nearer.
    """

    box: Float64Array
    landmarks: Float64Array
    score: float
    time_s: float = 0.0
    depth: Float64Array | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CropTransform:
    """Affine map from frame pixels to the pixels of a square crop.

    Attributes:
        matrix: `(2, 3)` float64, frame px -> crop px.
        size_px: Side of the crop [px].
    """

    matrix: Float64Array
    size_px: int


@dataclass(frozen=True, kw_only=True, slots=True)
class IdentityEmbedding:
    """A direction that says who someone is.

    Attributes:
        vector: `(D,)` float32, as the backend gives it (dlib: not unit length; arcface: unit length).
        backend: `"dlib"` (D = 128, Euclidean distance) or `"arcface"` (D = 512, cosine distance).
    """

    vector: Float32Array
    backend: Literal["dlib", "arcface"]
