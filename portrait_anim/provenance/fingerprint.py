"""A perceptual fingerprint of pictures and videos: what is left to recognise a file by when every mark is gone.

Each sample is the sign pattern of the lowest 16x16 DCT coefficients of a small grey picture (pHash with 255 bits, after
Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010). Signs survive re-encoding, scaling
and changes of brightness; mirroring flips the signs of the odd horizontal frequencies and nothing else, so a mirrored
copy is found by one exclusive or. A fingerprint shows no picture: it keeps 255 signs of about a thousandth of the data.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn

from portrait_anim.media import container as containers
from portrait_anim.media.colour import FrameConverter
from portrait_anim.media.failures import media_errors
from portrait_anim.media.header import probe
from portrait_anim.media.image import is_image, read_image
from portrait_anim.types import UInt8Array

SAME_RENDER: Final = 0.82
"""Similarity from which two files count as one render; docs/PROVENANCE.md has the measurement."""
SAME_PORTRAIT: Final = 0.55
"""Similarity from which two files at least show one portrait animated in two ways; strangers stay below 0.35."""
DEFAULT_RATE_HZ: Final = 2.0
INDEX_RATE_HZ: Final = 8.0
"""Rate at which a finished render is sampled for the index, so that a clip trimmed anywhere meets close samples."""
MOST_SAMPLES: Final = 20_000
"""Samples taken of one file at most (2.8 hours at 2 per second); the rest of a longer file is not looked at."""

_SIDE: Final = 64
_KEPT: Final = 16
_WORDS: Final = _KEPT * _KEPT // 64
_NUM_BITS: Final = _KEPT * _KEPT - 1
_MAGIC: Final = b"PAF1"
_HEADER: Final = struct.Struct("<4sI")
_SMALLEST_OVERLAP: Final = 0.5
_MOST_CELLS: Final = 2_000_000  # of one block of the table of distances: about 64 MB while it is computed
_BITS_SET: Final = np.array([bin(value).count("1") for value in range(256)], np.uint8)


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoFingerprint:
    """What one file looks like, in a few bytes per second.

    Attributes:
        times_s: `(N,)` float64, times of the samples from the start of the file, rising [s].
        hashes: `(N, 4)` uint64, one 255-bit hash per sample.

    Raises:
        ValueError: If shapes or types are others, or there is no sample.
    """

    times_s: npt.NDArray[np.float64]
    hashes: npt.NDArray[np.uint64]

    def __post_init__(self) -> None:
        count = len(self.times_s)
        if count == 0 or self.times_s.dtype != np.float64 or self.times_s.shape != (count,):
            raise ValueError(f"expected times (N,) float64, got {self.times_s.dtype} {self.times_s.shape}")
        if self.hashes.dtype != np.uint64 or self.hashes.shape != (count, _WORDS):
            raise ValueError(f"expected hashes (N, {_WORDS}) uint64, got {self.hashes.dtype} {self.hashes.shape}")

    @property
    def duration_s(self) -> float:
        """Time between the first sample and the last [s]."""
        return float(self.times_s[-1] - self.times_s[0])

    def to_bytes(self) -> bytes:
        """Pack for a database; the same on every machine."""
        head = _HEADER.pack(_MAGIC, len(self.times_s))
        return head + self.times_s.astype("<f8").tobytes() + self.hashes.astype("<u8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> VideoFingerprint:
        """Unpack what `to_bytes` gave.

        Args:
            data: Packed fingerprint.

        Raises:
            ValueError: If the bytes are no whole fingerprint.
        """
        if len(data) < _HEADER.size:
            raise ValueError(f"expected a packed fingerprint, got {len(data)} bytes; compute it again from the file")
        magic, count = _HEADER.unpack_from(data)
        if magic != _MAGIC or len(data) != _HEADER.size + count * (8 + 8 * _WORDS):
            raise ValueError("expected a whole packed fingerprint, got damaged bytes; compute it again from the file")
        times = np.frombuffer(data, "<f8", count, _HEADER.size)
        hashes = np.frombuffer(data, "<u8", count * _WORDS, _HEADER.size + 8 * count)
        return cls(times_s=times.astype(np.float64), hashes=hashes.astype(np.uint64).reshape(count, _WORDS))


def fingerprint(path: Path, *, rate_hz: float = DEFAULT_RATE_HZ, most_samples: int = MOST_SAMPLES) -> VideoFingerprint:
    """Compute the fingerprint of a picture or video; streams, with one frame in memory.

    Args:
        path: Picture or video of any kind that this package reads.
        rate_hz: Samples per second of a video; the clip that is searched for needs fewer than the one it may be in.
        most_samples: Samples at most; the rest of a longer video is not looked at.

    Returns:
        One sample for a picture, else one per `1 / rate_hz` and at least one.

    Raises:
        MediaError: If the file is neither, or is damaged.
        ValueError: If the rate is not positive.
    """
    if not rate_hz > 0:
        raise ValueError(f"expected a rate above 0, got {rate_hz}; choose one such as {DEFAULT_RATE_HZ:g}")
    if is_image(path):
        samples = [(0.0, hash_image(read_image(path, max_side_px=1024)))]
    else:
        probe(path)  # its typed errors name what is wrong with a file that is no video
        samples = list(itertools.islice(_video_samples(path, rate_hz), most_samples))
    times, hashes = zip(*samples, strict=True)
    return VideoFingerprint(times_s=np.array(times, np.float64), hashes=np.stack(hashes))


def fingerprint_image(image: UInt8Array) -> VideoFingerprint:
    """Compute the fingerprint of a picture that is in memory.

    Args:
        image: `(H, W, 3)` uint8 sRGB.
    """
    return VideoFingerprint(times_s=np.zeros(1), hashes=hash_image(image)[None])


def hash_image(image: UInt8Array) -> npt.NDArray[np.uint64]:
    """Hash one picture.

    Args:
        image: `(H, W, 3)` uint8 sRGB of any size.

    Returns:
        `(4,)` uint64: bit `16 v + u` says whether the DCT coefficient at horizontal frequency `u` and vertical
        frequency `v` is positive; bit 0, the mean, is always 0.
    """
    small = Image.fromarray(image).convert("L").convert("F").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    frequencies = dctn(np.asarray(small, np.float32), norm="ortho")[:_KEPT, :_KEPT]
    bits = frequencies > 0
    bits[0, 0] = False
    return np.packbits(bits.ravel(), bitorder="little").view("<u8").astype(np.uint64)


def similarity(a: VideoFingerprint, b: VideoFingerprint) -> float:
    """Say how well one file is found inside another, at any place and also mirrored.

    Args:
        a: The whole.
        b: What may be a part of it: re-encoded, scaled, trimmed, mirrored. Up to half of it may lie outside `a`.

    Returns:
        0 (no more alike than chance) to 1 (the same); from `SAME_RENDER` on it is the same render.
    """
    best = 0.0
    for hashes in (b.hashes, b.hashes ^ _MIRROR):
        best = max(best, _best_alignment(a, b.times_s - b.times_s[0], hashes))
    return best


def may_match(a: VideoFingerprint, b: VideoFingerprint) -> bool:
    """Say quickly whether `similarity(a, b)` can be high, from the middle sample of `b` alone.

    Args:
        a: The whole.
        b: What may be a part of it.

    Returns:
        False only for files that are not alike.
    """
    middle = b.hashes[len(b.hashes) // 2]
    return bool(_agreement(np.stack([middle, middle ^ _MIRROR]), a.hashes).max() >= SAME_PORTRAIT)


def _video_samples(path: Path, rate_hz: float) -> Iterator[tuple[float, npt.NDArray[np.uint64]]]:
    """Times and hashes of the first frame at or after each sampling time; only those frames are converted."""
    with containers.open_input(path) as container, media_errors(path, "read"):
        stream: Any = containers.video_stream(container)
        stream.thread_type = "AUTO"
        convert = FrameConverter(stream.sample_aspect_ratio)
        origin_s, period_s = float(containers.start_time(stream)), 1 / float(containers.frame_rate(stream))
        taken = 0
        for index, frame in enumerate(containers.decode(container, stream, path)):
            time_s = index * period_s if frame.pts is None else float(frame.pts * frame.time_base) - origin_s
            if time_s + period_s / 2 < taken / rate_hz:
                continue
            yield time_s, hash_image(convert(frame))
            taken = max(taken + 1, int(time_s * rate_hz) + 1)


def _mirror_mask() -> npt.NDArray[np.uint64]:
    """The bits that mirroring flips: odd horizontal frequencies."""
    odd = np.zeros((_KEPT, _KEPT), bool)
    odd[:, 1::2] = True
    return np.packbits(odd.ravel(), bitorder="little").view("<u8").astype(np.uint64)


_MIRROR: Final = _mirror_mask()


def _best_alignment(a: VideoFingerprint, times_s: npt.NDArray[np.float64], hashes: npt.NDArray[np.uint64]) -> float:
    """Best mean agreement over all shifts of `b` (its times from 0, its hashes) along `a`."""
    middle = len(times_s) // 2
    # A shift for every pair "the middle of b lies on this sample of a": at most half of b can then be outside.
    shifts = a.times_s - times_s[middle]
    reach = float(np.median(np.diff(a.times_s))) if len(a.times_s) > 1 else 0.0
    total = np.zeros(len(shifts))
    count = np.zeros(len(shifts))
    rows = max(1, _MOST_CELLS // len(a.times_s))
    for start in range(0, len(times_s), rows):
        part = slice(start, start + rows)
        agreement = _agreement(hashes[part], a.hashes)
        for row, offset in enumerate(times_s[part]):
            wanted = shifts + offset
            after = np.searchsorted(a.times_s, wanted).clip(0, len(a.times_s) - 1)
            before = (after - 1).clip(0)
            inside = (wanted >= a.times_s[0] - reach / 2) & (wanted <= a.times_s[-1] + reach)
            total += np.where(inside, np.maximum(agreement[row, after], agreement[row, before]), 0.0)
            count += inside
    enough = count >= max(1.0, _SMALLEST_OVERLAP * len(times_s))
    return float(np.clip(np.where(enough, total / np.maximum(count, 1), 0.0).max(), 0.0, 1.0))


def _agreement(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> npt.NDArray[np.float32]:
    """Correlation of hashes: `(N, M)` float32, 1 for equal, 0 for unrelated, -1 for opposite."""
    different = np.zeros((len(first), len(second)), np.uint16)
    for word in range(first.shape[1]):
        mixed = np.ascontiguousarray(first[:, None, word] ^ second[None, :, word])
        different += _BITS_SET[mixed.view(np.uint8).reshape(*mixed.shape, 8)].sum(axis=2, dtype=np.uint16)
    return 1 - 2 * different.astype(np.float32) / _NUM_BITS
