"""Pictures that nobody marked: crops of photographs, and drawings that a reader might take for a mark."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from portrait_anim.errors import MediaError
from portrait_anim.media.image import read_image
from portrait_anim.provenance.watermark_pattern import TILE_PX
from portrait_anim.types import Float32Array, UInt8Array

_SIDES_PX: Final = (128, 257)
_CROPS_PER_PHOTOGRAPH: Final = 16


def drawn(rng: np.random.Generator) -> UInt8Array:
    """Draw a picture that nobody marked.

    Args:
        rng: Chooses kind, size and content.

    Returns:
        `(H, W, 3)` uint8.
    """
    height, width = (int(side) for side in rng.integers(*_SIDES_PX, 2))
    kinds: tuple[Callable[[np.random.Generator, int, int], Float32Array], ...] = (
        _noise, _flat, _text, _stripes, _checks, _waves, _repeated,
    )  # fmt: skip
    kind = kinds[int(rng.integers(len(kinds)))]
    grey = kind(rng, height, width)
    colour = rng.uniform(0.5, 1.0, 3).astype(np.float32)
    grain = rng.normal(0, rng.uniform(0, 3), (height, width, 1)).astype(np.float32)
    return np.clip(grey[..., None] * colour + grain, 0, 255).astype(np.uint8)


def _grid(height: int, width: int) -> tuple[Float32Array, Float32Array]:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return y, x


def _noise(rng: np.random.Generator, height: int, width: int) -> Float32Array:
    values = rng.standard_normal((height, width)).astype(np.float32)
    sigma = rng.uniform(0, 6)
    if sigma > 0.4:
        values = cv2.GaussianBlur(values, (0, 0), sigma)
    return np.asarray(128 + rng.uniform(1, 50) * values / max(float(values.std()), 1e-6), dtype=np.float32)


def _flat(rng: np.random.Generator, height: int, width: int) -> Float32Array:
    y, x = _grid(height, width)
    slope = rng.uniform(-0.3, 0.3, 2)
    return np.asarray(rng.uniform(0, 255) + slope[0] * x + slope[1] * y, dtype=np.float32)


def _text(rng: np.random.Generator, height: int, width: int) -> Float32Array:
    page = np.full((height, width), 255, dtype=np.uint8)
    size = float(rng.uniform(0.3, 1.2))
    letters = "abcdefghijklmnopqrstuvwxyz      "
    for line in np.arange(12 * size, height, 26 * size):
        words = "".join(letters[int(index)] for index in rng.integers(0, len(letters), 60))
        cv2.putText(page, words, (2, int(line)), cv2.FONT_HERSHEY_SIMPLEX, size, 0, 1, cv2.LINE_AA)
    return page.astype(np.float32)


def _stripes(rng: np.random.Generator, height: int, width: int) -> Float32Array:
    y, x = _grid(height, width)
    angle, period = rng.uniform(0, np.pi), rng.uniform(3, 40)
    return np.where(((x * np.cos(angle) + y * np.sin(angle)) / period) % 1 < 0.5, 60, 200).astype(np.float32)


def _checks(rng: np.random.Generator, height: int, width: int) -> Float32Array:
    y, x = _grid(height, width)
    period = rng.uniform(4, 40)
    return np.where((np.floor(x / period) + np.floor(y / period)) % 2 < 1, 70, 190).astype(np.float32)


def _waves(rng: np.random.Generator, height: int, width: int) -> Float32Array:
    """Waves on the very lattice of the pattern, with phases of their own."""
    y, x = _grid(height, width)
    total = np.full((height, width), 128.0, dtype=np.float32)
    for kx, ky in rng.integers(-18, 19, (60, 2)):
        total += rng.uniform(0, 4) * np.cos(2 * np.pi * ((kx * x + ky * y) / TILE_PX + rng.random()))
    return total


def _repeated(rng: np.random.Generator, height: int, width: int) -> Float32Array:
    """A random tile, repeated with the period of the pattern."""
    tile = cv2.GaussianBlur(rng.standard_normal((TILE_PX, TILE_PX)).astype(np.float32), (0, 0), 2.0)
    repeated = np.tile(tile, (3, 3))[:height, :width]
    return np.asarray(128 + rng.uniform(1, 20) * repeated / float(tile.std()), dtype=np.float32)


def photographs(folders: Iterable[Path], rng: np.random.Generator) -> Iterator[UInt8Array]:
    """Give random crops of the pictures of some folders, for ever; nothing when they hold none."""
    found = (path for folder in folders for path in folder.rglob("*"))
    files = sorted(path for path in found if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    for file in itertools.cycle(rng.permutation(np.array(files, dtype=object)) if files else []):
        try:
            image = read_image(file, max_side_px=1024)
        except MediaError:
            continue
        for _ in range(_CROPS_PER_PHOTOGRAPH):
            height, width = (min(int(rng.integers(*_SIDES_PX)), side) for side in image.shape[:2])
            top, left = (int(rng.integers(0, free + 1)) for free in (image.shape[0] - height, image.shape[1] - width))
            yield np.ascontiguousarray(image[top : top + height, left : left + width])
