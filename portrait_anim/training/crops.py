"""Training the motion encoder on groups of faces (`synthetic.crops`): two people, two gestures each.

Shapes: B groups, N = 4 B pictures in the order (person A, gesture 1), (A, 2), (B, 1), (B, 2).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from portrait_anim.models.lite.expression_field import ExpressionField
from portrait_anim.models.lite.expressions import NUM_COEFFICIENTS, TOKEN_GROUPS, mirror_indices
from portrait_anim.models.lite.motion_encoder import LiteMotionOutput
from portrait_anim.training import augment, damage
from portrait_anim.training.draws import Draws, uniform
from portrait_anim.training.losses import MotionLabels, expression_weights, motion_losses, unexplained
from portrait_anim.training.networks import LiteNetworks, mixed_precision
from portrait_anim.training.step import Batch, StepInput, StepResult, total
from portrait_anim.training.synthetic.crops import WINDOW, crop_renderer, draw_groups
from portrait_anim.training.synthetic.renderer import Renderer

_GLASSES, _COMPRESSED = 0.15, 0.4  # shares of the pictures at full strength
MOST_DAMAGE = 0.7  # beyond, small mouths and irises are lost and the answers shrink

# MediaPipe landmarks that viewers watch: lips, lids, brows, and the chin.
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
        78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)  # fmt: skip
LIDS = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246,
        263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)  # fmt: skip
BROWS = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
CHIN = (152, 148, 377, 199, 200)
# Where displacement jumps (lip line, lid edges) the field is read a little aside, on the landmark's own skin.
_ABOVE = (191, 80, 81, 82, 13, 312, 311, 310, 415, 246, 161, 160, 159, 158, 157, 173, 466, 388, 387, 386, 385, 384, 398)
_BELOW = (95, 88, 178, 87, 14, 317, 402, 318, 324, 7, 163, 144, 145, 153, 154, 155, 249, 390, 373, 374, 380, 381, 382)
_ASIDE = 0.03  # [10 cm]
_PART_WEIGHT = ((LIPS, 1.5), (LIDS, 1.0), (BROWS, 1.0), (CHIN, 1.0))


@torch.no_grad()
def displacement(field: ExpressionField) -> torch.Tensor:
    """What one unit of each coefficient does to the landmarks of the average face, `(K, 2, L)` x and y [10 cm]."""
    landmarks = field.landmarks.clone()
    for numbers, side in ((_ABOVE, 1.0), (_BELOW, -1.0)):
        landmarks[list(numbers), 1] += side * _ASIDE
    places = landmarks.T[None, :, None].expand(NUM_COEFFICIENTS, -1, -1, -1)
    change = torch.eye(NUM_COEFFICIENTS, device=landmarks.device)
    return field(change, places.contiguous())[:, :2, 0]  # type: ignore[no-any-return]


def landmark_basis(field: ExpressionField) -> tuple[torch.Tensor, torch.Tensor]:
    """Displacements of the watched landmarks, and how much each counts.

    Args:
        field: Field over the canonical face.

    Returns:
        Displacements `(K, M)` [10 cm] of the coordinates x and y, M = 2 per landmark, and their weights `(M,)`.
    """
    moved = displacement(field)
    weight = moved.new_tensor([w / len(part) for part, w in _PART_WEIGHT for _ in part])
    chosen = [k for part, _ in _PART_WEIGHT for k in part]
    return moved[:, :, chosen].flatten(1), weight.repeat(2)


def draw_crops(renderer: Renderer, count: int, generator: torch.Generator) -> Batch:
    """Groups of faces as stored samples, see `synthetic.crops`."""
    return draw_groups(crop_renderer(renderer), count, generator).as_dict()


def prepare_crops(batch: Batch, draws: Draws, group: int = 1) -> Batch:
    """Flatten stored groups to pictures and mirror half of the groups.

    Args:
        batch: Arrays of `synthetic.crops.CropGroups`.
        draws: Decides what is mirrored.
        group: Neighbouring groups that are mirrored together.

    Returns:
        `picture` `(N, 3, S, S)` float in [0, 1], `expr` `(N, 53)`, `gaze` `(N, 2)` [deg], `head` `(N, 3)` [deg],
        `anchor` `(N, 3)` [cm].
    """
    picture = batch["picture"].flatten(0, 1).float() / 255
    expr, gaze = (batch[k].float().repeat(1, 2, 1).flatten(0, 1) for k in ("expr", "gaze"))
    head, anchor = (batch[k].float().flatten(0, 1) for k in ("head", "anchor"))
    size = len(batch["picture"])
    flip = uniform(draws, picture, size // group) < 0.5
    flip = flip.repeat_interleave(4 * group, output_size=4 * size)[:, None]
    return {
        "picture": torch.where(flip[..., None, None], picture.flip(-1), picture),
        "expr": torch.where(flip, expr[:, mirror_indices()], expr),
        "gaze": torch.where(flip, gaze * gaze.new_tensor([-1, 1]), gaze),
        "head": torch.where(flip, head * head.new_tensor([-1, 1, -1]), head),
        "anchor": torch.where(flip, anchor * anchor.new_tensor([-1, 1, 1]), anchor),
    }


def cut(ready: Batch, draws: Draws, jitter: float = 0.8) -> augment.MotionCrops:
    """Cut motion crops from prepared groups, see `augment.motion_crops`."""
    return augment.motion_crops(ready["picture"], ready["anchor"], ready["head"], draws, jitter, window=WINDOW)


def spoil(crops: augment.MotionCrops, draws: Draws, strength: float) -> torch.Tensor:
    """Glasses, camera and compression damage on the pictures of `crops`, `(N, 3, S, S)` in [0, 1]."""
    if strength <= 0:
        return crops.image
    count = len(crops.image)
    worn = uniform(draws, crops.image, count) < _GLASSES * strength
    image = damage.put_on_glasses(crops.image, crops.rotation, crops.placement, worn, draws)
    image = augment.photometric(image, draws, strength)
    squeezed = damage.compress(image, 0.15 + 2.0 * uniform(draws, image, count) ** 2)
    chosen = uniform(draws, image, count, 1, 1, 1) < _COMPRESSED * strength
    return torch.where(chosen, squeezed, image).clamp(0, 1)


def crops_step(given: StepInput, batch: Batch) -> StepResult:
    """Stage `motion` on groups of faces: labels, differences within one person, agreement between people, landmarks."""
    crops = cut(batch, given.draws)
    image = spoil(crops, given.draws, MOST_DAMAGE * given.strength)
    with mixed_precision(image, given.bf16):
        out = given.nets.motion_encoder((image * 2 - 1).contiguous(memory_format=torch.channels_last))
    out = LiteMotionOutput(**{k: v.float() for k, v in out.items()})
    labels = MotionLabels(
        expression=batch["expr"], gaze=batch["gaze"], rotation=crops.rotation, placement=crops.placement
    )
    heads = given.nets.warp_field.heads
    losses = motion_losses(out, heads, labels)
    weight = expression_weights(image)
    read = heads(out.latent)
    true = torch.cat([batch["expr"] * (weight > 0), batch["gaze"] / 20.0], dim=1)
    weight = torch.cat([weight, weight.new_tensor([3.0, 3.0])])
    change, true_change = (_pairs(v)[:, :, 1] - _pairs(v)[:, :, 0] for v in (read, true))
    losses["difference"] = unexplained(change.flatten(0, 1), true_change.flatten(0, 1), weight)
    both = _pairs(out.latent)
    losses["agreement"] = F.mse_loss(both[:, 0], both[:, 1]) / (out.latent.var().detach() + 1e-3)
    losses["landmarks"] = landmark_loss(read, true, *landmark_basis(given.nets.warp_field.field))
    return StepResult(loss=total(losses), metrics=losses, pictures=lambda: {"crop": crops.image, "damaged": image})


def _pairs(values: torch.Tensor) -> torch.Tensor:
    """`(N, ...)` as `(B, person, gesture, ...)`."""
    out: torch.Tensor = values.unflatten(0, (-1, 2, 2))
    return out


@torch.no_grad()
def read_crop_change(nets: LiteNetworks, stored: Batch, draws: Draws) -> tuple[torch.Tensor, torch.Tensor]:
    """As `step.read_change`, from groups: between the two gestures of every person. Two tensors `(2B, 55)`."""
    ready = prepare_crops(stored, draws)
    read = nets.warp_field.heads(nets.motion_encoder(cut(ready, draws).image * 2 - 1).latent)
    true = torch.cat([ready["expr"], ready["gaze"] / 20.0], dim=1)
    change, true_change = (_pairs(v)[:, :, 1] - _pairs(v)[:, :, 0] for v in (read, true))
    return change.flatten(0, 1), true_change.flatten(0, 1)


@torch.no_grad()
def read_crop_pose(nets: LiteNetworks, stored: Batch, draws: Draws, strength: float = 0.6) -> torch.Tensor:
    """As `step.read_pose_labels`, from groups: runs the encoder on damaged crops; the true pose `(4B, 6)`."""
    crops = cut(prepare_crops(stored, draws), draws)
    nets.motion_encoder(spoil(crops, draws, strength) * 2 - 1)
    return torch.cat([crops.rotation, crops.placement], dim=1)


@torch.no_grad()
def drop_unread(nets: LiteNetworks) -> None:
    """Remove from motion latents, in place, what no head reads.

    A token group has several times more channels than its head has coefficients. Nothing teaches the rest, so it keeps
    whatever the crop shows, and that is mostly who it shows. The last layer is projected onto what the heads can see:
    they answer as before.
    """
    layer = nets.motion_encoder.to_latent
    width = nets.motion_encoder.config.token_dim
    for region, (first, last) in TOKEN_GROUPS.items():
        head = nets.warp_field.heads.expression[region].weight.double()  # (n, d)
        seen = torch.linalg.pinv(head) @ head  # (d, d)
        rows = slice(first * width, last * width)
        layer.weight[rows] = (seen @ layer.weight[rows].double()).to(layer.weight)
        layer.bias[rows] = (seen @ layer.bias[rows].double()).to(layer.bias)


def landmark_loss(read: torch.Tensor, true: torch.Tensor, moved: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Share of the landmarks' motion that is missed, per coordinate, so that a corner of the mouth moving aside counts.

    Coefficients overlap: many wrong ones can show the right face and a few slightly wrong ones the wrong one.

    Args:
        read: Coefficients `(N, K)`.
        true: The same in truth.
        moved: Displacements `(K, M)` [10 cm].
        weight: Importance `(M,)`.
    """
    error, truth = (read - true) @ moved, true @ moved
    share = (error**2).mean(0) / (truth.var(0, unbiased=False) + 1e-5)
    return (share * weight).sum() / weight.sum()
