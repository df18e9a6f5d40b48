"""The portrait animation pipeline: a permit, a portrait and motion become frames, streamed.

Shapes: B frames of one chunk, T frames of the clip, L tokens, C channels, S side of a crop, H W frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler

from portrait_anim.consent.permit import RenderPermit
from portrait_anim.errors import NoFaceFound
from portrait_anim.face.crop import crop, motion_transform, motion_transform_from, portrait_transform
from portrait_anim.face.detect import FaceDetector, find_face
from portrait_anim.face.paste import paste_back, soft_mask
from portrait_anim.face.track import TrackedFrame, track
from portrait_anim.media.image import from_tensor, pixel_digest, to_tensor
from portrait_anim.models import LiteDenoiser, LiteMotionEncoder, LiteReferenceEncoder, LiteWarpField
from portrait_anim.models.lite.composite import KEEP_INTERIOR, backdrop, behind_head, keep_interior, show
from portrait_anim.models.lite.eyes import LiteEyes, take_out
from portrait_anim.models.lite.geometry import euler_to_matrix
from portrait_anim.models.lite.lashes import carry_lashes, lash_share
from portrait_anim.models.lite.lips import find_lips
from portrait_anim.models.lite.reference_encoder import LiteReferenceFeatures
from portrait_anim.models.lite.tongue import look_of
from portrait_anim.models.lite.warp import HeadMotion, LitePortraitGeometry, LiteWarpOutput
from portrait_anim.pipelines.detail import add_detail
from portrait_anim.pipelines.motion import STATUS, MotionSequence, StillMotion, TargetMotion, camera_to_image
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.pipelines.prepared import (
    PreparedPortrait,
    WarpedFrames,
    landmarks_in_crop,
    look_around,
    turn_eyes,
)
from portrait_anim.pipelines.reading import read_face
from portrait_anim.pipelines.surroundings import Surroundings
from portrait_anim.pipelines.transfer import HeadCoefficients, transfer
from portrait_anim.types import FaceObservation, Float32Array, Frame, UInt8Array

NETWORK_SIDE = 256
CHUNK = 4  # frames computed together

# Latent, rotation, tongue, anchor, scale, status of a frame.
_Row = tuple[Float32Array, Float32Array, Float32Array, Float32Array, float, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class AnimatedFrame:
    """One finished frame.

    Attributes:
        image: What to show: full frame `(H, W, 3)`, or the crop with `crop_only`, uint8 sRGB.
        crop: Generated face crop `(S, S, 3)` uint8 sRGB.
        index: Number of the frame.
        time_s: Time from the start [s].
    """

    image: UInt8Array
    crop: UInt8Array
    index: int
    time_s: float


class PortraitAnimationPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Animate a portrait with the motion of a driving clip.

    Args:
        motion_encoder: Face crop to motion latent.
        reference_encoder: Portrait to features and geometry.
        warp_field: Flow from geometry and motion.
        denoiser: Repaints what warping cannot show.
        scheduler: Flow-matching Euler scheduler.
    """

    def __init__(
        self,
        motion_encoder: LiteMotionEncoder,
        reference_encoder: LiteReferenceEncoder,
        warp_field: LiteWarpField,
        denoiser: LiteDenoiser,
        scheduler: FlowMatchEulerDiscreteScheduler,
    ) -> None:
        super().__init__()
        self.register_modules(
            motion_encoder=motion_encoder,
            reference_encoder=reference_encoder,
            warp_field=warp_field,
            denoiser=denoiser,
            scheduler=scheduler,
        )

    # 1. motion -------------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def extract_motion(
        self,
        frames: Iterable[Frame],
        fps: Fraction,
        *,
        face: str | None = None,
        on_frame: Callable[[int], None] | None = None,
    ) -> MotionSequence:
        """Read the motion of one face from a clip; memory grows by about 1 KB per frame, no picture is kept.

        Args:
            frames: Frames of the driving clip at constant rate.
            fps: That rate [1/s].
            face: Which face, see `AnimationOptions.driving_face`.
            on_frame: Called with the number of frames done.

        Returns:
            The motion of every frame; lost frames hold the last seen motion.

        Raises:
            NoFaceFound: If no frame shows a face.
        """
        rows: list[_Row] = []
        for tracked in track(frames, choice=face):
            rows.append(self._motion_of(tracked) or _held(rows))
            if on_frame:
                on_frame(len(rows))
        known = next((k for k, row in enumerate(rows) if row[5] != STATUS.index("lost")), None)
        if known is None:
            raise NoFaceFound("expected a driving clip that shows a face, found none in any frame; use another clip")
        rows[:known] = [(*rows[known][:5], STATUS.index("lost"))] * known
        latent, rotation, tongue, anchor, scale, status = zip(*rows, strict=True)
        return MotionSequence(
            latent=np.stack(latent),
            rotation=np.stack(rotation),
            anchor=np.stack(anchor),
            scale=np.asarray(scale, np.float32),
            status=np.asarray(status, np.uint8),
            fps=fps,
            tongue=np.stack(tongue),
        )

    def _motion_of(self, tracked: TrackedFrame) -> _Row | None:
        if tracked.status == "lost" or tracked.centre is None or tracked.scale is None:
            return None
        size = self.motion_encoder.config.sample_size
        transform = motion_transform_from(tracked.centre, tracked.scale, size)
        read = read_face(self.motion_encoder, self.warp_field.heads, tracked.frame.image, transform)
        return read.latent, read.rotation, read.tongue, read.anchor, read.scale, STATUS.index(tracked.status)

    # 2. portrait -----------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def prepare_portrait(self, portrait: UInt8Array, options: AnimationOptions) -> PreparedPortrait:
        """Find the face, cut the crop, compute features and motion state once.

        Args:
            portrait: `(H, W, 3)` uint8 sRGB.
            options: Output size and choice of face.

        Raises:
            InputError: If there is no single usable face.
        """
        with FaceDetector() as detector:
            face: FaceObservation = find_face(portrait, detector, options.face)
        transform = portrait_transform(face, options.size_px)
        output_crop = crop(portrait, transform)
        low_map = portrait_transform(face, NETWORK_SIDE)
        low = crop(portrait, low_map)
        low_around = look_around(portrait, low_map, self.device)
        low_tensor = to_tensor(low[None]).to(self.device) * 2 - 1
        motion_map = motion_transform(face, self.motion_encoder.config.sample_size)
        read = read_face(self.motion_encoder, self.warp_field.heads, portrait, motion_map)
        zoom = transform.matrix[0, 0] * 2 / options.size_px  # portrait px -> half crops
        position = (transform.matrix @ np.append(read.anchor, 1.0)) * 2 / options.size_px - 1
        still = StillMotion(
            latent=read.latent,
            rotation=read.rotation,
            anchor=position.astype(np.float32),
            scale=float(read.scale * zoom),
        )
        features = self.reference_encoder(low_tensor)
        landmarks = landmarks_in_crop(face, transform)
        sharp = to_tensor(output_crop[None]).to(self.device) * 2 - 1
        lashes = lash_share(sharp.cpu(), landmarks)
        geometry, mouth_is_open = self._fit_face(features, landmarks, still, lashes, low_around.top)
        return PreparedPortrait(
            image=portrait,
            transform=transform,
            crop=output_crop,
            sharp=sharp,
            low=low_tensor,
            sharp_around=look_around(portrait, transform, self.device),
            low_around=low_around,
            features=features,
            geometry=geometry,
            plate=backdrop(low_tensor, behind_head(geometry.rigidity)),
            eyes=self._take_out_eyes(sharp, landmarks.to(self.device), geometry, still),
            lips=find_lips(
                sharp, landmarks.to(self.device), geometry.depth, self.warp_field.field, opened=mouth_is_open
            ),
            tongue=look_of(sharp, landmarks.to(self.device)),
            still=still,
        )

    def _fit_face(
        self,
        features: LiteReferenceFeatures,
        landmarks: torch.Tensor,
        still: StillMotion,
        lashes: torch.Tensor,
        top: float,
    ) -> tuple[LitePortraitGeometry, bool]:
        """Geometry of the portrait: its landmarks say which canonical point a pixel shows. And is its mouth open?"""
        field = self.warp_field.field
        canonical, known, opened = field.locate(landmarks[: len(field.landmarks)], NETWORK_SIDE)
        canonical = carry_lashes(canonical, field, lashes.to(canonical))
        rotation = euler_to_matrix(torch.from_numpy(still.rotation)[None])
        scale = torch.tensor([still.scale], dtype=torch.float32)
        values = (v.to(self.device) for v in (canonical, known, opened, rotation, scale))
        return self.warp_field.fit(features, *values, top=top), bool(opened.any())

    def _take_out_eyes(
        self, sharp: torch.Tensor, landmarks: torch.Tensor, geometry: LitePortraitGeometry, still: StillMotion
    ) -> LiteEyes:
        anchor = torch.from_numpy(still.anchor)[None].to(self.device)
        field = self.warp_field.field
        return take_out(sharp, landmarks, geometry.depth, field, geometry.rotation, geometry.scale, anchor)

    # 3. frames -------------------------------------------------------------------------------------------------
    def stream(
        self,
        portrait: UInt8Array,
        motion: MotionSequence,
        *,
        permit: RenderPermit,
        now: datetime,
        options: AnimationOptions | None = None,
        before_chunk: Callable[[], None] | None = None,
    ) -> Iterator[AnimatedFrame]:
        """Animate a portrait frame by frame.

        Args:
            portrait: `(H, W, 3)` uint8 sRGB; must be the one the permit was given for.
            motion: Motion of the driving clip.
            permit: Authorisation from the consent gate.
            now: Current time, timezone-aware.
            options: Choices; `None` takes the defaults.
            before_chunk: Called before each few frames; raise in it to stop (revocation, cancel).

        Yields:
            Finished frames in order.

        Raises:
            ConsentDenied: If the permit is not for this portrait, or no longer holds.
            InputError: If the portrait shows no single usable face.
        """
        options = options or AnimationOptions()
        # 1. the gate
        permit.check(pixel_digest(portrait), now)
        # 2. what stays
        prepared = self.prepare_portrait(portrait, options)
        # 3. what moves
        target = transfer(motion, prepared.still, options, HeadCoefficients(self.warp_field.heads))
        # 4. one noise for the whole clip: what does not move does not flicker
        generator = torch.Generator("cpu").manual_seed(options.seed)
        noise = torch.randn(1, 3, NETWORK_SIDE, NETWORK_SIDE, generator=generator).to(self.device)
        mask = soft_mask(options.size_px)
        surroundings = Surroundings(portrait, prepared.transform)
        for first in range(0, len(motion), CHUNK):
            if before_chunk:
                before_chunk()
            # 5. warp, denoise, add detail
            crops, field = self._render_chunk(prepared, target, slice(first, first + CHUNK), noise, options)
            # 6. back into the full frame, whose surroundings move along
            for k, generated in enumerate(crops):
                image = generated
                if not options.crop_only:
                    moved = surroundings.moved(generated, field.flow[k], field.bare[k])
                    image = paste_back(generated, moved, prepared.transform, mask)
                index = first + k
                yield AnimatedFrame(image=image, crop=generated, index=index, time_s=index / float(motion.fps))

    def __call__(self, portrait: UInt8Array, motion: MotionSequence, **kwargs: Any) -> list[AnimatedFrame]:
        """Run `stream` to its end and return all frames; for clips that fit in memory."""
        return list(self.stream(portrait, motion, **kwargs))

    @torch.inference_mode()
    def _render_chunk(
        self,
        prepared: PreparedPortrait,
        target: TargetMotion,
        part: slice,
        noise: torch.Tensor,
        options: AnimationOptions,
    ) -> tuple[UInt8Array, LiteWarpOutput]:
        """Frames `part` of the clip as crops `(B, S, S, 3)` uint8, and their warp."""
        warped = self.warp(prepared, target, part)
        out = self.denoise(prepared, warped, noise, options)
        if options.size_px != NETWORK_SIDE:
            out = add_detail(out, warped.field, prepared.sharp_around, options.size_px)
            mouth = warped.mouth_at(prepared, self.warp_field, options.size_px)
            out = torch.lerp(out, mouth[:, :3], KEEP_INTERIOR * mouth[:, 3:])
        out = warped.eyes_at(prepared, self.warp_field.field, options.size_px).over(out)
        if target.tongue is not None and target.tongue[part][:, 0].max() > 0:  # most frames show none
            tongue = torch.from_numpy(target.tongue[part]).to(self.device)
            out = warped.tongue_at(prepared, self.warp_field.field, tongue, options.size_px).over(out)
        return from_tensor((out.clamp(-1, 1) + 1) / 2), warped.field

    @torch.inference_mode()
    def warp(self, prepared: PreparedPortrait, target: TargetMotion, part: slice) -> WarpedFrames:
        """Move a portrait.

        Args:
            prepared: The portrait.
            target: Motion to show.
            part: Which frames of it.

        Returns:
            The frames, not yet painted.
        """
        latent = torch.from_numpy(target.latent[part]).to(self.device)
        batch = len(latent)
        source = torch.from_numpy(prepared.still.latent).to(self.device).expand(batch, -1, -1)
        head = HeadMotion(
            rotation=camera_to_image(torch.from_numpy(target.rotation[part]).to(self.device)),
            anchor_source=torch.from_numpy(prepared.still.anchor).to(self.device).expand(batch, 2),
            anchor_target=torch.from_numpy(target.anchor[part]).to(self.device),
            scale=torch.from_numpy(target.scale[part]).to(self.device),
        )
        features = prepared.features.expand(batch)
        before, after = self.warp_field.heads(source), self.warp_field.heads(latent)
        geometry, lips = prepared.geometry.expand(batch), prepared.lips.expand(batch)
        field = self.warp_field(features, geometry, source, latent, head, (before, after), lips)
        return WarpedFrames(
            field=field,
            features=features,
            tokens=torch.stack([latent, source], 1),
            eyes=turn_eyes(prepared, self.warp_field.field, after - before, head, NETWORK_SIDE),
            coefficients=after,
            change=after - before,
            head=head,
        )

    @torch.inference_mode()
    def denoise(
        self, prepared: PreparedPortrait, warped: WarpedFrames, noise: torch.Tensor, options: AnimationOptions
    ) -> torch.Tensor:
        """Paint frames from their warps.

        Args:
            prepared: The portrait.
            warped: Frames from `warp`.
            noise: `(1, 3, 256, 256)`, the same for every frame of a clip.
            options: Number of steps.

        Returns:
            Frames `(B, 3, 256, 256)` in [-1, 1].
        """
        field, eyes = warped.field, warped.eyes
        batch = len(warped.tokens)
        low, plate = (v.expand(batch, -1, -1, -1) for v in (prepared.low, prepared.plate))
        shown = show(low, field, plate, prepared.low_around)
        shown = eyes.over(shown)
        reference = F.pixel_unshuffle(shown, 4)
        visibility = torch.sigmoid(field.visibility_logits)
        sigmas = np.linspace(1.0, 1.0 / options.num_steps, options.num_steps)
        self.scheduler.set_timesteps(sigmas=sigmas.tolist(), device=self.device)
        sample = F.pixel_unshuffle(noise.expand(batch, -1, -1, -1), 4)
        for step, timestep in enumerate(self.scheduler.timesteps):
            time = self.scheduler.sigmas[step].to(sample).expand(batch)
            out = self.denoiser(
                sample, time, reference, visibility, field.condition, warped.tokens, warped.features.context
            )
            painted = keep_interior(F.pixel_shuffle(out.sample, 4), shown, field)
            clean = F.pixel_unshuffle(eyes.over(painted), 4)
            velocity = (sample - clean) / time[0]  # x-prediction to velocity
            sample = self.scheduler.step(velocity, timestep, sample, return_dict=False)[0]
        return F.pixel_shuffle(sample, 4)


def _held(rows: list[_Row]) -> _Row:
    """The last motion, marked lost; before any was seen, a placeholder that is replaced afterwards."""
    lost = STATUS.index("lost")
    if rows:
        return (*rows[-1][:5], lost)
    zeros = (np.zeros(n, np.float32) for n in ((1, 1), 3, 3, 2))
    return (*zeros, 1.0, lost)  # type: ignore[return-value]
