"""Normals, spherical-harmonic light and the image filters that the renderer needs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def vertex_normals(vertices: Tensor, tris: Tensor) -> Tensor:
    """Unit normals of the vertices of triangle meshes.

    Args:
        vertices: `(B, V, 3)`.
        tris: `(T, 3)` vertex numbers, int64.

    Returns:
        `(B, V, 3)`; zero for vertices without a triangle.
    """
    a, b, c = vertices[:, tris].unbind(2)
    face = torch.cross(b - a, c - a, dim=-1)
    out = torch.zeros_like(vertices)
    for corner in range(3):
        out.index_add_(1, tris[:, corner], face)
    return F.normalize(out, dim=-1)


def sh9(normal: Tensor) -> Tensor:
    """Second-order spherical harmonic basis of unit normals `(..., 3)`, `(..., 9)`."""
    x, y, z = normal.unbind(-1)
    one = torch.ones_like(x)
    return torch.stack([one, x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], -1)


def luminance(normal: Tensor, light: Tensor) -> Tensor:
    """Brightness of surfaces under spherical-harmonic light.

    Args:
        normal: `(B, V, 3)` unit normals.
        light: `(B, 9)` coefficients.

    Returns:
        `(B, V)`, at least 0.08 so that ratios stay finite.
    """
    return (sh9(normal) * light[:, None]).sum(-1).clamp(min=0.08)


def box_blur(image: Tensor, width: int) -> Tensor:
    """Mean over an odd `width` x `width` window of `(B, C, H, W)`, borders renormalised."""
    return F.avg_pool2d(image, width, 1, width // 2, count_include_pad=False)


def soften_seams(colour: Tensor, parts: Tensor, lashes: Tensor) -> Tensor:
    """Blend neighbouring pixels where a part of the face ends and along lash lines, which would be jagged.

    Args:
        colour: `(B, 3, R, R)`.
        parts: `(B, C, R, R)` masks of eyes, mouth and teeth, 0 or 1.
        lashes: `(B, 1, R, R)` factor on the colour, far below 1 on a lash line.

    Returns:
        `(B, 3, R, R)`.
    """
    dark = ((0.75 - lashes) / 0.2).clamp(0, 1)
    share = box_blur(parts, 3)
    seam = torch.maximum((4 * share * (1 - share)).amax(1, keepdim=True), dilate(dark, 3))
    b, y, x = cell = (seam[:, 0] > 0.02).nonzero(as_tuple=True)  # few pixels: cheaper than a blur of the picture
    padded = F.pad(colour, (1, 1, 1, 1), mode="replicate").permute(0, 2, 3, 1)
    mean = torch.stack([padded[b, y + v, x + u] for v in range(3) for u in range(3)]).mean(0)
    out = colour.permute(0, 2, 3, 1)
    out[cell] = torch.lerp(out[cell], mean, seam[:, 0][cell][:, None])
    return out.permute(0, 3, 1, 2)


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian blur of `(B, C, H, W)` with standard deviation `sigma` [px], borders reflected."""
    reach = max(1, round(4 * sigma))
    x = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
    C = image.shape[1]
    padded = F.pad(image, (reach, reach, reach, reach), mode="reflect")
    padded = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(C, 1, 1, -1), groups=C)
    return F.conv2d(padded, kernel.view(1, 1, -1, 1).expand(C, 1, -1, 1), groups=C)


def dilate(image: Tensor, width: int) -> Tensor:
    """Maximum over an odd `width` x `width` window of `(B, C, H, W)`."""
    return F.max_pool2d(image, width, 1, width // 2)


def push_pull(value: Tensor, weight: Tensor) -> Tensor:
    """Fill unknown pixels from ever coarser averages of the known ones.

    Args:
        value: `(B, C, S, S)`, S a power of two.
        weight: `(B, 1, S, S)`, 1 where `value` is known, 0 where it is to be filled.

    Returns:
        `(B, C, S, S)`.
    """
    if value.shape[-1] == 1:
        return value
    coarse_weight = F.avg_pool2d(weight, 2)
    coarse = F.avg_pool2d(value * weight, 2) / coarse_weight.clamp(min=1e-6)
    filled = push_pull(coarse, (coarse_weight > 1e-4).to(coarse_weight))
    low = F.interpolate(filled, scale_factor=2, mode="bilinear", align_corners=False)
    return value * weight + low * (1 - weight)
