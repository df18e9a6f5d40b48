"""Where weight files and samples are, and whether they are what they should be.

`weights/manifest.json` lists every file with its checksum, size, licence and origin. Nothing is loaded before
its checksum holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from portrait_anim.errors import InputError, WeightsCorrupt, WeightsMissing

MANIFEST_FILE: Final = "manifest.json"

_VERSION: Final = 1
_CHUNK: Final = 1 << 20
_REINSTALL: Final = "reinstall portrait-anim, or take the weights folder of a fresh copy of the project"


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightEntry:
    """What is known of a weight file before it is measured.

    Attributes:
        file: Path below the weights folder, with forward slashes.
        licence: SPDX identifier or short name of the licence.
        source: Where it comes from, for example the recipe that trained it.
        profile: The profile that needs it, for example `"lite"`.

    Raises:
        ValueError: If `file` leaves the weights folder.
    """

    file: str
    licence: str
    source: str
    profile: str

    def __post_init__(self) -> None:
        path = PurePosixPath(self.file)
        foreign = "\\" in self.file or ":" in self.file
        if not path.parts or path.is_absolute() or ".." in path.parts or foreign:
            raise ValueError(f"expected a path below the weights folder, with /, got {self.file!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightFile(WeightEntry):
    """One line of the manifest.

    Attributes:
        sha256: Checksum of the file, 64 hexadecimal digits.
        bytes: Size of the file [byte].
    """

    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        # Not super(): slots make a new class, which zero-argument super() does not know before Python 3.14.
        WeightEntry.__post_init__(self)
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ValueError(f"expected sha256 of {self.file} as 64 hexadecimal digits, got {self.sha256!r}")
        if self.bytes < 0:
            raise ValueError(f"expected a size of {self.file} of 0 bytes or more, got {self.bytes}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """All weight files that the project knows.

    Attributes:
        files: Sorted by file name.
    """

    files: tuple[WeightFile, ...]

    @property
    def profiles(self) -> tuple[str, ...]:
        """Profiles that have files, sorted."""
        return tuple(sorted({file.profile for file in self.files}))


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightStatus:
    """What is on disk for one line of the manifest.

    Attributes:
        file: The line.
        state: `"ok"`, `"missing"` or `"corrupt"`.
        actual: Checksum found, empty when missing.
    """

    file: WeightFile
    state: Literal["ok", "missing", "corrupt"]
    actual: str = ""


def weights_dir() -> Path:
    """Folder of the weights: inside the installed package, or beside it in a source tree; may not exist."""
    return _locate("_weights", Path("weights"))


def user_weights_dir() -> Path:
    """Folder of weights that are not shipped and that the user installed; may not exist."""
    import platformdirs

    return platformdirs.user_data_path("portrait_anim") / "weights"


def samples_dir() -> Path:
    """Folder of the sample portrait and clips.

    Raises:
        InputError: If the samples are not installed.
    """
    folder = _locate("_samples", Path("demo", "samples"))
    if not folder.is_dir():
        raise InputError(f"expected the samples in {folder}, got no such folder; reinstall portrait-anim")
    return folder


def read_manifest(dir: Path | None = None) -> Manifest:
    """Read `manifest.json`.

    Args:
        dir: Weights folder; the installed one by default.

    Returns:
        What the weights should be.

    Raises:
        WeightsMissing: If there is no manifest.
        WeightsCorrupt: If it is not a manifest.
    """
    path = (weights_dir() if dir is None else dir) / MANIFEST_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = [WeightFile(**line) for line in content["files"]]
    except FileNotFoundError as error:
        raise WeightsMissing(
            f"expected the list of weights at {path}, got no such file; {_REINSTALL}", files=(MANIFEST_FILE,)
        ) from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise WeightsCorrupt(
            f"expected a list of weights in {path}, got something unreadable ({error}); {_REINSTALL}",
            expected="",
            actual="",
        ) from error
    return Manifest(files=tuple(sorted(files, key=lambda line: line.file)))


def write_manifest(dir: Path, entries: Iterable[WeightFile]) -> Path:
    """Write `manifest.json` in one step.

    Args:
        dir: Weights folder.
        entries: Its lines, in any order.

    Returns:
        Path of the manifest.

    Raises:
        ValueError: If two lines name the same file.
    """
    lines = sorted(entries, key=lambda line: line.file)
    names = [line.file for line in lines]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"expected each weight file once, got {', '.join(doubled)} several times")
    content: dict[str, Any] = {"version": _VERSION, "files": [asdict(line) for line in lines]}
    target = dir / MANIFEST_FILE
    handle, temporary = tempfile.mkstemp(dir=dir, prefix=f".{MANIFEST_FILE}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=2) + "\n")
        os.chmod(temporary, 0o644)  # a public list, which mkstemp made private
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target


def build_manifest(dir: Path, entries: Iterable[WeightEntry]) -> Manifest:
    """Measure weight files and write `manifest.json`, as after training.

    Args:
        dir: Weights folder that holds the files.
        entries: The files.

    Returns:
        The manifest that was written.

    Raises:
        WeightsMissing: If a file is not there.
    """
    lines = []
    for entry in entries:
        path = dir / entry.file
        if not path.is_file():
            raise WeightsMissing(
                f"expected {entry.file} in {dir}, got no such file; train or export it first",
                files=(entry.file,),
            )
        lines.append(
            WeightFile(
                file=entry.file,
                licence=entry.licence,
                source=entry.source,
                profile=entry.profile,
                sha256=file_sha256(path),
                bytes=path.stat().st_size,
            )
        )
    write_manifest(dir, lines)
    return read_manifest(dir)


def folders() -> list[Path]:
    """Weights folders that have a manifest: the shipped one, then the user's."""
    user = user_weights_dir()
    return [weights_dir(), *([user] if (user / MANIFEST_FILE).is_file() else [])]


