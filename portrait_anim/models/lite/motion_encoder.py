"""Motion encoder of the `lite` profile: a face crop becomes what moves, without who moves it.

Two paths meet in the bottleneck: a deep one that sees the whole face, and a shallow one that keeps what is small and
lies at a known place in a face crop (irises, lid edges, lip line).

Shapes: B batch, L motion tokens, C token channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from torch import nn

from portrait_anim.models.lite.blocks import BatchNormBlock, down_block
from portrait_anim.models.lite.tongue_reader import TongueReader


@dataclass
class LiteMotionOutput(BaseOutput):  # type: ignore[misc]
    """What one face crop shows.

    Attributes:
        latent: Motion latent `(B, L, C)` float32, about unit variance.
        rotation: Head yaw, pitch, roll `(B, 3)` [rad], as `R = Rz(roll) Ry(yaw) Rx(pitch)`.
        placement: `(B, 3)`: midpoint between the eyeballs x, y in crop coordinates [-1, 1], and the natural
            logarithm of the head's scale [half crop sides per 10 cm].
        tongue: `(B, 3)` how far the tongue is out, 0 to 1; then how far aside (to image right) and up, each times out.
    """

    latent: torch.Tensor
    rotation: torch.Tensor
    placement: torch.Tensor
    tongue: torch.Tensor


class LiteMotionEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Convolutional encoder with a narrow bottleneck, so that no spatial layout of the driver survives.

    Args:
        sample_size: Side of the face crop [px], a multiple of 32.
        channels: Width after each halving.
        blocks: Residual blocks after each halving.
        num_tokens: Motion tokens L.
        token_dim: Channels per token C.
        fine_channels: Channels of the shallow path at an eighth of the crop.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_size: int = 128,
        channels: tuple[int, ...] = (24, 48, 96, 160, 224),
        blocks: tuple[int, ...] = (0, 1, 2, 2, 1),
        num_tokens: int = 16,
        token_dim: int = 16,
        fine_channels: int = 24,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = 3
        for width, depth in zip(channels, blocks, strict=True):
            layers.append(down_block(previous, width))
            layers.extend(BatchNormBlock(width) for _ in range(depth))
            previous = width
        self.trunk = nn.Sequential(*layers)
        self.shallow_depth = 2 + blocks[0] + blocks[1]  # layers of the trunk that both paths share
        eighth = sample_size // 8
        self.fine = nn.Sequential(
            down_block(channels[1], 64),
            nn.Conv2d(64, fine_channels, 1, bias=False), nn.BatchNorm2d(fine_channels), nn.ReLU(inplace=True),
            nn.Flatten(), nn.Linear(fine_channels * eighth * eighth, 192), nn.BatchNorm1d(192), nn.ReLU(inplace=True),
        )  # fmt: skip
        side = sample_size // 2 ** len(channels)
        self.squeeze = nn.Sequential(nn.Conv2d(previous, 128, 1), nn.ReLU(inplace=True))
        self.bottleneck = nn.Sequential(
            nn.Flatten(), nn.Linear(128 * side * side, 384), nn.BatchNorm1d(384), nn.ReLU(inplace=True)
        )
        self.to_latent = nn.Linear(384 + 192, num_tokens * token_dim)
        self.to_pose = nn.Linear(384 + 192, 6)
        self.tongue = TongueReader(sample_size, channels[1])

    def forward(self, sample: torch.Tensor) -> LiteMotionOutput:
        """Encode face crops.

        Args:
            sample: `(B, 3, S, S)` float in [-1, 1], S = `sample_size`.

        Returns:
            Latent, rotation, placement and tongue of each crop.
        """
        size = self.config.sample_size
        if sample.shape[1:] != (3, size, size):
            raise ValueError(f"expected sample (B, 3, {size}, {size}), got {tuple(sample.shape)}")
        shallow = self.shallow_features(sample)
        deep = self.trunk[self.shallow_depth :](shallow)
        hidden = torch.cat([self.bottleneck(self.squeeze(deep)), self.fine(shallow)], dim=1)
        latent = self.to_latent(hidden).unflatten(1, (self.config.num_tokens, self.config.token_dim))  # (B, L, C)
        pose = self.to_pose(hidden)
        tongue = self.tongue(sample, shallow)
        return LiteMotionOutput(latent=latent, rotation=pose[:, :3], placement=pose[:, 3:], tongue=tongue)

    def shallow_features(self, sample: torch.Tensor) -> torch.Tensor:
        """What all paths start from `(B, C, S / 4, S / 4)`."""
        out: torch.Tensor = self.trunk[: self.shallow_depth](sample)
        return out
