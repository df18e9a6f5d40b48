"""Which files of a folder are portraits and clips, and what they are called in the report."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from portrait_anim.errors import InputError

PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".gif", ".jp2")
CLIP_SUFFIXES: Final = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".3gp", ".wmv", ".flv", ".ogv",
    ".gif",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedFile:
    """A file with its name in the report.

    Attributes:
        name: Unique, fit for file names.
        path: The file.
    """

    name: str
    path: Path


def list_files(folder: Path, suffixes: tuple[str, ...], *, what: str) -> tuple[list[NamedFile], list[str]]:
    """List the files of a folder that may be used; subfolders and hidden files are left alone.

    Args:
        folder: Where to look.
        suffixes: Endings in lower case.
        what: What is looked for, for the message.

    Returns:
        Files sorted by name, and the names of the others.

    Raises:
        InputError: If there is no such folder or it holds no such file.
    """
    if not folder.is_dir():
        raise InputError(f"expected a folder of {what}, got no folder at {folder}; check the path")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    chosen = [path for path in files if path.suffix.lower() in suffixes]
    if not chosen:
        raise InputError(
            f"expected {what} in {folder}, got {len(files)} file(s) of other kinds; files must end in "
            f"{', '.join(suffixes[:6])} or the like"
        )
    stems = Counter(_slug(path.stem) for path in chosen)
    named = [
        NamedFile(name=_slug(path.stem) if stems[_slug(path.stem)] == 1 else _slug(path.name), path=path)
        for path in chosen
    ]
    # Names that still collide (`a b.jpg`, `a_b.jpg`) get a number.
    counts: Counter[str] = Counter()
    unique = []
    for item in named:
        counts[item.name] += 1
        suffix = f"-{counts[item.name]}" if counts[item.name] > 1 else ""
        unique.append(NamedFile(name=item.name + suffix, path=item.path))
    return unique, [path.name for path in files if path not in chosen]


def read_groups(path: Path | None) -> dict[str, dict[str, str]]:
    """Read which portraits belong together.

    Args:
        path: CSV with the columns `portrait` (file name with or without ending) and any of `tone`, `age`, `glasses`;
            `None` gives no groups.

    Returns:
        Value by column by portrait stem.

    Raises:
        InputError: If the file cannot be read or has other columns.
    """
    if path is None:
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name for name in reader.fieldnames or () if name != "portrait"]
            if "portrait" not in (reader.fieldnames or ()) or not columns:
                raise InputError(
                    f"expected columns portrait, tone, age, glasses in {path}, got {reader.fieldnames}; "
                    "name them in the first line"
                )
            return {
                _slug(Path(row["portrait"]).stem): {name: (row[name] or "").strip() for name in columns}
                for row in reader
                if row["portrait"]
            }
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"expected a CSV file of groups, cannot read {path}: {error}; check the path") from error


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "unnamed"
