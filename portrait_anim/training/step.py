"""One training step of the `lite` profile: from a batch of samples to a loss and metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from portrait_anim.models import LiteDenoiser, LiteMotionEncoder, LiteReferenceEncoder, LiteWarpField
from portrait_anim.models.lite.geometry import euler_to_matrix
from portrait_anim.models.lite.motion_encoder import LiteMotionOutput
from portrait_anim.models.lite.mouth_interior import between_lips
from portrait_anim.models.lite.reference_encoder import LiteReferenceFeatures
from portrait_anim.models.lite.warp import HeadMotion, LiteWarpOutput, enlarge, keep_interior, show, warp
from portrait_anim.training import augment
from portrait_anim.training.losses import (
    PIXELS,
    MotionLabels,
    expression_weights,
    image_losses,
    motion_losses,
    part_weight,
    unexplained,
    warp_losses,
    weighted_mean,
)

LOSS_WEIGHTS = {
    "expression": 4.0, "gaze": 2.0, "rotation": 8.0, "placement": 8.0, "difference": 4.0, "agreement": 0.1,
    "forward": 0.5, "flow": 0.5, "visibility": 0.3, "depth": 2.0, "canonical": 2.0,
}  # fmt: skip


class LiteNetworks(nn.Module):
    """All modules of the profile."""

    def __init__(self) -> None:
        super().__init__()
        self.motion_encoder = LiteMotionEncoder()
        self.reference_encoder = LiteReferenceEncoder()
        self.warp_field = LiteWarpField()
        self.denoiser = LiteDenoiser()


@dataclass(kw_only=True, slots=True)
class StepResult:
    """Loss to minimise and numbers to log; `pictures` are `(B, 3, S, S)` in [0, 1] for sample sheets."""

    loss: torch.Tensor
    metrics: dict[str, float]
    pictures: dict[str, torch.Tensor] = field(default_factory=dict)


def prepare(batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Convert stored samples to floats and mirror half of them; forward maps come at a quarter of the resolution."""
    images = ("source", "target", "driver", "visible", "forward_trust")
    out = {
        k: (v.float() / 255.0 if k in images else v.float() if v.is_floating_point() else v) for k, v in batch.items()
    }
    for key in ("forward", "forward_trust"):
        out[key] = F.avg_pool2d(out[key], 2)
    flip = torch.rand(len(out["source"]), generator=generator) < 0.5
    return augment.mirror(out, flip)


def head_motion(batch: dict[str, torch.Tensor]) -> HeadMotion:
    """True rigid motion from source to target."""
    source = euler_to_matrix(torch.deg2rad(batch["head_src"]))
    target = euler_to_matrix(torch.deg2rad(batch["head_tgt"]))
    return HeadMotion(
        rotation=target @ source.transpose(1, 2),
        anchor_source=augment.project(batch["anchor_src"]),
        anchor_target=augment.project(batch["anchor_tgt"]),
        scale=batch["anchor_src"][:, 2] / batch["anchor_tgt"][:, 2],
    )


def _encode(
    nets: LiteNetworks, batch: dict[str, torch.Tensor], generator: torch.Generator, strength: float
) -> tuple[LiteMotionOutput, MotionLabels]:
    """Motion of driver, target and source crops, stacked `(3B, ...)` in that order, and their labels."""
    crops = [
        augment.motion_crops(batch[image], batch[f"anchor_{tag}"], batch[f"head_{tag}"], generator, jitter)
        for image, tag, jitter in (("driver", "drv", 1.0), ("target", "tgt", 0.5), ("source", "src", 0.5))
    ]
    image = augment.photometric(torch.cat([c.image for c in crops]), generator, strength) * 2 - 1
    out = nets.motion_encoder(image.contiguous(memory_format=torch.channels_last))
    labels = MotionLabels(
        expression=torch.cat([batch["expr_drv"], batch["expr_drv"], batch["expr_src"]]),
        gaze=torch.cat([batch["gaze_drv"], batch["gaze_drv"], batch["gaze_src"]]),
        rotation=torch.cat([c.rotation for c in crops]),
        placement=torch.cat([c.placement for c in crops]),
    )
    return LiteMotionOutput(**{k: v.float() for k, v in out.items()}), labels


