"""Keeps the results of a long measurement in a file as they come, so that it can go on after a stop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from portrait_anim.errors import MediaError
from portrait_anim.types import UInt8Array

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Row = TypeVar("_Row", bound="DataclassInstance")


def clip_header(frames: Sequence[UInt8Array], seed: int) -> dict[str, str]:
    """Say which clip results belong to, without its content.

    Args:
        frames: Frames of the clip.
        seed: That of the attacks.

    Returns:
        Header for a `ResultLog`.
    """
    digest = hashlib.sha256(str(seed).encode())
    for frame in frames:
        digest.update(frame.tobytes())
    return {"clip_and_seed_sha256": digest.hexdigest()}


def _whole_lines(path: Path) -> list[str]:
    """Lines of a file of results without a last one that was cut off while it was written."""
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1].decode("utf-8", errors="replace").splitlines()


def _append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Append a result to a file, in place of one that was cut off."""
    with path.open("a+b") as file:
        file.seek(0)
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if content[whole:].startswith(b"{"):
            file.truncate(whole)
        file.write(json.dumps(values).encode() + b"\n")


class ResultLog(Generic[_Row]):
    """Results of one measurement in a file of JSON lines, the first of which says what was measured.

    Args:
        path: The file; made if it does not exist.
        row: Kind of the results.
        header: What the results depend on, such as clip and seed; values that JSON gives back unchanged.

    Attributes:
        results: What the file held when it was opened.

    Raises:
        MediaError: If the file holds something else, or results of another measurement.
        OSError: If it cannot be read or written.
    """

    def __init__(self, path: Path, row: type[_Row], header: Mapping[str, Any]) -> None:
        self._path: Path = path
        self.results: list[_Row] = []
        if not path.exists():
            _append_line(path, header)
            return
        try:
            there, *lines = (json.loads(line) for line in _whole_lines(path))
            if there == header:
                self.results = [row(**line) for line in lines]
        except (ValueError, TypeError) as error:
            raise MediaError(f"expected such results in {path.name}, got other text; name another file") from error
        if there != header:
            raise MediaError(
                f"expected results of {_in_words(header)} in {path.name}, got those of others; name another file"
            )

    def add(self, result: _Row) -> None:
        """Append a result."""
        _append_line(self._path, asdict(result))


def _in_words(header: Mapping[str, Any]) -> str:
    """What a header names: its keys, and its values where they are short."""
    return ", ".join(f"this {key}" if len(str(value)) > 24 else f"{key} {value}" for key, value in header.items())
