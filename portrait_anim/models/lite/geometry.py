"""Head geometry of the `lite` profile: rigid motion and perspective are arithmetic, not learned.

Image coordinates are grid_sample's: x right, y down, the portrait crop spans [-1, 1]. Depth grows away from the
viewer, is 0 at the midpoint between the eyeballs (the anchor) and has the same unit as x and y there.
Shapes: B batch, H W grid, K expression basis size, N points.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

# Distance camera - anchor in half crop sides: a portrait lens (focal length 3000 px, half crop 448 px).
CAMERA_DISTANCE = 3000.0 / 448.0


def euler_to_matrix(angles: torch.Tensor) -> torch.Tensor:
    """Turn yaw, pitch, roll into rotation matrices in image axes.

    Args:
        angles: `(B, 3)` yaw, pitch, roll [rad]; yaw > 0 turns the face to image right, pitch > 0 down, roll > 0
            counter-clockwise in the image (right-handed about camera axes x right, y up, z towards the viewer).

    Returns:
        `(B, 3, 3)`, `Rz(roll) Ry(yaw) Rx(pitch)` conjugated from camera axes to image axes (y and z flipped).
    """
    cos_yaw, cos_pitch, cos_roll = angles.cos().unbind(-1)
    sin_yaw, sin_pitch, sin_roll = angles.sin().unbind(-1)
    rows = torch.stack(
        [
            cos_roll * cos_yaw,
            cos_roll * sin_yaw * sin_pitch - sin_roll * cos_pitch,
            cos_roll * sin_yaw * cos_pitch + sin_roll * sin_pitch,
            sin_roll * cos_yaw,
            sin_roll * sin_yaw * sin_pitch + cos_roll * cos_pitch,
            sin_roll * sin_yaw * cos_pitch - cos_roll * sin_pitch,
            -sin_yaw,
            cos_yaw * sin_pitch,
            cos_yaw * cos_pitch,
        ],
        dim=-1,
    )
    flip = angles.new_tensor([1.0, -1.0, -1.0])
    matrix: torch.Tensor = rows.unflatten(-1, (3, 3)) * flip[:, None] * flip[None, :]
    return matrix


def pixel_grid(size: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Positions `(size, size, 2)` of pixel centres in [-1, 1], x first."""
    axis = (torch.arange(size, device=device, dtype=dtype) + 0.5) * (2.0 / size) - 1.0
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)


