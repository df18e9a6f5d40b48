"""Encrypted files of the home folder, such as kept challenge videos.

Each file has a random key of its own. The key is stored in the database as a secret value, so changing the
store's key touches no file, and a file is out of reach as soon as its key is erased. The content is sealed in
chunks of 1 MiB (AES-256-GCM, the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015): chunks
that are changed, reordered, repeated or cut off do not open, and long files stream.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portrait_anim.errors import ConsentError, LedgerTampered

CHUNK_BYTES = 1 << 20
_MAGIC = b"portrait-anim sealed file 1\n"
_PREFIX_BYTES = 7
_TAG_BYTES = 16
_LAST, _MORE = b"\x01", b"\x00"


def seal_file(chunks: Iterable[bytes], target: Path) -> bytes:
    """Write an encrypted file in one step, readable by its owner only.

    Args:
        chunks: The content, in pieces of any size.
        target: Where it goes; its folder exists.

    Returns:
        The key of the file, to be stored as a secret value.

    Raises:
        ConsentError: If the file cannot be written; nothing is left behind.
    """
    key, prefix = AESGCM.generate_key(256), secrets.token_bytes(_PREFIX_BYTES)
    cipher = AESGCM(key)
    handle, name = -1, ""
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".sealing-")  # made with mode 0600
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + prefix)
            for counter, (chunk, last) in enumerate(_even(chunks)):
                file.write(cipher.encrypt(_nonce(prefix, counter, last), chunk, _MAGIC))
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except OSError as error:
        raise ConsentError(
            f"expected to keep an encrypted file in {target.parent}, got {error}; "
            "free some space or correct the permissions of the home folder"
        ) from error
    finally:
        if name:
            Path(name).unlink(missing_ok=True)
    return key


def open_sealed_file(path: Path, key: bytes) -> Iterator[bytes]:
    """Read an encrypted file.

    Args:
        path: The file.
        key: What `seal_file` returned.

    Yields:
        The content in pieces; each was checked before it is given out.

    Raises:
        LedgerTampered: If the file was changed or cut, or is another one; pieces given out before are genuine.
        ConsentError: If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC) + _PREFIX_BYTES)
            cipher, prefix = AESGCM(key), head[len(_MAGIC) :]
            if not head.startswith(_MAGIC) or len(prefix) != _PREFIX_BYTES:
                raise _altered(path)
            counter, sealed = 0, file.read(CHUNK_BYTES + _TAG_BYTES)
            while True:
                following = file.read(CHUNK_BYTES + _TAG_BYTES)
                try:
                    plain = cipher.decrypt(_nonce(prefix, counter, not following), sealed, _MAGIC)
                except (InvalidTag, ValueError):
                    raise _altered(path) from None
                yield plain
                if not following:
                    return
                counter, sealed = counter + 1, following
    except OSError as error:
        raise ConsentError(
            f"expected to read the encrypted file {path.name}, got {error}; restore the home folder from a backup"
        ) from error


def erase_file(path: Path) -> None:
    """Overwrite a file once and delete it; one that does not exist is no error.

    On flash storage and copying file systems overwriting may not reach the old blocks: what counts is that the
    file was encrypted and that its key is erased with its row.

    Args:
        path: The file.

    Raises:
        ConsentError: If it cannot be deleted.
    """
    try:
        if path.exists():
            with path.open("r+b") as file:
                left = path.stat().st_size
                while left > 0:
                    left -= file.write(bytes(min(left, CHUNK_BYTES)))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
    except OSError as error:
        raise ConsentError(
            f"expected to erase {path.name}, got {error}; correct the permissions and erase again"
        ) from error


def _even(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield pieces of `CHUNK_BYTES` and whether each is the last, which may be shorter or empty."""
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) > CHUNK_BYTES:
            yield bytes(waiting[:CHUNK_BYTES]), False
            del waiting[:CHUNK_BYTES]
    yield bytes(waiting), True


def _nonce(prefix: bytes, counter: int, last: bool) -> bytes:
    return prefix + counter.to_bytes(4, "big") + (_LAST if last else _MORE)


def _altered(path: Path) -> LedgerTampered:
    return LedgerTampered(
        f"expected an intact encrypted file, got a changed one ({path.name}); restore the home folder from a backup"
    )
