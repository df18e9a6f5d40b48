"""Guidance rows on two devices: each holds the denoising UNet and computes one row, both at the same time.

The rows of a step do not see each other, so results are those of one device but for the order of rounding. The
unconditional row, without the portrait's tokens, is nine tenths of the work of the other. Never run on two GPUs; tests
use two devices that are both the CPU.

Shapes: R guidance rows, T frames, h side of a latent.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from portrait_anim.models import XPortrait2DenoisingUNet
from portrait_anim.models.xportrait2.denoising_unet import RowCondition
from portrait_anim.models.xportrait2.feature_cache import FeatureCache
from portrait_anim.pipelines.xportrait2_interruption import interruptible


@dataclass(frozen=True, kw_only=True, slots=True)
class DistantRow:
    """A guidance row that lies on another device than the frame numbers it is asked for.

    Attributes:
        row: The row.
    """

    row: RowCondition

    @property
    def image(self) -> tuple[torch.Tensor, ...]:
        """See `RowCondition`."""
        return self.row.image

    def frames(self, indices: torch.Tensor) -> RowCondition:
        """The row for some frames."""
        return self.row.frames(indices.to(self.image[0].device))


class RowsOnTwoDevices:
    """The denoising UNet, with the unconditional row computed elsewhere.

    Args:
        unet: Denoising UNet of the conditional row; results are on its device.
        replica: The same network on another device.
    """

    def __init__(self, unet: XPortrait2DenoisingUNet, replica: XPortrait2DenoisingUNet) -> None:
        self._unet, self._replica = unet, replica
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="second device")

    def __call__(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        rows: Sequence[RowCondition],
        cache: FeatureCache | None = None,
    ) -> torch.Tensor:
        """Predict noise `(R, 4, T, h, h)`; of a single row, which is the conditional one, on the first device only."""
        caches: Sequence[FeatureCache | None] = [None, None] if cache is None else cache.parts(2)
        if len(rows) == 1:
            return self._unet(sample, timestep, rows, caches[-1])  # type: ignore[no-any-return]
        unwanted = threading.Event()

        def check() -> None:
            if unwanted.is_set():
                raise InterruptedError("the row on the first device ended with an error")

        with interruptible([self._replica], check, every_s=0):
            other = self._pool.submit(self._elsewhere, sample, timestep, rows[0], caches[0])
            try:
                conditional = self._unet(sample, timestep, rows[1:], caches[1])
            except BaseException:
                unwanted.set()
                other.exception()  # its network must be at rest before hooks are taken off
                raise
            unconditional = other.result()
        return torch.cat([unconditional.to(conditional.device), conditional])

    @torch.inference_mode()  # a thread's own setting
    def _elsewhere(
        self, sample: torch.Tensor, timestep: torch.Tensor, row: RowCondition, cache: FeatureCache | None
    ) -> torch.Tensor:
        device = self._replica.device
        out: torch.Tensor = self._replica(sample.to(device), timestep.to(device), [row], cache)
        return out
