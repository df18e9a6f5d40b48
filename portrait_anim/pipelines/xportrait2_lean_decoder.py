"""The latent codec's decoder in about half the memory: the same result but for the order of rounding.

Spatial layers see one frame at a time and are given a few. Layers that look along time see one pixel at a time, once
the statistics of their norms are known, and are given a few rows of pixels of all frames.

Shapes: T frames, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.resnet import SpatioTemporalResBlock, TemporalResnetBlock
from diffusers.models.upsampling import Upsample2D
from torch import nn

_SLABS = 16  # pieces into which the rows of pixels are cut


def slice_decoder(vae: Any, frames: int = 4) -> None:
    """Let the decoder work in pieces; its parameters keep their names.

    Args:
        vae: `AutoencoderKLTemporalDecoder`, changed in place.
        frames: Frames at a time in spatial layers.
    """
    for module in vae.decoder.modules():
        if isinstance(module, SpatioTemporalResBlock):
            module.forward = _ResBlock(module, frames)
        elif isinstance(module, Upsample2D):
            module.forward = _ByFrames(module, frames)


class _ByFrames:
    """A layer that sees single frames, a few at a time; its result replaces its input where both have one shape.

    Nothing in the decoder uses the input of such a layer again.
    """

    def __init__(self, layer: nn.Module, frames: int) -> None:
        self._layer, self._frames = layer, frames

    def __call__(self, sample: torch.Tensor, *arguments: Any) -> torch.Tensor:
        whole = type(self._layer).forward
        out: torch.Tensor | None = None
        for first in range(0, len(sample), self._frames):
            part = whole(self._layer, sample[first : first + self._frames], *arguments)
            if out is None:
                same = part.shape[1:] == sample.shape[1:]
                out = sample if same else part.new_empty(len(sample), *part.shape[1:])
            out[first : first + len(part)] = part
        assert out is not None
        return out


class _ResBlock:
    """A spatial residual block, then one over time, blended; the result replaces what the first one gave."""

    def __init__(self, block: Any, frames: int) -> None:
        self._spatial = _ByFrames(block.spatial_res_block, frames)
        self._temporal: Any = block.temporal_res_block
        self._mixer: Any = block.time_mixer

    def __call__(
        self,
        hidden_states: torch.Tensor,
        temb: torch.Tensor | None = None,
        image_only_indicator: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Map `(T, C, H, W)` of one clip to the same."""
        layer: TemporalResnetBlock = self._temporal
        spatial = self._spatial(hidden_states, temb)
        hidden = torch.empty_like(spatial)
        norm = _Norm(layer.norm1, spatial)
        for rows in _slabs(spatial):
            hidden[:, :, rows] = _over_time(layer.conv1, norm(spatial[:, :, rows]))
        norm = _Norm(layer.norm2, hidden)
        alpha = self._mixer.get_alpha(image_only_indicator, 5).to(spatial.dtype)
        if self._mixer.switch_spatial_to_temporal_mix:
            alpha = 1 - alpha
        for rows in _slabs(spatial):
            part = spatial[:, :, rows]
            moved = part + _over_time(layer.conv2, norm(hidden[:, :, rows]))
            spatial[:, :, rows] = alpha * part + (1 - alpha) * moved
        return spatial


class _Norm:
    """Group norm over all frames of a clip, and SiLU, for parts of it."""

    def __init__(self, norm: nn.GroupNorm, sample: torch.Tensor) -> None:
        means, variances = [], []
        for frame in sample:
            groups = frame.reshape(norm.num_groups, -1).float()
            variance, mean = torch.var_mean(groups, dim=1, correction=0)
            means.append(mean)
            variances.append(variance)
        mean = torch.stack(means)
        # Frames have equal weight: variance of all = mean of the variances + variance of the means.
        variance = torch.stack(variances).mean(0) + mean.var(0, correction=0)
        each = norm.num_channels // norm.num_groups
        self._scale = norm.weight.float() * (variance + norm.eps).rsqrt().repeat_interleave(each)
        self._shift = norm.bias.float() - mean.mean(0).repeat_interleave(each) * self._scale

    def __call__(self, part: torch.Tensor) -> torch.Tensor:
        scale, shift = self._scale[:, None, None], self._shift[:, None, None]
        return F.silu((part.float() * scale + shift).to(part.dtype), inplace=True)


def _slabs(sample: torch.Tensor) -> Iterator[slice]:
    height = sample.shape[2]
    step = max(1, height // _SLABS)
    for first in range(0, height, step):
        yield slice(first, first + step)


def _over_time(conv: nn.Conv3d, part: torch.Tensor) -> torch.Tensor:
    """Convolve `(T, C, H, W)` along T."""
    out: torch.Tensor = conv(part.transpose(0, 1)[None])[0].transpose(0, 1)
    return out
