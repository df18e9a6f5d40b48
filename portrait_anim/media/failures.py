"""The one place where errors of PyAV, Pillow and the file system become `MediaError`."""

from __future__ import annotations

import errno
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.error
from PIL import Image, UnidentifiedImageError

from portrait_anim.errors import MediaError
from portrait_anim.types import PathLike

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
# What Pillow's decoders raise on damaged files, besides OSError.
_BROKEN_PICTURE = (
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)


def require_file(path: PathLike) -> Path:
    """Check that a path names a regular file with something in it.

    Args:
        path: File that is going to be read.

    Returns:
        The absolute path, symbolic links resolved.

    Raises:
        MediaError: If the file is missing, empty, or not a regular file.
    """
    file = Path(path)
    with media_errors(file, "read"):
        resolved = file.resolve()
        if not resolved.exists():
            raise MediaError(f"Expected a media file, but {file} does not exist. Check the path.")
        if not resolved.is_file():
            raise MediaError(
                f"Expected a media file, got {file}, which is not a file. Give the path of a file."
            )
        if resolved.stat().st_size == 0:
            raise MediaError(
                f"Expected a media file, but {file} is empty (0 bytes). Copy or record it again."
            )
    return resolved


@contextmanager
def media_errors(path: PathLike, action: str) -> Iterator[None]:
    """Turn errors of PyAV and of the file system into `MediaError`.

    Args:
        path: File that is worked on, as the user knows it.
        action: `"read"` or `"write"`.

    Raises:
        MediaError: In place of `av.FFmpegError` and `OSError`.
    """
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        known = _system_failure(path, action, getattr(error, "errno", None))
        if known is not None:
            raise known from error
        raise MediaError(_unreadable(path, action, _reason(error))) from error
    except UnicodeError as error:
        raise MediaError(_unreadable(path, action, "its text tags are damaged")) from error


@contextmanager
def picture_errors(path: PathLike) -> Iterator[None]:
    """Turn errors of Pillow while reading into `MediaError`.

    Args:
        path: Picture that is read, as the user knows it.

    Raises:
        MediaError: In place of whatever a damaged picture makes Pillow raise.
    """
    try:
        yield
    except UnidentifiedImageError as error:
        raise MediaError(
            f"Expected a picture (JPEG, PNG, WebP, TIFF, BMP, ...), but {path} is none. "
            "Save it as JPEG or PNG and try again."
        ) from error
    except Image.DecompressionBombError as error:
        raise MediaError(
            f"Expected a picture of at most 100 megapixels, but {path} is larger. Scale it down first."
        ) from error
    except OSError as error:
        raise _system_failure(path, "read", error.errno) or _damaged_picture(path, error) from error
    except _BROKEN_PICTURE as error:
        raise _damaged_picture(path, error) from error


def disk_failure(path: PathLike, error: OSError) -> MediaError | None:
    """Recognise a full disk.

    Args:
        path: File that was being written, as the user knows it.
        error: What was raised meanwhile.

    Returns:
        The error to raise instead, or `None` when the disk is not the cause.
    """
    return _system_failure(path, "write", error.errno) if error.errno in _DISK_FULL else None


def _system_failure(path: PathLike, action: str, number: int | None) -> MediaError | None:
    if number in _DISK_FULL:
        return MediaError(
            f"Expected room for {path}, but the disk is full (or a size limit is reached). "
            "Free some space or choose another folder; nothing was left behind."
        )
    if number in _NOT_ALLOWED and action == "write":
        return MediaError(
            f"Expected to be able to write {path}, but permission was denied. "
            "Choose a folder you may write to, or change its permissions."
        )
    if number in _NOT_ALLOWED:
        return MediaError(
            f"Expected to be able to read {path}, but permission was denied. Change the file's permissions."
        )
    if number == errno.ENOENT and action == "write":
        return MediaError(f"Expected the folder of {path} to exist. Create it or choose another one.")
    return None


def _unreadable(path: PathLike, action: str, reason: str) -> str:
    if action == "write":
        return (
            f"Expected to be able to write {path}, but it failed: {reason}. Try another folder or file name."
        )
    return (
        f"Expected a video or sound file, but {path} cannot be read: {reason}. "
        "It may be damaged, cut off or of another kind; copy it again or convert it to MP4."
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _damaged_picture(path: PathLike, error: Exception) -> MediaError:
    return MediaError(
        f"Expected a complete picture, but {path} is damaged or cut off ({error}). Copy or export it again."
    )
