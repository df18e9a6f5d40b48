"""Render a scene: shot by shot, resumable, then joined into one signed film."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from portrait_anim import studio, weights
from portrait_anim.consent.records import CameoKind
from portrait_anim.consent.registry import get_cameo
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.errors import InputError, MediaError, ProfileUnavailable, ShotFailed
from portrait_anim.models.profiles import get_profile
from portrait_anim.scenes.executors import LocalExecutor, ShotExecutor
from portrait_anim.scenes.film import SceneResult, join_film
from portrait_anim.scenes.permission import check_grants
from portrait_anim.scenes.planner import PlannedShot, ScenePlan, plan_scene, shot_key
from portrait_anim.scenes.script import read_script
from portrait_anim.scenes.shelf import FinishedShot, ShotShelf
from portrait_anim.types import PathLike, Progress, ProgressCallback

if TYPE_CHECKING:
    from portrait_anim.pipelines.portrait import PortraitAnimationPipeline


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneCheck:
    """What rendering a scene would mean.

    Attributes:
        title: Name of the scene.
        duration_s: Length of the film [s].
        size: Width and height [px].
        shots: Ids of the shots in order.
        finished: Ids of those that need not be rendered again.
    """

    title: str
    duration_s: float
    size: tuple[int, int]
    shots: tuple[str, ...]
    finished: tuple[str, ...]


def check_scene(
    script: PathLike,
    *,
    home: PathLike | None = None,
    cast: Mapping[str, str] | None = None,
    work: PathLike | None = None,
    grantee: str = "operator",
    profile: str = "lite",
    now: datetime | None = None,
) -> SceneCheck:
    """Check a script, its files and every role's grant, without rendering.

    Args:
        script: YAML file.
        home: Folder of consent store and keys; `None` is the default one.
        cast: Cameo id by role; takes precedence over the script.
        work: Folder of finished shots; `None` takes none into account.
        grantee: Who would render.
        profile: Model profile.
        now: Current time, timezone-aware; `None` asks the clock.

    Raises:
        SceneScriptError: If the script or a file of it cannot be used.
        ConsentDenied: If a role is refused.
    """
    plan = plan_scene(read_script(script), cast=cast)
    with open_store(Path(home) if home else studio.default_home()) as store:
        now = now or datetime.now(timezone.utc)
        keys = _keys(plan, grantee, profile)
        shelf = ShotShelf(Path(work)) if work is not None and Path(work).is_dir() else None
        done = [shot for shot in plan.shots if shelf and shelf.find(keys[shot.id], shot.id, store, now)]
        waiting = [shot for shot in plan.shots if shot not in done]
        check_grants(plan, store, shots=waiting, grantee=grantee, profile=profile, now=now)
    return SceneCheck(
        title=plan.title,
        duration_s=plan.duration_s,
        size=plan.size,
        shots=tuple(shot.id for shot in plan.shots),
        finished=tuple(shot.id for shot in done),
    )


def render_scene(
    script: PathLike,
    output: PathLike,
    *,
    home: PathLike | None = None,
    cast: Mapping[str, str] | None = None,
    work: PathLike | None = None,
    grantee: str = "operator",
    profile: str = "lite",
    pipeline: PortraitAnimationPipeline | None = None,
    executor: ShotExecutor | None = None,
    on_progress: ProgressCallback | None = None,
    cancel: Callable[[], bool] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> SceneResult:
    """Render a scene into one labelled, signed MP4; finished shots of an earlier attempt are not rendered again.

    Args:
        script: YAML file.
        output: MP4 to write.
        home: Folder of consent store and keys; `None` is the default one.
        cast: Cameo id by role; takes precedence over the script.
        work: Folder for finished shots; `None` is `<output>.shots` beside the output.
        grantee: Who renders.
        profile: Model profile.
        pipeline: A loaded pipeline to reuse.
        executor: Where shots are rendered; `None` is this process.
        on_progress: Told about the shots (stage `"shots"`), about each of them, and about joining them.
        cancel: Asked before every few frames; return true to stop.
        clock: Current time; tests inject it.

    Returns:
        The film and its records.

    Raises:
        SceneScriptError: If the script or a file of it cannot be used.
        ConsentDenied: If a role is refused, before or during the work.
        ShotFailed: If a shot could not be rendered.
        Cancelled: If `cancel` returned true; finished shots are kept, no film is written.
    """
    output = Path(output)
    _check_output(output)
    plan = plan_scene(read_script(script), cast=cast)
    shelf = ShotShelf(Path(work) if work is not None else output.with_name(f"{output.stem}.shots"))
    with open_store(Path(home) if home else studio.default_home()) as store:
        session = _Session(plan, store, shelf, grantee, profile, on_progress, cancel, clock)
        shots = session.shots(pipeline, executor or LocalExecutor())
        return join_film(
            plan, shots, output, store=store, shelf=shelf, profile=profile, on_progress=on_progress, cancel=cancel,
            clock=clock,
        )  # fmt: skip


class _Session:
    """One attempt to render a scene."""

    def __init__(
        self,
        plan: ScenePlan,
        store: ConsentStore,
        shelf: ShotShelf,
        grantee: str,
        profile: str,
        on_progress: ProgressCallback | None,
        cancel: Callable[[], bool] | None,
        clock: Callable[[], datetime],
    ) -> None:
        self.plan, self.store, self.shelf, self.grantee, self.profile = plan, store, shelf, grantee, profile
        self._on_progress, self._cancel, self._clock = on_progress, cancel, clock
        self._keys = _keys(plan, grantee, profile)

    def shots(self, pipeline: PortraitAnimationPipeline | None, executor: ShotExecutor) -> list[FinishedShot]:
        """Finish every shot, in the order of the film, after asking for all that is still to be rendered."""
        now = self._clock()
        finished = {shot.id: self.shelf.find(self._keys[shot.id], shot.id, self.store, now) for shot in self.plan.shots}
        waiting = [shot for shot in self.plan.shots if finished[shot.id] is None]
        check_grants(self.plan, self.store, shots=waiting, grantee=self.grantee, profile=self.profile, now=now)
        done, total = len(self.plan.shots) - len(waiting), len(self.plan.shots)
        self._tell("shots", done, total)
        if waiting:
            ready = pipeline or studio.load_pipeline(self.profile)
            for shot in executor.run(lambda planned: self._render(planned, ready), waiting):
                finished[shot.shot_id] = shot
                done += 1
                self._tell("shots", done, total)
        return [shot for shot in finished.values() if shot is not None]

    def _render(self, shot: PlannedShot, pipeline: PortraitAnimationPipeline) -> FinishedShot:
        def forward(progress: Progress) -> None:
            self._tell(f"{shot.id} {progress.stage}", progress.done, progress.total)

        key = self._keys[shot.id]
        try:
            result = studio.animate(
                shot.portrait, shot.driving, cameo=shot.cameo, output=self.shelf.video(key), home=self.store.home,
                options=shot.options, grantee=self.grantee, purpose=self.plan.purpose, context=self.plan.context,
                audio=shot.audio, start_s=shot.start_s, end_s=shot.end_s, fps=shot.fps,
                portrait_frame=shot.portrait_frame, profile=self.profile, pipeline=pipeline,
                on_progress=forward, cancel=self._cancel, clock=self._clock,
            )  # fmt: skip
        except InputError as error:
            raise ShotFailed(
                f"expected to render the shot {shot.id!r}, got: {error} Finished shots are kept; try again afterwards.",
                shot_id=shot.id,
            ) from error
        finished = FinishedShot(
            shot_id=shot.id, key=key, cameo_id=result.cameo_id, cameo_kind=self._kind(result.cameo_id),
            grant_id=result.grant_id, permit_id=result.permit_id, sha256=result.sha256,
            num_frames=result.num_frames, fps=str(result.fps),
        )  # fmt: skip
        self.shelf.put(finished)
        return finished

    def _kind(self, cameo_id: str) -> CameoKind:
        return get_cameo(self.store, cameo_id).kind

    def _tell(self, stage: str, done: int, total: int | None) -> None:
        if self._on_progress:
            self._on_progress(Progress(stage=stage, done=done, total=total))


def _keys(plan: ScenePlan, grantee: str, profile: str) -> dict[str, str]:
    """Name on the shelf by shot id."""
    spec = get_profile(profile)
    if not spec.shipped:
        raise ProfileUnavailable(
            f"expected a profile that can render scenes, which is 'lite', got {profile!r}; animate its shots one by one"
        )
    folder = spec.folder
    lines = sorted((line.file, line.sha256) for line in weights.read_manifest().files if line.profile == folder)
    digest = hashlib.sha256(repr(lines).encode()).hexdigest()
    return {
        shot.id: shot_key(shot, plan, grantee=grantee, profile=profile, weights_digest=digest) for shot in plan.shots
    }


def _check_output(output: Path) -> None:
    if output.suffix.lower() not in (".mp4", ".m4v"):
        raise MediaError(f"expected an output name ending in .mp4, got {output.name}; rename it")
    if output.is_dir() or not output.parent.is_dir() or not os.access(output.parent, os.W_OK):
        raise MediaError(f"expected a file in a folder that can be written, got {output}; choose another place")
