"""Transformers inside the UNets of the `xportrait2` profile: image, motion and temporal.

Shapes: B batch (rows x frames), R guidance rows, T frames, C channels, H W latent pixels, L motion tokens.
"""

from __future__ import annotations

import torch
from diffusers.models.attention import FeedForward
from einops import rearrange
from torch import nn

from portrait_anim.models.xportrait2.attention import KeyedAttention, KeyValue, interleaved_table

MAX_FRAMES = 32  # length of the published table of frame positions


def to_tokens(hidden: torch.Tensor) -> torch.Tensor:
    """Map pixels `(B, C, H, W)` to tokens `(B, H W, C)`."""
    return hidden.permute(0, 2, 3, 1).flatten(1, 2)


def to_pixels(tokens: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Map tokens `(B, H W, C)` to pixels of the size of `like` `(B, C, H, W)`."""
    pixels: torch.Tensor = tokens.unflatten(1, like.shape[-2:]).permute(0, 3, 1, 2)
    return pixels


class ImageBlock(nn.Module):
    """The transformer block of Stable Diffusion, reading other pictures' tokens in its self-attention.

    Args:
        channels: Token width.
        heads: Number of heads.
        context_dim: Width of the image token.
    """

    def __init__(self, channels: int, heads: int, context_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = KeyedAttention(channels, heads)
        # With one image token the softmax is 1, so norm2, to_q and to_k of attn2 never matter. They are kept because
        # the published files have them.
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = KeyedAttention(channels, heads, context_dim)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(
        self, tokens: torch.Tensor, normed: torch.Tensor, image: torch.Tensor, reference: list[KeyValue | None]
    ) -> torch.Tensor:
        """Map tokens to tokens.

        Args:
            tokens: `(R T, N, C)`.
            normed: `norm1(tokens)`.
            image: Result of attention to the image token per guidance row `(R, C)`.
            reference: Per guidance row, further keys and values `(1, M, C)`, or none.

        Returns:
            `(R T, N, C)`.
        """
        parts = []
        for row, extra in zip(normed.chunk(len(reference)), reference, strict=True):
            keys = self.attn1.keys(row)
            parts.append(self.attn1.attend(row, keys.join(extra.repeat(len(row))) if extra else keys))
        tokens = tokens + torch.cat(parts)
        tokens = tokens + image.repeat_interleave(len(tokens) // len(image), dim=0)[:, None]
        out: torch.Tensor = tokens + self.ff(self.norm3(tokens))
        return out


class ImageTransformer(nn.Module):
    """Spatial transformer of a UNet level: group norm, 1x1 convolution, one block, 1x1 convolution, skip.

    Args:
        channels: Width.
        heads: Number of heads.
        context_dim: Width of the image token.
    """

    def __init__(self, channels: int, heads: int, context_dim: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([ImageBlock(channels, heads, context_dim)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    @property
    def block(self) -> ImageBlock:
        """The only block."""
        block: ImageBlock = self.transformer_blocks[0]  # type: ignore[assignment]
        return block

    def enter(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens `(B, H W, C)` and their first norm, which is what another UNet may read."""
        tokens = to_tokens(self.proj_in(self.norm(hidden)))
        return tokens, self.block.norm1(tokens)

    def leave(self, tokens: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Add the update `(B, H W, C)` to `hidden` `(B, C, H, W)`."""
        out: torch.Tensor = hidden + self.proj_out(to_pixels(tokens, hidden))
        return out

    def forward(self, hidden: torch.Tensor, image: torch.Tensor, reference: list[KeyValue | None]) -> torch.Tensor:
        """Map `(R T, C, H, W)` to the same; see `ImageBlock`."""
        tokens, normed = self.enter(hidden)
        return self.leave(self.block(tokens, normed, image, reference), hidden)


class FrameAttention(KeyedAttention):
    """Self-attention over frames; the position of a frame in its window is added to queries, keys and values.

    Args:
        channels: Token width.
        heads: Number of heads.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(channels, heads)
        self.register_buffer("positions", interleaved_table(MAX_FRAMES, channels))

    def forward(self, normed: torch.Tensor) -> torch.Tensor:
        """Map `(B, T, C)` to `(B, T, C)`, T at most 32."""
        placed = normed + self.positions[:, : normed.shape[1]]
        return self.attend(placed, self.keys(placed))


class _SideTransformer(nn.Module):
    """What motion and temporal modules share: group norm, linear in, two attentions, feed-forward, linear out, skip."""

    def __init__(self, channels: int, attentions: list[KeyedAttention]) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in attentions)
        self.attentions = nn.ModuleList(attentions)
        self.ff_norm = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)
        self.proj_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def _leave(self, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.proj_out(tokens + self.ff(self.ff_norm(tokens)))
        return out


class MotionTransformer(_SideTransformer):
    """Pixels of a frame attend twice to the motion tokens of that frame.

    Args:
        channels: Width.
        heads: Number of heads.
        token_dim: Width of a motion token.
    """

    def __init__(self, channels: int, heads: int, token_dim: int) -> None:
        super().__init__(channels, [KeyedAttention(channels, heads, token_dim) for _ in range(2)])

    def keys(self, motion: torch.Tensor) -> list[KeyValue]:
        """Keys and values `(B, L, C)` of both attentions for motion tokens `(B, L, token_dim)`."""
        return [attention.keys(motion) for attention in self.attentions]  # type: ignore[operator]

    def forward(self, hidden: torch.Tensor, motion: list[KeyValue]) -> torch.Tensor:
        """Map `(B, C, H, W)` to the same; `motion` comes from `keys`."""
        tokens = self.proj_in(to_tokens(self.norm(hidden)))
        for norm, attention, keys in zip(self.norms, self.attentions, motion, strict=True):
            tokens = tokens + attention.attend(norm(tokens), keys)  # type: ignore[operator]
        return hidden + to_pixels(self._leave(tokens), hidden)


class TemporalTransformer(_SideTransformer):
    """Every pixel attends twice to itself in the other frames of the window.

    Args:
        channels: Width.
        heads: Number of heads.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(channels, [FrameAttention(channels, heads) for _ in range(2)])

    def forward(self, hidden: torch.Tensor, num_frames: int) -> torch.Tensor:
        """Map `(R T, C, H, W)` with T = `num_frames` to the same."""
        tokens = self.proj_in(to_tokens(self.norm(hidden)))
        tokens = rearrange(tokens, "(r t) n c -> (r n) t c", t=num_frames)
        for norm, attention in zip(self.norms, self.attentions, strict=True):
            tokens = tokens + attention(norm(tokens))
        tokens = rearrange(self._leave(tokens), "(r n) t c -> (r t) n c", n=hidden.shape[-2] * hidden.shape[-1])
        return hidden + to_pixels(tokens, hidden)
