"""Denoising UNet of the `xportrait2` profile: Stable Diffusion per frame, with motion and temporal modules.

What does not change between denoising steps (attention to the image token, keys and values of portrait and motion) is
computed once by `conditions` and handed to every call.

Shapes: R guidance rows, T frames, L motion tokens, N_i tokens and C_i channels of layer i, H W latent pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.utils.accelerate_utils import apply_forward_hook
from einops import rearrange
from torch import nn

from portrait_anim.models.xportrait2.attention import KeyValue
from portrait_anim.models.xportrait2.feature_cache import FeatureCache
from portrait_anim.models.xportrait2.transformers import MAX_FRAMES
from portrait_anim.models.xportrait2.unet import UNetLevel, UNetSkeleton


@dataclass(frozen=True, kw_only=True, slots=True)
class RowCondition:
    """What one guidance row sees.

    Attributes:
        image: Per spatial transformer, attention to the image token `(1, C_i)`.
        reference: Per spatial transformer, keys and values of the portrait `(1, N_i, C_i)`, or none.
        motion: Per motion transformer and attention, keys and values `(T, L, C_i)`; T = 1 serves all frames.
    """

    image: tuple[torch.Tensor, ...]
    reference: tuple[KeyValue | None, ...]
    motion: tuple[tuple[KeyValue, ...], ...]

    def frames(self, indices: torch.Tensor) -> RowCondition:
        """The same for some frames only, for example those of a context window."""
        motion = tuple(
            tuple(keys if len(keys.key) == 1 else keys.select(indices) for keys in layer) for layer in self.motion
        )
        return replace(self, motion=motion)


class XPortrait2DenoisingUNet(UNetSkeleton):
    """Stable Diffusion's UNet on every frame; after each residual block attention to motion and over time.

    Args:
        in_channels: Latent channels.
        block_channels: Widths of the levels.
        heads: Attention heads everywhere.
        context_dim: Width of the image token.
        motion_dim: Width of a motion token.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        in_channels: int = 4,
        block_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        heads: int = 8,
        context_dim: int = 768,
        motion_dim: int = 16,
    ) -> None:
        super().__init__()
        self._build(in_channels, tuple(block_channels), heads, context_dim)
        for level in self.levels():
            level.move(1 if level is self.mid_block else len(level.resnets), heads, motion_dim)
        self.conv_norm_out = nn.GroupNorm(32, block_channels[0], eps=1e-5)
        self.conv_act = nn.SiLU()
        self.conv_out = nn.Conv2d(block_channels[0], in_channels, 3, padding=1)

    @apply_forward_hook  # type: ignore[untyped-decorator]
    def condition(
        self, image_token: torch.Tensor, taps: Sequence[torch.Tensor] | None, motion: torch.Tensor
    ) -> RowCondition:
        """Compute once what one guidance row sees.

        Args:
            image_token: Image embedding `(1, context_dim)`; zeros for the unconditional row.
            taps: Output of the reference UNet, or `None` when the row does not see the portrait.
            motion: Motion tokens `(T, L, motion_dim)`; T = 1 serves all frames.

        Raises:
            ValueError: If the number of taps is not that of the spatial transformers.
        """
        layers = self.image_transformers()
        if taps is not None and len(taps) != len(layers):
            raise ValueError(f"expected {len(layers)} taps of the reference UNet, got {len(taps)}")
        reference = [None] * len(layers) if taps is None else [
            layer.block.attn1.keys(tap.to(image_token)) for layer, tap in zip(layers, taps, strict=True)
        ]  # fmt: skip
        return RowCondition(
            image=tuple(layer.block.attn2.constant(image_token) for layer in layers),
            reference=tuple(reference),
            motion=self.motion_keys(motion),
        )

    @apply_forward_hook  # type: ignore[untyped-decorator]
    def motion_keys(self, motion: torch.Tensor) -> tuple[tuple[KeyValue, ...], ...]:
        """Keys and values of motion tokens `(T, L, motion_dim)`, see `RowCondition.motion`."""
        return tuple(tuple(layer.keys(motion)) for layer in self.motion_transformers())

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        rows: Sequence[RowCondition],
        cache: FeatureCache | None = None,
    ) -> torch.Tensor:
        """Predict the noise of one window of frames under each guidance row.

        Args:
            sample: Noisy latents `(4, T, H, W)`, T at most 32; all rows see the same.
            timestep: One timestep, scalar.
            rows: Conditions for these frames.
            cache: Deep features to keep or to reuse; `None` computes everything and keeps nothing.

        Returns:
            Noise `(R, 4, T, H, W)`.

        Raises:
            ValueError: If there are more frames than positions, or features to reuse are missing.
        """
        num_frames = sample.shape[1]
        if num_frames > MAX_FRAMES:
            raise ValueError(f"expected at most {MAX_FRAMES} frames at a time, got {num_frames}")
        mix = _Mixer(self, rows, num_frames)
        frames = rearrange(sample, "c t h w -> t c h w").repeat(len(rows), 1, 1, 1)  # (R T, 4, H, W)
        hidden = self._walk(frames, self._embed_time(timestep, sample), mix, cache)
        noise = self.conv_out(self.conv_act(self.conv_norm_out(hidden)))
        out: torch.Tensor = rearrange(noise, "(r t) c h w -> r c t h w", t=num_frames)
        return out


class _Mixer:
    """Spatial, motion and temporal transformers after each residual block, each with its own conditions."""

    def __init__(self, unet: XPortrait2DenoisingUNet, rows: Sequence[RowCondition], num_frames: int) -> None:
        self._rows, self._num_frames = rows, num_frames
        self._image_number: dict[tuple[int, int], int] = {}
        self._motion_number: dict[tuple[int, int], int] = {}
        for level in unet.levels():
            for index in range(len(level.motion_modules)):
                self._motion_number[id(level), index] = len(self._motion_number)
                if level.attentions:
                    self._image_number[id(level), index] = len(self._image_number)

    def __call__(self, level: UNetLevel, index: int, hidden: torch.Tensor) -> torch.Tensor:
        if level.attentions:
            number = self._image_number[id(level), index]
            image = torch.cat([row.image[number] for row in self._rows])
            hidden = level.attentions[index](hidden, image, [row.reference[number] for row in self._rows])
        motions = [row.motion[self._motion_number[id(level), index]] for row in self._rows]
        keys = [_stack(list(layer), self._num_frames) for layer in zip(*motions, strict=True)]
        hidden = level.motion_modules[index](hidden, keys)
        return level.temporal_modules[index](hidden, self._num_frames)  # type: ignore[no-any-return]


def _stack(rows: list[KeyValue], num_frames: int) -> KeyValue:
    """Keys and values of all rows and frames `(R T, L, C)`."""
    full = [row.repeat(num_frames) if len(row.key) == 1 else row for row in rows]
    return KeyValue(key=torch.cat([row.key for row in full]), value=torch.cat([row.value for row in full]))