def true_coefficients(batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The 55 coefficients of source and target `(B, 55)`, eyeLook* left to gaze."""
    counted = expression_weights().to(batch["expr_src"]) > 0
    source, target = (
        torch.cat([batch[f"expr_{tag}"] * counted, batch[f"gaze_{tag}"] / 20.0], dim=1) for tag in ("src", "drv")
    )
    return source, target


def read_change(
    nets: LiteNetworks, batch: dict[str, torch.Tensor], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the motion encoder reads from driver and source pictures as change of coefficients, and the true change.

    Args:
        nets: Networks in evaluation mode.
        batch: Stored samples.
        generator: Decides how the crops are jittered.

    Returns:
        Two tensors `(B, 55)`.
    """
    ready = prepare(batch, generator)
    motion, _ = _encode(nets, ready, generator, 0.0)
    driver, _, source = motion.latent.split(len(ready["source"]))
    before, after = true_coefficients(ready)
    heads = nets.warp_field.heads
    return heads(driver) - heads(source), after - before


def read_pose_labels(
    nets: LiteNetworks, batch: dict[str, torch.Tensor], generator: torch.Generator, strength: float = 0.6
) -> torch.Tensor:
    """Run the motion encoder on damaged crops of a stored batch B; the true rotation and placement `(3B, 6)`."""
    _, labels = _encode(nets, prepare(batch, generator), generator, strength)
    return torch.cat([labels.rotation, labels.placement], dim=1)


def motion_step(
    nets: LiteNetworks, batch: dict[str, torch.Tensor], generator: torch.Generator, strength: float, bf16: bool
) -> tuple[dict[str, torch.Tensor], LiteMotionOutput]:
    """Stage 0: the motion encoder alone, on labels, on differences within one person, and across people.

    Returns:
        Losses, and motion of driver, target and source crops stacked in that order.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        motion, labels = _encode(nets, batch, generator, strength)
    driver, target, source = motion.latent.split(len(batch["source"]))
    losses = motion_losses(motion, nets.warp_field.heads, labels)
    heads = nets.warp_field.heads
    weight = torch.cat([expression_weights(), torch.tensor([3.0, 3.0])]).to(target)
    before, after = true_coefficients(batch)
    losses["difference"] = unexplained(heads(target) - heads(source), after - before, weight)
    losses["agreement"] = F.mse_loss(driver, target) / (target.var().detach() + 1e-3)
    return losses, motion


def total(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    """Weighted sum of losses."""
    return torch.stack([LOSS_WEIGHTS[k] * v for k, v in losses.items()]).sum()


def warp_step(
    nets: LiteNetworks,
    batch: dict[str, torch.Tensor],
    generator: torch.Generator,
    strength: float,
    bf16: bool,
    *,
    taught_share: float = 0.5,
) -> tuple[torch.Tensor, dict[str, float], LiteMotionOutput, LiteReferenceFeatures, LiteWarpOutput]:
    """Stage 1: motion encoder, portrait geometry and warp field.

    `taught_share` of the samples move by the true coefficients, the others by those that the motion encoder reads: the
    geometry learns from clean causes, and what corrects it learns from the encoder's mistakes.
    """
    size = len(batch["source"])
    losses, motion = motion_step(nets, batch, generator, strength, bf16)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        features = nets.reference_encoder((batch["source"] * 2 - 1).contiguous(memory_format=torch.channels_last))
    features = LiteReferenceFeatures(**{k: v.float() for k, v in features.items()})
    driver, target, source = motion.latent.split(size)
    own = torch.rand(size, 1, 1, generator=generator) < 0.25  # sometimes drive with the person's own frame
    shown = torch.where(own, target, driver)
    taught = torch.rand(size, 1, generator=generator) < taught_share
    mask = (batch["points"][:, 6:] > 0.99).float()
    canonical = batch["points"][:, 3:6] / 10.0
    heads = nets.warp_field.heads
    before, after = true_coefficients(batch)
    before, after = torch.where(taught, before, heads(source)), torch.where(taught, after, heads(shown))
    geometry = nets.warp_field.fit(
        features, canonical, mask, between_lips(canonical), euler_to_matrix(torch.deg2rad(batch["head_src"])),
        10 * augment.FOCAL / -batch["anchor_src"][:, 2],
    )  # fmt: skip
    head = head_motion(batch)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = nets.warp_field(features, geometry, source, shown, head, (before, after))
    out = LiteWarpOutput(**{k: v.float() for k, v in out.items()})
    weight_source = part_weight(canonical, mask)
    weight_target = 1 + warp(weight_source - 1, batch["flow"].clamp(-2, 2))
    losses |= warp_losses(out, batch, weight_source, weight_target)
    depth = (-batch["points"][:, 2:3] + batch["anchor_src"][:, 2, None, None, None]) * augment.FOCAL
    depth = depth / -batch["anchor_src"][:, 2, None, None, None]
    losses["depth"] = weighted_mean((features.depth - depth).abs(), mask)
    losses["canonical"] = weighted_mean((features.canonical - canonical).abs(), mask)
    loss = total(losses)
    metrics = {k: v.item() for k, v in losses.items()}
    with torch.no_grad():
        seen = (batch["visible"] > 0.9).float()
        face = seen * (weight_target > 1.5)
        for name, flow in (("epe", out.flow), ("epe_coarse", out.coarse_flow)):
            error = ((flow - batch["flow"]) * PIXELS).norm(dim=1, keepdim=True)
            metrics[name], metrics[f"{name}_face"] = (
                weighted_mean(error, seen).item(),
                weighted_mean(error, face).item(),
            )
    return loss, metrics, motion, features, out


def wrong_share(warped: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Where the warped portrait needs paint.

    Visibility alone would paint over teeth and lids that the warp shows well, so the colour error decides: half of the
    mask at an error of 4 % of the range.

    Args:
        warped: `(B, 3, S, S)` in [-1, 1].
        target: The same of the true frame.

    Returns:
        `(B, 1, S, S)` in [0, 1).
    """
    error = F.avg_pool2d((warped - target).abs().mean(1, keepdim=True) / 2, 3, 1, 1)
    return 1 - torch.exp(-error * (math.log(2) / 0.04))


def denoise_step(
    nets: LiteNetworks,
    batch: dict[str, torch.Tensor],
    generator: torch.Generator,
    motion: LiteMotionOutput,
    features: LiteReferenceFeatures,
    field_out: LiteWarpOutput,
    bf16: bool,
) -> tuple[torch.Tensor, dict[str, float], dict[str, torch.Tensor]]:
    """Stage 2: the denoiser on top of a warp that it does not change."""
    size = len(batch["source"])
    driver, _, source = (v.detach() for v in motion.latent.split(size))
    warped = show(batch["source"] * 2 - 1, field_out).detach()
    target = batch["target"] * 2 - 1
    time = torch.where(torch.rand(size, generator=generator) < 0.5, 1.0, torch.rand(size, generator=generator))
    noise = torch.randn(target.shape, generator=generator)
    noisy = torch.lerp(target, noise, time[:, None, None, None])
    visibility = torch.sigmoid(field_out.visibility_logits.detach())
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = nets.denoiser(
            F.pixel_unshuffle(noisy, 4), time, F.pixel_unshuffle(warped, 4), visibility,
            field_out.condition.detach(), torch.stack([driver, source], 1), features.context.detach(),
        )  # fmt: skip
    picture = keep_interior(F.pixel_shuffle(out.sample.float(), 4), warped, field_out)
    mask_logits = F.pixel_shuffle(out.mask_logits.float(), 4)
    points = batch["points"]
    weight_source = part_weight(points[:, 3:6] / 10.0, (points[:, 6:] > 0.99).float(), gain=10.0)
    weight = 1 + warp(weight_source - 1, field_out.flow.detach())
    weight = enlarge(weight, target.shape[-1])
    losses = image_losses(picture, target, weight)
    losses["mask"] = F.binary_cross_entropy_with_logits(mask_logits, wrong_share(warped, target))
    loss = 2 * losses["colour"] + 2 * losses["edges"] + 0.1 * losses["mask"]
    metrics = {k: v.item() for k, v in losses.items()}
    with torch.no_grad():
        metrics["l1"] = (picture - target).abs().mean().item() / 2
        metrics["l1_warped"] = (warped - target).abs().mean().item() / 2
        metrics["l1_still"] = (batch["source"] - batch["target"]).abs().mean().item()
    pictures = {
        "warped": warped / 2 + 0.5,
        "mask": torch.sigmoid(mask_logits),
        "output": picture.clamp(-1, 1) / 2 + 0.5,
    }
    return loss, metrics, pictures
