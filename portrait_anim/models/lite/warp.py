"""Warp field of the `lite` profile: where every pixel of a new frame comes from in the portrait.

Rigid head motion and perspective are computed (`geometry.py`); expression displaces points by the canonical face's
field (`expression_field.py`) with coefficients read from the motion latents; a small network then corrects the flow
and says what the portrait does not show.

Shapes: B batch, L tokens, C token channels, K coefficients, h w = a quarter of the crop.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from torch import nn

from portrait_anim.models.lite.blocks import ResidualBlock
from portrait_anim.models.lite.composite import bare_share, behind_head, beyond_crown, enlarge, warp
from portrait_anim.models.lite.expression_field import ExpressionField
from portrait_anim.models.lite.expressions import EXPRESSIONS, ExpressionHeads
from portrait_anim.models.lite.geometry import fill_holes, move_points, pixel_grid, splat_backward_map
from portrait_anim.models.lite.lips import LiteLips, part_lips
from portrait_anim.models.lite.mouth_interior import MouthInterior
from portrait_anim.models.lite.reference_encoder import LiteReferenceFeatures

PRIOR_SHARE = 0.5  # how much the average face decides about depth; the portrait's own estimate decides the rest
PRIOR_SHIFT = -0.036  # the average face lies this much too deep on the synthetic people [half crop sides]
UNDER_SKIN = 0.5  # eyeballs and teeth lose against lids and lips that slide over them [half crop sides]
EXCHANGE_TEETH = (0.08, 0.25)  # opening of the jaw from which, and by which, average teeth replace the portrait's own
OFF_HEAD = 0.3  # what stays behind loses against the head in front of it
_JAW_OPEN = EXPRESSIONS.index("jawOpen")


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

    @property
    def parts(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rotation, anchor in portrait and frame, scale, as `geometry.move_positions` takes them."""
        return self.rotation, self.anchor_source, self.anchor_target, self.scale


