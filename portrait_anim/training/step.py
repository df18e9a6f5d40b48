"""Training steps of motion encoder, portrait geometry and warp: from a batch of samples to losses and metrics.

Nothing here waits for the device: metrics are tensors, and the loop reads them now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from portrait_anim.models.lite.composite import enlarge, show, warp
from portrait_anim.models.lite.geometry import euler_to_matrix
from portrait_anim.models.lite.motion_encoder import LiteMotionOutput
from portrait_anim.models.lite.mouth_interior import between_lips
from portrait_anim.models.lite.reference_encoder import LiteReferenceFeatures
from portrait_anim.models.lite.warp import HeadMotion, LiteWarpOutput
from portrait_anim.training import augment
from portrait_anim.training.draws import Draws, uniform
from portrait_anim.training.losses import (
    PIXELS,
    MotionLabels,
    expression_weights,
    motion_losses,
    part_weight,
    unexplained,
    warp_losses,
    weighted_mean,
)
from portrait_anim.training.networks import LiteNetworks, mixed_precision

LOSS_WEIGHTS = {
    "expression": 4.0, "gaze": 2.0, "rotation": 96.0, "placement": 24.0, "difference": 4.0, "agreement": 0.4,
    "landmarks": 4.0, "forward": 0.5, "flow": 0.5, "visibility": 0.3, "depth": 2.0, "canonical": 2.0,
}  # fmt: skip
WARP_LOSSES = ("forward", "flow", "visibility", "depth", "canonical")

Batch = dict[str, torch.Tensor]
Pictures = Callable[[], dict[str, torch.Tensor]]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepInput:
    """What a step works with besides its batch.

    Attributes:
        nets: Networks being trained or measured.
        draws: Source of randomness.
        strength: Strength of photometric damage, 0 to 1.
        bf16: Run the networks in bfloat16.
        teacher: Frozen networks to learn from; `None` unless the stage has a teacher.
    """

    nets: LiteNetworks
    draws: Draws
    strength: float = 1.0
    bf16: bool = False
    teacher: LiteNetworks | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """Outcome of a step.

    Attributes:
        loss: What to minimise, a scalar.
        metrics: Scalars to log, still on the device.
        pictures: Makes `(B, 3 or 1, S, S)` in [0, 1] for a sample sheet.
    """

    loss: torch.Tensor
    metrics: dict[str, torch.Tensor]
    pictures: Pictures = dict


@dataclass(frozen=True, kw_only=True, slots=True)
class Warped:
    """A batch after motion encoder, reference encoder and warp field.

    Attributes:
        losses: Supervision of all three.
        metrics: Flow errors [px at 256].
        motion: Motion of driver, target and source crops, stacked in that order.
        features: Portrait features.
        field: Warp.
    """

    losses: dict[str, torch.Tensor]
    metrics: dict[str, torch.Tensor]
    motion: LiteMotionOutput
    features: LiteReferenceFeatures
    field: LiteWarpOutput


def prepare(batch: Batch, draws: Draws, group: int = 1) -> Batch:
    """Convert stored samples to floats and mirror half of them; forward maps come at a quarter of the resolution.

    Args:
        batch: Stored samples, images uint8.
        draws: Decides what is mirrored.
        group: Neighbours that are mirrored together.
    """
    images = ("source", "target", "driver", "visible", "forward_trust")
    out = {
        k: (v.float() / 255.0 if k in images else v.float() if v.is_floating_point() else v) for k, v in batch.items()
    }
    for key in ("forward", "forward_trust"):
        out[key] = F.avg_pool2d(out[key], 2)
    size = len(out["source"])
    flip = uniform(draws, out["source"], size // group) < 0.5
    return augment.mirror(out, flip.repeat_interleave(group, output_size=size))


def head_motion(batch: Batch) -> HeadMotion:
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
    nets: LiteNetworks, batch: Batch, draws: Draws, strength: float, bf16: bool = False
) -> tuple[LiteMotionOutput, MotionLabels]:
    """Motion of driver, target and source crops, stacked `(3B, ...)` in that order, and their labels."""
    crops = [
        augment.motion_crops(batch[image], batch[f"anchor_{tag}"], batch[f"head_{tag}"], draws, jitter)
        for image, tag, jitter in (("driver", "drv", 1.0), ("target", "tgt", 0.5), ("source", "src", 0.5))
    ]
    image = augment.photometric(torch.cat([c.image for c in crops]), draws, strength) * 2 - 1
    with mixed_precision(image, bf16):  # the labels above need full precision
        out = nets.motion_encoder(image.contiguous(memory_format=torch.channels_last))
    labels = MotionLabels(
        expression=torch.cat([batch["expr_drv"], batch["expr_drv"], batch["expr_src"]]),
        gaze=torch.cat([batch["gaze_drv"], batch["gaze_drv"], batch["gaze_src"]]),
        rotation=torch.cat([c.rotation for c in crops]),
        placement=torch.cat([c.placement for c in crops]),
    )
    return LiteMotionOutput(**{k: v.float() for k, v in out.items()}), labels


def true_coefficients(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The 55 coefficients of source and target `(B, 55)`, eyeLook* left to gaze."""
    counted = expression_weights(batch["expr_src"]) > 0
    source, target = (
        torch.cat([batch[f"expr_{tag}"] * counted, batch[f"gaze_{tag}"] / 20.0], dim=1) for tag in ("src", "drv")
    )
    return source, target


