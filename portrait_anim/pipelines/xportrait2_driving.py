"""Motion crops of a driving clip while it is read: smoothing looks 20 frames ahead, so that many are held back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from portrait_anim.pipelines.xportrait2_crops import Box, cut, grow_box, place_box, smooth_centres
from portrait_anim.types import UInt8Array

REACH = 20  # frames that smoothing sees on either side


class MotionCropper:
    """Gives the crops that `motion_boxes` would give for the whole clip, with at most 21 frames in memory."""

    def __init__(self) -> None:
        self._waiting: deque[UInt8Array] = deque()
        self._centres: list[tuple[float, float]] = []
        self._given = 0
        self._sides = (0.0, 0.0)

    def add(self, image: UInt8Array, box: Box) -> Iterator[UInt8Array]:
        """Take the next frame.

        Args:
            image: `(H, W, 3)` uint8 sRGB.
            box: Face box in it.

        Yields:
            Crops of earlier frames that are finished now, in order.
        """
        if not self._centres:
            box = grow_box(box, (image.shape[0], image.shape[1]))
            width, height = (round(side) // 2 * 2 for side in (box[2] - box[0], box[3] - box[1]))
            self._sides = (max(width, 2), max(height, 2))
        self._centres.append(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
        self._waiting.append(image)
        if len(self._waiting) > REACH:
            yield self._give()

    def finish(self) -> Iterator[UInt8Array]:
        """Give the crops of the last frames."""
        while self._waiting:
            yield self._give()

    def _give(self) -> UInt8Array:
        image = self._waiting.popleft()
        first = max(0, self._given - REACH)
        near = np.array(self._centres[first : self._given + REACH + 1], np.float32)
        centre = smooth_centres(near)[self._given - first]
        self._given += 1
        return cut(image, place_box(centre, self._sides, (image.shape[0], image.shape[1])))