def move_points(
    depth: torch.Tensor,
    offset: torch.Tensor,
    rigidity: torch.Tensor,
    rotation: torch.Tensor,
    anchor_source: torch.Tensor,
    anchor_target: torch.Tensor,
    scale: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where every pixel of the portrait goes when the head moves.

    Args:
        depth: `(B, 1, H, W)` depth of the portrait's pixels relative to the anchor.
        offset: `(B, 3, H, W)` displacement by expression, in the portrait's head pose.
        rigidity: `(B, 1, H, W)` in [0, 1]: 1 follows the head, 0 stays (background, torso).
        rotation: `(B, 3, 3)` target rotation relative to the portrait, image axes.
        anchor_source: `(B, 2)` anchor in the portrait.
        anchor_target: `(B, 2)` anchor in the target.
        scale: `(B,)` size of the target head relative to the portrait's.

    Returns:
        Target positions `(B, 2, H, W)` and target depths `(B, 1, H, W)`.
    """
    here = pixel_grid(depth.shape[-1], depth.device, depth.dtype).permute(2, 0, 1)
    moved, deep = move_positions(
        here.flatten(1).expand(len(depth), -1, -1), depth.flatten(2), offset.flatten(2), rigidity.flatten(2),
        rotation, anchor_source, anchor_target, scale,
    )  # fmt: skip
    return moved.unflatten(2, depth.shape[2:]), deep.unflatten(2, depth.shape[2:])


def move_positions(
    here: torch.Tensor,
    depth: torch.Tensor,
    offset: torch.Tensor,
    rigidity: torch.Tensor,
    rotation: torch.Tensor,
    anchor_source: torch.Tensor,
    anchor_target: torch.Tensor,
    scale: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where points of the portrait go when the head moves; see `move_points`.

    Args:
        here: `(B, 2, N)` positions in the portrait; the other per-point arguments are `(B, 1 or 3, N)`.
        depth: Depth relative to the anchor.
        offset: Displacement by expression.
        rigidity: In [0, 1].
        rotation: `(B, 3, 3)`.
        anchor_source: `(B, 2)`.
        anchor_target: `(B, 2)`.
        scale: `(B,)`.

    Returns:
        Target positions `(B, 2, N)` and target depths `(B, 1, N)`.
    """
    stretch = 1.0 + depth / CAMERA_DISTANCE  # undo perspective
    anchor = torch.cat([anchor_source, torch.zeros_like(anchor_source[:, :1])], dim=1)[:, :, None]
    points = torch.cat([here * stretch, depth], dim=1) + offset - anchor  # (B, 3, N), head-centred
    turned = torch.einsum("bij,bjn->bin", rotation, points) * scale[:, None, None]
    nearness = 1.0 / (1.0 + turned[:, 2:] / CAMERA_DISTANCE).clamp(min=0.2)
    target = (anchor_target[:, :, None] + turned[:, :2]) * nearness
    return torch.lerp(here, target, rigidity), torch.lerp(depth, turned[:, 2:], rigidity)


def scatter_points(
    values: torch.Tensor, weight: torch.Tensor, position: torch.Tensor, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add points to a picture, each shared among its four nearest cells.

    Args:
        values: `(B, C, N)`.
        weight: `(B, 1, N)` multiplies the values, not the density.
        position: `(B, 2, N)` in [-1, 1].
        size: Side of the picture.

    Returns:
        Weighted sums `(B, C, size, size)` and points per cell `(B, 1, size, size)`.
    """
    batch, channels, _ = values.shape
    place = (position + 1) * (size / 2) - 0.5
    corner = place.floor()
    fraction = place - corner
    density = values.new_zeros(batch, 1, size * size)
    total = values.new_zeros(batch, channels, size * size)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = corner[:, 0] + dx, corner[:, 1] + dy
        share = (fraction[:, 0] if dx else 1 - fraction[:, 0]) * (fraction[:, 1] if dy else 1 - fraction[:, 1])
        inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
        share = (share * inside)[:, None]
        index = (y.clamp(0, size - 1) * size + x.clamp(0, size - 1)).long()[:, None]
        total = total.scatter_add(2, index.expand(-1, channels, -1), values * (share * weight))
        density = density.scatter_add(2, index, share)
    return total.unflatten(2, (size, size)), density.unflatten(2, (size, size))


def splat_backward_map(
    moved: torch.Tensor, depth: torch.Tensor, payload: torch.Tensor, size: int, sharpness: float = 12.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Invert a forward map by splatting, nearer points winning (softmax splatting, Niklaus & Liu 2020).

    Args:
        moved: `(B, 2, H, W)` target position of every source pixel.
        depth: `(B, 1, H, W)` target depth.
        payload: `(B, C, H, W)` what else to carry along.
        size: Side of the target grid, at most H.
        sharpness: How strongly nearer points win, per unit depth.

    Returns:
        Backward map `(B, 2, size, size)` in source coordinates with holes filled from around, coverage
        `(B, 1, size, size)` in [0, 1], carried payload `(B, C, size, size)`.
    """
    batch, _, height, width = payload.shape
    source = pixel_grid(width, moved.device, moved.dtype).permute(2, 0, 1).expand(batch, 2, height, width)
    values = torch.cat([source - moved, payload, torch.ones_like(depth)], dim=1).flatten(2)  # (B, C + 3, N)
    weight = torch.exp((-sharpness * depth.clamp(-1.5, 1.5)).flatten(2))
    total, density = scatter_points(values, weight, moved.flatten(2), size)
    coverage = (density * (size * size / (height * width))).clamp(max=1)  # 1 = at rest
    mass = total[:, -1:]
    mean = total[:, :-1] / mass.clamp(min=1e-8)
    confident = (coverage * 4).clamp(max=1) * (mass > 1e-8)
    filled = fill_holes(mean, confident)
    target = pixel_grid(size, moved.device, moved.dtype).permute(2, 0, 1)
    return target + filled[:, :2], coverage, filled[:, 2:]


def fill_holes(value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Fill where `weight` is 0 from ever coarser averages (push-pull, Gortler et al. 1996).

    Args:
        value: `(B, C, S, S)`, S a power of two.
        weight: `(B, 1, S, S)` in [0, 1].

    Returns:
        `(B, C, S, S)`, equal to `value` where `weight` is 1.
    """
    if value.shape[-1] == 1:
        return value
    coarse_weight = F.avg_pool2d(weight, 2)
    coarse = F.avg_pool2d(value * weight, 2) / coarse_weight.clamp(min=1e-6)
    known = (coarse_weight * 4).clamp(max=1)
    low = F.interpolate(fill_holes(coarse, known), scale_factor=2, mode="bilinear", align_corners=False)
    return torch.lerp(low, value, weight)
