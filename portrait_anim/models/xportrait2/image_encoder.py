"""Image encoder of the `xportrait2` profile: CLIP's vision tower (Radford et al. 2021), projected to one token.

Shapes: B batch, N patches + 1, C channels, S picture side.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from portrait_anim.models.xportrait2.attention import KeyedAttention

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class VisionBlock(nn.Module):
    """Pre-norm transformer block with CLIP's quick GELU.

    Args:
        channels: Token width.
        heads: Number of heads.
        hidden_dim: Width inside the feed-forward.
    """

    def __init__(self, channels: int, heads: int, hidden_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attention = KeyedAttention(channels, heads, bias=True)
        self.norm2 = nn.LayerNorm(channels)
        self.ff_in = nn.Linear(channels, hidden_dim)
        self.ff_out = nn.Linear(hidden_dim, channels)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map `(B, N, C)` to `(B, N, C)`."""
        normed = self.norm1(tokens)
        tokens = tokens + self.attention.attend(normed, self.attention.keys(normed))
        inner = self.ff_in(self.norm2(tokens))
        out: torch.Tensor = tokens + self.ff_out(inner * torch.sigmoid(1.702 * inner))
        return out


class XPortrait2ImageEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """CLIP ViT with its projection head.

    Args:
        sample_size: Side of the picture [px].
        patch_px: Side of a patch [px].
        channels: Token width.
        depth: Number of blocks.
        heads: Attention heads.
        hidden_dim: Width inside the feed-forward.
        projection_dim: Width of the embedding.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_size: int = 224,
        patch_px: int = 14,
        channels: int = 1024,
        depth: int = 24,
        heads: int = 16,
        hidden_dim: int = 4096,
        projection_dim: int = 768,
    ) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(channels))
        self.patch_embed = nn.Conv2d(3, channels, patch_px, stride=patch_px, bias=False)
        self.positions = nn.Embedding((sample_size // patch_px) ** 2 + 1, channels)
        self.norm_in = nn.LayerNorm(channels)
        self.blocks = nn.ModuleList(VisionBlock(channels, heads, hidden_dim) for _ in range(depth))
        self.norm_out = nn.LayerNorm(channels)
        self.projection = nn.Linear(channels, projection_dim, bias=False)

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        """Embed pictures.

        Args:
            sample: `(B, 3, S, S)`, normalised with `CLIP_MEAN` and `CLIP_STD`.

        Returns:
            Embeddings `(B, projection_dim)`, not of unit length.
        """
        size = self.config.sample_size
        if sample.shape[1:] != (3, size, size):
            raise ValueError(f"expected sample (B, 3, {size}, {size}), got {tuple(sample.shape)}")
        patches = self.patch_embed(sample).flatten(2).transpose(1, 2)  # (B, N - 1, C)
        tokens = torch.cat([self.class_token.expand(len(sample), 1, -1), patches], dim=1)
        tokens = self.norm_in(tokens + self.positions.weight)
        for block in self.blocks:
            tokens = block(tokens)
        out: torch.Tensor = self.projection(self.norm_out(tokens[:, 0]))
        return out
