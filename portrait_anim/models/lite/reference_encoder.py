"""Reference encoder of the `lite` profile: one look at the portrait gives everything that stays the same.

It runs once per portrait. Besides appearance features it predicts a small geometry of this very face: the depth of
every pixel, how firmly it follows the head and its place on a canonical face.

Shapes: B batch, C channels, h w = a quarter of the crop.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from torch import nn

from portrait_anim.models.lite.blocks import ResidualBlock


@dataclass
class LiteReferenceFeatures(BaseOutput):  # type: ignore[misc]
    """What the portrait is, computed once and reused for every frame.

    Attributes:
        appearance: `(B, C, h, w)` features to be warped.
        context: `(B, C_ctx, h/4, w/4)` features that the denoiser attends to.
        depth: `(B, 1, h, w)` [half crop sides], 0 at the eyes, growing away from the viewer.
        rigidity: `(B, 1, h, w)` in [0, 1], 1 where the pixel moves with the head.
        canonical: `(B, 3, h, w)` place on a canonical face [10 cm].
    """

    appearance: torch.Tensor
    context: torch.Tensor
    depth: torch.Tensor
    rigidity: torch.Tensor
    canonical: torch.Tensor

    def expand(self, batch: int) -> LiteReferenceFeatures:
        """Repeat features of one portrait for `batch` frames without copying."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return LiteReferenceFeatures(**{k: v.expand(batch, *v.shape[1:]) for k, v in values.items()})


class LiteReferenceEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """U-Net from a 256 px portrait crop to features and face geometry at a quarter of the resolution.

    Args:
        channels: Widths at 1/2, 1/4, 1/8, 1/16 and 1/32 of the crop.
        appearance_dim: Channels of the features to be warped.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        channels: tuple[int, int, int, int, int] = (16, 40, 80, 128, 160),
        appearance_dim: int = 24,
    ) -> None:
        super().__init__()
        c2, c4, c8, c16, c32 = channels
        self.stem = nn.Conv2d(12, c2, 3, padding=1)
        self.down4 = nn.Conv2d(c2, c4, 3, stride=2, padding=1)
        self.down8 = nn.Conv2d(c4, c8, 3, stride=2, padding=1)
        self.down16 = nn.Conv2d(c8, c16, 3, stride=2, padding=1)
        self.down32 = nn.Conv2d(c16, c32, 3, stride=2, padding=1)
        self.block4 = ResidualBlock(c4, c4)
        self.block8 = nn.Sequential(ResidualBlock(c8, c8), ResidualBlock(c8, c8))
        self.block16 = nn.Sequential(ResidualBlock(c16, c16), ResidualBlock(c16, c16))
        self.block32 = nn.Sequential(ResidualBlock(c32, c32), ResidualBlock(c32, c32))
        self.up16 = ResidualBlock(c32 + c16, c16)
        self.up8 = ResidualBlock(c16 + c8, c8)
        self.up4 = ResidualBlock(c8 + c4, c4)
        self.to_geometry = nn.Sequential(
            nn.GroupNorm(8, c4), nn.SiLU(), nn.Conv2d(c4, 80, 3, padding=1), nn.SiLU(),
            nn.Conv2d(80, 5, 1),
        )  # fmt: skip
        self.to_appearance = nn.Conv2d(c4, appearance_dim, 1)
        nn.init.normal_(self.to_geometry[-1].weight, std=0.01)  # type: ignore[arg-type]

    def forward(self, sample: torch.Tensor) -> LiteReferenceFeatures:
        """Encode portrait crops.

        Args:
            sample: `(B, 3, S, S)` float in [-1, 1], S a multiple of 32.

        Returns:
            Features and geometry at `(S/4, S/4)`.
        """
        if sample.ndim != 4 or sample.shape[1] != 3 or sample.shape[2] % 32 or sample.shape[3] % 32:
            raise ValueError(f"expected sample (B, 3, S, S) with S a multiple of 32, got {tuple(sample.shape)}")
        hidden2 = F.silu(self.stem(F.pixel_unshuffle(sample, 2)))
        hidden4 = self.block4(self.down4(hidden2))
        hidden8 = self.block8(self.down8(hidden4))
        hidden16 = self.block16(self.down16(hidden8))
        hidden = self.block32(self.down32(hidden16))
        hidden = context = self.up16(torch.cat([_double(hidden), hidden16], dim=1))
        hidden = self.up8(torch.cat([_double(hidden), hidden8], dim=1))
        hidden = self.up4(torch.cat([_double(hidden), hidden4], dim=1))
        geometry = self.to_geometry(hidden)
        return LiteReferenceFeatures(
            appearance=self.to_appearance(hidden),
            context=context,
            depth=geometry[:, 0:1],
            rigidity=torch.sigmoid(4 * geometry[:, 1:2]),
            canonical=geometry[:, 2:],
        )


def _double(hidden: torch.Tensor) -> torch.Tensor:
    return F.interpolate(hidden, scale_factor=2, mode="nearest")
