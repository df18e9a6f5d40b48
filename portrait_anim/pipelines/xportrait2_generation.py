"""From prepared conditions to generated crops: denoising and decoding, one after the other or side by side.

Shapes: T frames, L motion tokens, S side of the output crop, h = S / 8 side of a latent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder, AutoencoderTiny, DDIMScheduler

from portrait_anim.media.image import from_tensor
from portrait_anim.models import XPortrait2DenoisingUNet
from portrait_anim.pipelines.xportrait2_ahead import WorkAhead
from portrait_anim.pipelines.xportrait2_devices import RowsOnTwoDevices
from portrait_anim.pipelines.xportrait2_drafts import Draft, OnDraft, OnPreview, draft_picture
from portrait_anim.pipelines.xportrait2_guidance import LazyRow, NoisePredictor, Row
from portrait_anim.pipelines.xportrait2_inputs import decode_drafts, decode_frames
from portrait_anim.pipelines.xportrait2_interruption import interruptible
from portrait_anim.pipelines.xportrait2_options import SamplingOptions
from portrait_anim.pipelines.xportrait2_sampling import OnWindow, denoise, draw_noise, draw_offsets
from portrait_anim.pipelines.xportrait2_streaming import NoiseStream, denoise_stream
from portrait_anim.types import UInt8Array


@dataclass(frozen=True, kw_only=True, slots=True)
class XPortrait2Portrait:
    """Everything about the portrait that every step needs.

    Attributes:
        latent: `(1, 4, h, h)`, scaled.
        unconditional: Guidance row without the portrait, with its own motion.
        token: Image token `(1, 768)`.
        taps: Features of the reference UNet.
    """

    latent: torch.Tensor
    unconditional: Row
    token: torch.Tensor
    taps: tuple[torch.Tensor, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Networks:
    """The networks that generate.

    Attributes:
        unet: Denoising UNet.
        replica: The same on another device, which then computes the unconditional row; or `None`.
        vae: Latent codec.
        preview_vae: Small decoder for drafts, or `None`.
        scheduler: The published schedule.
        compiled: Whether blocks are compiled; hooks inside them would break them up.
    """

    unet: XPortrait2DenoisingUNet
    replica: XPortrait2DenoisingUNet | None
    vae: AutoencoderKLTemporalDecoder
    preview_vae: AutoencoderTiny | None
    scheduler: DDIMScheduler
    compiled: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """Who is told, always from the thread that takes the crops.

    Attributes:
        before_chunk: Called several times a second; raises to stop.
        on_denoise: Told windows done and windows in all.
        on_preview: Told pictures of frames that are not finished.
    """

    before_chunk: Callable[[], None] | None = None
    on_denoise: Callable[[int, int], None] | None = None
    on_preview: OnPreview | None = None


class Generation:
    """Generates the crops of one clip.

    Args:
        networks: What generates.
        portrait: The portrait.
        motion: Motion tokens of the driver `(T, L, 16)`.
        options: How to denoise.
        watch: Who is told.
    """

    def __init__(
        self,
        networks: Networks,
        portrait: XPortrait2Portrait,
        motion: torch.Tensor,
        options: SamplingOptions,
        watch: Watch,
    ) -> None:
        self._networks, self._portrait, self._options, self._watch = networks, portrait, options, watch
        self._motion = motion.to(portrait.token)
        self._size_px = 8 * portrait.latent.shape[-1]

    def crops(self) -> Iterator[UInt8Array]:
        """Generate single crops `(S, S, 3)` uint8 sRGB, in order."""
        run = self._side_by_side() if self._options.overlap else self._in_turn()
        for crops in run:
            self._go_on()
            yield from crops

    def _in_turn(self) -> Iterator[UInt8Array]:
        """Runs of crops `(T_run, S, S, 3)`; networks can be stopped while they work, but not in between."""
        networks = self._networks

        def on_window(done: int, total: int) -> None:
            self._go_on()
            self._told(done, total)

        runs = self._decoded(self._denoised(on_window, self._shown))
        watched = [networks.vae] if networks.compiled else [networks.unet, networks.vae]
        while True:
            with interruptible(watched, self._watch.before_chunk):
                crops = next(runs, None)
            if crops is None:
                return
            yield crops

    def _side_by_side(self) -> Iterator[UInt8Array]:
        """The same; while a window is decoded here, another thread denoises the next."""
        networks = self._networks
        ahead: WorkAhead[torch.Tensor] = WorkAhead(self._portrait.latent.device)

        def meanwhile() -> None:
            self._go_on()
            ahead.tell()

        def on_window(done: int, total: int) -> None:
            ahead.check()
            ahead.report("window", lambda: self._told(done, total))

        def on_draft(draft: Draft) -> None:
            ahead.report("draft", lambda: self._shown(draft))

        denoised = ahead.items(self._denoised(on_window, on_draft), meanwhile)
        with (
            interruptible([] if networks.compiled else [networks.unet], ahead.check, every_s=0),
            closing(denoised),  # stops the other thread, whatever happens here
        ):
            runs = self._decoded(denoised)
            while True:
                with interruptible([networks.vae], meanwhile):
                    crops = next(runs, None)
                if crops is None:
                    return
                yield crops

    @torch.inference_mode()
    def _denoised(self, on_window: OnWindow, on_draft: OnDraft) -> Iterator[torch.Tensor]:
        """Finished latents `(4, T_run, h, h)`, in order of time."""
        networks, portrait, motion, options = self._networks, self._portrait, self._motion, self._options
        unet = networks.unet
        shape = (portrait.latent.shape[1], len(motion), *portrait.latent.shape[2:])
        predict: NoisePredictor = RowsOnTwoDevices(unet, networks.replica) if networks.replica else unet
        given: dict[str, Any] = {
            "portrait": portrait.latent, "unconditional": portrait.unconditional, "options": options,
            "on_window": on_window, "on_draft": on_draft if self._watch.on_preview else None,
        }  # fmt: skip
        if options.stream:
            still = unet.condition(portrait.token, portrait.taps, motion[:1])
            yield from denoise_stream(
                predict, networks.scheduler, conditional=LazyRow(unet=unet, still=still, motion=motion),
                noise=NoiseStream(shape, options.seed), num_frames=len(motion), **given,
            )  # fmt: skip
        else:
            yield denoise(
                predict, networks.scheduler, conditional=unet.condition(portrait.token, portrait.taps, motion),
                noise=draw_noise(shape, options.seed), offsets=draw_offsets(options, len(motion)), **given,
            )  # fmt: skip

    @torch.inference_mode()
    def _decoded(self, runs: Iterator[torch.Tensor]) -> Iterator[UInt8Array]:
        """Crops `(T_run, S, S, 3)` of latents."""
        networks = self._networks
        for latents in runs:
            tiny = networks.preview_vae if self._options.decoder == "tiny" else None
            for frames in decode_frames(networks.vae, latents) if tiny is None else decode_drafts(tiny, latents):
                yield from_tensor(frames)

    def _go_on(self) -> None:
        if self._watch.before_chunk:
            self._watch.before_chunk()

    def _told(self, done: int, total: int) -> None:
        if self._watch.on_denoise:
            self._watch.on_denoise(done, total)

    def _shown(self, draft: Draft) -> None:
        if self._watch.on_preview:
            picture = draft_picture(draft.latent, self._size_px, self._networks.preview_vae)
            self._watch.on_preview(picture, draft.frame)
