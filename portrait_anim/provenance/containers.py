"""Where a C2PA manifest store lies inside MP4, PNG, JPEG and WebP files.

Only the framing is read here, never the media. Every reader is strict: framing that our writer would not have
produced is a ValueError that says so in plain words.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

_MIB: Final = 1 << 20
_LARGEST_STORE: Final = 64 * _MIB
_OPEN_BOXES: Final = frozenset({b"ftyp", b"free", b"skip", b"mfra"})  # what `c2pa.hash.bmff.v3` excludes
_BMFF_UUID: Final = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_BMFF_PREFIX: Final = bytes(4) + b"manifest\0" + bytes(8)
_JPEG_INSTANCE: Final = b"JP\x02\x11"

JUMBF_UUID_TAIL: Final = bytes.fromhex("00110010800000aa00389b71")


def media_type(path: Path) -> str | None:
    """Type of a file by its first bytes, whatever its name.

    Args:
        path: Any file.

    Returns:
        MIME type of the formats that this package signs, else `None`.
    """
    with path.open("rb") as file:
        magic = file.read(12)
    if magic[4:8] == b"ftyp":
        return "video/mp4"
    if magic.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if magic.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if magic[:4] == b"RIFF" and magic[8:] == b"WEBP":
        return "image/webp"
    return None


def container_digest(path: Path) -> str | None:
    """Checksum of the MP4 boxes that the C2PA hash leaves out.

    Args:
        path: Any file.

    Returns:
        sha256 over the top-level `ftyp`, `free`, `skip` and `mfra` boxes in order, or `None` when the file is
        not MP4-like.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return None
        try:
            for kind, start, end in _bmff_boxes(file):
                if kind in _OPEN_BOXES:
                    digest.update(kind)
                    _hash_range(file, start, end, digest)
        except ValueError:
            return None
    return digest.hexdigest()


def holds_remains(path: Path) -> bool:
    """Whether a file has traces of a manifest, readable or not; streams the file.

    Args:
        path: Any file.

    Returns:
        True if an identifier of a C2PA manifest store is somewhere inside.
    """
    markers = (_BMFF_UUID, b"c2pa" + JUMBF_UUID_TAIL, b"c2ma" + JUMBF_UUID_TAIL)
    overlap = b""
    with path.open("rb") as file:
        while chunk := file.read(_MIB):
            window = overlap + chunk
            if any(marker in window for marker in markers):
                return True
            overlap = window[-15:]
    return False


def read_store(path: Path) -> bytes:
    """The manifest store out of its container.

    Args:
        path: A file of one of the types that `media_type` knows.

    Returns:
        The JUMBF bytes of the store.

    Raises:
        ValueError: If the framing is not what our writer produces.
    """
    kind = media_type(path)
    with path.open("rb") as file:
        if kind == "video/mp4":
            return _bmff_store(file)
        if kind == "image/png":
            return _png_store(file)
        if kind == "image/jpeg":
            return _jpeg_store(file)
        if kind == "image/webp":
            return _riff_store(file)
    raise ValueError("the file type is not one that this program signs")


def _bmff_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Type, payload start and end of each top-level box [byte]."""
    total = file.seek(0, 2)
    position = 0
    while position < total:
        file.seek(position)
        header = file.read(16)
        size, start = int.from_bytes(header[:4], "big"), position + 8
        if size == 1:
            size, start = int.from_bytes(header[8:16], "big"), position + 16
        elif size == 0:
            size = total - position
        if size < start - position or position + size > total:
            raise ValueError("the MP4 boxes do not fill the file")
        yield header[4:8], start, position + size
        position += size


def _bmff_store(file: BinaryIO) -> bytes:
    """Manifest store of an MP4 file."""
    stores = []
    for kind, start, end in _bmff_boxes(file):
        file.seek(start)
        if kind == b"uuid" and file.read(16) == _BMFF_UUID:
            stores.append(_take(file, end - start - 16))
    if len(stores) != 1 or not stores[0].startswith(_BMFF_PREFIX):
        raise ValueError("the manifest's MP4 box is unusual")
    return stores[0][len(_BMFF_PREFIX) :]


def _png_store(file: BinaryIO) -> bytes:
    """Manifest store of a PNG file; its chunk checksum must hold."""
    file.seek(8)
    while len(header := file.read(8)) == 8:
        length = int.from_bytes(header[:4], "big")
        if header[4:] == b"caBX":
            data = _take(file, length)
            if int.from_bytes(file.read(4), "big") != zlib.crc32(header[4:] + data):
                raise ValueError("the checksum of the manifest's PNG chunk is wrong")
            return data
        file.seek(length + 4, 1)
    raise ValueError("the manifest's PNG chunk was not found")


def _jpeg_store(file: BinaryIO) -> bytes:
    """Manifest store of a JPEG file, joined from its numbered APP11 segments."""
    file.seek(2)
    store = b""
    number = 0
    while len(header := file.read(4)) == 4 and header[0] == 0xFF and header[1] != 0xDA:
        payload = _take(file, int.from_bytes(header[2:], "big") - 2)
        if header[1] != 0xEB:
            continue
        number += 1
        if payload[:4] != _JPEG_INSTANCE or int.from_bytes(payload[4:8], "big") != number:
            raise ValueError("the manifest's JPEG segments are unusual")
        if number > 1 and payload[8:16] != store[:8]:
            raise ValueError("the manifest's JPEG segments disagree")
        store += payload[8 if number == 1 else 16 :]
    if not store:
        raise ValueError("the manifest's JPEG segment was not found")
    return store


def _riff_store(file: BinaryIO) -> bytes:
    """Manifest store of a WebP file."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"C2PA":
            data = _take(file, length)
            if length % 2 and file.read(1) != b"\0":
                raise ValueError("the padding of the manifest's WebP chunk is not empty")
            return data
        file.seek(length + length % 2, 1)
    raise ValueError("the manifest's WebP chunk was not found")


def _take(file: BinaryIO, length: int) -> bytes:
    """Exactly `length` bytes, but never a hostile amount."""
    if not 0 <= length <= _LARGEST_STORE:
        raise ValueError("the manifest has an impossible size")
    data = file.read(length)
    if len(data) != length:
        raise ValueError("the manifest is cut short")
    return data


def _hash_range(file: BinaryIO, start: int, end: int, digest: hashlib._Hash) -> None:
    """Feed bytes `start` to `end` into a digest, piece by piece."""
    file.seek(start)
    while start < end:
        chunk = file.read(min(_MIB, end - start))
        if not chunk:
            return
        digest.update(chunk)
        start += len(chunk)
