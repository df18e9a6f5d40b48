"""Motion encoder of the `xportrait2` profile: a face crop becomes 32 motion tokens.

A face-alignment hourglass (Bulat & Tzimiropoulos 2017) with three spatial attention layers; its last features are
squeezed to one 512-vector, joined with the head placement and cut into tokens.

Shapes: B batch, C channels, H W pixels, S crop side, L tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from einops import rearrange
from torch import nn

from portrait_anim.models.xportrait2.attention import SelfAttentionBlock, grid_table, token_table


@dataclass
class XPortrait2MotionOutput(BaseOutput):  # type: ignore[misc]
    """What moves in a face crop.

    Attributes:
        latent: Motion tokens, `(B, L, 16)`, identity-free.
        feature: Face feature before the head placement joins, `(B, 512)`.
    """

    latent: torch.Tensor
    feature: torch.Tensor


class ConvBlock(nn.Module):
    """Three 3x3 convolutions in a chain, whose outputs are joined: 1/2, 1/4 and 1/4 of the channels; with a skip.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half, quarter = out_channels // 2, out_channels // 4
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, half, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, quarter, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(quarter)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.skip: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.skip = nn.Sequential(
                nn.BatchNorm2d(in_channels), nn.ReLU(), nn.Conv2d(in_channels, out_channels, 1, bias=False)
            )

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map `(B, C_in, H, W)` to `(B, C_out, H, W)`."""
        first = self.conv1(F.relu(self.norm1(hidden)))
        second = self.conv2(F.relu(self.norm2(first)))
        third = self.conv3(F.relu(self.norm3(second)))
        out: torch.Tensor = torch.cat([first, second, third], dim=1) + self.skip(hidden)
        return out


class Hourglass(nn.Module):
    """Recursive encoder and decoder over `depth` halvings, with a block beside every level.

    Args:
        channels: Channels throughout.
        depth: Number of halvings; level `depth` is the outermost.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.beside = nn.ModuleList(ConvBlock(channels, channels) for _ in range(depth))
        self.before = nn.ModuleList(ConvBlock(channels, channels) for _ in range(depth))
        self.after = nn.ModuleList(ConvBlock(channels, channels) for _ in range(depth))
        self.innermost = ConvBlock(channels, channels)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map `(B, C, H, W)` to `(B, C, H, W)`."""
        return self._level(len(self.beside) - 1, hidden)

    def _level(self, level: int, hidden: torch.Tensor) -> torch.Tensor:
        beside: torch.Tensor = self.beside[level](hidden)
        low = self.before[level](F.max_pool2d(hidden, 2))
        low = self._level(level - 1, low) if level else self.innermost(low)
        low = self.after[level](low)
        return beside + F.interpolate(low, size=hidden.shape[-2:], mode="bilinear", align_corners=False)


class PatchAttention(nn.Module):
    """Self-attention between patches of a feature map, with a skip.

    Args:
        channels: Channels of the map.
        patch_px: Side of a patch.
        token_dim: Width of a patch token.
        heads: Number of heads.
    """

    def __init__(self, channels: int, patch_px: int, token_dim: int, heads: int) -> None:
        super().__init__()
        self.patch_px = patch_px
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, token_dim, patch_px, stride=patch_px)
        self.block = SelfAttentionBlock(token_dim, heads)
        self.proj_out = nn.Linear(token_dim // patch_px**2, channels)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map `(B, C, H, W)` to `(B, C, H, W)`, H = W a multiple of the patch side."""
        patches = self.proj_in(self.norm(hidden))  # (B, token_dim, h, w)
        side = patches.shape[-1]
        tokens = patches.flatten(2).transpose(1, 2)  # (B, h w, token_dim)
        tokens = self.block(tokens + grid_table(side, tokens.shape[-1]).to(tokens))
        p = self.patch_px
        pixels = self.proj_out(rearrange(tokens, "b (h w) (p q c) -> b (h p) (w q) c", h=side, p=p, q=p))
        out: torch.Tensor = hidden + pixels.permute(0, 3, 1, 2)  # (B, C, H, W)
        return out


