"""The studio: the one public way from a portrait and a driving clip to a video file.

`animate` authorises, renders, labels, marks, encodes, signs, verifies and records; when any of it fails, nothing is
left. What makes a picture a file that may be shown is in `publishing`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portrait_anim.consent import permit as gate
from portrait_anim.consent import renders
from portrait_anim.consent.inbox import add_thumbnail
from portrait_anim.consent.records import RenderRequest
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.consent.withdrawal import destroy_withdrawn, is_withdrawn
from portrait_anim.errors import Cancelled, ConsentDenied, NoFaceFound, PortraitAnimError, SourceRefused
from portrait_anim.face.crop import crop
from portrait_anim.face.detect import FaceDetector, find_face
from portrait_anim.face.identity import load_identity_encoder
from portrait_anim.home import default_home
from portrait_anim.inputs import DrivingSource, read_portrait
from portrait_anim.jobs import RenderJob, RenderResult, check_output
from portrait_anim.loading import default_options, load_pipeline
from portrait_anim.media.image import pixel_digest, write_image
from portrait_anim.media.writer import VideoWriter
from portrait_anim.pipelines.framing import frame_face
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.provenance.label import face_zones
from portrait_anim.provenance.label_path import Box
from portrait_anim.provenance.manifest import check_signing
from portrait_anim.provenance.settings import load_settings
from portrait_anim.publishing import FrameMarker, check_sources, make_claims, remember, sign_and_check
from portrait_anim.sheet import ContactSheet, side_by_side
from portrait_anim.types import FaceObservation, PathLike, Progress, ProgressCallback, UInt8Array
from portrait_anim.weights import file_sha256

if TYPE_CHECKING:
    from portrait_anim.consent.permit import RenderPermit
    from portrait_anim.pipelines.motion import MotionSequence
    from portrait_anim.pipelines.portrait import PortraitAnimationPipeline

__all__ = ["RenderJob", "RenderResult", "animate", "default_home", "default_options", "load_pipeline"]


def animate(
    portrait: PathLike,
    driving: PathLike,
    *,
    cameo: str,
    output: PathLike,
    home: PathLike | None = None,
    options: AnimationOptions | None = None,
    grantee: str = "operator",
    purpose: str = "",
    context: str = "animate",
    audio: str = "driver",
    start_s: float = 0.0,
    end_s: float | None = None,
    fps: Fraction | None = None,
    portrait_frame: int | None = None,
    compare: bool = False,
    sheet: PathLike | None = None,
    profile: str = "lite",
    pipeline: PortraitAnimationPipeline | None = None,
    load: Callable[[str], PortraitAnimationPipeline] = load_pipeline,
    on_progress: ProgressCallback | None = None,
    cancel: Callable[[], bool] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> RenderResult:
    """Animate a portrait with a driving clip and write a labelled, signed MP4.

    Args:
        portrait: Picture of the cameo's person, or a video.
        driving: Video, picture, or motion file (`.safetensors`).
        cameo: Id of the enrolled cameo.
        output: MP4 to write.
        home: Folder of consent store and keys; `None` is `default_home()`.
        options: How to animate; `None` is `default_options(profile)`.
        grantee: Who renders.
        purpose: What for.
        context: Scene or context.
        audio: `"driver"`, `"none"` or a sound file.
        start_s: Start in the driving clip [s].
        end_s: End in the driving clip [s].
        fps: Output rate [1/s]; `None` keeps the driver's.
        portrait_frame: Frame number when the portrait is a video; `None` is the first.
        compare: Put source and driver beside the result.
        sheet: Contact sheet to write (PNG).
        profile: Model profile.
        pipeline: A loaded pipeline to reuse.
        load: How to load the profile's pipeline otherwise, for example `load_pipeline` with a device; done once the
            render is permitted.
        on_progress: Told about progress.
        cancel: Asked before every few frames; return true to stop.
        clock: Current time; tests inject it.

    Returns:
        The finished file and its records.

    Raises:
        ConsentDenied: If the owner does not allow this render.
        SourceRefused: If portrait or clip carry somebody else's mark.
        InputError: If portrait or clip cannot be used.
        ModelError: If weights are missing or damaged.
        Cancelled: If `cancel` returned true; nothing is left.
    """
    job = RenderJob(
        portrait=Path(portrait), driving=Path(driving), cameo=cameo, output=Path(output), grantee=grantee,
        purpose=purpose, context=context, audio=audio, start_s=start_s, end_s=end_s, fps=fps,
        portrait_frame=portrait_frame or 0, compare=compare, sheet=Path(sheet) if sheet else None, profile=profile,
    )  # fmt: skip
    with open_store(Path(home) if home else default_home()) as store:
        session = _Session(store, job, options or default_options(profile), on_progress, cancel, clock)
        return session.run(pipeline, load)


class _Session:
    """One render from request to record."""

    def __init__(
        self,
        store: ConsentStore,
        job: RenderJob,
        options: AnimationOptions,
        on_progress: ProgressCallback | None,
        cancel: Callable[[], bool] | None,
        clock: Callable[[], datetime],
    ) -> None:
        self.store, self.job, self.options = store, job, options
        self._on_progress, self._cancel, self._clock = on_progress, cancel, clock
        self._settings = load_settings(store.home)
        self._face: FaceObservation | None = None

    def run(
        self, pipeline: PortraitAnimationPipeline | None, load: Callable[[str], PortraitAnimationPipeline]
    ) -> RenderResult:
        """Authorise, render, sign, record; undo everything on failure."""
        job = self.job
        check_output(job)
        check_signing(self.store.home)
        self._tell("portrait", 0, None)
        portrait = read_portrait(job.portrait, job.portrait_frame)
        source = DrivingSource(
            job.driving, start_s=job.start_s, end_s=job.end_s, fps=job.fps, profile=job.profile
        )
        self._tell("consent", 0, None)
        permit = self._authorise(portrait, source.duration_s)
        written = 0
        try:
            pipeline = pipeline or load(job.profile)
            motion = self._motion(pipeline, source)
            with ExitStack() as stack:
                folder = Path(
                    stack.enter_context(tempfile.TemporaryDirectory(prefix=".portrait-anim-", dir=job.output.parent))
                )
                draft = folder / "draft.mp4"
                for written in self._write(pipeline, portrait, motion, source, permit, draft, folder):  # noqa: B007
                    pass
                return self._publish(draft, portrait, motion, permit, source, folder)
        except BaseException as error:
            self._abort(permit, error, written / float(source.fps))
            raise

    def _authorise(self, portrait: UInt8Array, duration_s: float) -> RenderPermit:
        """Ask the gate; what ends before it can decide is recorded as refused too."""
        job, encoder = self.job, load_identity_encoder("auto")
        request = RenderRequest(
            cameo_id=job.cameo, portrait_digest=pixel_digest(portrait), portrait_embedding=None, grantee=job.grantee,
            purpose=job.purpose, context=job.context, duration_s=duration_s, profile=job.profile,
        )  # fmt: skip
        try:
            check_sources(self.store, (job.portrait, job.driving), job.cameo)
            with FaceDetector() as detector:
                self._face = find_face(portrait, detector, self.options.face)
        except (SourceRefused, NoFaceFound) as error:
            reason = error.reason if isinstance(error, SourceRefused) else "no_face"
            gate.refuse(self.store, request, reason=reason, now=self._clock())
            raise
        measured = replace(request, portrait_embedding=encoder.embed(portrait, self._face))
        return gate.authorise(self.store, measured, now=self._clock())

    def _motion(self, pipeline: PortraitAnimationPipeline, source: DrivingSource) -> MotionSequence:
        if source.motion is not None:
            return source.motion

        def on_frame(done: int) -> None:
            self._stop_if_cancelled()
            self._tell("motion", done, source.num_frames)

        with source.frames() as frames:
            return pipeline.extract_motion(frames, source.fps, face=self.options.driving_face, on_frame=on_frame)

    def _write(
        self,
        pipeline: PortraitAnimationPipeline,
        portrait: UInt8Array,
        motion: MotionSequence,
        source: DrivingSource,
        permit: RenderPermit,
        draft: Path,
        folder: Path,
    ) -> Iterator[int]:
        """Encode the labelled video to `draft`; yields frames written so far."""

        def before_chunk() -> None:
            self._stop_if_cancelled()
            gate.still_valid(self.store, permit, self._clock())

        # Frames of this profile come after all of its steps.
        extra = self._while_denoising(permit, motion.fps) if self.job.profile == "xportrait2" else {}
        stream = pipeline.stream(
            portrait, motion, permit=permit, now=self._clock(), options=self.options, before_chunk=before_chunk, **extra
        )
        sheet = ContactSheet(len(motion), portrait) if self.job.sheet else None
        with ExitStack() as stack:
            drivers = stack.enter_context(source.pictures(needed=self.job.compare or sheet is not None))
            writer: VideoWriter | None = None
            marker: FrameMarker | None = None
            crops: FrameMarker | None = None
            for frame, driver in zip(stream, drivers, strict=False):
                image = side_by_side(portrait, driver, frame.image) if self.job.compare else frame.image
                if writer is None or marker is None or crops is None:
                    crops = self._marker((frame.crop.shape[1], frame.crop.shape[0]), permit)
                    size = (image.shape[1], image.shape[0])
                    zones = self._zones(portrait, left_px=image.shape[1] - frame.image.shape[1])
                    marker = self._marker(size, permit, zones)
                    audio = source.audio(self.job.audio)
                    if audio is not None:
                        stack.enter_context(audio)
                    writer = stack.enter_context(VideoWriter(draft, fps=motion.fps, size=size, audio=audio))
                shown = marker.mark(image, frame.time_s)
                writer.write(shown)
                if frame.index in (0, len(motion) // 2):
                    write_image(folder / "thumbnail.jpg", shown)
                preview = crops.labeller.draw(frame.crop, frame.time_s)
                if sheet and sheet.wants(frame.index):
                    sheet.add(frame.index, driver, preview)
                self._tell("animate", frame.index + 1, len(motion), preview=preview)
                yield frame.index + 1
        if sheet:
            size = (sheet.image.shape[1], sheet.image.shape[0])
            write_image(folder / "sheet.png", self._marker(size, permit).mark_only(sheet.image))

    def _while_denoising(self, permit: RenderPermit, fps: Fraction) -> dict[str, Any]:
        """Arguments of `stream` that tell how denoising goes, with labelled pictures of what is to come."""
        if self._on_progress is None:
            return {}
        side = self.options.size_px
        labeller = self._marker((side, side), permit).labeller
        at = (0, 1)

        def on_denoise(done: int, total: int) -> None:
            nonlocal at
            at = (done, total)
            self._tell("denoise", done, total)

        def on_preview(picture: UInt8Array, frame: int) -> None:
            self._tell("denoise", *at, preview=labeller.draw(picture, frame / float(fps)))

        return {"on_denoise": on_denoise, "on_preview": on_preview}

    def _marker(self, size: tuple[int, int], permit: RenderPermit, zones: Sequence[Box] = ()) -> FrameMarker:
        return FrameMarker(size, permit=permit, label=self._settings.label, keep_clear=zones)

    def _framed(self, portrait: UInt8Array) -> UInt8Array | None:
        """The portrait as the output frames it; `None` when it stands beside other pictures."""
        if self.job.compare or self._face is None:
            return None
        if not self.options.crop_only:
            return portrait
        return crop(portrait, frame_face(self.job.profile, portrait, self._face, self.options.size_px))

    def _zones(self, portrait: UInt8Array, *, left_px: int) -> tuple[Box, ...]:
        """Eyes and mouth in the output, whose picture of the result begins `left_px` from the left."""
        if self._face is None:
            return ()
        matrix = None
        if self.options.crop_only:
            matrix = frame_face(self.job.profile, portrait, self._face, self.options.size_px).matrix
        zones = face_zones(self._face.landmarks, matrix)
        return tuple((left + left_px, top, right + left_px, bottom) for left, top, right, bottom in zones)

    def _publish(
        self,
        draft: Path,
        portrait: UInt8Array,
        motion: MotionSequence,
        permit: RenderPermit,
        source: DrivingSource,
        folder: Path,
    ) -> RenderResult:
        """Sign, verify, record, then move into place."""
        job = self.job
        self._tell("sign", 0, None)
        claims = make_claims(
            self.store, permit, seed=self.options.seed, portrait_sha256=pixel_digest(portrait),
            driver_sha256=file_sha256(job.driving), now=self._clock(),
        )  # fmt: skip
        film = sign_and_check(
            draft, folder / "signed.mp4", claims=claims, home=self.store.home, source=self._framed(portrait)
        )
        files = [film]
        if job.sheet:
            picture, signed = folder / "sheet.png", folder / "sheet-signed.png"
            files.append(sign_and_check(picture, signed, claims=claims, home=self.store.home))
        row = renders.record_render(
            self.store, permit, output_digest=film.sha256, duration_s=len(motion) / float(motion.fps),
            num_frames=len(motion), now=self._clock(), output=job.output,
        )  # fmt: skip
        add_thumbnail(self.store, permit.id, (folder / "thumbnail.jpg").read_bytes())
        remember(self.store.home, *files)
        os.replace(film.path, job.output)
        if job.sheet:
            renders.remember_output(self.store, permit.id, job.sheet, files[1].sha256)
            os.replace(files[1].path, job.sheet)
        self._destroy_if_withdrawn(permit)
        self._tell("done", 1, 1)
        return RenderResult(
            path=job.output, sha256=film.sha256, cameo_id=permit.cameo_id, grant_id=permit.grant_id,
            permit_id=permit.id, ledger_row=row.seq, num_frames=len(motion),
            lost_frames=int((motion.status == 2).sum()), fps=motion.fps, seed=self.options.seed,
            verification=film.report, sheet=job.sheet,
        )  # fmt: skip

    def _destroy_if_withdrawn(self, permit: RenderPermit) -> None:
        """The owner may have taken the render back between its record and its appearance."""
        if is_withdrawn(self.store, permit.id):
            destroy_withdrawn(self.store, self._clock(), permit_id=permit.id)
            raise ConsentDenied(
                f"expected render {permit.id} to stand, got withdrawn: the owner took it back; its files are destroyed",
                reason="revoked",
                grant_id=permit.grant_id,
            )

    def _abort(self, permit: RenderPermit, error: BaseException, rendered_s: float) -> None:
        """Close the permit's record; the error that stopped the render is the one that the caller sees."""
        reason = error.reason if isinstance(error, ConsentDenied) else type(error).__name__
        with suppress(PortraitAnimError):
            renders.record_abort(
                self.store, permit, reason=reason, rendered_s=rendered_s, now=self._clock()
            )

    def _tell(self, stage: str, done: int, total: int | None, preview: UInt8Array | None = None) -> None:
        if self._on_progress:
            self._on_progress(Progress(stage=stage, done=done, total=total, preview=preview))

    def _stop_if_cancelled(self) -> None:
        if self._cancel and self._cancel():
            raise Cancelled("stopped as asked; no file was written")
