"""Pinhole camera of the synthetic photographs, and small rotation algebra.

The *photo frame* is 1024 units wide whatever resolution a photograph is stored in; a rendered picture shows a square
`Window` of it, [64, 960) unless told otherwise. Camera space is in cm: x right, y up, z towards the viewer, pinhole
at the origin, focal length 3000 photo units. Angles are degrees: yaw > 0 turns the head towards the right of the
picture (the subject's own left), pitch > 0 looks down, roll > 0 tilts counter-clockwise in the picture.

Shape legend: B batch, N points, W picture side in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

FOCAL: Final = 3000.0
FRAME: Final = 1024.0
PAD: Final = 256.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Square part of the photo frame that a picture shows; it may reach beyond the photograph.

    Attributes:
        left: Left edge [photo units].
        top: Upper edge [photo units].
        span: Width and height [photo units].
    """

    left: float = 64.0
    top: float = 64.0
    span: float = 896.0

    def __post_init__(self) -> None:
        if self.span <= 0:
            raise ValueError(f"expected a window wider than 0 photo units, got {self.span}")

    def origin(self, like: Tensor) -> Tensor:
        """Upper left corner `(2,)`, on the device of `like`."""
        return constant((self.left, self.top), like)

    def pixel_centres(self, side_px: int, device: torch.device) -> Tensor:
        """Photo-frame positions of the pixel centres of a picture, `(side_px, side_px, 2)` (x, y)."""
        line = (torch.arange(side_px, device=device) + 0.5) * (self.span / side_px)
        return torch.stack(torch.meshgrid(line + self.left, line + self.top, indexing="xy"), -1)

    def to_pixels(self, xy: Tensor, side_px: int) -> Tensor:
        """Photo units `(..., 2)` to pixels of a picture, same shape."""
        return (xy - self.origin(xy)) * (side_px / self.span)

    def to_grid(self, xy: Tensor) -> Tensor:
        """Photo units `(..., 2)` to `grid_sample` coordinates of a picture, [-1, 1] over its area, same shape."""
        return (xy - self.origin(xy)) * (2 / self.span) - 1

    def contains(self, xy: Tensor) -> Tensor:
        """Whether positions `(..., 2)` [photo units] lie inside, `(...)` bool."""
        local = xy - self.origin(xy)
        return ((local > 0) & (local < self.span)).all(-1)

    def look_up(self, picture: Tensor, xy: Tensor) -> Tensor:
        """Values of a picture `(B, C, W, W)` at photo positions `(B, H, W', 2)`, edges continued."""
        return F.grid_sample(picture, self.to_grid(xy), mode="bilinear", padding_mode="border", align_corners=False)


def constant(values: Sequence[float] | Sequence[Sequence[float]], like: Tensor | torch.device) -> Tensor:
    """Numbers as a float32 tensor where another one is, copied there without making the host wait."""
    device = like.device if isinstance(like, Tensor) else like
    if device.type != "cuda":
        return torch.tensor(values, dtype=torch.float32, device=device)
    return torch.tensor(values, dtype=torch.float32, pin_memory=True).to(device, non_blocking=True)


def project(points: Tensor) -> Tensor:
    """Project camera-space points onto the photo frame.

    Args:
        points: `(..., 3)` camera space [cm], z < 0.

    Returns:
        `(..., 2)` x (right) and y (down) in photo units.
    """
    scale = FOCAL / -points[..., 2:3]
    return torch.cat([FRAME / 2 + scale * points[..., :1], FRAME / 2 - scale * points[..., 1:2]], -1)


def unproject(xy: Tensor, z: Tensor) -> Tensor:
    """Lift photo-frame positions to a given camera depth.

    Args:
        xy: `(..., 2)` photo units.
        z: `(...)` camera z [cm], negative in front of the camera.

    Returns:
        `(..., 3)` camera space [cm].
    """
    scale = -z[..., None] / FOCAL
    return torch.cat([(xy[..., :1] - FRAME / 2) * scale, -(xy[..., 1:] - FRAME / 2) * scale, z[..., None]], -1)


def look_up(
    texture: Tensor, xy: Tensor, *, span: float = FRAME, origin: float = 0.0, padding: str = "reflection"
) -> Tensor:
    """Sample a texture bilinearly at photo-frame positions.

    Args:
        texture: `(B, C, S, S)` covering `[origin, origin + span)` of the photo frame in both directions.
        xy: `(B, H, W, 2)` photo units.
        span: Width that the texture covers [photo units].
        origin: Left and top edge of the texture [photo units].
        padding: `grid_sample` padding mode.

    Returns:
        `(B, C, H, W)`.
    """
    grid = (xy - origin) * (2 / span) - 1
    return F.grid_sample(texture, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def euler(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Rotation `Rz(roll) Ry(yaw) Rx(pitch)` of three `(B,)` angles [deg], `(B, 3, 3)`."""
    cy, cp, cr = (torch.cos(torch.deg2rad(a)) for a in (yaw, pitch, roll))
    sy, sp, sr = (torch.sin(torch.deg2rad(a)) for a in (yaw, pitch, roll))
    rows = [
        cr * cy, cr * sy * sp - sr * cp, cr * sy * cp + sr * sp,
        sr * cy, sr * sy * sp + cr * cp, sr * sy * cp - cr * sp,
        -sy, cy * sp, cy * cp,
    ]  # fmt: skip
    return torch.stack(rows, -1).view(-1, 3, 3)


def angles(rotation: Tensor) -> Tensor:
    """Yaw, pitch and roll [deg] of rotations `(B, 3, 3)`, `(B, 3)`; the inverse of `euler`."""
    yaw = torch.asin((-rotation[:, 2, 0]).clamp(-1, 1))
    pitch = torch.atan2(rotation[:, 2, 1], rotation[:, 2, 2])
    roll = torch.atan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return torch.rad2deg(torch.stack([yaw, pitch, roll], 1))


def rotation_vector(rotation: Tensor) -> Tensor:
    """Axis times angle [rad] of rotations `(B, 3, 3)` well below 180 degrees, `(B, 3)`."""
    cos = ((rotation.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)
    angle = torch.arccos(cos)
    axis = torch.stack(
        [
            rotation[:, 2, 1] - rotation[:, 1, 2],
            rotation[:, 0, 2] - rotation[:, 2, 0],
            rotation[:, 1, 0] - rotation[:, 0, 1],
        ],
        1,
    )
    scale = torch.where(angle > 1e-4, angle / (2 * torch.sin(angle)).clamp(min=1e-6), torch.full_like(angle, 0.5))
    return axis * scale[:, None]


def rotate_partly(points: Tensor, vector: Tensor, share: Tensor) -> Tensor:
    """Rotate each point by its own share of one rotation.

    Args:
        points: `(B, N, 3)`.
        vector: `(B, 3)` axis times angle [rad].
        share: `(B, N)` fraction of the angle, 0 to 1.

    Returns:
        `(B, N, 3)`.
    """
    angle = vector.norm(dim=1, keepdim=True).clamp(min=1e-8)
    axis = (vector / angle)[:, None].expand_as(points)
    part: Tensor = (share * angle)[..., None]
    along: Tensor = axis * (axis * points).sum(-1, keepdim=True)
    turned: Tensor = points * part.cos() + torch.cross(axis, points, dim=-1) * part.sin() + along * (1 - part.cos())
    return turned


def smoothstep(x: Tensor) -> Tensor:
    """Cubic ease from 0 (x <= 0) to 1 (x >= 1)."""
    inside: Tensor = x.clamp(0, 1)
    return inside * inside * (3 - 2 * inside)
