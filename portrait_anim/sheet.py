"""Contact sheets and side-by-side pictures for a quick look."""

from __future__ import annotations

import numpy as np

from portrait_anim.media.image import resize
from portrait_anim.types import UInt8Array

COLUMNS = 8
SIDE_PX = 192


def fit(image: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """Scale an image into a box and centre it on black.

    Args:
        image: `(H, W, 3)` uint8.
        size: Width and height of the box [px].

    Returns:
        `(size[1], size[0], 3)` uint8.
    """
    width, height = size
    zoom = min(width / image.shape[1], height / image.shape[0])
    inner = (max(1, round(image.shape[1] * zoom)), max(1, round(image.shape[0] * zoom)))
    out = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    out[top : top + inner[1], left : left + inner[0]] = resize(image, inner)
    return out


def side_by_side(portrait: UInt8Array, driver: UInt8Array | None, result: UInt8Array) -> UInt8Array:
    """Put portrait, driver (if seen) and result next to each other at the height of the result."""
    height, width = result.shape[:2]
    parts = [fit(portrait, (width, height))]
    if driver is not None:
        parts.append(fit(driver, (max(2, round(driver.shape[1] * height / driver.shape[0])), height)))
    return np.concatenate([*parts, result], axis=1)


class ContactSheet:
    """Evenly spaced frames of a clip: driver above, result below, the portrait in front.

    Args:
        num_frames: Frames of the clip.
        portrait: `(H, W, 3)` uint8.
    """

    def __init__(self, num_frames: int, portrait: UInt8Array) -> None:
        columns = min(COLUMNS, num_frames)
        self._wanted = {round(k * (num_frames - 1) / max(1, columns - 1)): k + 1 for k in range(columns)}
        self.image: UInt8Array = np.zeros((2 * SIDE_PX, (columns + 1) * SIDE_PX, 3), np.uint8)
        middle = SIDE_PX // 2
        self.image[middle : middle + SIDE_PX, :SIDE_PX] = fit(portrait, (SIDE_PX, SIDE_PX))

    def wants(self, index: int) -> bool:
        """Whether frame `index` is one of those shown."""
        return index in self._wanted

    def add(self, index: int, driver: UInt8Array | None, result: UInt8Array) -> None:
        """Show frame `index`, whose `result` carries its label, if it is one of those wanted."""
        column = self._wanted.get(index)
        if column is None:
            return
        left = slice(column * SIDE_PX, (column + 1) * SIDE_PX)
        if driver is not None:
            self.image[:SIDE_PX, left] = fit(driver, (SIDE_PX, SIDE_PX))
        self.image[SIDE_PX:, left] = fit(result, (SIDE_PX, SIDE_PX))
