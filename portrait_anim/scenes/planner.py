"""From script to work: check every file before the first frame is rendered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from portrait_anim.errors import InputError
from portrait_anim.inputs import DrivingSource, read_portrait
from portrait_anim.media.reader import probe
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.scenes.script import Role, SceneScript, Shot
from portrait_anim.weights import file_sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedShot:
    """One shot, ready to be rendered.

    Attributes:
        id: Name of the shot.
        index: Its place in the film, from 0.
        role: Who is seen.
        cameo: Whose likeness that is.
        portrait: Picture or video to animate.
        portrait_frame: Frame number when the portrait is a video.
        portrait_sha256: Checksum of the portrait's file.
        driving: Clip or motion file.
        driving_sha256: Checksum of it.
        start_s: Where to begin in the clip [s].
        end_s: Where to stop [s]; `None` is its end.
        fps: Frame rate to render at; `None` keeps that of a motion file.
        duration_s: Length of the shot [s].
        audio: `"driver"`, `"none"` or the path of a sound file.
        options: How to animate.
    """

    id: str
    index: int
    role: str
    cameo: str
    portrait: Path
    portrait_frame: int
    portrait_sha256: str
    driving: Path
    driving_sha256: str
    start_s: float
    end_s: float | None
    fps: Fraction | None
    duration_s: float
    audio: str
    options: AnimationOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class ScenePlan:
    """A scene whose files all exist.

    Attributes:
        title: Name of the scene.
        fps: Frame rate of the film [1/s].
        size: Width and height of the film [px].
        purpose: What for.
        context: Where it will appear.
        shots: In the order of the film.
    """

    title: str
    fps: Fraction
    size: tuple[int, int]
    purpose: str
    context: str
    shots: tuple[PlannedShot, ...]

    @property
    def duration_s(self) -> float:
        """Length of the film [s]."""
        return sum(shot.duration_s for shot in self.shots)


def plan_scene(script: SceneScript, *, cast: Mapping[str, str] | None = None) -> ScenePlan:
    """Check the files of a scene and turn its shots into work.

    Args:
        script: The checked script.
        cast: Cameo id by role; takes precedence over the script.

    Returns:
        The plan.

    Raises:
        SceneScriptError: If a file cannot be used or a role has no cameo; points at the line.
    """
    scene = script.scene
    unknown = sorted(set(cast or {}) - set(scene.roles))
    if unknown:
        raise script.error(
            f"expected a cast for the roles {', '.join(scene.roles)}; got one for {', '.join(unknown)}", "roles"
        )
    digests: dict[Path, str] = {}
    shots = tuple(_plan_shot(script, index, shot, cast or {}, digests) for index, shot in enumerate(scene.shots))
    return ScenePlan(
        title=scene.title,
        fps=scene.fps,
        size=scene.size or _size_of(script, scene.shots[0].role),
        purpose=scene.purpose,
        context=scene.context,
        shots=shots,
    )


def _plan_shot(
    script: SceneScript, index: int, shot: Shot, cast: Mapping[str, str], digests: dict[Path, str]
) -> PlannedShot:
    role = script.scene.roles[shot.role]
    cameo = cast.get(shot.role) or role.cameo
    if not cameo:
        raise script.error(
            f"expected a cameo for the role {shot.role!r}, got none; "
            f"write `cameo: cam_...` or give --cast {shot.role}=cam_...",
            "roles", shot.role,
        )  # fmt: skip
    portrait, driving = script.resolve(role.portrait), script.resolve(shot.driving)
    try:
        probe(portrait)
    except InputError as error:
        raise script.error(str(error), "roles", shot.role, "portrait") from error
    try:
        source = _driving(driving, shot, script.scene.fps)
        duration_s = source.duration_s
    except InputError as error:
        raise script.error(str(error), "shots", index, "driving") from error
    return PlannedShot(
        id=shot.id,
        index=index,
        role=shot.role,
        cameo=cameo,
        portrait=portrait,
        portrait_frame=role.frame,
        portrait_sha256=_digest(portrait, digests),
        driving=driving,
        driving_sha256=_digest(driving, digests),
        start_s=shot.start_s,
        end_s=shot.end_s,
        fps=None if source.motion is not None else script.scene.fps,
        duration_s=duration_s,
        audio=_audio(script, index, shot),
        options=script.options(shot),
    )


def _driving(path: Path, shot: Shot, fps: Fraction) -> DrivingSource:
    if path.suffix == ".safetensors":
        return DrivingSource(path, start_s=shot.start_s, end_s=shot.end_s)
    info = probe(path)
    if info.fps == 0:
        raise InputError(f"expected a clip or a motion file, got {path.name}, which has no moving picture; film one")
    if info.duration_s and shot.start_s >= info.duration_s:
        raise InputError(f"expected in before the end ({info.duration_s:g} s), got {shot.start_s:g} s; correct it")
    return DrivingSource(path, start_s=shot.start_s, end_s=shot.end_s, fps=fps)


def _audio(script: SceneScript, index: int, shot: Shot) -> str:
    if shot.audio in ("driver", "none"):
        return shot.audio
    path = script.resolve(shot.audio)
    try:
        has_audio = probe(path).has_audio
    except InputError as error:
        raise script.error(str(error), "shots", index, "audio") from error
    if not has_audio:
        raise script.error(f"expected driver, none or a file with sound, got {path.name}", "shots", index, "audio")
    return str(path)


def _size_of(script: SceneScript, role_name: str) -> tuple[int, int]:
    """Size of the film when the script does not say: the first portrait's, with even sides."""
    role: Role = script.scene.roles[role_name]
    height, width = read_portrait(script.resolve(role.portrait), role.frame).shape[:2]
    return width - width % 2, height - height % 2


def _digest(path: Path, known: dict[Path, str]) -> str:
    if path not in known:
        known[path] = file_sha256(path)
    return known[path]


def shot_key(shot: PlannedShot, plan: ScenePlan, *, grantee: str, profile: str, weights_digest: str) -> str:
    """Name a finished shot by everything that its pictures and its permission depend on.

    Args:
        shot: The shot; its place in the film and the place of its files do not matter.
        plan: The plan.
        grantee: Who renders.
        profile: Model profile.
        weights_digest: Checksum that stands for all weights of the profile.

    Returns:
        sha256, hexadecimal; equal only when rendering again would give the same.
    """
    audio = shot.audio if shot.audio in ("driver", "none") else file_sha256(Path(shot.audio))
    same = replace(shot, index=0, role="", portrait=Path(), driving=Path(), audio=audio, duration_s=0.0)
    facts = (1, same, plan.purpose, plan.context, grantee, profile, weights_digest)
    return hashlib.sha256(repr(facts).encode()).hexdigest()
