"""Drawn faces (nobody's likeness) on which the real networks run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from portrait_anim.face.detect import FaceDetector
from portrait_anim.types import FaceObservation, UInt8Array

Brush = Callable[[float, float, float, float, tuple[int, int, int]], None]


def _canvas(side: int, colour: tuple[int, int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw, float, Brush]:
    image = Image.new("RGB", (side, side), colour)
    draw, unit = ImageDraw.Draw(image), side / 100

    def ellipse(x: float, y: float, rx: float, ry: float, fill: tuple[int, int, int]) -> None:
        draw.ellipse([(x - rx) * unit, (y - ry) * unit, (x + rx) * unit, (y + ry) * unit], fill=fill)

    return image, draw, unit, ellipse


def draw_person(side: int = 400, skin: tuple[int, int, int] = (222, 178, 150)) -> UInt8Array:
    """A plain drawn human face, about half as wide as the square picture."""
    image, draw, u, ellipse = _canvas(side, (90, 120, 160))
    ellipse(50, 44, 31, 34, (60, 40, 30))
    draw.rectangle([42 * u, 75 * u, 58 * u, 100 * u], fill=skin)
    ellipse(50, 52, 25, 32, skin)
    ellipse(50, 28, 24, 11, (60, 40, 30))
    for x in (40, 60):
        ellipse(x, 48, 5.5, 3, (250, 250, 250))
        ellipse(x, 48, 2.6, 2.6, (70, 50, 30))
        ellipse(x, 48, 1.2, 1.2, (0, 0, 0))
        draw.arc([(x - 6) * u, 44 * u, (x + 6) * u, 52 * u], 190, 350, fill=(60, 40, 30), width=max(1, int(u)))
        draw.arc([(x - 7) * u, 39 * u, (x + 7) * u, 48 * u], 200, 340, fill=(60, 40, 30), width=max(1, int(1.4 * u)))
    draw.line([(50 * u, 48 * u), (48 * u, 60 * u), (52 * u, 61 * u)], fill=(180, 130, 110), width=max(1, int(u)))
    for x in (47.5, 52.5):
        ellipse(x, 61, 1.2, 0.8, (120, 70, 60))
    ellipse(50, 70, 8, 3, (190, 80, 80))
    draw.line([(42 * u, 70 * u), (58 * u, 70 * u)], fill=(120, 40, 40), width=max(1, int(u / 2)))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(side / 160)))


def draw_cat(side: int = 400) -> UInt8Array:
    """A drawn cat that MediaPipe takes for a face."""
    fur = (150, 110, 80)
    image, draw, u, ellipse = _canvas(side, (120, 150, 120))
    draw.polygon([(24 * u, 42 * u), (28 * u, 10 * u), (46 * u, 30 * u)], fill=fur)
    draw.polygon([(76 * u, 42 * u), (72 * u, 10 * u), (54 * u, 30 * u)], fill=fur)
    ellipse(50, 55, 30, 32, fur)
    ellipse(50, 66, 15, 13, (225, 210, 195))
    for x in (38, 62):
        ellipse(x, 48, 7, 6, (200, 190, 60))
        ellipse(x, 48, 2.4, 5.5, (10, 10, 10))
        ellipse(x - 1, 46.5, 1, 1, (255, 255, 255))
    draw.polygon([(46 * u, 60 * u), (54 * u, 60 * u), (50 * u, 65 * u)], fill=(90, 50, 50))
    for x in (42, 50):
        draw.arc([x * u, 63 * u, (x + 8) * u, 73 * u], 0, 180, fill=(60, 30, 30), width=max(1, int(u)))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(side / 240)))


def draw_socket(side: int = 400) -> UInt8Array:
    """A power socket, the classic chance face."""
    image, draw, u, ellipse = _canvas(side, (235, 235, 230))
    ellipse(50, 50, 34, 34, (215, 215, 210))
    for x in (40, 60):
        draw.rectangle([(x - 2) * u, 36 * u, (x + 2) * u, 52 * u], fill=(20, 20, 20))
    ellipse(50, 66, 5, 5, (20, 20, 20))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(side / 300)))


def place(picture: UInt8Array, width: int, height: int, left: int, top: int) -> UInt8Array:
    """A picture on a larger canvas of its own corner colour."""
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = picture[0, 0]
    canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return canvas


@pytest.fixture(scope="session")
def detector() -> Iterator[FaceDetector]:
    with FaceDetector() as made:
        yield made


@pytest.fixture(scope="session")
def person() -> UInt8Array:
    return draw_person()


@pytest.fixture(scope="session")
def person_face(detector: FaceDetector, person: UInt8Array) -> FaceObservation:
    faces = detector.detect(person)
    assert len(faces) == 1
    return faces[0]


@pytest.fixture(scope="session")
def cat() -> UInt8Array:
    return draw_cat()


@pytest.fixture(scope="session")
def socket_picture() -> UInt8Array:
    return draw_socket()


@pytest.fixture(scope="session")
def on_canvas() -> Callable[..., UInt8Array]:
    return place


@pytest.fixture(scope="session")
def make_person() -> Callable[..., UInt8Array]:
    return draw_person


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(__file__).resolve().parents[4] / "shared" / "data"
    if not (folder / "portraits" / "omi").is_dir():
        pytest.skip("the shared calibration data are not beside the repository")
    return folder
