"""The Stable Diffusion 1.5 UNet skeleton that reference and denoising UNet of the `xportrait2` profile share.

Only diffusers' blocks are used; what happens after each residual block is the subclass's business.

Shapes: B batch, C channels, H W latent pixels, E width of the time embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import nn

from portrait_anim.models.xportrait2.feature_cache import FeatureCache
from portrait_anim.models.xportrait2.transformers import ImageTransformer, MotionTransformer, TemporalTransformer

Mix = Callable[["UNetLevel", int, torch.Tensor], torch.Tensor]
"""What is done after residual block number `int` of a level: `(B, C, H, W)` to the same."""


class UNetLevel(nn.Module):
    """One level of the UNet: residual blocks, what follows each of them, a change of size.

    Attributes:
        attentions: Spatial transformers, none in the innermost levels.
        resnets: Residual blocks.
        motion_modules: Motion transformers; the reference UNet has none.
        temporal_modules: Temporal transformers; the reference UNet has none.
        downsamplers: One or none.
        upsamplers: One or none.
    """

    def __init__(
        self,
        in_channels: list[int],
        channels: int,
        time_dim: int,
        *,
        sampler: nn.Module | None = None,
        up: bool = False,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.attentions = nn.ModuleList()
        self.resnets = nn.ModuleList(
            ResnetBlock2D(in_channels=width, out_channels=channels, temb_channels=time_dim, eps=1e-5)
            for width in in_channels
        )
        self.motion_modules = nn.ModuleList()
        self.temporal_modules = nn.ModuleList()
        self.downsamplers = nn.ModuleList([sampler] if sampler and not up else [])
        self.upsamplers = nn.ModuleList([sampler] if sampler and up else [])

    def attend(self, count: int, heads: int, context_dim: int) -> None:
        """Add spatial transformers."""
        self.attentions.extend(ImageTransformer(self.channels, heads, context_dim) for _ in range(count))

    def move(self, count: int, heads: int, token_dim: int) -> None:
        """Add motion and temporal transformers."""
        self.motion_modules.extend(MotionTransformer(self.channels, heads, token_dim) for _ in range(count))
        self.temporal_modules.extend(TemporalTransformer(self.channels, heads) for _ in range(count))


class UNetSkeleton(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Levels, time embedding and the walk through them."""

    conv_in: nn.Conv2d
    time_proj: Timesteps
    time_embedding: TimestepEmbedding
    down_blocks: nn.ModuleList
    mid_block: UNetLevel
    up_blocks: nn.ModuleList

    def _build(self, in_channels: int, widths: tuple[int, ...], heads: int, context_dim: int) -> None:
        """Create the layers; to be called once by the constructor of a subclass."""
        first, last = widths[0], widths[-1]
        time_dim = 4 * first
        self.conv_in = nn.Conv2d(in_channels, first, 3, padding=1)
        self.time_proj = Timesteps(first, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(first, time_dim)
        self.down_blocks = nn.ModuleList()
        skips = [first]
        previous = first
        for index, width in enumerate(widths):
            deepest = index == len(widths) - 1
            sampler = None if deepest else Downsample2D(width, use_conv=True, name="op")
            level = UNetLevel([previous, width], width, time_dim, sampler=sampler)
            if not deepest:
                level.attend(2, heads, context_dim)
            self.down_blocks.append(level)
            skips += [width, width] + ([] if deepest else [width])
            previous = width
        self.mid_block = UNetLevel([last, last], last, time_dim)
        self.mid_block.attend(1, heads, context_dim)
        self.up_blocks = nn.ModuleList()
        for index, width in enumerate(reversed(widths)):
            sampler = Upsample2D(width, use_conv=True) if index < len(widths) - 1 else None
            inputs = [(previous if number == 0 else width) + skips.pop() for number in range(3)]
            level = UNetLevel(inputs, width, time_dim, sampler=sampler, up=True)
            if index:
                level.attend(3, heads, context_dim)
            self.up_blocks.append(level)
            previous = width

    def levels(self) -> Iterator[UNetLevel]:
        """All levels in the order in which a forward pass visits them."""
        yield from _as_levels(self.down_blocks)
        yield self.mid_block
        yield from _as_levels(self.up_blocks)

    def image_transformers(self) -> list[ImageTransformer]:
        """All spatial transformers in the order in which a forward pass visits them."""
        return [layer for level in self.levels() for layer in level.attentions]  # type: ignore[misc]

    def motion_transformers(self) -> list[MotionTransformer]:
        """All motion transformers in the order in which a forward pass visits them."""
        return [layer for level in self.levels() for layer in level.motion_modules]  # type: ignore[misc]

    def _embed_time(self, timestep: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        """Embed one timestep for the whole batch: `(1, E)`."""
        out: torch.Tensor = self.time_embedding(self.time_proj(timestep.reshape(1)).to(sample.dtype))
        return out

    def _walk(
        self, sample: torch.Tensor, time: torch.Tensor, mix: Mix, cache: FeatureCache | None = None
    ) -> torch.Tensor:
        """Carry `(B, C_in, H, W)` to `(B, C_0, H, W)`: through all levels, or those that `cache` does not stand for."""
        skips = [self.conv_in(sample)]
        if cache is not None and cache.reuse:
            self._descend_outermost(skips, time, mix, cache.blocks - 1)
            hidden = cache.read(len(sample))
        else:
            hidden = self._descend(skips, time, mix)
        outermost = self.up_blocks[-1]
        for level in _as_levels(self.up_blocks):
            for index, resnet in enumerate(level.resnets):
                if cache is not None and level is outermost and index == len(level.resnets) - cache.blocks:
                    cache.write(hidden)
                if cache is not None and cache.skips(level is outermost, index, len(level.resnets)):
                    continue
                hidden = mix(level, index, resnet(torch.cat([hidden, skips.pop()], dim=1), time))
            for sampler in level.upsamplers:
                hidden = hidden if cache is not None and cache.reuse else sampler(hidden, _odd_size(hidden, skips[-1]))
        out: torch.Tensor = hidden
        return out

    def _descend(self, skips: list[torch.Tensor], time: torch.Tensor, mix: Mix) -> torch.Tensor:
        """Go down and through the middle, collecting what the way up needs."""
        hidden = skips[-1]
        for level in _as_levels(self.down_blocks):
            for index, resnet in enumerate(level.resnets):
                hidden = mix(level, index, resnet(hidden, time))
                skips.append(hidden)
            for sampler in level.downsamplers:
                hidden = sampler(hidden)
                skips.append(hidden)
        hidden = mix(self.mid_block, 0, self.mid_block.resnets[0](hidden, time))
        out: torch.Tensor = self.mid_block.resnets[1](hidden, time)
        return out

    def _descend_outermost(self, skips: list[torch.Tensor], time: torch.Tensor, mix: Mix, count: int) -> None:
        """Go through the first `count` residual blocks only."""
        hidden = skips[-1]
        level: UNetLevel = self.down_blocks[0]  # type: ignore[assignment]
        for index in range(count):
            hidden = mix(level, index, level.resnets[index](hidden, time))
            skips.append(hidden)


def _odd_size(hidden: torch.Tensor, skip: torch.Tensor) -> torch.Size | None:
    """Size to enlarge to where it is not twice as large, because it was odd on the way down."""
    size = skip.shape[-2:]
    return None if all(2 * small == large for small, large in zip(hidden.shape[-2:], size, strict=True)) else size


def _as_levels(blocks: nn.ModuleList) -> Iterator[UNetLevel]:
    return iter(blocks)  # type: ignore[arg-type]
