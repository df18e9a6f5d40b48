"""One window of one step of the `xportrait2` denoiser: guidance rows, guidance, kept features.

Shapes: R guidance rows, T frames, L motion tokens, h side of a latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from portrait_anim.models import XPortrait2DenoisingUNet
from portrait_anim.models.xportrait2.denoising_unet import RowCondition
from portrait_anim.models.xportrait2.feature_cache import FeatureCache
from portrait_anim.pipelines.xportrait2_options import SamplingOptions


class NoisePredictor(Protocol):
    """The denoising UNet, or something that calls it; `cache` is given only with kept features."""

    def __call__(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        rows: Sequence[RowCondition],
        cache: FeatureCache | None = None,
    ) -> torch.Tensor:
        """Predict noise `(R, 4, T, h, h)` for a window `(4, T, h, h)`."""
        ...


class Row(Protocol):
    """A guidance row of a whole clip."""

    @property
    def image(self) -> tuple[torch.Tensor, ...]:
        """See `RowCondition`."""
        ...

    def frames(self, indices: torch.Tensor) -> RowCondition:
        """The row for some frames."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LazyRow:
    """A guidance row whose motion keys are made for each window anew.

    They are 4.8 MB per frame in 16 bits at the published widths, motion tokens 1 KB; making them is a ten-thousandth
    of a step's work. So memory does not grow with the clip.

    Attributes:
        unet: Makes the keys.
        still: What does not depend on the frame; its motion is not used.
        motion: Motion tokens of the clip `(T, L, motion_dim)`.
    """

    unet: XPortrait2DenoisingUNet
    still: RowCondition
    motion: torch.Tensor

    @property
    def image(self) -> tuple[torch.Tensor, ...]:
        """See `RowCondition`."""
        return self.still.image

    def frames(self, indices: torch.Tensor) -> RowCondition:
        """The row for some frames."""
        return replace(self.still, motion=self.unet.motion_keys(self.motion[indices]))


class GuidedPredictor:
    """Predicts the guided noise of windows, step after step.

    Args:
        predict: Denoising UNet.
        unconditional: Row without portrait.
        conditional: Row with portrait.
        options: Guidance, and when the whole network is computed.
    """

    def __init__(self, predict: NoisePredictor, unconditional: Row, conditional: Row, options: SamplingOptions) -> None:
        self._predict, self._rows, self._options = predict, (unconditional, conditional), options
        self._dtype = conditional.image[0].dtype
        self._caches: dict[int, FeatureCache] = {}

    def __call__(
        self, latents: torch.Tensor, timestep: torch.Tensor, frames: torch.Tensor, *, step: int, slot: int = 0
    ) -> torch.Tensor:
        """Predict the noise of one window.

        Args:
            latents: `(4, T, h, h)` float32.
            timestep: Scalar, on any device.
            frames: Frame numbers of the window `(T,)`.
            step: Number of the step.
            slot: Which of the step's windows; between two computations of the whole network it must hold the same
                frames.

        Returns:
            `(4, T, h, h)` float32.
        """
        rows = [row.frames(frames) for row in (self._rows if self._options.is_guided(step) else self._rows[1:])]
        extra = {}
        if self._options.cache_every > 1:
            cache = self._caches.setdefault(slot, FeatureCache(blocks=self._options.cache_blocks))
            cache.reuse = not self._options.is_whole(step) and cache.holds(len(rows) * len(frames))
            extra["cache"] = cache
        predicted = self._predict(latents.to(self._dtype), timestep.to(latents.device), rows, **extra).float()
        if len(predicted) == 1:
            return predicted[0]
        out: torch.Tensor = predicted[0] + self._options.guidance * (predicted[1] - predicted[0])
        return out

    def forget(self) -> None:
        """Drop kept features, before windows of other frames."""
        self._caches.clear()
