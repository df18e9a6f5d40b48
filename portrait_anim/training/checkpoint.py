"""Checkpoints in pieces: small enough for narrow channels, each with its checksum, replaced in one move.

A checkpoint is a folder with `index.json` and safetensors pieces. Pieces carry the number of the save in their name
and are written first; the index is renamed into place last; then pieces that it does not name are removed. So whatever
interrupts a save, the folder holds a whole checkpoint.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file

from portrait_anim.errors import InputError, WeightsCorrupt, WeightsMissing
from portrait_anim.weights import file_sha256

INDEX_FILE: Final = "index.json"
PIECE_BYTES: Final = 15_000_000
_HEADER_BYTES: Final = 200_000  # room for the names in a piece
_AGAIN: Final = "copy the whole checkpoint folder again, or start the stage anew with --no-resume"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """What was saved.

    Attributes:
        tensors: By name.
        facts: Plain JSON values, such as the step.
    """

    tensors: dict[str, torch.Tensor]
    facts: dict[str, Any]


def exists(folder: Path) -> bool:
    """Whether a folder holds a checkpoint."""
    return (folder / INDEX_FILE).is_file()


def save(
    folder: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any], *, piece_bytes: int = PIECE_BYTES
) -> Path:
    """Write a checkpoint, replacing the one in the folder.

    Args:
        folder: Folder of the checkpoint; made when absent.
        tensors: By name, on any device.
        facts: JSON values.
        piece_bytes: Largest piece [byte]; larger tensors are cut.

    Returns:
        The index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generation = _generation(folder / INDEX_FILE) + 1
    pieces: list[dict[str, Any]] = []
    for number, content in enumerate(_packed(tensors, piece_bytes - _HEADER_BYTES)):
        path = folder / f"save-{generation:06d}-{number:03d}.safetensors"
        save_file(content, path)
        pieces.append({"file": path.name, "bytes": path.stat().st_size, "sha256": file_sha256(path)})
    index = {
        "version": 1,
        "generation": generation,
        "facts": dict(facts),
        "shapes": {k: list(v.shape) for k, v in tensors.items()},
        "pieces": pieces,
    }
    temporary = folder / f"{INDEX_FILE}.tmp"
    temporary.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, folder / INDEX_FILE)
    kept = {piece["file"] for piece in pieces}
    for path in folder.glob("save-*.safetensors"):
        if path.name not in kept:
            path.unlink()
    return folder / INDEX_FILE


def load(folder: Path) -> Checkpoint:
    """Read a checkpoint, every piece checked.

    Args:
        folder: Folder of the checkpoint.

    Returns:
        Its tensors, on the CPU, and facts.

    Raises:
        InputError: If there is none.
        WeightsMissing: If a piece is not there.
        WeightsCorrupt: If a piece or the index is not what was written.
    """
    index = _read_index(folder)
    parts: dict[str, dict[int, torch.Tensor]] = {}
    for piece in index["pieces"]:
        path = folder / piece["file"]
        if not path.is_file():
            raise WeightsMissing(
                f"expected {len(index['pieces'])} pieces in the checkpoint {folder}, got no {piece['file']}; {_AGAIN}",
                files=(piece["file"],),
            )
        actual = file_sha256(path)
        if actual != piece["sha256"]:
            raise WeightsCorrupt(
                f"expected {path} with sha256 {piece['sha256']}, got {actual}; {_AGAIN}",
                expected=piece["sha256"],
                actual=actual,
            )
        for key, value in load_file(path).items():
            name, _, number = key.rpartition("#")
            parts.setdefault(name, {})[int(number)] = value
    tensors = {
        name: torch.cat([part for _, part in sorted(parts[name].items())]).reshape(shape)
        for name, shape in index["shapes"].items()
    }
    return Checkpoint(tensors=tensors, facts=index["facts"])


def facts(folder: Path) -> dict[str, Any]:
    """Facts of a checkpoint without its tensors."""
    found: dict[str, Any] = _read_index(folder)["facts"]
    return found


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX_FILE
    if not path.is_file():
        raise InputError(f"expected a checkpoint in {folder}, got no {INDEX_FILE}; name the folder of a stage")
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        index["pieces"], index["shapes"], index["facts"]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsCorrupt(
            f"expected the index of a checkpoint in {path}, got something unreadable ({error}); {_AGAIN}",
            expected="",
            actual="",
        ) from error
    return index


def _generation(index: Path) -> int:
    """Number of the last save; 0 when there is none or it is unreadable."""
    try:
        return int(json.loads(index.read_text(encoding="utf-8"))["generation"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _packed(tensors: Mapping[str, torch.Tensor], limit: int) -> Iterator[dict[str, torch.Tensor]]:
    """Flat parts of tensors, `name#number`, in pieces of at most `limit` bytes."""
    piece: dict[str, torch.Tensor] = {}
    used = 0
    for name, value in tensors.items():
        flat = value.detach().contiguous().flatten().cpu()
        length = max(1, limit // max(1, flat.element_size()))
        for number in range(max(1, math.ceil(flat.numel() / length))):
            part = flat[number * length : (number + 1) * length].clone()
            size = part.numel() * part.element_size()
            if piece and used + size > limit:
                yield piece
                piece, used = {}, 0
            piece[f"{name}#{number}"] = part
            used += size
    if piece:
        yield piece
