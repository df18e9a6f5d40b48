"""Convolution blocks shared by the modules of the `lite` profile.

Shapes: B batch, C channels, H W pixels, E embedding width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group norm, an optional condition (AdaGN, Dhariwal & Nichol 2021) and a skip.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        embedding_dim: Width of the condition vector; 0 for none.
    """

    def __init__(self, in_channels: int, out_channels: int, embedding_dim: int = 0) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.condition = nn.Linear(embedding_dim, 2 * out_channels) if embedding_dim else None
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]
        if self.condition is not None:
            nn.init.zeros_(self.condition.weight)
            nn.init.zeros_(self.condition.bias)

    def forward(self, hidden: torch.Tensor, embedding: torch.Tensor | None = None) -> torch.Tensor:
        """Map `(B, C_in, H, W)` to `(B, C_out, H, W)`; `embedding` is `(B, E)`."""
        out = self.conv1(F.silu(self.norm1(hidden)))
        out = self.norm2(out)
        if self.condition is not None:
            if embedding is None:
                raise ValueError("this block was built with a condition: expected an embedding, got None")
            scale, shift = self.condition(embedding)[:, :, None, None].chunk(2, dim=1)
            out = out * (1 + scale) + shift
        out = self.conv2(F.silu(out))
        skip: torch.Tensor = self.skip(hidden)
        total: torch.Tensor = skip + out
        return total


class BatchNormBlock(nn.Module):
    """Residual block with batch norm, for encoders: its norms fold into the convolutions at inference.

    Args:
        channels: Channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map `(B, C, H, W)` to `(B, C, H, W)`."""
        out = F.relu(self.norm1(self.conv1(hidden)))
        total: torch.Tensor = hidden + self.norm2(self.conv2(out))
        return F.relu(total)


def down_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Halve the resolution: 3x3 convolution with stride 2, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
