"""What an evaluation is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from portrait_anim.pipelines.options import AnimationOptions

DEFAULT_STATEMENT: Final = "Declared as a person who does not exist by whoever ran the evaluation."


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationRequest:
    """What to evaluate.

    Attributes:
        portraits: Folder of portraits.
        clips: Folder of driving clips.
        out: Folder of the report; made when missing.
        home: Folder of consent store and keys.
        options: How to animate; `crop_only` is set whatever it says.
        seconds: Use at most so much of each clip [s]; `None` is all of it.
        statement: Why there is nobody to ask about the portraits, recorded with each enrolment.
        grantee: Who renders.
        groups: CSV of portrait, tone, age, glasses; or `None`.
        arcface: Folder of ArcFace's weights for a second measure of identity; or `None`.
        jobs: Pairs rendered at once, each in a process of its own.
        profile: Model profile.
    """

    portraits: Path
    clips: Path
    out: Path
    home: Path
    options: AnimationOptions = field(default_factory=lambda: AnimationOptions(crop_only=True))
    seconds: float | None = None
    statement: str = DEFAULT_STATEMENT
    grantee: str = "operator"
    groups: Path | None = None
    arcface: Path | None = None
    jobs: int = 1
    profile: str = "lite"

    def __post_init__(self) -> None:
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds must be above 0, got {self.seconds}")
        if self.jobs < 1:
            raise ValueError(f"jobs must be at least 1, got {self.jobs}")
