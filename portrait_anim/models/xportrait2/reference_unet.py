"""Reference UNet of the `xportrait2` profile: the portrait's features at every attention layer of the denoiser.

Shapes: B batch, N_i tokens and C_i channels of layer i, H W latent pixels.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import register_to_config

from portrait_anim.models.xportrait2.unet import UNetLevel, UNetSkeleton


class XPortrait2ReferenceUNet(UNetSkeleton):
    """Stable Diffusion's UNet without an output; it runs once per portrait.

    Args:
        in_channels: Latent channels.
        block_channels: Widths of the levels.
        heads: Attention heads everywhere.
        context_dim: Width of the image token.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        in_channels: int = 4,
        block_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        heads: int = 8,
        context_dim: int = 768,
    ) -> None:
        super().__init__()
        self._build(in_channels, tuple(block_channels), heads, context_dim)

    def forward(self, sample: torch.Tensor, image_token: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Read a portrait.

        Args:
            sample: Latent of the portrait, scaled `(B, 4, H, W)`.
            image_token: Image embedding `(B, context_dim)`.

        Returns:
            What enters self-attention in each spatial transformer, `(B, N_i, C_i)`, in forward order. Nothing after
            the last of them is computed.
        """
        layers = self.image_transformers()
        taps: list[torch.Tensor] = []

        def mix(level: UNetLevel, index: int, hidden: torch.Tensor) -> torch.Tensor:
            if not level.attentions:
                return hidden
            layer = layers[len(taps)]
            tokens, normed = layer.enter(hidden)
            taps.append(normed)
            if len(taps) == len(layers):
                return hidden
            image = layer.block.attn2.constant(image_token)
            rows = [None] * len(image)
            return layer.leave(layer.block(tokens, normed, image, rows), hidden)

        self._walk(sample, self._embed_time(torch.zeros((), device=sample.device), sample), mix)
        return tuple(taps)
