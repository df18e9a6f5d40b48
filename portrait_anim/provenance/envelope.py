"""Checks of the manifest bytes that C2PA validation leaves open.

A C2PA validator ignores some bytes on purpose: labels and type codes of the manifest's own boxes, the
padding beside the signature. One bit changed there leaves a file "valid". Our writer fills those places in
one known way, so in files that we signed every byte can be checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from portrait_anim.provenance.containers import JUMBF_UUID_TAIL, read_store

_LABELLED: Final = 0x03
_SALTED: Final = 0x13
_MANIFEST_PARTS: Final = {b"c2as": b"c2pa.assertions", b"c2cl": b"c2pa.claim.v2", b"c2cs": b"c2pa.signature"}
_TIME_STAMPS: Final = (b"sigTst", b"sigTst2")
_TIME_STAMP_KEYS: Final = (b"tstTokens", b"val")
_DEEPEST: Final = 8


def envelope_problem(path: Path) -> str | None:
    """Find a byte in the manifest's packaging that our writer would not have written.

    Args:
        path: A file whose manifest was already found valid and written by this package.

    Returns:
        What is wrong in a few words, or `None`.
    """
    try:
        _check_store(read_store(path))
    except ValueError as error:
        return str(error)
    return None


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """Type and payload of each JUMBF box; they must fill `data` exactly."""
    boxes = []
    position = 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size < 8 or position + size > len(data):
            raise ValueError("the manifest's boxes do not fit into each other")
        boxes.append((data[position + 4 : position + 8], data[position + 8 : position + size]))
        position += size
    return boxes


def _superbox(kind: bytes, payload: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
    """Four-letter type, label and content boxes of a JUMBF superbox with a plain description."""
    boxes = _boxes(payload)
    if kind != b"jumb" or not boxes or boxes[0][0] != b"jumd":
        raise ValueError("a box of the manifest lacks its description")
    description = boxes[0][1]
    label, separator, rest = description[17:].partition(b"\0")
    salt = _boxes(rest)
    expected = {_LABELLED: [], _SALTED: [b"c2sh"]}.get(description[16] if len(description) > 16 else 0)
    if description[4:16] != JUMBF_UUID_TAIL or not separator or [name for name, _ in salt] != expected:
        raise ValueError("a description in the manifest is unusual")
    return description[:4], label, boxes[1:]


def _check_store(data: bytes) -> None:
    """Walk the store; ValueError at the first thing that our writer does not write."""
    outer = _boxes(data)
    if len(outer) != 1:
        raise ValueError("something follows the manifest")
    kind, label, manifests = _superbox(*outer[0])
    if (kind, label) != (b"c2pa", b"c2pa") or not manifests:
        raise ValueError("the manifest store is unusual")
    for box in manifests:
        kind, label, parts = _superbox(*box)
        if kind != b"c2ma" or not label.startswith(b"urn:c2pa:"):
            raise ValueError("the manifest's name is unusual")
        for part in parts:
            kind, label, content = _superbox(*part)
            if _MANIFEST_PARTS.get(kind) != label:
                raise ValueError("a part of the manifest is unusual")
            if kind == b"c2as":
                for assertion in content:
                    _superbox(*assertion)
            elif [name for name, _ in content] != [b"cbor"]:
                raise ValueError("a part of the manifest is not CBOR")
            if kind == b"c2cs":
                _check_signature_padding(content[0][1])


def _check_signature_padding(data: bytes) -> None:
    """Padding beside a COSE signature must be zeros: tag 18, [protected, {"pad": zeros}, nil, signature].

    A time stamp, which the operator may have asked for, is signed by its server and is passed over.
    """
    if data[:2] != b"\xd2\x84":
        raise ValueError("the signature's form is unusual")
    _, length, position = _cbor_head(data, 2)
    major, entries, position = _cbor_head(data, position + length)
    if major != 5:
        raise ValueError("the signature's header is unusual")
    for _ in range(entries):
        _, length, position = _cbor_head(data, position)
        key = data[position : position + length]
        position += length
        if key in _TIME_STAMPS:
            position = _after_item(data, position)
            continue
        _, length, position = _cbor_head(data, position)
        if not key.startswith(b"pad") or any(data[position : position + length]):
            raise ValueError("the space beside the signature is not empty")
        position += length
    _, length, end = _cbor_head(data, position + 1)
    if data[position : position + 1] != b"\xf6" or end + length != len(data):
        raise ValueError("something is hidden beside the signature")


def _after_item(data: bytes, position: int, depth: int = 0) -> int:
    """Position after one CBOR item of a time stamp: containers, bytes, and the two names that are known."""
    major, argument, position = _cbor_head(data, position)
    if major == 2:
        return position + argument
    if major == 3 and data[position : position + argument] in _TIME_STAMP_KEYS:
        return position + argument
    if major in (4, 5) and depth < _DEEPEST:
        for _ in range(min(argument * (major - 3), len(data))):
            position = _after_item(data, position, depth + 1)
        return position
    raise ValueError("the time stamp's form is unusual")


def _cbor_head(data: bytes, position: int) -> tuple[int, int, int]:
    """Major type, argument and position after the head of one CBOR item."""
    if position >= len(data):
        raise ValueError("the signature is cut short")
    major, argument = divmod(data[position], 32)
    if argument < 24:
        return major, argument, position + 1
    if argument > 27:
        raise ValueError("the signature's form is unusual")
    end = position + 1 + (1 << (argument - 24))
    return major, int.from_bytes(data[position + 1 : end], "big"), end
