"""Still pictures: read, write, resize, and the one crossing between numpy images and torch tensors."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from PIL import Image

from portrait_anim.errors import MediaError
from portrait_anim.media.atomic import atomic_path
from portrait_anim.media.failures import media_errors
from portrait_anim.media.picture import decode_picture, open_picture, picture_header
from portrait_anim.types import PathLike, UInt8Array

if TYPE_CHECKING:
    import torch

Interpolation: TypeAlias = Literal["nearest", "area", "bilinear", "bicubic", "lanczos"]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_WRITERS: dict[str, tuple[str, dict[str, int | bool]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"quality": 95, "method": 4}),
}
_ANIMATIONS = ("GIF", "PNG", "WEBP", "AVIF")


def read_image(path: PathLike, *, max_side_px: int = 4096) -> UInt8Array:
    """Read a picture: JPEG, PNG, WebP, TIFF, BMP, ...; any bit depth, palette, grey, CMYK, EXIF orientation.

    Args:
        path: Picture file.
        max_side_px: Limit of the longer side [px]; a larger picture is reduced while it is decoded, to between three
            quarters of the limit and the limit.

    Returns:
        `(H, W, 3)` uint8 sRGB, upright, over white where it was transparent.

    Raises:
        MediaError: If the file is no picture, is damaged, or has more than 100 megapixels.
        ValueError: If `max_side_px` is not positive.
    """
    if max_side_px < 1:
        raise ValueError(f"Expected max_side_px of 1 or more, got {max_side_px}.")
    return decode_picture(path, max_side_px)


def read_size(path: PathLike) -> tuple[int, int, str]:
    """Read the size of a picture without decoding it.

    Args:
        path: Picture file.

    Returns:
        Width and height after rotation [px], and the name of the format in lower case.

    Raises:
        MediaError: If the file is no picture or has more than 100 megapixels.
    """
    return picture_header(path)


def is_image(path: PathLike) -> bool:
    """Tell whether a file is a still picture; animations, videos and missing files are not.

    Args:
        path: File to look at; only its header is read.

    Returns:
        Whether `read_image` is the way to open it.
    """
    try:
        with open_picture(path) as picture:
            return not (picture.format in _ANIMATIONS and getattr(picture, "is_animated", False))
    except MediaError:
        return False


def write_image(path: PathLike, image: UInt8Array) -> None:
    """Write a picture; the file appears complete or not at all.

    Args:
        path: Target, ending in .png, .jpg, .jpeg or .webp.
        image: `(H, W, 3)` uint8 sRGB.

    Raises:
        MediaError: If the ending is unknown or the file cannot be written.
        ValueError: If `image` is not `(H, W, 3)` uint8.
    """
    check_image(image)
    kind = _WRITERS.get(Path(path).suffix.lower())
    if kind is None:
        raise MediaError(
            f"Expected a picture name ending in {', '.join(_WRITERS)}, got {Path(path).name}. "
            "Rename the output."
        )
    name, options = kind
    with atomic_path(path) as temporary, media_errors(path, "write"):
        Image.fromarray(np.ascontiguousarray(image)).save(temporary, format=name, **options)


def resize(
    image: UInt8Array, size: int | tuple[int, int], interpolation: Interpolation = "lanczos"
) -> UInt8Array:
    """Resize an image, averaging over all pixels when it gets smaller.

    Args:
        image: `(H, W, 3)` uint8 sRGB.
        size: New width and height [px]; one number makes a square.
        interpolation: Filter.

    Returns:
        `(height, width, 3)` uint8 sRGB.

    Raises:
        ValueError: If `image` is not `(H, W, 3)` uint8, or the size or filter is not usable.
    """
    check_image(image)
    width, height = (size, size) if isinstance(size, int) else size
    if width < 1 or height < 1:
        raise ValueError(f"Expected a size of at least 1x1 px, got {width}x{height}.")
    if interpolation not in _FILTERS:
        raise ValueError(f"Expected a filter among {', '.join(_FILTERS)}, got {interpolation!r}.")
    if (height, width) == image.shape[:2]:
        return image.copy()
    resized = Image.fromarray(np.ascontiguousarray(image)).resize((width, height), _FILTERS[interpolation])
    return np.array(resized, dtype=np.uint8)


def to_tensor(frames: UInt8Array) -> torch.Tensor:
    """Bring frames to the form that models take.

    Args:
        frames: `(T, H, W, 3)` uint8 sRGB.

    Returns:
        `(T, 3, H, W)` float32 in [0, 1], contiguous, on the CPU.

    Raises:
        ValueError: If the shape or type is another.
    """
    import torch

    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"Expected (T, H, W, 3) uint8, got {frames.shape} {frames.dtype}.")
    channels_first = np.ascontiguousarray(frames.transpose(0, 3, 1, 2))  # (T, 3, H, W)
    return torch.from_numpy(channels_first).to(torch.float32).div_(255)


def from_tensor(frames: torch.Tensor) -> UInt8Array:
    """Bring what models give back to frames; the inverse of `to_tensor`.

    Args:
        frames: `(T, 3, H, W)` floating point, clipped to [0, 1]; any device.

    Returns:
        `(T, H, W, 3)` uint8 sRGB, contiguous.

    Raises:
        ValueError: If the shape or type is another.
    """
    import torch

    if frames.ndim != 4 or frames.shape[1] != 3 or not frames.is_floating_point():
        raise ValueError(f"Expected (T, 3, H, W) floating point, got {tuple(frames.shape)} {frames.dtype}.")
    values = frames.detach().to(torch.float32).nan_to_num(0.0).clamp(0, 1).mul(255).round()
    array = values.to(device="cpu", dtype=torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return np.asarray(array, dtype=np.uint8)


def pixel_digest(image: UInt8Array) -> str:
    """Fingerprint decoded pixels, so that a picture can be recognised whatever its file is called.

    Args:
        image: `(H, W, 3)` uint8 sRGB.

    Returns:
        sha256 over shape and pixels, 64 hexadecimal digits.

    Raises:
        ValueError: If `image` is not `(H, W, 3)` uint8.
    """
    check_image(image)
    digest = hashlib.sha256("x".join(str(side) for side in image.shape).encode() + b"\0")
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def check_image(image: UInt8Array) -> None:
    """Check the form of an image.

    Args:
        image: What should be `(H, W, 3)` uint8.

    Raises:
        ValueError: If it is not.
    """
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"Expected an image of (H, W, 3) uint8, got {image.shape} {image.dtype}.")