@dataclass
class LitePortraitGeometry(BaseOutput):  # type: ignore[misc]
    """Geometry of a portrait, computed once and reused for every frame. `f` is the fine side, 4 h.

    Attributes:
        canonical: `(B, 3, f, f)` place on the canonical face [10 cm].
        depth: `(B, 1, f, f)` [half crop sides], 0 at the eyes, growing away from the viewer.
        rigidity: `(B, 1, f, f)` in [0, 1], 1 where the pixel moves with the head.
        eyeball: `(B, 1, f, f)` in [0, 1], 1 where lids may slide over the pixel.
        opened: `(B, 1, f, f)` in [0, 1], 1 where the portrait shows the inside of its mouth.
        mouth: `(B, 4, 3)` map from the canonical face to the portrait behind its lips, from `MouthInterior.anchor`.
        rotation: `(B, 3, 3)` head pose of the portrait, image axes.
        scale: `(B,)` head size of the portrait [half crop sides per 10 cm].
        top: `(B,)` upper border of the photograph, at most -1, the upper border of the crop.
    """

    canonical: torch.Tensor
    depth: torch.Tensor
    rigidity: torch.Tensor
    eyeball: torch.Tensor
    opened: torch.Tensor
    mouth: torch.Tensor
    rotation: torch.Tensor
    scale: torch.Tensor
    top: torch.Tensor

    def expand(self, batch: int) -> LitePortraitGeometry:
        """Repeat the geometry of one portrait for `batch` frames without copying."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return LitePortraitGeometry(**{k: v.expand(batch, *v.shape[1:]) for k, v in values.items()})


@dataclass
class LiteWarpOutput(BaseOutput):  # type: ignore[misc]
    """Result of the warp field.

    Attributes:
        forward_map: `(B, 2, h, w)` target position of every portrait pixel.
        depth: `(B, 1, h, w)` depth of those positions.
        coarse_flow: `(B, 2, 2h, 2w)` backward map before correction, portrait coordinates.
        flow: `(B, 2, 2h, 2w)` corrected backward map.
        visibility_logits: `(B, 1, h, w)`, positive where the portrait shows this point.
        condition: `(B, C, h, w)` warped features for the denoiser.
        interior: What the opened mouth uncovers, colour in [-1, 1] and opacity in [0, 1]: `(B, 4, 4h, 4w)` between
            lips, `(B, 4, 2h, 2w)` without them.
        own_teeth: `(B, 1, 2h, 2w)` in [0, 1], where the portrait's own open mouth shows.
        own_eyes: `(B, 1, 2h, 2w)` in [0, 1], where the portrait's own eyeballs show.
        bare: `(B, 1, 2h, 2w)` in [0, 1], where the head has gone and nothing came instead.
        behind: `(B, 1, 4h, 4w)` in [0, 1] of the portrait, 1 where it shows what is behind and beside the head.
    """

    forward_map: torch.Tensor
    depth: torch.Tensor
    coarse_flow: torch.Tensor
    flow: torch.Tensor
    visibility_logits: torch.Tensor
    condition: torch.Tensor
    interior: torch.Tensor
    own_teeth: torch.Tensor
    own_eyes: torch.Tensor
    bare: torch.Tensor
    behind: torch.Tensor


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
        self.field = ExpressionField()
        self.mouth = MouthInterior()
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

    def fit(
        self,
        features: LiteReferenceFeatures,
        canonical: torch.Tensor,
        known: torch.Tensor,
        opened: torch.Tensor,
        rotation: torch.Tensor,
        scale: torch.Tensor,
        top: float = -1.0,
    ) -> LitePortraitGeometry:
        """Combine what is measured of a portrait's face with what the reference encoder sees elsewhere.

        Args:
            features: Portrait features, batch B.
            canonical: Canonical positions on the face `(B, 3, s, s)` [10 cm], s = h or 4 h.
            known: Where they hold `(B, 1, s, s)`, 0 or 1.
            opened: Where the portrait shows the inside of its mouth `(B, 1, s, s)`, 0 or 1.
            rotation: Head pose of the portrait `(B, 3, 3)`, image axes.
            scale: Head size of the portrait `(B,)` [half crop sides per 10 cm].
            top: Upper border of the photograph, at most -1, the upper border of the crop.

        Returns:
            Geometry at the fine side.
        """
        side = features.depth.shape[-1]
        weight = F.adaptive_avg_pool2d(known, side)
        coarse = F.adaptive_avg_pool2d(canonical * known, side) / weight.clamp(min=1e-6)
        inside = (weight > 0.5).to(weight)
        everywhere = features.canonical + fill_holes((coarse - features.canonical) * inside, inside)
        rigidity = torch.maximum(features.rigidity, inside)
        flip = rotation.new_tensor([1.0, -1.0, -1.0])[:, None, None]  # head axes to image axes
        centred = (everywhere - self.field.anchor[:, None, None]) * flip
        prior = torch.einsum("bj,bjhw->bhw", rotation[:, 2], centred)[:, None] * scale[:, None, None, None]
        soft = F.avg_pool2d(F.pad(inside, (2, 2, 2, 2), mode="replicate"), 5, 1)
        depth = torch.lerp(features.depth, prior + PRIOR_SHIFT, PRIOR_SHARE * soft)
        stack = torch.cat([everywhere, depth, rigidity], dim=1)
        fine = F.interpolate(stack, scale_factor=4, mode="bilinear", align_corners=False)
        place = fine[:, :3]
        if known.shape[-1] == place.shape[-1]:
            place = torch.where(known > 0.5, canonical, place)
        grid = pixel_grid(place.shape[-1], place.device, place.dtype).permute(2, 0, 1)
        return LitePortraitGeometry(
            canonical=place,
            depth=fine[:, 3:4],
            rigidity=fine[:, 4:],
            eyeball=self.field.under_lids(place) * fine[:, 4:],
            opened=enlarge(opened, place.shape[-1]),
            mouth=self.mouth.anchor(place, enlarge(known, place.shape[-1]), fine[:, 3:4], grid, scale),
            rotation=rotation,
            scale=scale,
            top=torch.full_like(scale, top),
        )

    def forward(
        self,
        features: LiteReferenceFeatures,
        geometry: LitePortraitGeometry,
        latent_source: torch.Tensor,
        latent_target: torch.Tensor,
        head: HeadMotion,
        coefficients: tuple[torch.Tensor, torch.Tensor] | None = None,
        lips: LiteLips | None = None,
    ) -> LiteWarpOutput:
        """Compute the backward flow of one frame per batch element.

        Args:
            features: Portrait features, batch B.
            geometry: Portrait geometry from `fit`, batch B.
            latent_source: Motion latent of the portrait `(B, L, C)`.
            latent_target: Motion latent to show `(B, L, C)`.
            head: Rigid head motion.
            coefficients: True coefficients of portrait and frame `(B, K)` each, for training; `None` reads them from
                the latents.
            lips: Inner lip edges of the portrait, batch B; `None` takes gaps of the warp for openings of the mouth,
                which misses small ones.

        Returns:
            Flow, visibility and warped features.
        """
        before, after = coefficients or (self.heads(latent_source), self.heads(latent_target))  # (B, K)
        with torch.autocast(after.device.type, enabled=False):  # positions need more than 8 bits
            moved, depth = self._move(geometry, head, (after - before).float())
        side = features.depth.shape[-1]
        under = torch.maximum(geometry.eyeball, geometry.opened)
        order = depth + OFF_HEAD * (1 - geometry.rigidity) + UNDER_SKIN * under
        payload = torch.cat([geometry.opened, geometry.eyeball, geometry.rigidity], dim=1)
        fine, covered, carried = splat_backward_map(moved, order, payload, 2 * side)
        own_teeth, own_eyes, follows = carried.clamp(0, 1).split(1, dim=1)
        fine = fine.clamp(-1.2, 1.2)
        # what the correction network sees comes from every second point: it needs no more
        half = F.avg_pool2d(torch.cat([moved, order, geometry.canonical, geometry.rigidity, depth], dim=1), 2)
        coarse, coverage, carried = splat_backward_map(half[:, :2], half[:, 2:3], half[:, 3:], side)
        coarse = coarse.clamp(-1.2, 1.2)
        warped = warp(features.appearance, coarse)
        here = pixel_grid(side, coarse.device, coarse.dtype).permute(2, 0, 1)
        condition = torch.cat([warped, carried, coverage, 4 * (coarse - here)], dim=1)  # appearance + 5 + 1 + 2
        interior, own_teeth = self._open_mouth(geometry, head, before.float(), after.float(), covered, own_teeth, lips)
        correction = self._correct(condition, latent_source, latent_target)
        shift = F.interpolate(correction[:, :2], scale_factor=2, mode="bilinear", align_corners=False)
        return LiteWarpOutput(
            forward_map=F.avg_pool2d(moved, 4),
            depth=F.avg_pool2d(depth, 4),
            coarse_flow=fine,
            flow=fine + 0.1 * shift,
            visibility_logits=correction[:, 2:],
            condition=condition,
            interior=interior,
            own_teeth=own_teeth,
            own_eyes=own_eyes,
            bare=torch.maximum(
                bare_share(covered, follows),
                beyond_crown(fine, geometry.rigidity, geometry.scale, geometry.top),
            ),
            behind=behind_head(geometry.rigidity),
        )

    def _open_mouth(
        self,
        geometry: LitePortraitGeometry,
        head: HeadMotion,
        before: torch.Tensor,
        after: torch.Tensor,
        covered: torch.Tensor,
        own_teeth: torch.Tensor,
        lips: LiteLips | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mouth interior, and what remains of the portrait's own teeth `(B, 1, s, s)`.

        The interior, `(B, 4, 2s, 2s)`, shows between the lips; without them, `(B, 4, s, s)`, where the skin, which
        covers `(B, 1, s, s)` of every cell, leaves a gap. Teeth that a portrait shows stay while its mouth opens
        little; wider open they would be half a row beside an average one.
        """
        opening = after[:, _JAW_OPEN] - before[:, _JAW_OPEN]
        exchanged = ((opening - EXCHANGE_TEETH[0]) / (EXCHANGE_TEETH[1] - EXCHANGE_TEETH[0])).clamp(0, 1)
        exchanged = exchanged[:, None, None, None]
        own = own_teeth * (1 - exchanged)
        side = covered.shape[-1]
        with torch.autocast(covered.device.type, enabled=False):
            if lips is None:
                place = pixel_grid(side, covered.device).expand(len(after), -1, -1, -1)
                colour, present = self.mouth(
                    place, geometry.mouth, after, geometry.rotation, geometry.scale, head.parts, side
                )
                gap = (1.3 - 4 * F.avg_pool2d(covered, 3, 1, 1)).clamp(0, 1)
                return torch.cat([colour, torch.maximum(gap, own_teeth * exchanged) * present], dim=1), own
            return self.look_between(lips, geometry, after - before, after, head, own, 2 * side), own

    def look_between(
        self,
        lips: LiteLips,
        geometry: LitePortraitGeometry,
        change: torch.Tensor,
        after: torch.Tensor,
        head: HeadMotion,
        own_teeth: torch.Tensor,
        side: int,
    ) -> torch.Tensor:
        """What shows between lips.

        Args:
            lips: Inner lip edges of the portrait, batch B.
            geometry: Portrait geometry, batch B.
            change: Change of the coefficients since the portrait `(B, K)`.
            after: Coefficients to show `(B, K)`.
            head: Rigid head motion.
            own_teeth: What remains of the portrait's own teeth, which hide what is behind them, `(B, 1, s, s)`.
            side: Side S of the frame.

        Returns:
            Colour in [-1, 1] and opacity in [0, 1], `(B, 4, S, S)`.
        """
        fitted = (geometry.rotation, geometry.scale, head.parts, side)
        parted = part_lips(lips, self.field, change, *fitted)
        colour, _ = self.mouth(parted.place, geometry.mouth, after, *fitted)
        colour = (colour + 1) * parted.light - 1
        interior = parted.spread(torch.cat([colour, parted.opening[:, None]], dim=1), side)
        return torch.cat([interior[:, :3], interior[:, 3:] * (1 - enlarge(own_teeth, side))], dim=1)

    def _move(
        self, geometry: LitePortraitGeometry, head: HeadMotion, change: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Target position `(B, 2, f, f)` and depth `(B, 1, f, f)` of every portrait pixel."""
        # What shows between a portrait's lips are nearly always upper teeth, which stay with the skull.
        offset = self.field(change, geometry.canonical) * (1 - geometry.opened)
        flip = offset.new_tensor([1.0, -1.0, -1.0])[:, None, None]
        offset = torch.einsum("bij,bjhw->bihw", geometry.rotation, offset * flip) * geometry.scale[:, None, None, None]
        return move_points(geometry.depth, offset, geometry.rigidity, *head.parts)

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
