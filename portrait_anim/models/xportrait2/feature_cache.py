"""Deep features of the denoising UNet, kept from one step to the next.

Between neighbouring steps the inner levels of a diffusion UNet change little, the outermost blocks much (Ma, Fang and
Wang, "DeepCache: Accelerating Diffusion Models for Free", CVPR 2024, https://arxiv.org/abs/2312.00858). A call that
reuses them computes only the last residual blocks, with what follows each of them, and as many of the first as these
need.

Shapes: R guidance rows, T frames, C channels, H W latent pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

MAX_BLOCKS = 3  # residual blocks of the outermost level on the way up


@dataclass(slots=True)
class FeatureCache:
    """Features of one window of frames.

    Attributes:
        blocks: How many of the last residual blocks are computed in every call, 1 to 3: the fewer, the faster and
            the less exact.
        reuse: Whether the next call takes the kept features instead of computing and keeping them.
    """

    blocks: int = MAX_BLOCKS
    reuse: bool = False
    _hidden: torch.Tensor | None = field(default=None, repr=False)
    _parts: list[FeatureCache] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.blocks <= MAX_BLOCKS:
            raise ValueError(f"expected 1 to {MAX_BLOCKS} blocks to compute in every call, got {self.blocks}")

    def holds(self, batch: int) -> bool:
        """Whether features are kept for at least `batch` = R T pictures."""
        held = [part._hidden for part in (self, *self._parts) if part._hidden is not None]
        return sum(map(len, held)) >= batch

    def parts(self, count: int) -> list[FeatureCache]:
        """Caches of single guidance rows, for networks that compute one row each; always the same ones."""
        while len(self._parts) < count:
            self._parts.append(FeatureCache(blocks=self.blocks))
        for part in self._parts:
            part.reuse = self.reuse
        return self._parts

    def read(self, batch: int) -> torch.Tensor:
        """Kept features of the last `batch` pictures `(R T, C, H, W)`; the last rows are the conditional ones.

        Raises:
            ValueError: If there are none, or too few.
        """
        if self._hidden is None or len(self._hidden) < batch:
            raise ValueError(f"expected kept features of {batch} pictures; call the network once without reuse before")
        return self._hidden[-batch:]

    def write(self, hidden: torch.Tensor) -> None:
        """Keep features `(R T, C, H, W)`, unless they are those that were read."""
        if not self.reuse:
            self._hidden = hidden

    def skips(self, outermost: bool, index: int, count: int) -> bool:
        """Whether block `index` of `count` of a level on the way up is left out of this call."""
        return self.reuse and not (outermost and index >= count - self.blocks)
