"""One portrait with one clip: render through the studio, measure, keep."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from portrait_anim import studio
from portrait_anim.consent.matching import MatchPolicy
from portrait_anim.errors import Cancelled, LedgerTampered, ModelError, PortraitAnimError
from portrait_anim.evaluation.compare import figures_of, score_signals, visible_signals, worst_frames
from portrait_anim.evaluation.curves import PreparedClip
from portrait_anim.evaluation.declaration import CONTEXT, PURPOSE, Declared
from portrait_anim.evaluation.folders import NamedFile
from portrait_anim.evaluation.output import measure_output, view_portrait
from portrait_anim.evaluation.plots import plot_signals
from portrait_anim.evaluation.records import SCHEMA, PairResult, digest_of, read_json, write_json
from portrait_anim.evaluation.request import EvaluationRequest
from portrait_anim.evaluation.sheets import pair_sheet
from portrait_anim.evaluation.signals import measure_signals
from portrait_anim.face.identity import IdentityEncoder, load_identity_encoder
from portrait_anim.media.image import write_image
from portrait_anim.types import ProgressCallback
from portrait_anim.weights import file_sha256

if TYPE_CHECKING:
    from portrait_anim.pipelines.portrait import PortraitAnimationPipeline


@dataclass(frozen=True, kw_only=True, slots=True)
class PairTask:
    """One pair to render and measure; it can be sent to another process.

    Attributes:
        portrait: The portrait.
        declared: Its cameo.
        clip: The prepared clip.
        request: What the whole evaluation is asked for.
        weights_digest: Of the weights.
    """

    portrait: NamedFile
    declared: Declared
    clip: PreparedClip
    request: EvaluationRequest
    weights_digest: str

    @property
    def render_digest(self) -> str:
        """Of everything that the video depends on."""
        return digest_of(
            self.declared.digest, self.clip.digest, self.weights_digest, self.request.options, self.request.profile
        )

    @property
    def digest(self) -> str:
        """Of everything that the figures depend on."""
        return digest_of(SCHEMA, self.render_digest, self.request.arcface is not None)

    def path(self, ending: str) -> Path:
        """A file of this pair."""
        return self.request.out / "pairs" / f"{self.portrait.name}__{self.clip.name}{ending}"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptRender:
    """What is noted beside a video, so that it can be measured again without being rendered again.

    Attributes:
        digest: Of everything that it depends on.
        sha256: Of the video.
        num_frames: Its frames.
        fps: Frame rate [1/s].
        render_s: What rendering took [s per frame].
    """

    digest: str
    sha256: str
    num_frames: int
    fps: float
    render_s: float


class PairWorker:
    """Renders and measures pairs with one loaded pipeline.

    Args:
        profile: Model profile.
        arcface: Folder of ArcFace's weights, or `None`.
    """

    def __init__(self, profile: str, arcface: Path | None) -> None:
        self._profile = profile
        self._pipeline: PortraitAnimationPipeline | None = None
        self.encoders: list[IdentityEncoder] = [load_identity_encoder("dlib")]
        if arcface is not None:
            self.encoders.append(load_identity_encoder("arcface", model_dir=arcface))

    def pipeline(self) -> PortraitAnimationPipeline:
        """The pipeline, loaded on first use."""
        if self._pipeline is None:
            self._pipeline = studio.load_pipeline(self._profile)
        return self._pipeline

    def run(self, task: PairTask, on_progress: ProgressCallback | None = None) -> PairResult:
        """Render and measure one pair, or take what an earlier run left.

        Args:
            task: The pair.
            on_progress: Told about the render.

        Returns:
            Its figures; a pair that cannot be rendered says why.
        """
        kept = known_result(task)
        if kept is not None:
            return kept
        # What the figures were computed from must not outlive them.
        task.path(".json").unlink(missing_ok=True)
        try:
            result = self._measure(task, on_progress)
        except (ModelError, LedgerTampered, Cancelled):
            raise  # nothing would work any better with the next pair
        except PortraitAnimError as error:
            result = not_usable(task.portrait.name, task.clip.name, error)
        write_json(task.path(".json"), result)
        return result

    def _render(self, task: PairTask, on_progress: ProgressCallback | None) -> KeptRender:
        pipeline, video = self.pipeline(), task.path(".mp4")
        start = time.perf_counter()
        result = studio.animate(
            task.portrait.path, task.clip.motion, cameo=task.declared.cameo_id, output=video, home=task.request.home,
            options=task.request.options, grantee=task.request.grantee, purpose=PURPOSE, context=CONTEXT, audio="none",
            profile=task.request.profile, pipeline=pipeline, on_progress=on_progress,
        )  # fmt: skip
        render = KeptRender(
            digest=task.render_digest, sha256=result.sha256, num_frames=result.num_frames, fps=float(result.fps),
            render_s=(time.perf_counter() - start) / result.num_frames,
        )  # fmt: skip
        write_json(task.path(".render.json"), render)
        return render

    def _measure(self, task: PairTask, on_progress: ProgressCallback | None) -> PairResult:
        options, clip, video = task.request.options, task.clip, task.path(".mp4")
        rendered = known_render(task) or self._render(task, on_progress)
        start = time.perf_counter()
        view = view_portrait(task.portrait.path, options.size_px, options.face, self.encoders, task.request.profile)
        measured = measure_output(video, view, self.encoders)
        driver, output = measure_signals(clip.curves.points.astype(float)), visible_signals(measured)
        fps = rendered.fps
        scores = score_signals(driver, output, fps)
        worst = worst_frames(driver, output, scores, measured)
        write_image(task.path(".sheet.jpg"), pair_sheet(clip, video, view.crop, worst))
        plot_signals(task.path(".signals.png"), driver, output, scores, fps)
        evaluation_s = time.perf_counter() - start
        figures = figures_of(clip.curves, measured, scores)
        own = clip.own_distances
        figures["driver_beyond_gate"] = float((own > MatchPolicy().limit("dlib")).mean()) if len(own) else None
        figures["seconds_per_frame"] = rendered.render_s + clip.motion_s
        figures["evaluation_s"] = evaluation_s / rendered.num_frames
        return PairResult(
            portrait=task.portrait.name, clip=clip.name, digest=task.digest, num_frames=rendered.num_frames, fps=fps,
            figures=figures, signals=scores, worst_frames=worst, video=_below(task, video),
            sheet=_below(task, task.path(".sheet.jpg")), plot=_below(task, task.path(".signals.png")),
        )  # fmt: skip


def known_result(task: PairTask) -> PairResult | None:
    """What an earlier run found for the same inputs, weights and options, if its video is still there."""
    data = read_json(task.path(".json"))
    if not isinstance(data, dict) or data.get("digest") != task.digest or not task.path(".mp4").is_file():
        return None
    try:
        return PairResult.from_dict(data)
    except (TypeError, ValueError):
        return None


def known_render(task: PairTask) -> KeptRender | None:
    """What an earlier run rendered from the same inputs, weights and options, if the video is unchanged."""
    data, video = read_json(task.path(".render.json")), task.path(".mp4")
    if not isinstance(data, dict) or data.get("digest") != task.render_digest or not video.is_file():
        return None
    try:
        render = KeptRender(**data)
    except TypeError:
        return None
    return render if file_sha256(video) == render.sha256 else None


def not_usable(portrait: str, clip: str, error: Exception) -> PairResult:
    """Row of a pair that cannot be rendered."""
    return PairResult(portrait=portrait, clip=clip, status="not usable", reason=str(error))


def _below(task: PairTask, path: Path) -> str:
    return path.relative_to(task.request.out).as_posix()


def run_in_process(task: PairTask) -> PairResult:
    """Run a pair in a worker process, which keeps its pipeline for the next one."""
    return _worker(task.request.profile, task.request.arcface).run(task)


@lru_cache(maxsize=1)
def _worker(profile: str, arcface: Path | None) -> PairWorker:
    return PairWorker(profile, arcface)
