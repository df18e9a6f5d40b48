"""Attention parts of the `xportrait2` profile: attention whose keys can be made once, and position tables.

Shapes: B batch, N queries, M keys, C channels, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyValue:
    """Keys and values of one attention layer, ready to be attended to.

    Attributes:
        key: `(B, M, C)`.
        value: `(B, M, C)`.
    """

    key: torch.Tensor
    value: torch.Tensor

    def select(self, indices: torch.Tensor) -> KeyValue:
        """Take entries of the batch, for example the frames of a window."""
        return KeyValue(key=self.key[indices], value=self.value[indices])

    def repeat(self, times: int) -> KeyValue:
        """Repeat one entry of the batch without copying it."""
        return KeyValue(key=self.key.expand(times, -1, -1), value=self.value.expand(times, -1, -1))

    def join(self, other: KeyValue) -> KeyValue:
        """Put the tokens of `other` behind these."""
        return KeyValue(key=torch.cat([self.key, other.key], 1), value=torch.cat([self.value, other.value], 1))


class KeyedAttention(Attention):  # type: ignore[misc]
    """diffusers' attention, in two steps: keys and values first, which can be kept, then queries.

    Args:
        channels: Width of the queries and of the output.
        heads: Number of heads, which share `channels`.
        context_dim: Width of what is attended to; `channels` by default.
        bias: Whether the projections of queries, keys and values have a bias.
    """

    def __init__(self, channels: int, heads: int, context_dim: int | None = None, *, bias: bool = False) -> None:
        super().__init__(
            query_dim=channels, cross_attention_dim=context_dim, heads=heads, dim_head=channels // heads, bias=bias
        )

    def keys(self, tokens: torch.Tensor) -> KeyValue:
        """Project tokens `(B, M, context_dim)` to keys and values `(B, M, C)`."""
        return KeyValue(key=self.to_k(tokens), value=self.to_v(tokens))

    def attend(self, tokens: torch.Tensor, context: KeyValue) -> torch.Tensor:
        """Let tokens `(B, N, C)` attend to `context`; returns `(B, N, C)`."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, N or M, C / heads)
            for part in (self.to_q(tokens), context.key, context.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)  # (B, N, C)
        out: torch.Tensor = self.to_out[0](mixed)
        return out

    def constant(self, token: torch.Tensor) -> torch.Tensor:
        """Attention to a single token `(B, C_context)`: the softmax over one key is 1, so queries do not matter.

        Returns:
            `(B, C)`, the same for every query.
        """
        out: torch.Tensor = self.to_out[0](self.to_v(token))
        return out


class SelfAttentionBlock(nn.Module):
    """Layer norm, self-attention, skip; layer norm, gated feed-forward, skip.

    Args:
        channels: Token width.
        heads: Number of heads.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attention = KeyedAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens `(B, N, C)` to `(B, N, C)`."""
        normed = self.norm1(tokens)
        tokens = tokens + self.attention.attend(normed, self.attention.keys(normed))
        out: torch.Tensor = tokens + self.ff(self.norm2(tokens))
        return out


def interleaved_table(length: int, channels: int) -> torch.Tensor:
    """Sinusoidal frame positions: even channels sine, odd channels cosine, `w_i = 10000^(-2i / C)`.

    Returns:
        `(1, length, C)` float32.
    """
    phase = _phase(torch.arange(length, dtype=torch.float64), channels)
    return torch.stack([phase.sin(), phase.cos()], dim=-1).flatten(1)[None].float()


def token_table(length: int, channels: int) -> torch.Tensor:
    """Sinusoidal token positions: the sines first, then the cosines.

    Returns:
        `(1, length, C)` float32.
    """
    return _split_table(torch.arange(length, dtype=torch.float64), channels)[None].float()


def grid_table(side: int, channels: int) -> torch.Tensor:
    """Sinusoidal positions of a square grid in row order: first half of the channels from x, second half from y.

    Returns:
        `(1, side * side, C)` float32.
    """
    axis = _split_table(torch.arange(side, dtype=torch.float64), channels // 2)  # (side, C / 2)
    across = axis[None].expand(side, -1, -1)
    down = axis[:, None].expand(-1, side, -1)
    return torch.cat([across, down], dim=-1).flatten(0, 1)[None].float()


def _split_table(positions: torch.Tensor, channels: int) -> torch.Tensor:
    phase = _phase(positions, channels)
    return torch.cat([phase.sin(), phase.cos()], dim=-1)


def _phase(positions: torch.Tensor, channels: int) -> torch.Tensor:
    rate = 10_000.0 ** (-2 * torch.arange(channels // 2, dtype=torch.float64) / channels)
    return positions[:, None] * rate