class XPortrait2MotionEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Hourglass with attention: crops to motion tokens.

    Args:
        sample_size: Side of the crop [px], a multiple of 32.
        channels: Channels of the hourglass; the stem has a quarter of them.
        depth: Halvings of the hourglass.
        attention_dim: Width of the attention tokens.
        attention_heads: Heads of the attention.
        num_maps: Feature maps before the squeeze.
        feature_dim: Width of the face feature.
        placement_dim: Width of the embedded head placement.
        num_tokens: Motion tokens per frame.
        token_dim: Channels per token.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_size: int = 224,
        channels: int = 256,
        depth: int = 4,
        attention_dim: int = 1024,
        attention_heads: int = 8,
        num_maps: int = 68,
        feature_dim: int = 512,
        placement_dim: int = 64,
        num_tokens: int = 32,
        token_dim: int = 16,
    ) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.stem_conv = nn.Conv2d(3, quarter, 7, stride=2, padding=3)
        self.stem_norm = nn.BatchNorm2d(quarter)
        self.block1 = ConvBlock(quarter, half)
        self.attention1 = PatchAttention(half, 4, attention_dim, attention_heads)
        self.block2 = ConvBlock(half, half)
        self.block3 = ConvBlock(half, channels)
        self.attention2 = PatchAttention(channels, 2, attention_dim, attention_heads)
        self.hourglass = Hourglass(channels, depth)
        self.head_block = ConvBlock(channels, channels)
        self.head_conv = nn.Conv2d(channels, channels, 1)
        self.head_norm = nn.BatchNorm2d(channels)
        self.attention3 = PatchAttention(channels, 2, attention_dim, attention_heads)
        self.map_conv = nn.Conv2d(channels, num_maps, 1)
        self.map_norm = nn.BatchNorm2d(num_maps)
        self.squeeze = nn.Conv2d(num_maps, 1, 3, stride=2, padding=1)
        self.to_feature = nn.Linear((sample_size // 8) ** 2, feature_dim)
        self.placement_in = nn.Linear(3, placement_dim)
        self.placement_out = nn.Linear(placement_dim, placement_dim)
        self.to_tokens = nn.Linear(feature_dim + placement_dim, num_tokens * token_dim)
        self.register_buffer("positions", token_table(num_tokens, token_dim))

    def forward(self, sample: torch.Tensor, placement: torch.Tensor | None = None) -> XPortrait2MotionOutput:
        """Encode face crops.

        Args:
            sample: `(B, 3, S, S)` in [-1, 1], S = `sample_size`.
            placement: Head placement relative to the portrait `(B, 3)`: dy, dx [reference box sides], ratio of sizes.
                `None` is `(0, 0, 1)`, which the published script always uses.

        Returns:
            Motion tokens and the face feature they come from.

        Raises:
            ValueError: If `sample` has another shape.
        """
        size = self.config.sample_size
        if sample.shape[1:] != (3, size, size):
            raise ValueError(f"expected sample (B, 3, {size}, {size}), got {tuple(sample.shape)}")
        if placement is None:
            placement = sample.new_tensor([[0.0, 0.0, 1.0]]).expand(len(sample), 3)
        feature = self._feature(sample)
        placed = self._place(placement)
        tokens = self.to_tokens(torch.cat([feature, placed], dim=1))
        latent = tokens.unflatten(1, (self.config.num_tokens, self.config.token_dim)) + self.positions  # (B, L, 16)
        return XPortrait2MotionOutput(latent=latent, feature=feature)

    @apply_forward_hook  # type: ignore[untyped-decorator]
    def placement_shift(self, placement: torch.Tensor) -> torch.Tensor:
        """What other placements than `(0, 0, 1)` add to motion tokens that were encoded without any.

        Tokens depend linearly on feature and placement, so pictures need not be encoded again.

        Args:
            placement: `(B, 3)`, see `forward`.

        Returns:
            `(B, L, 16)`.
        """
        weight = self.to_tokens.weight[:, self.config.feature_dim :]
        still = placement.new_tensor([[0.0, 0.0, 1.0]])
        shift = F.linear(self._place(placement) - self._place(still), weight)
        out: torch.Tensor = shift.unflatten(1, (self.config.num_tokens, self.config.token_dim))
        return out

    def _place(self, placement: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.placement_out(F.relu(self.placement_in(placement)))
        return out

    def _feature(self, sample: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.stem_norm(self.stem_conv(sample)))
        hidden = self.attention1(self.block1(hidden))
        hidden = self.block3(self.block2(F.max_pool2d(hidden, 2)))
        hidden = self.hourglass(self.attention2(hidden))
        hidden = self.head_norm(self.head_conv(self.head_block(hidden)))
        hidden = F.relu(self.attention3(hidden))
        maps = F.relu(self.map_norm(self.map_conv(hidden)))
        squeezed = F.relu(self.squeeze(maps))  # (B, 1, S / 8, S / 8)
        feature: torch.Tensor = self.to_feature(squeezed.flatten(1))
        return feature
