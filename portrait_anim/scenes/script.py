"""The scene script: what the author wrote, checked, with the line of every mistake."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from portrait_anim.errors import SceneScriptError
from portrait_anim.pipelines.options import AnimationOptions, MotionMode
from portrait_anim.scenes.positions import Location, Positions, read_yaml
from portrait_anim.types import PathLike, Region

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_CLOCK: Final = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)")
_RATE: Final = re.compile(r"\d{1,6}(?:\.\d{1,6}|/\d{1,6})?")
_SIZE: Final = re.compile(r"(\d{2,5})\s*[xX]\s*(\d{2,5})")

# Names in a script are those of the command line; these are the fields of AnimationOptions behind them.
_FIELDS: Final[Mapping[str, str]] = {
    "motion": "motion",
    "expression_gain": "expression_gain",
    "pose_gain": "pose_gain",
    "regions": "regions",
    "smoothing": "smoothing",
    "size": "size_px",
    "steps": "num_steps",
    "seed": "seed",
    "driving_face": "driving_face",
}


def _identifier(text: str) -> str:
    if not _IDENTIFIER.fullmatch(text):
        raise ValueError(f"expected 1 to 64 letters, digits or any of _ . -, got {text!r}")
    return text


def _seconds(value: object) -> object:
    match = _CLOCK.fullmatch(str(value).strip().removesuffix("s").strip())
    if match is None:
        raise ValueError(f"expected a time such as 2.5 or 1:02.5, got {value!r}")
    return int(match[1] or 0) * 3600 + int(match[2] or 0) * 60 + float(match[3])


def _rate(value: object) -> object:
    try:
        rate = Fraction(str(value).strip()) if _RATE.fullmatch(str(value).strip()) else Fraction(0)
    except ZeroDivisionError:
        rate = Fraction(0)
    if not 0 < rate <= 240:
        raise ValueError(f"expected a frame rate above 0 and up to 240, such as 25 or 30000/1001; got {value!r}")
    return rate


def _frame_size(value: object) -> object:
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"expected a size such as 1280x720, got {value!r}")
    width, height = int(match[1]), int(match[2])
    if not (16 <= width <= 8192 and 16 <= height <= 8192) or width % 2 or height % 2:
        raise ValueError(f"expected even sides from 16 to 8192, got {value!r}")
    return width, height


def _comma_list(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Identifier = Annotated[str, AfterValidator(_identifier)]
Seconds = Annotated[float, BeforeValidator(_seconds)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class MotionChoices(_Part):
    """Choices of one animation under the names of the command line; what is left out has its default.

    Attributes:
        motion: See `AnimationOptions`, as for all the others.
        expression_gain: Factor on expressions.
        pose_gain: Factor on head movement.
        regions: Parts that follow the driver: a list, or names with commas.
        smoothing: Smoothing over time.
        size: Side of the generated face [px].
        steps: Denoising steps.
        seed: Seed.
        driving_face: Which face of the driving clip.
    """

    motion: MotionMode | None = None
    expression_gain: float | None = None
    pose_gain: float | None = None
    regions: Annotated[tuple[Region, ...] | None, BeforeValidator(_comma_list)] = None
    smoothing: float | None = None
    size: int | None = None
    steps: int | None = None
    seed: int | None = None
    driving_face: str | None = None

    @field_validator("expression_gain", "pose_gain", "smoothing", "size", "steps", "seed")
    @classmethod
    def _in_range(cls, value: Any, info: Any) -> Any:
        if value is not None:
            AnimationOptions(**{_FIELDS[info.field_name]: value})
        return value

    def given(self) -> dict[str, Any]:
        """Return what was written, as fields of `AnimationOptions`."""
        pairs = ((field_name, getattr(self, name)) for name, field_name in _FIELDS.items())
        return {name: value for name, value in pairs if value is not None}


class Role(_Part):
    """A figure of the scene.

    Attributes:
        portrait: Picture (or video) to animate, relative to the script.
        cameo: Whose likeness it is; may be left to the cast given with the command.
        face: Which face, when there are several.
        frame: Frame to use when the portrait is a video.
    """

    portrait: Path
    cameo: str = ""
    face: str | None = None
    frame: Annotated[int, Field(ge=0)] = 0


class Shot(MotionChoices):
    """One continuous piece of the scene.

    Attributes:
        id: Name of the shot, unique in the script.
        role: Who is seen.
        driving: Clip or motion file, relative to the script.
        start_s: Where to begin in the clip (`in`) [s].
        end_s: Where to stop (`out`) [s]; `None` is its end.
        audio: `"driver"`, `"none"` or a sound file, relative to the script.
    """

    id: Identifier
    role: str
    driving: Path
    start_s: Annotated[Seconds, Field(alias="in")] = 0.0
    end_s: Annotated[Seconds | None, Field(alias="out")] = None
    audio: str = "driver"


class Scene(_Part):
    """A whole script.

    Attributes:
        title: Name of the scene.
        fps: Frame rate of the film [1/s].
        size: Width and height of the film [px]; `None` takes those of the first portrait.
        purpose: What for, as named in the grants.
        context: Where it will appear, as named in the grants.
        defaults: Motion choices for all shots that do not make their own.
        roles: Figures by name.
        shots: In the order of the film.
    """

    title: Annotated[str, Field(max_length=200)] = ""
    fps: Annotated[Fraction, BeforeValidator(_rate)] = Fraction(25)
    size: Annotated[tuple[int, int] | None, BeforeValidator(_frame_size)] = None
    purpose: str = ""
    context: str = "scene"
    defaults: MotionChoices = MotionChoices()
    roles: Annotated[dict[Identifier, Role], Field(min_length=1)]
    shots: Annotated[tuple[Shot, ...], Field(min_length=1, max_length=1000)]


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneScript:
    """A checked scene and where it was written.

    Attributes:
        path: The script.
        scene: What it says.
        positions: Where each part stands in the file.
    """

    path: Path
    scene: Scene
    positions: Positions = field(repr=False)

    def resolve(self, name: PathLike) -> Path:
        """Return a path of the script, relative to the script's own folder."""
        return self.path.parent / name

    def options(self, shot: Shot) -> AnimationOptions:
        """Return the options of a shot: its own, else the scene's, else the program's."""
        face = self.scene.roles[shot.role].face
        return AnimationOptions(**{**self.scene.defaults.given(), **shot.given(), "face": face})

    def error(self, message: str, *location: str | int) -> SceneScriptError:
        """Make an error that points at a place of the script.

        Args:
            message: What was expected, what came, what to do.
            location: Keys and indices down to the place, such as `"shots", 0, "role"`.
        """
        return _error(self.path, message, self.positions, location)


