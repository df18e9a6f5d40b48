"""Decode still pictures of any common kind to sRGB, within bounded memory."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

from portrait_anim.errors import MediaError
from portrait_anim.media.failures import picture_errors, require_file
from portrait_anim.types import PathLike, UInt8Array

Picture: TypeAlias = Image.Image

_MAX_PIXELS = 100_000_000
_PLAIN_MODES = ("L", "RGB", "CMYK")
_STRIP_PIXELS = 4_000_000
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_QUARTER_TURNS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_picture(path: PathLike, max_side_px: int) -> UInt8Array:
    """Decode a picture.

    Args:
        path: Picture file.
        max_side_px: Limit of the longer side [px]; a larger picture is reduced while it is decoded, to between three
            quarters of the limit and the limit.

    Returns:
        `(H, W, 3)` uint8 sRGB, upright, over white where it was transparent.

    Raises:
        MediaError: If the file is no picture, is damaged, or has more than 100 megapixels.
    """
    goal_px = -(-3 * max_side_px // 4)
    with open_picture(path) as picture:
        # JPEG decodes at 1/2, 1/4 or 1/8 of its size for less memory; other formats ignore this.
        picture.draft(None, (goal_px, goal_px))
        picture.load()
        orientation = _orientation(picture)
        image = _plain(picture, max(1, max(picture.size) // goal_px))
        profile = picture.info.get("icc_profile")
        if profile:
            image = _to_srgb(image, profile)
        if image.mode != "RGB":
            image = image.convert("RGB")
        if max(image.size) > max_side_px:
            scale = max_side_px / max(image.size)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image = image.resize(size, Image.Resampling.LANCZOS)
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
        return _to_array(image)


def picture_header(path: PathLike) -> tuple[int, int, str]:
    """Read the size of a picture without decoding it.

    Args:
        path: Picture file.

    Returns:
        Width and height after rotation [px], and the name of the format in lower case.

    Raises:
        MediaError: If the file is no picture or has more than 100 megapixels.
    """
    with open_picture(path) as picture:
        width, height = picture.size
        if isinstance(
            picture, TiffImagePlugin.TiffImageFile
        ):  # newer versions of Pillow have turned it already
            width, height = picture.tag_v2[_TIFF_WIDTH], picture.tag_v2[_TIFF_HEIGHT]
        if _orientation(picture) in _QUARTER_TURNS:
            width, height = height, width
        return width, height, (picture.format or "").lower()


@contextmanager
def open_picture(path: PathLike) -> Iterator[Picture]:
    """Open a picture file, not yet decoded.

    Args:
        path: Picture file.

    Yields:
        The Pillow image; closed afterwards.

    Raises:
        MediaError: If the file is no picture or has more than 100 megapixels; also for errors while in use.
    """
    file = require_file(path)
    with picture_errors(path), warnings.catch_warnings():
        # Pillow warns from 89 megapixels on; the limit here is checked below and is an error.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(file) as picture:
            _check_size(picture, Path(path))
            yield picture


def _check_size(picture: Picture, path: Path) -> None:
    width, height = picture.size
    if width * height > _MAX_PIXELS:
        raise MediaError(
            f"Expected a picture of at most {_MAX_PIXELS // 1_000_000} megapixels, "
            f"but {path} has {width}x{height}. Scale it down first."
        )


def _orientation(picture: Picture) -> int:
    # Read after load(): for TIFF, Pillow has then already turned the picture and dropped the tag.
    return int(picture.getexif().get(ExifTags.Base.Orientation, 1))


def _plain(picture: Picture, factor: int) -> Picture:
    """Bring a decoded picture to 8 bits without transparency, reduced by a whole factor.

    Only one strip at a time is converted, so that the peak stays near the size of the decoded picture.
    """
    if factor == 1 and picture.mode in _PLAIN_MODES and "transparency" not in picture.info:
        return picture
    rows = max(1, _STRIP_PIXELS // picture.width // factor) * factor
    result: Picture | None = None
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        strip.info = picture.info  # carries the transparent colour
        strip = _opaque(strip)
        if factor > 1:
            strip = strip.reduce(factor)
        if result is None:
            size = (-(-picture.width // factor), -(-picture.height // factor))
            if strip.size == size:
                return strip
            result = Image.new(strip.mode, size)
        result.paste(strip, (0, top // factor))
    assert result is not None
    return result


def _to_array(picture: Picture) -> UInt8Array:
    """Copy an RGB picture out of Pillow, strip by strip, since Pillow's own way takes three times the memory."""
    result: UInt8Array = np.empty((picture.height, picture.width, 3), dtype=np.uint8)
    rows = max(1, _STRIP_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        bottom = min(top + rows, picture.height)
        result[top:bottom] = np.asarray(picture.crop((0, top, picture.width, bottom)))
    return result


def _opaque(picture: Picture) -> Picture:
    """Bring a picture to mode L, RGB or CMYK, 8 bits, over white."""
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        return Image.fromarray(_to_8_bits(np.asarray(picture)))
    if picture.mode == "1":
        return picture.convert("L")
    if picture.mode in _PLAIN_MODES:
        return picture
    return picture.convert("RGB")


def _to_8_bits(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> UInt8Array:
    """Scale 16-bit numbers (or floats in [0, 1]) to 8 bits."""
    if values.dtype.kind == "f":
        scaled = np.nan_to_num(values.astype(np.float64)) * 255
    else:
        scaled = values.astype(np.float64) * (255 / 65535)
    rounded: UInt8Array = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return rounded


def _to_srgb(picture: Picture, profile: bytes) -> Picture:
    """Convert from an embedded profile, such as a phone's Display P3, to sRGB; ignore unusable ones."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return picture
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture
    return picture if converted is None else converted
