"""What an evaluation finds, as values that can be written to JSON and read back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from portrait_anim.errors import InputError
from portrait_anim.media.writer import atomic_path

SCHEMA: Final = 2
"""Changes when figures are computed differently, so that older pairs are measured anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalScore:
    """How an output follows its driver in one signal that the driver moves.

    Attributes:
        r: Correlation over time; `None` when the output does not move at all or was hardly measured.
        slope: Amplitude relative to the driver's.
        lag: Frames by which the output comes later.
        driver_std: Spread of the driver's signal.
        output_std: Spread of the output's signal.
        speed_std: Output over driver, standard deviation of speed.
        speed_p95: Output over driver, 95th percentile of speed.
        acceleration_std: Output over driver, standard deviation of acceleration.
        acceleration_p95: Output over driver, 95th percentile of acceleration.
        speed_kurtosis: Output over driver, kurtosis of speed; below 1 is more even motion than the driver's.
    """

    r: float | None
    slope: float | None
    lag: float | None
    driver_std: float
    output_std: float | None
    speed_std: float | None = None
    speed_p95: float | None = None
    acceleration_std: float | None = None
    acceleration_p95: float | None = None
    speed_kurtosis: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PairResult:
    """One portrait with one clip.

    Attributes:
        portrait: Name of the portrait in the report.
        clip: Name of the clip in the report.
        digest: Of everything that the result depends on.
        status: `"measured"` or `"not usable"`.
        reason: Why it is not usable.
        num_frames: Frames of the output.
        fps: Frame rate [1/s].
        figures: Every figure of `bars.FIGURES` by name; `None` where the data do not determine it.
        signals: Score of every signal that the driver moves.
        worst_frames: Frames shown as the worst, with the reason.
        video: The output below the report's folder.
        sheet: Contact sheet below the report's folder.
        plot: Plot of the signals below the report's folder.
    """

    portrait: str
    clip: str
    digest: str = ""
    status: Literal["measured", "not usable"] = "measured"
    reason: str = ""
    num_frames: int = 0
    fps: float = 0.0
    figures: dict[str, float | None] = field(default_factory=dict)
    signals: dict[str, SignalScore] = field(default_factory=dict)
    worst_frames: tuple[tuple[int, str], ...] = ()
    video: str = ""
    sheet: str = ""
    plot: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PairResult:
        """Rebuild a result from what `to_plain` made of it."""
        values = dict(data)
        values["signals"] = {name: SignalScore(**score) for name, score in values.get("signals", {}).items()}
        values["worst_frames"] = tuple((int(k), str(why)) for k, why in values.get("worst_frames", ()))
        return cls(**values)


def to_plain(value: object) -> Any:
    """Turn results into what JSON can hold; numbers that are not finite become `None`.

    Args:
        value: Dataclass, mapping, sequence, path or plain value.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)


def write_json(path: Path, value: object) -> None:
    """Write results to a JSON file, complete or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(to_plain(value), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file that an earlier run left; `None` when there is none or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def digest_of(*parts: object) -> str:
    """Checksum of values that a result depends on, hexadecimal."""
    return hashlib.sha256(json.dumps(to_plain(parts), sort_keys=True).encode()).hexdigest()


def make_folders(out: Path) -> None:
    """Make the folders of a report.

    Raises:
        InputError: If they cannot be made.
    """
    try:
        for name in ("pairs", "clips", "plots"):
            (out / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"expected a folder for the report at {out}, got: {error.strerror}; name another with --out"
        ) from error
