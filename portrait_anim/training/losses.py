"""Losses of the `lite` profile. All are means over the batch; distances in the image are in pixels at 256 px."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from portrait_anim.models.lite.expressions import EXPRESSIONS, ExpressionHeads
from portrait_anim.models.lite.motion_encoder import LiteMotionOutput
from portrait_anim.models.lite.warp import LiteWarpOutput

PIXELS = 128.0  # half the image side: image coordinates -> px at 256
# Centres on the canonical face [10 cm] and radius of the parts that viewers look at.
_PARTS = ((0.324, 0.347, 0.924, 0.16), (-0.324, 0.347, 0.924, 0.16), (0.0, -0.335, 1.11, 0.24))


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionLabels:
    """What a crop really shows: coefficients `(B, 53)`, gaze `(B, 2)` [deg], rotation and placement `(B, 3)`."""

    expression: torch.Tensor
    gaze: torch.Tensor
    rotation: torch.Tensor
    placement: torch.Tensor


def expression_weights(like: torch.Tensor) -> torch.Tensor:
    """Weight `(53,)` of each coefficient: more for what viewers watch, 0 for eyeLook* (gaze says it).

    Args:
        like: Gives device and type of the result.
    """
    strong = {
        "eyeBlink": 2.5, "eyeWide": 1.5, "eyeLook": 0.0, "brow": 1.5, "jaw": 1.5, "mouthPucker": 1.5, "mouthSmile": 1.5,
    }  # fmt: skip
    return like.new_tensor([next((v for k, v in strong.items() if n.startswith(k)), 1.0) for n in EXPRESSIONS])


def unexplained(prediction: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Weighted mean over columns of the share of a batch's variance that the prediction leaves unexplained (1 - R^2).

    Squares, not absolute values: most coefficients rest at 0 most of the time, and the conditional median of such a
    variable is 0, which teaches a network to answer with faint expressions. A floor of 0.1 on the deviation keeps
    columns that hardly move in this batch from dominating.

    Args:
        prediction: `(B, K)`.
        truth: `(B, K)`.
        weight: `(K,)` importance; equal when `None`.
    """
    share = ((prediction - truth) ** 2).mean(0) / (truth.var(0, unbiased=False) + 0.01)
    if weight is None:
        return share.mean()
    return (share * weight).sum() / weight.sum()


def motion_losses(out: LiteMotionOutput, heads: ExpressionHeads, labels: MotionLabels) -> dict[str, torch.Tensor]:
    """Supervise a motion encoder with the causes of the render."""
    coefficients, gaze = heads(out.latent).split([53, 2], dim=1)
    return {
        "expression": unexplained(coefficients, labels.expression, expression_weights(coefficients)),
        "gaze": unexplained(gaze, labels.gaze / 20.0),
        "rotation": F.smooth_l1_loss(out.rotation, labels.rotation, beta=0.05),
        "placement": F.smooth_l1_loss(out.placement, labels.placement, beta=0.05),
    }


def part_weight(canonical: torch.Tensor, mask: torch.Tensor, gain: float = 5.0) -> torch.Tensor:
    """Weight map that favours eyes and mouth.

    Args:
        canonical: `(B, 3, h, w)` canonical positions [10 cm].
        mask: `(B, 1, h, w)` 1 on the face mesh.
        gain: Weight added at the centre of a part.

    Returns:
        `(B, 1, h, w)`: 1 off the face, 2 on it, up to 2 + gain at eyes and mouth.
    """
    weight = 1.0 + mask
    for x, y, z, radius in _PARTS:
        centre = canonical.new_tensor([x, y, z])[:, None, None]
        distance = ((canonical - centre) ** 2).sum(1, keepdim=True)
        weight = weight + gain * mask * torch.exp(-distance / (2 * (radius / 1.5) ** 2))
    return weight


def weighted_mean(value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean of `value` `(B, C, h, w)` under `weight` `(B, 1, h, w)`; channels are summed first."""
    return (value.sum(1, keepdim=True) * weight).sum() / weight.sum().clamp(min=1.0)


def charbonnier(error: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Smooth absolute value, quadratic below `epsilon`."""
    return torch.sqrt(error**2 + epsilon**2) - epsilon


def warp_losses(
    out: LiteWarpOutput, batch: dict[str, torch.Tensor], weight_source: torch.Tensor, weight_target: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Supervise forward map, backward flow and visibility.

    Args:
        out: Warp field.
        batch: `forward` `(B, 2, h, w)`, `forward_trust` `(B, 1, h, w)` in [0, 1], `flow` `(B, 2, 2h, 2w)`, `visible`
            `(B, 1, 2h, 2w)` in [0, 1].
        weight_source: Importance of portrait pixels `(B, 1, h, w)`.
        weight_target: Importance of target pixels `(B, 1, 2h, 2w)`.
    """
    trusted = weight_source * (batch["forward_trust"] > 0.9) * (batch["forward"].abs() < 1.05).all(1, keepdim=True)
    seen = weight_target * (batch["visible"] > 0.9)
    forward = charbonnier((out.forward_map - batch["forward"]) * PIXELS, 0.5)
    flow = charbonnier((out.flow - batch["flow"]) * PIXELS, 0.5)
    return {
        "forward": weighted_mean(forward, trusted),
        "flow": weighted_mean(flow, seen),
        "visibility": F.binary_cross_entropy_with_logits(
            out.visibility_logits, F.avg_pool2d(batch["visible"], 2), weight=F.avg_pool2d(weight_target, 2)
        ),
    }


def image_losses(prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Compare images `(B, 3, S, S)` in [-1, 1] under `weight` `(B, 1, S, S)`: colour and gradients at two scales."""
    loss = {"colour": weighted_mean(charbonnier(prediction - target, 0.02), weight)}
    edges = prediction.new_zeros(())
    for scale in (1, 2, 4):
        a, b = F.avg_pool2d(prediction, scale), F.avg_pool2d(target, scale)
        w = F.avg_pool2d(weight, scale)
        edges = edges + weighted_mean(charbonnier(a.diff(dim=-1) - b.diff(dim=-1), 0.02), w[..., 1:])
        edges = edges + weighted_mean(charbonnier(a.diff(dim=-2) - b.diff(dim=-2), 0.02), w[..., 1:, :])
    loss["edges"] = edges
    return loss