def read_change(nets: LiteNetworks, batch: Batch, draws: Draws) -> tuple[torch.Tensor, torch.Tensor]:
    """What the motion encoder reads from driver and source pictures as change of coefficients, and the true change.

    Args:
        nets: Networks in evaluation mode.
        batch: Stored samples.
        draws: Decides how the crops are jittered.

    Returns:
        Two tensors `(B, 55)`.
    """
    ready = prepare(batch, draws)
    motion, _ = _encode(nets, ready, draws, 0.0)
    driver, _, source = motion.latent.split(len(ready["source"]))
    before, after = true_coefficients(ready)
    heads = nets.warp_field.heads
    return heads(driver) - heads(source), after - before


def read_pose_labels(nets: LiteNetworks, batch: Batch, draws: Draws, strength: float = 0.6) -> torch.Tensor:
    """Run the motion encoder on damaged crops of a stored batch B; the true rotation and placement `(3B, 6)`."""
    _, labels = _encode(nets, prepare(batch, draws), draws, strength)
    return torch.cat([labels.rotation, labels.placement], dim=1)


def motion_supervision(given: StepInput, batch: Batch) -> tuple[dict[str, torch.Tensor], LiteMotionOutput]:
    """Losses of the motion encoder on labels, on differences within one person, and across people.

    Returns:
        Losses, and motion of driver, target and source crops stacked in that order.
    """
    motion, labels = _encode(given.nets, batch, given.draws, given.strength, given.bf16)
    driver, target, source = motion.latent.split(len(batch["source"]))
    heads = given.nets.warp_field.heads
    losses = motion_losses(motion, heads, labels)
    weight = torch.cat([expression_weights(target), target.new_tensor([3.0, 3.0])])
    before, after = true_coefficients(batch)
    losses["difference"] = unexplained(heads(target) - heads(source), after - before, weight)
    losses["agreement"] = F.mse_loss(driver, target) / (target.var().detach() + 1e-3)
    return losses, motion


