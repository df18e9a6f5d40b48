"""Before anything is rendered: motion and landmarks of every clip, a cameo with a grant for every portrait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.errors import ConsentDenied, InputError
from portrait_anim.evaluation.curves import PreparedClip, prepare_clip
from portrait_anim.evaluation.declaration import Declared, declare
from portrait_anim.evaluation.folders import NamedFile
from portrait_anim.evaluation.pair import PairWorker
from portrait_anim.evaluation.request import EvaluationRequest
from portrait_anim.types import Progress, ProgressCallback

Say: TypeAlias = Callable[[str], None]


def prepare_clips(
    request: EvaluationRequest,
    clips: Sequence[NamedFile],
    digest: str,
    worker: PairWorker,
    on_progress: ProgressCallback | None,
    say: Say,
) -> tuple[list[PreparedClip], dict[str, Exception]]:
    """Extract motion and landmarks of every clip.

    Args:
        request: What to evaluate.
        clips: The clips.
        digest: Of the weights.
        worker: Has the pipeline.
        on_progress: Told about each clip, stage `"clips"`.
        say: Told which cannot be used.

    Returns:
        Clips that can be used, and why the others cannot, by name.
    """
    prepared: list[PreparedClip] = []
    bad: dict[str, Exception] = {}
    for done, clip in enumerate(clips, start=1):
        try:
            ready = prepare_clip(
                clip, request.out / "clips", seconds=request.seconds, face=request.options.driving_face,
                weights_digest=digest, pipeline=worker.pipeline, profile=request.profile,
                identity=worker.encoders[0],
            )  # fmt: skip
            prepared.append(ready)
        except InputError as error:
            bad[clip.name] = error
            say(f"Clip {clip.path.name} is not usable: {error}")
        if on_progress:
            on_progress(Progress(stage="clips", done=done, total=len(clips)))
    return prepared, bad


def declare_portraits(
    request: EvaluationRequest,
    portraits: Sequence[NamedFile],
    clips: Sequence[PreparedClip],
    clock: Callable[[], datetime],
    say: Say,
) -> tuple[dict[str, Declared], dict[str, Exception]]:
    """Enrol every portrait that is not enrolled, and grant what the evaluation needs.

    Args:
        request: What to evaluate.
        portraits: The portraits.
        clips: Clips that each of them will be rendered with; without any, nothing is declared.
        clock: Current time.
        say: Told what is declared, and which portraits cannot be used.

    Returns:
        Cameos of those that can be used, and why the others cannot, by name.
    """
    declared: dict[str, Declared] = {}
    bad: dict[str, Exception] = {}
    if not clips:
        return declared, bad
    seconds = sum(len(clip.curves.points) / clip.curves.fps for clip in clips)
    say(f"Statement recorded with every portrait that is enrolled as fictional: {request.statement!r}")
    with open_store(request.home) as store:
        for portrait in portraits:
            try:
                declared[portrait.name] = _declare_one(store, request, portrait, len(clips), seconds, clock())
            except (InputError, ConsentDenied) as error:
                bad[portrait.name] = error
                say(f"Portrait {portrait.path.name} is not usable: {error}")
                continue
            say(_sentence(portrait, declared[portrait.name]))
    return declared, bad


def _declare_one(
    store: ConsentStore, request: EvaluationRequest, portrait: NamedFile, renders: int, seconds: float, now: datetime
) -> Declared:
    return declare(
        store, portrait.path, name=f"Evaluation {portrait.name}"[:80], statement=request.statement,
        grantee=request.grantee, face=request.options.face, renders=renders, seconds=seconds, now=now,
    )  # fmt: skip


def _sentence(portrait: NamedFile, declared: Declared) -> str:
    if declared.kind == "real":
        return f"Portrait {portrait.path.name}: cameo {declared.cameo_id} of a real person; only her own grants count"
    how = "enrolled now as fictional" if declared.new else "was enrolled as fictional before"
    return f"Portrait {portrait.path.name}: cameo {declared.cameo_id}, {how}, granted for the purpose 'evaluation'"
