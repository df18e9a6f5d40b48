"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portrait_anim.errors import MediaError
from portrait_anim.media.failures import disk_failure, media_errors
from portrait_anim.types import PathLike


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Give a temporary file beside a target, which takes its name in the end.

    On any exception, Ctrl-C included, the temporary file is removed and an existing target stays as it was.

    Args:
        path: Target file.

    Yields:
        An empty file in the target's folder, with the target's ending.

    Raises:
        MediaError: If the folder does not exist or may not be written, the disk is full, or the target is
            no file.
    """
    temporary, target = reserve(path)
    try:
        yield temporary
        commit(temporary, target)
    except OSError as error:
        discard(temporary)
        failure = disk_failure(path, error)
        if failure is None:
            raise
        raise failure from error
    except BaseException:
        discard(temporary)
        raise


def reserve(path: PathLike) -> tuple[Path, Path]:
    """Create the temporary file for a target.

    Args:
        path: Target file.

    Returns:
        The temporary file, and the target with symbolic links resolved.

    Raises:
        MediaError: If the folder does not exist or may not be written, or the target is no file.
    """
    with media_errors(path, "write"):
        target = Path(path).resolve()
        if target.exists() and not target.is_file():
            raise MediaError(
                f"Expected the name of a file to write, got {path}, which is none. Give a file name."
            )
        if not target.parent.is_dir():
            raise MediaError(
                f"Expected the folder {target.parent} to exist for {target.name}. Create it first."
            )
        name = f".{target.stem[:64]}-{secrets.token_hex(4)}.part{target.suffix}"
        temporary = target.with_name(name)
        # Not `tempfile`: its files are readable by their owner only, and keep that when renamed.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return temporary, target


def commit(temporary: Path, target: Path) -> None:
    """Give a finished temporary file its final name.

    Args:
        temporary: File from `reserve`.
        target: Target from `reserve`.

    Raises:
        MediaError: If the target may not be replaced.
    """
    with media_errors(target, "write"):
        os.replace(temporary, target)


def discard(temporary: Path) -> None:
    """Remove a temporary file, if it is still there.

    Args:
        temporary: File from `reserve`.
    """
    temporary.unlink(missing_ok=True)