def total(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    """Weighted sum of losses."""
    return torch.stack([LOSS_WEIGHTS[k] * v for k, v in losses.items()]).sum()


def warp_step(given: StepInput, batch: Batch) -> StepResult:
    """Stage `warp`: portrait geometry and warp field, on a motion encoder that stays as it is."""
    warped = warp_samples(given, batch)
    return StepResult(
        loss=total({k: warped.losses[k] for k in WARP_LOSSES}),
        metrics=warped.losses | warped.metrics,
        pictures=lambda: shown_pictures(batch) | _warp_pictures(batch, warped.field),
    )


def warp_samples(given: StepInput, batch: Batch, *, taught_share: float = 0.5) -> Warped:
    """Run everything up to the warp field.

    `taught_share` of the samples move by the true coefficients, the others by those that the motion encoder reads: the
    geometry learns from clean causes, and what corrects it learns from the encoder's mistakes.
    """
    nets, draws, size = given.nets, given.draws, len(batch["source"])
    losses, motion = motion_supervision(given, batch)
    with mixed_precision(batch["source"], given.bf16):
        encoded = nets.reference_encoder((batch["source"] * 2 - 1).contiguous(memory_format=torch.channels_last))
    features = LiteReferenceFeatures(**{k: v.float() for k, v in encoded.items()})
    driver, target, source = motion.latent.split(size)
    own = uniform(draws, source, size, 1, 1) < 0.25  # sometimes drive with the person's own frame
    shown = torch.where(own, target, driver)
    taught = uniform(draws, source, size, 1) < taught_share
    mask = (batch["points"][:, 6:] > 0.99).float()
    canonical = batch["points"][:, 3:6] / 10.0
    heads = nets.warp_field.heads
    before, after = true_coefficients(batch)
    before, after = torch.where(taught, before, heads(source)), torch.where(taught, after, heads(shown))
    head = head_motion(batch)
    geometry = nets.warp_field.fit(
        features, canonical, mask, between_lips(canonical), euler_to_matrix(torch.deg2rad(batch["head_src"])),
        10 * augment.FOCAL / -batch["anchor_src"][:, 2],
    )  # fmt: skip
    with mixed_precision(batch["source"], given.bf16):
        out = nets.warp_field(features, geometry, source, shown, head, (before, after))
    field = LiteWarpOutput(**{k: v.float() for k, v in out.items()})
    weight_source = part_weight(canonical, mask)
    weight_target = 1 + warp(weight_source - 1, batch["flow"].clamp(-2, 2))
    losses |= warp_losses(field, batch, weight_source, weight_target)
    depth = (-batch["points"][:, 2:3] + batch["anchor_src"][:, 2, None, None, None]) * augment.FOCAL
    depth = depth / -batch["anchor_src"][:, 2, None, None, None]
    losses["depth"] = weighted_mean((features.depth - depth).abs(), mask)
    losses["canonical"] = weighted_mean((features.canonical - canonical).abs(), mask)
    metrics = _flow_errors(field, batch, weight_target)
    return Warped(losses=losses, metrics=metrics, motion=motion, features=features, field=field)


@torch.no_grad()
def _flow_errors(field: LiteWarpOutput, batch: Batch, weight_target: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean end-point errors [px] on what the portrait shows, and on its eyes and mouth."""
    metrics: dict[str, torch.Tensor] = {}
    seen = (batch["visible"] > 0.9).float()
    face = seen * (weight_target > 1.5)
    for name, flow in (("epe", field.flow), ("epe_coarse", field.coarse_flow)):
        error = ((flow - batch["flow"]) * PIXELS).norm(dim=1, keepdim=True)
        metrics[name] = weighted_mean(error, seen)
        metrics[f"{name}_face"] = weighted_mean(error, face)
    return metrics


def shown_pictures(batch: Batch) -> dict[str, torch.Tensor]:
    """Source, driver and target of a batch."""
    return {name: batch[name] for name in ("source", "driver", "target")}


@torch.no_grad()
def _warp_pictures(batch: Batch, field: LiteWarpOutput) -> dict[str, torch.Tensor]:
    return {
        "warped": show(batch["source"] * 2 - 1, field) / 2 + 0.5,
        "visible": enlarge(torch.sigmoid(field.visibility_logits), batch["source"].shape[-1]),
    }
