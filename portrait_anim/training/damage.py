"""Damage that real drivers bring along and renders lack: glasses, and the blocks of a compressed video.

Everything is batched torch on the device of its input.
Shapes: B crops, S crop side [px].
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from portrait_anim.models.lite.geometry import euler_to_matrix, pixel_grid
from portrait_anim.training.draws import Draws, uniform

# The luminance table of ITU-T T.81 annex K.1 at quality 50, for steps of 1/255.
_QUANTISATION = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_PUPIL_CM, _PLANE_CM = 3.1, 1.9  # lens centres beside and in front of the midpoint of the eyeballs
_TO_YCC = ((0.299, 0.587, 0.114), (-0.1687, -0.3313, 0.5), (0.5, -0.4187, -0.0813))


def compress(image: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """Quantise 8x8 blocks as JPEG and the intra frames of video codecs do, chroma at half resolution.

    Args:
        image: `(B, 3, S, S)` in [0, 1], S a multiple of 16.
        quality: `(B,)` factor on the quantisation steps; 1 is JPEG quality 50, 0.2 about quality 90.

    Returns:
        `(B, 3, S, S)`, about in [0, 1].
    """
    matrix = image.new_tensor(_TO_YCC)
    ycc = torch.einsum("ij,bjhw->bihw", matrix, image)
    table = image.new_tensor(_QUANTISATION) / 255
    luma = _quantise(ycc[:, :1], table, quality)
    chroma = _quantise(F.avg_pool2d(ycc[:, 1:], 2), table, quality * 1.3)
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(matrix), torch.cat([luma, chroma], 1))


def _quantise(planes: torch.Tensor, table: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """Discrete cosine transform of 8x8 blocks, rounding, and back."""
    k = torch.arange(8, device=planes.device, dtype=planes.dtype)
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * (math.pi / 16)) * 0.5
    basis[0] *= math.sqrt(0.5)
    blocks = planes.unfold(2, 8, 8).unfold(3, 8, 8)  # (B, C, S/8, S/8, 8, 8)
    step = table * quality.view(-1, 1, 1, 1, 1, 1)
    rounded = torch.round(basis @ blocks @ basis.T / step) * step
    return (basis.T @ rounded @ basis).transpose(3, 4).reshape(planes.shape)


def put_on_glasses(
    image: torch.Tensor, rotation: torch.Tensor, placement: torch.Tensor, worn: torch.Tensor, draws: Draws
) -> torch.Tensor:
    """Draw glasses of random shape where the head is.

    A frame is a flat pair of rounded boxes with a bridge, in front of the eyes; it turns with the head under weak
    perspective.

    Args:
        image: Motion crops `(B, 3, S, S)` in [0, 1].
        rotation: Yaw, pitch, roll `(B, 3)` [rad], as `LiteMotionOutput.rotation`.
        placement: As `LiteMotionOutput.placement`, `(B, 3)`.
        worn: Who wears glasses, `(B,)` bool.
        draws: Source of randomness.

    Returns:
        `(B, 3, S, S)`.
    """
    batch, _, size, _ = image.shape
    draw = uniform(draws, image, batch, 10)
    scale = placement[:, 2].exp() / 10  # half crop sides per cm
    matrix = euler_to_matrix(rotation)
    forward = -matrix[:, :2, 2] * (_PLANE_CM * scale)[:, None]  # image z points away from the viewer
    centre = placement[:, :2] + forward
    inverse = torch.linalg.inv(matrix[:, :2, :2] * scale[:, None, None])
    offset = pixel_grid(size, image.device).flatten(0, 1)[None] - centre[:, None]
    plane = torch.einsum("bij,bnj->bni", inverse, offset).unflatten(1, (size, size))  # [cm] in the plane of the lenses
    width, height = 1.9 + 0.9 * draw[:, 0], 1.3 + 1.1 * draw[:, 1]
    radius = torch.minimum(width, height) * (0.25 + 0.75 * draw[:, 2])
    x = plane[..., 0].abs() - (_PUPIL_CM + 0.3 * (draw[:, 3] - 0.5)).view(-1, 1, 1)
    y = plane[..., 1] - (0.7 + 0.5 * draw[:, 4]).view(-1, 1, 1)
    inner = torch.stack([x.abs() - (width - radius).view(-1, 1, 1), y.abs() - (height - radius).view(-1, 1, 1)], -1)
    distance = inner.clamp(min=0).norm(dim=-1) + inner.amax(-1).clamp(max=0) - radius.view(-1, 1, 1)
    bridge = torch.maximum(plane[..., 0].abs() - 1.2, (plane[..., 1] - 0.45).abs() - 0.02)
    thick = (0.06 + 0.24 * draw[:, 5] ** 2).view(-1, 1, 1)
    soft = (1.5 / size / scale).view(-1, 1, 1)  # antialiasing over about a pixel [cm]
    rim = torch.sigmoid((thick - torch.minimum(distance.abs(), bridge.clamp(min=0) + 0.5 * thick)) / (0.5 * soft))
    lens = torch.sigmoid(-distance / (0.5 * soft))[:, None]
    colour = (draw[:, 6:7] ** 2 * torch.lerp(draw[:, 6:9], draw[:, 6:7].expand(-1, 3), 0.6))[..., None, None]
    slope = torch.sigmoid(4 * (plane[..., 0] - y))[:, None]
    glare = 0.35 * draw[:, 9].view(-1, 1, 1, 1) ** 2 * slope
    out = image + lens * glare * (1 - image)
    out = torch.lerp(out, colour.expand_as(out), rim[:, None])
    return torch.where(worn.view(-1, 1, 1, 1), out, image)
