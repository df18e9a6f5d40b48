"""Keeps the results of a long measurement in a file as they come, so that it can go on after a stop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

from portrait_anim.errors import MediaError
from portrait_anim.evaluation.watermark_pairs import PairResult
from portrait_anim.evaluation.watermark_report import AttackResult
from portrait_anim.types import UInt8Array

_Row = TypeVar("_Row", PairResult, AttackResult)


def whole_lines(path: Path) -> list[str]:
    """Lines of a file of results without a last one that was cut off while it was written.

    Args:
        path: The file.

    Raises:
        OSError: If it cannot be read.
    """
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1].decode("utf-8", errors="replace").splitlines()


def append_line(path: Path, values: dict[str, Any]) -> None:
    """Append a result to a file, in place of one that was cut off.

    Args:
        path: The file; made if it does not exist.
        values: The result.

    Raises:
        OSError: If it cannot be written.
    """
    with path.open("a+b") as file:
        file.seek(0)
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if content[whole:].startswith(b"{"):
            file.truncate(whole)
        file.write(json.dumps(values).encode() + b"\n")


class ResultLog(Generic[_Row]):
    """Results of one clip in a file of JSON lines, the first of which names the clip.

    Args:
        path: The file; made if it does not exist.
        row: Kind of the results.
        frames: Frames of the clip.
        seed: That of the attacks.

    Attributes:
        results: What the file held when it was opened.

    Raises:
        MediaError: If the file holds something else, or results of another clip or seed.
        OSError: If it cannot be read or written.
    """

    def __init__(self, path: Path, row: type[_Row], frames: Sequence[UInt8Array], seed: int) -> None:
        self._path: Path = path
        digest = hashlib.sha256(str(seed).encode())
        for frame in frames:
            digest.update(frame.tobytes())
        header = {"clip_and_seed_sha256": digest.hexdigest()}
        self.results: list[_Row] = []
        if not path.exists():
            self._append(header)
            return
        try:
            there, *lines = (json.loads(line) for line in whole_lines(path))
            if there == header:
                self.results = [row(**line) for line in lines]
        except (ValueError, TypeError) as error:
            raise MediaError(f"expected such results in {path.name}, got other text; name another file") from error
        if there != header:
            raise MediaError(f"expected results of this clip and seed in {path.name}, got others; name another file")

    def add(self, result: _Row) -> None:
        """Append a result."""
        self._append(asdict(result))

    def _append(self, line: dict[str, Any]) -> None:
        append_line(self._path, line)
