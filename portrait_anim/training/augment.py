"""From rendered samples to network inputs: mirroring, motion crops with labels, photometric damage.

Everything is batched torch, on the device of the pictures. Image coordinates follow `models.lite.geometry`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from portrait_anim.models.lite.expressions import mirror_indices
from portrait_anim.training.draws import Draws, normal, uniform
from portrait_anim.training.synthetic.camera import FRAME, Window

PICTURE_WINDOW = Window()  # what the pictures of training samples show
_HALF_SPAN = PICTURE_WINDOW.span / 2  # half image sides -> photo units
FOCAL = 3000.0 / _HALF_SPAN  # focal length of the renderer in half image sides
EYE_DISTANCE_CM = 8.6  # outer eye corners, measured on the 774 adult portraits
CROP_SIDE = 1.9  # motion crop side in eye distances, see face.crop
CROP_DROP = 0.35  # its centre below the eye corners, same unit
ANCHOR_RISE = 0.039  # eyeball midpoint above the eye corners, same unit


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionCrops:
    """Motion crops with the pose that they show.

    Attributes:
        image: `(B, 3, S, S)` float in [0, 1].
        rotation: `(B, 3)` yaw, pitch, roll [rad].
        placement: `(B, 3)` as `LiteMotionOutput.placement`.
    """

    image: torch.Tensor
    rotation: torch.Tensor
    placement: torch.Tensor


def project(point: torch.Tensor) -> torch.Tensor:
    """Camera-space points `(B, 3)` [cm] to image coordinates `(B, 2)`."""
    return torch.stack([FOCAL * point[:, 0] / -point[:, 2], -FOCAL * point[:, 1] / -point[:, 2]], dim=1)


def mirror(batch: dict[str, torch.Tensor], flip: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mirror the chosen samples left to right, labels included.

    Args:
        batch: A batch of `synthetic` samples.
        flip: `(B,)` bool.

    Returns:
        A new batch.
    """
    out = dict(batch)
    choose = lambda new, old: torch.where(flip.view(-1, *[1] * (old.ndim - 1)), new, old)  # noqa: E731
    for key in ("source", "target", "driver", "visible", "forward_trust"):
        out[key] = choose(batch[key].flip(-1), batch[key])
    for key in ("flow", "forward"):
        mirrored = batch[key].flip(-1) * batch[key].new_tensor([-1.0, 1.0])[:, None, None]
        out[key] = choose(mirrored, batch[key])
    sign = batch["points"].new_tensor([-1, 1, 1, -1, 1, 1, 1])[:, None, None]
    out["points"] = choose(batch["points"].flip(-1) * sign, batch["points"])
    for key in ("head_src", "head_tgt", "head_drv"):
        out[key] = choose(batch[key] * batch[key].new_tensor([-1, 1, -1]), batch[key])
    for key in ("gaze_src", "gaze_drv"):
        out[key] = choose(batch[key] * batch[key].new_tensor([-1, 1]), batch[key])
    for key in ("anchor_src", "anchor_tgt", "anchor_drv"):
        out[key] = choose(batch[key] * batch[key].new_tensor([-1, 1, 1]), batch[key])
    partner = torch.tensor(mirror_indices(), device=flip.device)
    for key in ("expr_src", "expr_drv"):
        out[key] = choose(batch[key][:, partner], batch[key])
    return out