def read_script(path: PathLike) -> SceneScript:
    """Read and check a scene script.

    Args:
        path: YAML file.

    Returns:
        The scene with the place of every part.

    Raises:
        SceneScriptError: If the file is no valid script; carries line and column.
    """
    path = Path(path)
    content, positions = read_yaml(path)
    try:
        scene = Scene.model_validate(content)
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
        first = mistakes[0]
        # A list that lost its faulty parts is also called too short: that is no mistake of its own.
        count = sum(mistake["type"] != "too_short" for mistake in mistakes[1:])
        more = f" ({count} more {'mistake' if count == 1 else 'mistakes'} in the script)" if count else ""
        # Discriminators that pydantic adds to the location, such as "[key]", are no part of the file.
        location = tuple(part for part in first["loc"] if part != "[key]")
        raise _error(
            path, _message(first["type"], first["msg"], location) + more, positions, location,
            at_key=first["type"] == "extra_forbidden",
        ) from error  # fmt: skip
    script = SceneScript(path=path, scene=scene, positions=positions)
    _check_references(script)
    return script


def _check_references(script: SceneScript) -> None:
    """Check what no single field can know: unique shots, known roles, times in order."""
    seen: set[str] = set()
    for index, shot in enumerate(script.scene.shots):
        if shot.id in seen:
            raise script.error(f"expected a new shot id, got {shot.id!r} again; rename it", "shots", index, "id")
        seen.add(shot.id)
        if shot.role not in script.scene.roles:
            known = ", ".join(script.scene.roles)
            raise script.error(f"expected a role among {known}; got {shot.role!r}", "shots", index, "role")
        if shot.end_s is not None and shot.end_s <= shot.start_s:
            raise script.error(
                f"expected out after in ({shot.start_s:g} s), got {shot.end_s:g} s; correct the times",
                "shots", index, "out",
            )  # fmt: skip


def _message(kind: str, text: str, location: Location) -> str:
    name = ".".join(str(part) for part in location) or "the script"
    if kind == "missing":
        return f"expected a value for {name}, got none; add the line {location[-1]}: ..."
    if kind == "extra_forbidden":
        return f"expected only known keys, got {location[-1]!r} ({name}); correct its name or remove it"
    if location and location[-1] == "cameo":
        return f"expected a cameo id for {name}, got none; write it, or remove the line and use --cast"
    return f"{name}: {text.removeprefix('Value error, ')}"


def _error(
    path: Path, message: str, positions: Positions, location: Location, *, at_key: bool = False
) -> SceneScriptError:
    line, column = positions.find(location, at_key=at_key)
    return SceneScriptError(f"{path.name}, line {line}, column {column}: {message}", line=line, column=column)
