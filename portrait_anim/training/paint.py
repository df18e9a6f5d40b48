"""Training steps of the denoiser: painting, steadiness over time, and few steps instead of many.

Shapes: B samples, P pairs, S side of a picture; pixels are folded 4x4 into channels for the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F

from portrait_anim.models import LiteDenoiser
from portrait_anim.models.lite.composite import enlarge, keep_interior, show, warp
from portrait_anim.models.lite.warp import LiteWarpOutput
from portrait_anim.training.draws import normal, uniform
from portrait_anim.training.losses import charbonnier, image_losses, part_weight, weighted_mean
from portrait_anim.training.networks import mixed_precision
from portrait_anim.training.step import Batch, StepInput, StepResult, shown_pictures, warp_samples

TEACHER_STEPS: Final = 6
STEADINESS_WEIGHT: Final = 2.0
TRUTH_SHARE: Final = 0.3  # weight of the true frame beside the teacher's: the teacher may be wrong, the truth is not


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """What the denoiser is given for a batch; nothing in it needs a gradient.

    Attributes:
        target: True frame `(B, 3, S, S)` in [-1, 1].
        warped: Warped portrait, the same shape.
        field: Warp that made it.
        visibility: `(B, 1, S/4, S/4)` in [0, 1].
        tokens: Motion latents of frame and portrait `(B, 2, L, C)`.
        context: Reference context.
        weight: Importance of each pixel `(B, 1, S, S)`.
        bf16: Run the denoiser in bfloat16.
    """

    target: torch.Tensor
    warped: torch.Tensor
    field: LiteWarpOutput
    visibility: torch.Tensor
    tokens: torch.Tensor
    context: torch.Tensor
    weight: torch.Tensor
    bf16: bool


@torch.no_grad()
def canvas_of(given: StepInput, batch: Batch) -> Canvas:
    """Warp a batch by its true motion: with the encoder's mistakes in it, the best paint would be a blur."""
    half = StepInput(nets=given.nets, draws=given.draws, strength=0.5 * given.strength, bf16=given.bf16)
    warped = warp_samples(half, batch, taught_share=1.0)
    driver, _, source = warped.motion.latent.split(len(batch["source"]))
    points, size = batch["points"], batch["source"].shape[-1]
    weight_source = part_weight(points[:, 3:6] / 10.0, (points[:, 6:] > 0.99).float(), gain=10.0)
    weight = 1 + warp(weight_source - 1, warped.field.flow)
    return Canvas(
        target=batch["target"] * 2 - 1,
        warped=show(batch["source"] * 2 - 1, warped.field),
        field=warped.field,
        visibility=torch.sigmoid(warped.field.visibility_logits),
        tokens=torch.stack([driver, source], 1),
        context=warped.features.context,
        weight=enlarge(weight, size),
        bf16=given.bf16,
    )