def motion_crops(
    image: torch.Tensor,
    anchor: torch.Tensor,
    head: torch.Tensor,
    draws: Draws,
    jitter: float = 1.0,
    size: int = 128,
    window: Window = PICTURE_WINDOW,
) -> MotionCrops:
    """Cut face crops around known heads.

    Args:
        image: `(B, 3, H, W)` float in [0, 1].
        anchor: `(B, 3)` midpoint between the eyeballs in camera space [cm].
        head: `(B, 3)` yaw, pitch, roll [degrees].
        draws: Source of randomness.
        jitter: Strength of random scale, shift and rotation; 0 for none.
        size: Side of the crop [px].
        window: Part of the photo frame that the images show.

    Returns:
        Crops and the labels they have after the jitter.
    """
    batch = image.shape[0]
    draw = normal(draws, image, batch, 4) * jitter
    eyes = EYE_DISTANCE_CM * FOCAL / -anchor[:, 2]  # outer eye distance, image units
    half = 0.5 * CROP_SIDE * eyes * torch.exp(0.10 * draw[:, 0].clamp(-2, 2))
    position = project(anchor)
    drop = torch.stack([torch.zeros_like(eyes), (CROP_DROP + ANCHOR_RISE) * eyes], dim=1)
    centre = position + drop + 0.10 * half[:, None] * draw[:, 1:3].clamp(-2.5, 2.5)
    angle = math.radians(5.0) * draw[:, 3].clamp(-2.5, 2.5)  # crop axes turn clockwise on screen
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)  # crop -> image
    middle = (torch.tensor([window.left, window.top], device=image.device) + window.span / 2 - FRAME / 2) / _HALF_SPAN
    zoom = 2 * _HALF_SPAN / window.span  # image coordinates -> those of what the images show
    theta = torch.cat([half[:, None, None] * matrix, (centre - middle)[:, :, None]], dim=2) * zoom
    grid = F.affine_grid(theta, [batch, 3, size, size], align_corners=False)
    crop = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)
    inside = torch.einsum("bij,bi->bj", matrix, position - centre) / half[:, None]
    scale = torch.log(10.0 * FOCAL / -anchor[:, 2] / half)
    rotation = torch.deg2rad(head).clone()
    rotation[:, 2] += angle  # turning the crop clockwise turns its content counter-clockwise
    return MotionCrops(image=crop, rotation=rotation, placement=torch.cat([inside, scale[:, None]], dim=1))


def photometric(image: torch.Tensor, draws: Draws, strength: float = 1.0) -> torch.Tensor:
    """Damage crops as cameras do: colour, light from a side, blur, low resolution, noise, an occluder.

    Args:
        image: `(B, 3, S, S)` in [0, 1].
        draws: Source of randomness.
        strength: 0 leaves the image alone, 1 is full.

    Returns:
        `(B, 3, S, S)` in [0, 1].
    """
    if strength <= 0:
        return image
    batch, _, size, _ = image.shape
    rand = lambda *shape: uniform(draws, image, batch, *shape)  # noqa: E731
    randn = lambda *shape: normal(draws, image, batch, *shape) * strength  # noqa: E731
    grey = image.mean(1, keepdim=True)
    saturation = torch.where(rand(1, 1, 1) < 0.15 * strength, 0.0, 1 + 0.25 * randn(1, 1, 1))
    out = grey + (image - grey) * saturation
    out = out.clamp(1e-3, 1) ** torch.exp(0.3 * randn(1, 1, 1))
    ramp = torch.linspace(-1, 1, size, device=image.device)
    side = 0.2 * randn(1, 1, 1) * ramp.view(1, 1, 1, -1) + 0.15 * randn(1, 1, 1) * ramp.view(1, 1, -1, 1)
    out = (out - 0.5) * torch.exp(0.2 * randn(1, 1, 1)) + 0.5 + 0.1 * randn(1, 1, 1) + 0.04 * randn(3, 1, 1)
    out = out * (1 + side)
    soft = F.avg_pool2d(F.pad(out, (2, 2, 2, 2), mode="replicate"), 5, 1)
    coarse = F.interpolate(F.avg_pool2d(out, 2), size=(size, size), mode="bilinear", align_corners=False)
    pick = rand(1, 1, 1)
    out = torch.where(pick < 0.15 * strength, soft, torch.where(pick < 0.35 * strength, coarse, out))
    out = out + 0.03 * rand(1, 1, 1) * randn(3, size, size)
    out = _occlude(out, rand(6), strength)
    return out.clamp(0, 1)


def _occlude(image: torch.Tensor, draw: torch.Tensor, strength: float) -> torch.Tensor:
    """Cover an ellipse at the border of some crops with a flat colour; `draw` is `(B, 6)` in [0, 1]."""
    size = image.shape[-1]
    axis = torch.linspace(-1, 1, size, device=image.device)
    turn = 2 * math.pi * draw[:, 0]
    centre = torch.stack([turn.cos(), turn.sin()], 1) * (0.8 + 0.4 * draw[:, 1:2])
    radius = 0.2 + 0.35 * draw[:, 2]
    distance = (axis.view(1, 1, -1) - centre[:, 0, None, None]) ** 2 + (
        axis.view(1, -1, 1) - centre[:, 1, None, None]
    ) ** 2
    covered = (distance < (radius**2)[:, None, None]) & (draw[:, 3] < 0.2 * strength)[:, None, None]
    return torch.where(covered[:, None], draw[:, 3:6, None, None], image)
