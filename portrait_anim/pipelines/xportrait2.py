"""The pipeline of the `xportrait2` profile: a permit, a portrait and motion become frames.

Everything that does not change between steps or windows is computed once: motion tokens per frame, the portrait's
features, keys and values. Results are those of the published pipeline.

Shapes: T frames, L motion tokens, S side of the output crop, h = S / 8 side of a latent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder, AutoencoderTiny, DDIMScheduler, DiffusionPipeline

from portrait_anim.consent.permit import RenderPermit
from portrait_anim.face.crop import crop
from portrait_anim.face.detect import FaceDetector, find_face
from portrait_anim.face.paste import paste_back, soft_mask
from portrait_anim.face.short_range import ShortRangeDetector
from portrait_anim.face.track import track
from portrait_anim.media.image import pixel_digest
from portrait_anim.models import (
    XPortrait2DenoisingUNet,
    XPortrait2ImageEncoder,
    XPortrait2MotionEncoder,
    XPortrait2ReferenceUNet,
)
from portrait_anim.pipelines.motion import MotionSequence
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.pipelines.portrait import AnimatedFrame
from portrait_anim.pipelines.xportrait2_checks import check_decoder, check_motion, check_options, check_placement
from portrait_anim.pipelines.xportrait2_crops import (
    PORTRAIT_SIDE_PX,
    Box,
    cut,
    grow_box,
    portrait_box,
    portrait_crop,
    square_transform,
)
from portrait_anim.pipelines.xportrait2_devices import DistantRow
from portrait_anim.pipelines.xportrait2_drafts import OnPreview
from portrait_anim.pipelines.xportrait2_driving import DrivingMotion
from portrait_anim.pipelines.xportrait2_generation import Generation, Networks, Watch, XPortrait2Portrait
from portrait_anim.pipelines.xportrait2_guidance import Row
from portrait_anim.pipelines.xportrait2_inputs import device_of, encode_image, encode_motion, encode_portrait
from portrait_anim.pipelines.xportrait2_interruption import interruptible
from portrait_anim.pipelines.xportrait2_memory import MemoryForecast, device_memory, forecast, require_memory
from portrait_anim.pipelines.xportrait2_options import SamplingOptions
from portrait_anim.pipelines.xportrait2_placement import placement_of
from portrait_anim.types import Frame, UInt8Array


class XPortrait2Pipeline(DiffusionPipeline):  # type: ignore[misc]
    """Animate a portrait with the published X-Portrait 2 / X-NeMo networks.

    Args:
        motion_encoder: Face crop to motion tokens.
        reference_unet: Portrait latent to features.
        denoising_unet: Noise of a window of frames.
        vae: Latent codec.
        image_encoder: Portrait to image token.
        scheduler: DDIM in the published configuration.
        preview_vae: Optional small decoder for drafts, such as TAESD.
    """

    model_cpu_offload_seq = "motion_encoder->image_encoder->reference_unet->denoising_unet->vae"
    _optional_components = ["preview_vae"]  # noqa: RUF012 (diffusers adds lists to it)
    _exclude_from_cpu_offload = ["preview_vae"]  # noqa: RUF012

    def __init__(
        self,
        motion_encoder: XPortrait2MotionEncoder,
        reference_unet: XPortrait2ReferenceUNet,
        denoising_unet: XPortrait2DenoisingUNet,
        vae: AutoencoderKLTemporalDecoder,
        image_encoder: XPortrait2ImageEncoder,
        scheduler: DDIMScheduler,
        preview_vae: AutoencoderTiny | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            motion_encoder=motion_encoder,
            reference_unet=reference_unet,
            denoising_unet=denoising_unet,
            vae=vae,
            image_encoder=image_encoder,
            scheduler=scheduler,
            preview_vae=preview_vae,
        )
        # See xportrait2_tuning.
        self.decoder_is_sliced = self.is_compiled = False
        self.replica: XPortrait2DenoisingUNet | None = None

    # 1. motion -------------------------------------------------------------------------------------------------
    def extract_motion(
        self,
        frames: Iterable[Frame],
        fps: Fraction,
        *,
        face: str | None = None,
        on_frame: Callable[[int], None] | None = None,
    ) -> MotionSequence:
        """Read the motion of one face from a clip; no picture is kept.

        Args:
            frames: Frames of the driving clip at constant rate.
            fps: That rate [1/s].
            face: Which face, see `AnimationOptions.driving_face`.
            on_frame: Called with the number of frames done.

        Returns:
            Motion tokens of every frame. Rotation is inside the tokens and stays zero; anchor and scale are centre
            and side of the face box [px].

        Raises:
            NoFaceFound: If no frame shows a face.
        """
        with ShortRangeDetector() as detector:
            motion = DrivingMotion(self.motion_encoder, detector)

            def go_on() -> None:
                if on_frame:
                    on_frame(motion.num_frames)

            with interruptible([self.motion_encoder], go_on):
                for tracked in track(frames, choice=face):
                    motion.add(tracked)
                    go_on()
            return motion.finish(fps)

    # 2. portrait -----------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def prepare_portrait(self, appearance: UInt8Array, face: UInt8Array, size_px: int) -> XPortrait2Portrait:
        """Compute once what the denoiser needs to know of the portrait.

        Args:
            appearance: Portrait crop `(512, 512, 3)` uint8 sRGB, see `portrait_crop`.
            face: Face crop `(H, W, 3)` uint8 sRGB, whose motion is that of the unconditional row.
            size_px: Side at which to generate [px].
        """
        token = encode_image(self.image_encoder, appearance).to(self.denoising_unet.dtype)
        latent = encode_portrait(self.vae, appearance, size_px)
        # The published pipeline keeps these features in 16 bits whatever it computes in.
        taps = tuple(tap.half().to(token) for tap in self.reference_unet(latent.to(self.reference_unet.dtype), token))
        still = encode_motion(self.motion_encoder, [face]).to(token)
        unconditional: Row
        if self.replica is None:
            unconditional = self.denoising_unet.condition(torch.zeros_like(token), None, still)
        else:
            there = self.replica.device
            row = self.replica.condition(torch.zeros_like(token, device=there), None, still.to(there))
            unconditional = DistantRow(row=row)
        return XPortrait2Portrait(latent=latent, unconditional=unconditional, token=token, taps=taps)

    # 3. frames -------------------------------------------------------------------------------------------------
    def forecast(
        self, num_frames: int, *, size_px: int = 512, sampling: SamplingOptions | None = None
    ) -> MemoryForecast:
        """Memory that a render would need on the device; of two devices, on the first.

        Args:
            num_frames: Frames of the clip.
            size_px: Side of the output [px].
            sampling: How to denoise; `None` is the published way.
        """
        names = ("motion_encoder", "image_encoder", "reference_unet", "denoising_unet", "vae")
        return forecast(
            {name: getattr(self, name) for name in names}, sampling or SamplingOptions(), size_px=size_px,
            num_frames=num_frames, offload=self._is_offloaded, sliced=self.decoder_is_sliced,
            split=self.replica is not None,
        )  # fmt: skip

    @property
    def _is_offloaded(self) -> bool:
        return hasattr(self.denoising_unet, "_hf_hook")

    def stream(
        self,
        portrait: UInt8Array,
        motion: MotionSequence,
        *,
        permit: RenderPermit,
        now: datetime,
        options: AnimationOptions | None = None,
        sampling: SamplingOptions | None = None,
        before_chunk: Callable[[], None] | None = None,
        on_denoise: Callable[[int, int], None] | None = None,
        on_preview: OnPreview | None = None,
    ) -> Iterator[AnimatedFrame]:
        """Animate a portrait; frames come as soon as they are decoded.

        Args:
            portrait: `(H, W, 3)` uint8 sRGB; must be the one the permit was given for.
            motion: Motion of the driving clip.
            permit: Authorisation from the consent gate.
            now: Current time, timezone-aware.
            options: Choices; those that only the `lite` profile knows must have their default.
            sampling: How to denoise, instead of `options.sampling`; steps and seed are taken from `options`.
            before_chunk: Called before each window, several times a second while networks work, and before frames are
                given out; raise in it to stop.
            on_denoise: Told windows done and windows in all.
            on_preview: Told after each step how a frame will look, `(S, S, 3)` uint8 sRGB, and the frame's number. It
                is as much a likeness as a finished frame: label it before it is shown.

        Yields:
            Finished frames in order.

        Raises:
            ConsentDenied: If the permit is not for this portrait, or no longer holds.
            InputError: If the portrait shows no single usable face, or an option does not apply.
            NotEnoughMemory: If the device cannot hold what this takes.
            WeightsMissing: If drafts are asked for and there is no decoder for them.
        """
        options = options or AnimationOptions(num_steps=SamplingOptions().num_steps, size_px=512)
        # 1. the gate
        permit.check(pixel_digest(portrait), now)
        sampling = self._check(options, sampling or options.sampling or SamplingOptions(), motion)
        # 2. what stays
        prepared, put_back = self._prepare(portrait, options, before_chunk)
        # 3. what moves
        networks = Networks(
            unet=self.denoising_unet, replica=self.replica, vae=self.vae, preview_vae=self.preview_vae,
            scheduler=self.scheduler, compiled=self.is_compiled,
        )  # fmt: skip
        watch = Watch(before_chunk=before_chunk, on_denoise=on_denoise, on_preview=on_preview)
        generation = Generation(networks, prepared, self._tokens(motion, sampling), sampling, watch)
        for index, face in enumerate(generation.crops()):
            # 4. back into the full frame
            image = face if options.crop_only else put_back(face)
            yield AnimatedFrame(image=image, crop=face, index=index, time_s=index / float(motion.fps))

    def _prepare(
        self, portrait: UInt8Array, options: AnimationOptions, before_chunk: Callable[[], None] | None
    ) -> tuple[XPortrait2Portrait, Callable[[UInt8Array], UInt8Array]]:
        """What every step needs to know of the portrait, and what puts a generated crop back into it."""
        box = self._face_box(portrait, options.face)
        size = (portrait.shape[0], portrait.shape[1])
        transform = square_transform(portrait_box(box, size)[0], options.size_px)
        before, mask = crop(portrait, transform), soft_mask(options.size_px)
        appearance = portrait_crop(portrait, box, max(PORTRAIT_SIDE_PX, options.size_px))
        with interruptible([self.image_encoder, self.vae, self.reference_unet, self.motion_encoder], before_chunk):
            prepared = self.prepare_portrait(appearance, cut(portrait, grow_box(box, size)), options.size_px)

        def put_back(face: UInt8Array) -> UInt8Array:
            return paste_back(face, portrait, transform, mask, reference_crop=before)

        return prepared, put_back

    @torch.inference_mode()
    def _tokens(self, motion: MotionSequence, sampling: SamplingOptions) -> torch.Tensor:
        """Motion tokens `(T, L, 16)`, with the head's placement if asked for."""
        tokens = torch.from_numpy(motion.latent)
        if sampling.head_placement:
            placement = torch.from_numpy(placement_of(motion))
            encoder = self.motion_encoder
            tokens = tokens + encoder.placement_shift(placement.to(device_of(encoder), encoder.dtype)).float().cpu()
        return tokens

    def _check(self, options: AnimationOptions, sampling: SamplingOptions, motion: MotionSequence) -> SamplingOptions:
        """Refuse what would be ignored or cannot work, before anything is computed."""
        check_options(options)
        check_motion(motion, (self.motion_encoder.config.num_tokens, self.motion_encoder.config.token_dim))
        check_decoder(sampling, self.preview_vae)
        check_placement(sampling, offloaded=self._is_offloaded)
        sampling = replace(sampling, num_steps=options.num_steps, seed=options.seed)
        needed = self.forecast(len(motion), size_px=options.size_px, sampling=sampling)
        require_memory(needed, device_memory(device_of(self.denoising_unet)))
        return sampling

    def __call__(self, portrait: UInt8Array, motion: MotionSequence, **kwargs: Any) -> list[AnimatedFrame]:
        """Run `stream` to its end and return all frames; for clips that fit in memory."""
        return list(self.stream(portrait, motion, **kwargs))

    @staticmethod
    def _face_box(portrait: UInt8Array, choice: str | None) -> Box:
        with FaceDetector() as detector, ShortRangeDetector() as short_range:
            left, top, right, bottom = short_range.box_of(portrait, find_face(portrait, detector, choice))
        return left, top, right, bottom
