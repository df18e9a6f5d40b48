"""Denoiser of the `lite` profile: a small pixel-space U-Net that repaints what warping cannot show.

It predicts the clean frame (x-prediction, flow matching: `x_t = (1 - t) x_0 + t noise`) as the warped portrait where
that is right and its own paint elsewhere; the blend mask is part of the prediction.

Shapes: B batch, L tokens, C token channels; pixels are folded 4x4 into channels: `(B, 48, S/4, S/4)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention_processor import Attention
from diffusers.utils import BaseOutput
from torch import nn

from portrait_anim.models.lite.blocks import ResidualBlock


@dataclass
class LiteDenoiserOutput(BaseOutput):  # type: ignore[misc]
    """Prediction of one denoising step.

    Attributes:
        sample: Predicted clean frame, folded, `(B, 48, h, w)`, in [-1, 1] by training.
        mask_logits: `(B, 16, h, w)` folded paint mask before the sigmoid; positive paints, negative keeps the warp.
    """

    sample: torch.Tensor
    mask_logits: torch.Tensor


class CrossAttentionBlock(nn.Module):
    """Attention from image positions to condition tokens, with a skip.

    Args:
        channels: Image channels.
        token_dim: Width of the condition tokens.
        head_dim: Channels per head.
    """

    def __init__(self, channels: int, token_dim: int, head_dim: int = 16) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.attention = Attention(
            query_dim=channels, cross_attention_dim=token_dim, heads=channels // head_dim, dim_head=head_dim
        )
        nn.init.zeros_(self.attention.to_out[0].weight)
        nn.init.zeros_(self.attention.to_out[0].bias)

    def forward(self, hidden: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Map `(B, C, H, W)` with tokens `(B, N, token_dim)` to `(B, C, H, W)`."""
        query = self.norm(hidden).flatten(2).transpose(1, 2)  # (B, H W, C)
        update: torch.Tensor = self.attention(query, encoder_hidden_states=tokens)
        out: torch.Tensor = hidden + update.transpose(1, 2).unflatten(2, hidden.shape[2:])
        return out


class LiteDenoiser(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """U-Net over folded pixels with motion tokens and portrait features as conditions.

    Args:
        condition_dim: Channels of the warp field's condition.
        channels: Widths at 1/4, 1/8 and 1/16 of the crop.
        token_dim: Channels of a motion token.
        num_tokens: Motion tokens per latent; the denoiser sees those of target and portrait.
        context_dim: Channels of the reference encoder's context.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        condition_dim: int = 32,
        channels: tuple[int, int, int] = (48, 96, 160),
        token_dim: int = 16,
        num_tokens: int = 16,
        context_dim: int = 128,
    ) -> None:
        super().__init__()
        c4, c8, c16 = channels
        width = 128
        self.time_embed = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width))
        self.motion_embed = nn.Sequential(
            nn.Linear(2 * num_tokens * token_dim, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.token_in = nn.Linear(2 * token_dim, 64)
        self.token_position = nn.Parameter(torch.randn(1, num_tokens, 64) * 0.02)
        self.context_in = nn.Conv2d(context_dim, 64, 1)
        self.conv_in = nn.Conv2d(48 + 48 + 1 + condition_dim, c4, 1)
        self.block4 = ResidualBlock(c4, c4, width)
        self.down8 = nn.Conv2d(c4, c8, 3, stride=2, padding=1)
        self.block8 = ResidualBlock(c8, c8, width)
        self.attend8 = CrossAttentionBlock(c8, 64)
        self.down16 = nn.Conv2d(c8, c16, 3, stride=2, padding=1)
        self.block16 = ResidualBlock(c16, c16, width)
        self.attend16 = CrossAttentionBlock(c16, 64)
        self.refer16 = CrossAttentionBlock(c16, 64)
        self.middle16 = ResidualBlock(c16, c16, width)
        self.up8 = ResidualBlock(c16 + c8, c8, width)
        self.attend_up8 = CrossAttentionBlock(c8, 64)
        self.up4 = ResidualBlock(c8 + c4, c4, width)
        self.attend_up4 = CrossAttentionBlock(c4, 64)
        self.block_out = ResidualBlock(c4, c4, width)
        self.conv_out = nn.Conv2d(c4, 48 + 16, 3, padding=1)
        nn.init.normal_(self.conv_out.weight, std=0.01)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        warped: torch.Tensor,
        visibility: torch.Tensor,
        condition: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        context: torch.Tensor,
    ) -> LiteDenoiserOutput:
        """Predict the clean frame.

        Args:
            sample: Noisy frame, folded, `(B, 48, h, w)`.
            timestep: `(B,)` in [0, 1]; 1 is pure noise.
            warped: Warped portrait, folded, `(B, 48, h, w)` in [-1, 1].
            visibility: `(B, 1, h, w)` in [0, 1] from the warp field.
            condition: Warped features `(B, condition_dim, h, w)`.
            encoder_hidden_states: Target and portrait motion latents `(B, 2, L, C)`.
            context: Reference context `(B, context_dim, h/4, w/4)`.

        Returns:
            Clean frame and mask.
        """
        target, source = encoder_hidden_states.unbind(1)
        pair = torch.cat([target, target - source], dim=-1)  # (B, L, 2C)
        embedding = self.time_embed(sinusoid(timestep, 32)) + self.motion_embed(pair.flatten(1))
        embedding = F.silu(embedding)
        tokens = self.token_in(pair) + self.token_position
        reference = self.context_in(context).flatten(2).transpose(1, 2)  # (B, h w / 16, 64)
        hidden4 = self.conv_in(torch.cat([sample, warped, visibility, condition], dim=1))
        hidden4 = self.block4(hidden4, embedding)
        hidden8 = self.attend8(self.block8(self.down8(hidden4), embedding), tokens)
        hidden = self.attend16(self.block16(self.down16(hidden8), embedding), tokens)
        hidden = self.middle16(self.refer16(hidden, reference), embedding)
        hidden = F.interpolate(hidden, scale_factor=2, mode="nearest")
        hidden = self.attend_up8(self.up8(torch.cat([hidden, hidden8], dim=1), embedding), tokens)
        hidden = F.interpolate(hidden, scale_factor=2, mode="nearest")
        hidden = self.attend_up4(self.up4(torch.cat([hidden, hidden4], dim=1), embedding), tokens)
        out = self.conv_out(F.silu(self.block_out(hidden, embedding)))
        mask_logits = out[:, 48:]
        mask = torch.sigmoid(mask_logits).repeat(1, 3, 1, 1)  # folded channels are colour-major
        paint = warped + out[:, :48].to(warped.dtype)
        return LiteDenoiserOutput(sample=torch.lerp(warped, paint, mask.to(warped.dtype)), mask_logits=mask_logits)


def sinusoid(timestep: torch.Tensor, width: int) -> torch.Tensor:
    """Embed `(B,)` timesteps in [0, 1] as `(B, width)` sines and cosines."""
    frequency = torch.exp(torch.linspace(0.0, math.log(1000.0), width // 2, device=timestep.device))
    angle = timestep[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)
