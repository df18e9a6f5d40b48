"""The invisible watermark: 48 bits in the picture itself, which survive encoding, cropping, scaling and turning.

How it works: docs/PROVENANCE_WATERMARK.md. The key is public, so anyone can read the mark, and nobody needs to ask.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from portrait_anim.media.image import check_image, is_image, read_image
from portrait_anim.media.reader import VideoReader
from portrait_anim.provenance import watermark_code, watermark_pattern
from portrait_anim.provenance.watermark_embed import add_pattern, dither
from portrait_anim.provenance.watermark_reading import Search, WatermarkReading
from portrait_anim.provenance.watermark_residual import SMALLEST_SIDE_PX, ResidualSum
from portrait_anim.types import UInt8Array

__all__ = ["MAX_RENDER_ID", "SMALLEST_MARKED_PX", "WatermarkReading", "Watermarker", "read_file", "read_frames"]

MAX_RENDER_ID: Final = watermark_code.MAX_ID
SMALLEST_MARKED_PX: Final = 192  # shorter side; below it a mark is added, but cannot be relied on

_EARLY_ATTEMPTS: Final = frozenset({1, 4})  # after how many frames to try
_SEGMENT_FRAMES: Final = 12  # so many frames are also read alone: the mark may be in a part of the clip only
_MAX_FRAMES: Final = 120


class Watermarker:
    """Marks the pictures of one render.

    Args:
        render_id: 48-bit unsigned number that the reader gives back.
        size: Width and height of the pictures [px].

    Raises:
        ValueError: If the id does not fit in 48 bits or the size is not positive.
    """

    def __init__(self, render_id: int, size: tuple[int, int]) -> None:
        width, height = size
        if width < 1 or height < 1:
            raise ValueError(f"Expected a size of at least 1x1 px, got {width}x{height}.")
        self.render_id = render_id
        self.size = (width, height)
        period_px = watermark_pattern.period_for(self.size)
        tile = watermark_pattern.tile(render_id, period_px)
        repeats = (-(-height // period_px), -(-width // period_px))
        self._pattern = np.ascontiguousarray(np.tile(tile, repeats)[:height, :width])
        self._dither = dither(self.size)

    def mark(self, image: UInt8Array) -> UInt8Array:
        """Mark a picture.

        Args:
            image: `(H, W, 3)` uint8 sRGB of the size given to the constructor; not modified.

        Returns:
            Marked copy.

        Raises:
            ValueError: If the picture has another form or size.
        """
        check_image(image)
        if image.shape[:2] != self._pattern.shape:
            raise ValueError(
                f"Expected pictures of {self.size[0]}x{self.size[1]} px, got {image.shape[1]}x{image.shape[0]}."
            )
        return add_pattern(image, self._pattern, self._dither)


def read_frames(
    images: Iterable[UInt8Array], *, budget_s: float | None = None, search: Search | None = None
) -> WatermarkReading | None:
    """Look for the mark in pictures of one clip, which together show it better than each alone.

    Args:
        images: `(H, W, 3)` uint8 sRGB, read only as far as needed. Those of another size than the first are left out.
        budget_s: Give up after about this time [s]; `None` takes the time it needs.
        search: A new search, for those who want to look into it afterwards; it keeps its own time.

    Returns:
        What was read, or `None` when there is no mark that can be read.

    Raises:
        ValueError: If something is not a picture.
    """
    total: ResidualSum | None = None
    segment = ResidualSum((1, 1))
    if search is None:
        search = Search(None if budget_s is None else time.monotonic() + budget_s)
    for image in images:
        check_image(image)
        size = (image.shape[1], image.shape[0])
        if total is None:
            if min(size) < SMALLEST_SIDE_PX:
                return None
            total, segment = ResidualSum(size), ResidualSum(size)
        if size != total.size:
            continue
        residual = segment.add(image)
        total.add_residual(residual)
        reading = None
        if total.num_frames in _EARLY_ATTEMPTS:
            reading = search.read(total, thorough=False)
        if segment.num_frames == _SEGMENT_FRAMES:
            reading = search.read(segment, thorough=False)
            segment = ResidualSum(size)
        if reading is not None:
            return reading
        if search.expired:
            break
    return None if total is None else search.read(total, thorough=True)


def read_file(path: Path, *, budget_s: float | None = None, max_frames: int = _MAX_FRAMES) -> WatermarkReading | None:
    """Look for the mark in a picture or video of anyone.

    Args:
        path: File to look at. Of a video, frames all over its length are taken.
        budget_s: Give up after about this time [s].
        max_frames: Frames used at most.

    Returns:
        What was read, or `None` when there is no mark that can be read.

    Raises:
        MediaError: If the file is missing, damaged, or neither picture nor video.
        ValueError: If `max_frames` is not positive.
    """
    if max_frames < 1:
        raise ValueError(f"Expected max_frames of 1 or more, got {max_frames}.")
    if is_image(path):
        return read_frames([read_image(path)], budget_s=budget_s)
    return read_frames(_sampled(path, max_frames), budget_s=budget_s)


def _sampled(path: Path, count: int) -> Iterator[UInt8Array]:
    """Frames all over a video, without holding it in memory."""
    with VideoReader(path) as video:
        step = max(1, (video.expected_frames or 1) // count)
        for frame in itertools.islice(video, 0, None, step):
            yield frame.image