def locate(profile: str) -> Path:
    """Weights folder that holds a profile's files, or the shipped one if none does."""
    holding = (folder for folder in folders() if profile in read_manifest(folder).profiles)
    return next(holding, weights_dir())


def installed(profile: str) -> bool:
    """Whether every file of a profile is there; what is in them is not looked at, which would take a while."""
    folder = locate(profile)
    names = [line.file for line in read_manifest(folder).files if line.profile == profile]
    return bool(names) and all((folder / name).is_file() for name in names)


def verify(profile: str | None = None, dir: Path | None = None) -> list[WeightStatus]:
    """Compare the files on disk with the manifest.

    Args:
        profile: Look only at this profile's files.
        dir: Weights folder; by default the shipped one, or the user's where that holds the profile.

    Returns:
        One status per line of the manifest, sorted by file name.

    Raises:
        WeightsMissing: If there is no manifest.
        WeightsCorrupt: If the manifest itself is unreadable.
    """
    folder = dir or (locate(profile) if profile else weights_dir())
    return [_status(folder, line) for line in read_manifest(folder).files if profile in (None, line.profile)]


def require(profile: str, dir: Path | None = None) -> Path:
    """Folder of a profile's weights, every file checked.

    Args:
        profile: Name of the profile, for example `"lite"`.
        dir: Weights folder; by default the shipped one, or the user's where that holds the profile.

    Returns:
        The profile's own folder below the weights folder.

    Raises:
        WeightsMissing: If files are not there, or the profile has none.
        WeightsCorrupt: If a checksum differs.
    """
    folder = dir or locate(profile)
    statuses = verify(profile, folder)
    if not statuses:
        known = ", ".join(read_manifest(folder).profiles) or "none"
        raise WeightsMissing(
            f"expected weights of the profile {profile!r} in {folder}, got only those of: {known}; "
            "choose one of these or install its weights ('portrait-anim weights fetch --help')"
        )
    missing = [status.file.file for status in statuses if status.state == "missing"]
    if missing:
        raise WeightsMissing(
            f"expected {len(statuses)} weight files of {profile!r} in {folder}, got no {', '.join(missing)}; "
            f"{_REINSTALL}",
            files=missing,
        )
    for status in statuses:
        if status.state == "corrupt":
            raise WeightsCorrupt(
                f"expected {status.file.file} with sha256 {status.file.sha256}, got {status.actual}; "
                f"the file is damaged or was replaced: {_REINSTALL}",
                expected=status.file.sha256,
                actual=status.actual,
            )
    return folder / profile


def file_sha256(path: Path) -> str:
    """Checksum of a file, read piece by piece.

    Args:
        path: File of any size.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _status(folder: Path, line: WeightFile) -> WeightStatus:
    """Measure one file."""
    path = folder / line.file
    if not path.is_file():
        return WeightStatus(file=line, state="missing")
    actual = file_sha256(path)
    return WeightStatus(file=line, state="ok" if actual == line.sha256 else "corrupt", actual=actual)


def _locate(installed: str, in_source: Path) -> Path:
    """A data folder inside the package, else its place in the source tree."""
    package = Path(__file__).parent
    inside = package / installed
    return inside if inside.is_dir() else package.parent / in_source
