"""Warp field of the `lite` profile: where every pixel of a new frame comes from in the portrait.

Rigid head motion and perspective are computed (`geometry.py`); expression displaces points by the portrait's own
basis with coefficients read from the motion latents; a small network then corrects the flow and says what the
portrait does not show.

Shapes: B batch, L tokens, C token channels, K basis size, h w = a quarter of the crop.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from torch import nn

from portrait_anim.models.lite.blocks import ResidualBlock
from portrait_anim.models.lite.expressions import ExpressionHeads
from portrait_anim.models.lite.geometry import move_points, pixel_grid, splat_backward_map
from portrait_anim.models.lite.reference_encoder import LiteReferenceFeatures


@dataclass
class HeadMotion:
    """Rigid head motion from the portrait to a frame.

    Attributes:
        rotation: `(B, 3, 3)` relative rotation in image axes.
        anchor_source: `(B, 2)` midpoint between the eyeballs in the portrait crop, [-1, 1].
        anchor_target: `(B, 2)` the same in the frame.
        scale: `(B,)` head size relative to the portrait.
    """

    rotation: torch.Tensor
    anchor_source: torch.Tensor
    anchor_target: torch.Tensor
    scale: torch.Tensor


@dataclass
class LiteWarpOutput(BaseOutput):  # type: ignore[misc]
    """Result of the warp field.

    Attributes:
        forward_map: `(B, 2, h, w)` target position of every portrait pixel.
        depth: `(B, 1, h, w)` depth of those positions.
        coarse_flow: `(B, 2, h, w)` backward map before correction, portrait coordinates.
        flow: `(B, 2, h, w)` corrected backward map.
        visibility_logits: `(B, 1, h, w)`, positive where the portrait shows this point.
        condition: `(B, C, h, w)` warped features for the denoiser.
    """

    forward_map: torch.Tensor
    depth: torch.Tensor
    coarse_flow: torch.Tensor
    flow: torch.Tensor
    visibility_logits: torch.Tensor
    condition: torch.Tensor


class LiteWarpField(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Flow and visibility from portrait geometry, two motion latents and head motion.

    Args:
        num_tokens: Tokens L of a motion latent.
        token_dim: Channels C of a token.
        appearance_dim: Channels of the reference encoder's appearance features.
        channels: Widths of the correction network at 1/4, 1/8 and 1/16 of the crop.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_tokens: int = 16,
        token_dim: int = 16,
        appearance_dim: int = 24,
        channels: tuple[int, int, int] = (32, 64, 96),
    ) -> None:
        super().__init__()
        c4, c8, c16 = channels
        self.heads = ExpressionHeads(token_dim)
        latent_dim = num_tokens * token_dim
        self.embed = nn.Sequential(nn.Linear(2 * latent_dim, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU())
        self.conv_in = nn.Conv2d(appearance_dim + 8, c4, 3, padding=1)
        self.down8 = nn.Conv2d(c4, c8, 3, stride=2, padding=1)
        self.block8 = ResidualBlock(c8, c8, 128)
        self.down16 = nn.Conv2d(c8, c16, 3, stride=2, padding=1)
        self.block16 = ResidualBlock(c16, c16, 128)
        self.up8 = ResidualBlock(c16 + c8, c8, 128)
        self.up4 = ResidualBlock(c8 + c4, c4, 128)
        self.to_flow = nn.Conv2d(c4, 3, 3, padding=1)
        nn.init.zeros_(self.to_flow.weight)
        nn.init.zeros_(self.to_flow.bias)  # type: ignore[arg-type]

    def forward(
        self,
        features: LiteReferenceFeatures,
        latent_source: torch.Tensor,
        latent_target: torch.Tensor,
        head: HeadMotion,
        change: torch.Tensor | None = None,
    ) -> LiteWarpOutput:
        """Compute the backward flow of one frame per batch element.

        Args:
            features: Portrait features, batch B.
            latent_source: Motion latent of the portrait `(B, L, C)`.
            latent_target: Motion latent to show `(B, L, C)`.
            head: Rigid head motion.
            change: True change of the coefficients `(B, K)` for training; `None` reads it from the latents.

        Returns:
            Flow, visibility and warped features.
        """
        if change is None:
            change = self.heads(latent_target) - self.heads(latent_source)  # (B, K)
        offset = torch.einsum("bk,bkchw->bchw", change, features.basis)
        geometry = torch.cat([features.depth, offset, features.rigidity, features.canonical], dim=1)
        fine = F.interpolate(geometry, scale_factor=2, mode="bilinear", align_corners=False)
        moved, depth = move_points(
            fine[:, :1], fine[:, 1:4], fine[:, 4:5], head.rotation, head.anchor_source, head.anchor_target, head.scale
        )
        side = features.depth.shape[-1]
        payload = torch.cat([fine[:, 4:8], depth], dim=1)
        coarse, coverage, carried = splat_backward_map(moved, depth + 0.3 * (1 - fine[:, 4:5]), payload, side)
        coarse = coarse.clamp(-1.2, 1.2)
        warped = warp(features.appearance, coarse)
        here = pixel_grid(side, coarse.device, coarse.dtype).permute(2, 0, 1)
        condition = torch.cat([warped, carried, coverage, 4 * (coarse - here)], dim=1)  # appearance + 5 + 1 + 2
        correction = self._correct(condition, latent_source, latent_target)
        flow = coarse + 0.1 * correction[:, :2]
        return LiteWarpOutput(
            forward_map=F.avg_pool2d(moved, 2),
            depth=F.avg_pool2d(depth, 2),
            coarse_flow=coarse,
            flow=flow,
            visibility_logits=correction[:, 2:],
            condition=condition,
        )

    def _correct(self, condition: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Flow correction and visibility `(B, 3, h, w)` from the warped features."""
        embedding = self.embed(torch.cat([target.flatten(1), (target - source).flatten(1)], dim=1))
        hidden4 = F.silu(self.conv_in(condition))
        hidden8 = self.block8(self.down8(hidden4), embedding)
        hidden = self.block16(self.down16(hidden8), embedding)
        hidden = F.interpolate(hidden, scale_factor=2, mode="nearest")
        hidden = self.up8(torch.cat([hidden, hidden8], dim=1), embedding)
        hidden = F.interpolate(hidden, scale_factor=2, mode="nearest")
        hidden = self.up4(torch.cat([hidden, hidden4], dim=1), embedding)
        out: torch.Tensor = self.to_flow(F.silu(hidden))
        return out


def warp(image: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Sample `image` `(B, C, H, W)` at backward map `flow` `(B, 2, h, w)` in [-1, 1] -> `(B, C, h, w)`."""
    return F.grid_sample(image, flow.permute(0, 2, 3, 1), mode="bilinear", padding_mode="border", align_corners=False)