def predict(
    denoiser: LiteDenoiser, canvas: Canvas, noisy: torch.Tensor, time: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clean frame `(B, 3, S, S)` in about [-1, 1] and mask logits `(B, 1, S, S)` for a noisy one at `time` `(B,)`."""
    with mixed_precision(noisy, canvas.bf16):
        out = denoiser(
            F.pixel_unshuffle(noisy, 4), time, F.pixel_unshuffle(canvas.warped, 4), canvas.visibility,
            canvas.field.condition, canvas.tokens, canvas.context,
        )  # fmt: skip
    picture = keep_interior(F.pixel_shuffle(out.sample.float(), 4), canvas.warped, canvas.field)
    return picture, F.pixel_shuffle(out.mask_logits.float(), 4)


@torch.no_grad()
def integrate(denoiser: LiteDenoiser, canvas: Canvas, noise: torch.Tensor, num_steps: int) -> torch.Tensor:
    """Frame `(B, 3, S, S)` after `num_steps` Euler steps from noise, as the pipeline takes them."""
    sample = noise
    for step in range(num_steps):
        now, then = 1 - step / num_steps, 1 - (step + 1) / num_steps
        clean, _ = predict(denoiser, canvas, sample, torch.full_like(sample[:, 0, 0, 0], now))
        sample = torch.lerp(clean, sample, then / now)
    return sample


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


def paint_losses(
    picture: torch.Tensor, mask_logits: torch.Tensor, canvas: Canvas
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss and metrics of painted frames against the true ones."""
    losses = image_losses(picture, canvas.target, canvas.weight)
    losses["mask"] = F.binary_cross_entropy_with_logits(mask_logits, wrong_share(canvas.warped, canvas.target))
    loss = 2 * losses["colour"] + 2 * losses["edges"] + 0.1 * losses["mask"]
    with torch.no_grad():
        losses["l1"] = (picture - canvas.target).abs().mean() / 2
        losses["l1_warped"] = (canvas.warped - canvas.target).abs().mean() / 2
    return loss, losses


def denoise_step(given: StepInput, batch: Batch) -> StepResult:
    """Stage `denoise`: the denoiser on top of a warp that it does not change; half of the samples start from noise."""
    canvas = canvas_of(given, batch)
    size = len(batch["source"])
    draw = uniform(given.draws, canvas.target, size, 2)
    time = torch.where(draw[:, 0] < 0.5, 1.0, draw[:, 1])
    noise = normal(given.draws, canvas.target, *canvas.target.shape)
    picture, mask_logits = predict(
        given.nets.denoiser, canvas, torch.lerp(canvas.target, noise, time[:, None, None, None]), time
    )
    loss, metrics = paint_losses(picture, mask_logits, canvas)
    metrics["l1_still"] = (batch["source"] - batch["target"]).abs().mean()
    return StepResult(
        loss=loss, metrics=metrics, pictures=lambda: _pictures(batch, canvas, picture, mask=torch.sigmoid(mask_logits))
    )


def temporal_step(given: StepInput, batch: Batch) -> StepResult:
    """Stage `temporal`: painted errors must move with the face instead of boiling.

    Frames depend on each other only through the motion sequence and one shared noise, so a network of frames can be
    steady by itself: of two consecutive frames with the same noise, what differs from the truth should differ in the
    same way at the same point of the face. The batch holds pairs of neighbours: frame, next frame.
    """
    canvas = canvas_of(given, batch)
    pairs = len(batch["source"]) // 2
    draw = uniform(given.draws, canvas.target, pairs, 2)
    time = torch.where(draw[:, 0] < 0.75, 1.0, draw[:, 1]).repeat_interleave(2, output_size=2 * pairs)
    noise = normal(given.draws, canvas.target, pairs, *canvas.target.shape[1:])
    noise = noise.repeat_interleave(2, 0, output_size=2 * pairs)
    picture, mask_logits = predict(
        given.nets.denoiser, canvas, torch.lerp(canvas.target, noise, time[:, None, None, None]), time
    )
    loss, metrics = paint_losses(picture, mask_logits, canvas)
    to_next, valid = flow_to_next(batch)
    metrics["boiling"] = boiling(picture - canvas.target, to_next, valid, canvas.weight)
    with torch.no_grad():
        metrics["boiling_warped"] = boiling(canvas.warped - canvas.target, to_next, valid, canvas.weight)
    return StepResult(
        loss=loss + STEADINESS_WEIGHT * metrics["boiling"],
        metrics=metrics,
        pictures=lambda: _pictures(batch, canvas, picture, valid=enlarge(valid, canvas.target.shape[-1])),
    )


def flow_to_next(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the next frame shows what a frame shows, by way of the portrait.

    Args:
        batch: 2P prepared samples, frame and next frame in turn, of one portrait per pair.

    Returns:
        Flow `(P, 2, s, s)` in [-1, 1] and where it holds `(P, 1, s, s)`, 0 or 1.
    """
    here, next_ = slice(0, None, 2), slice(1, None, 2)
    flow = batch["flow"][here]
    known = torch.cat([batch["forward"], batch["forward_trust"]], 1)[next_]
    to_next, trust = warp(known, flow).split([2, 1], dim=1)
    seen_next = warp(batch["visible"][next_], to_next)
    inside = (to_next.abs() < 1).all(1, keepdim=True) & (flow.abs() < 1).all(1, keepdim=True)
    valid = inside & (batch["visible"][here] > 0.9) & (trust > 0.9) & (seen_next > 0.9)
    return to_next, valid.float()


def boiling(error: torch.Tensor, to_next: torch.Tensor, valid: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean change of the error `(2P, 3, S, S)` from frame to next frame, followed along the motion.

    Args:
        error: Picture minus truth.
        to_next: From `flow_to_next`.
        valid: From `flow_to_next`.
        weight: Importance `(2P, 1, S, S)`.
    """
    size = error.shape[-1]
    change = warp(error[1::2], enlarge(to_next, size)) - error[::2]
    return weighted_mean(charbonnier(change, 0.02), enlarge(valid, size) * weight[::2])


def distill_step(given: StepInput, batch: Batch) -> StepResult:
    """Stage `distill`: one or two steps land where the frozen teacher lands after many.

    The teacher's path from noise to its end is taken as straight (Liu et al. 2023, rectified flow, section 3.2): the
    student sees points between noise and end and predicts the end. Half of the samples start from noise, which is the
    one-step answer; a quarter from the middle, which is where the first of two steps leads.
    """
    if given.teacher is None:
        raise ValueError("expected a teacher for the stage 'distill', got None")
    canvas = canvas_of(given, batch)
    size = len(batch["source"])
    noise = normal(given.draws, canvas.target, *canvas.target.shape)
    end = integrate(given.teacher.denoiser, canvas, noise, TEACHER_STEPS)
    draw = uniform(given.draws, end, size, 2)
    time = torch.where(draw[:, 0] < 0.5, 1.0, torch.where(draw[:, 0] < 0.75, 0.5, draw[:, 1]))
    picture, mask_logits = predict(
        given.nets.denoiser, canvas, torch.lerp(end, noise, time[:, None, None, None]), time
    )
    taught = image_losses(picture, end, canvas.weight)
    truth, metrics = paint_losses(picture, mask_logits, canvas)
    with torch.no_grad():
        metrics["l1_teacher"] = (end - canvas.target).abs().mean() / 2
    metrics |= {"taught_colour": taught["colour"], "taught_edges": taught["edges"]}
    return StepResult(
        loss=2 * taught["colour"] + 2 * taught["edges"] + TRUTH_SHARE * truth,
        metrics=metrics,
        pictures=lambda: _pictures(batch, canvas, picture, teacher=end.clamp(-1, 1) / 2 + 0.5),
    )


@torch.no_grad()
def _pictures(batch: Batch, canvas: Canvas, picture: torch.Tensor, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    shown = {"warped": canvas.warped / 2 + 0.5, "output": picture.clamp(-1, 1) / 2 + 0.5}
    return shown_pictures(batch) | shown | more
