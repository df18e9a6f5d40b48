"""Batched z-buffer rasteriser: no loop over samples or triangles, no gradients.

On CUDA the kernels of `raster_triton.py` draw, where Triton can be imported (torch brings it on Linux). Everywhere else
plain torch does, with the same result. There triangles are grouped by the size of their pixel box. Inside one group
every triangle tests the same small window of candidate pixels; barycentric weights and depth are linear in x and y, so
a window costs one broadcast addition. The nearest triangle of a pixel is found with one int64 `scatter_reduce(amin)` on
keys (depth bits << 32 | triangle).

Shape legend: B batch, V vertices, T triangles, P z-buffer planes, H and W picture size.
"""

from __future__ import annotations

import importlib.util
from typing import Final

import torch
from torch import Tensor

EMPTY: Final = torch.iinfo(torch.int64).max
WINDOWS: Final = (2, 3, 4, 5, 6, 8, 11, 16, 24, 32, 64, 128, 256, 512, 1024, 2048)
GUARD: Final = 32  # spare rows and columns, so that small windows may stick out of the picture
MAX_CANDIDATES: Final = 1 << 24  # candidate pixels handled at once (memory bound)


def triangle_equations(corner_xy: Tensor, corner_z: Tensor) -> Tensor:
    """Linear functions of x and y that give the barycentric weights and the depth of each triangle.

    Args:
        corner_xy: `(B, T, 3, 2)` pixels.
        corner_z: `(B, T, 3)` depth.

    Returns:
        `(B, T, 11)`: A (4), B (4), origin x, origin y, depth at the origin. With dx, dy measured from the origin
        (corner 2), `A dx + B dy + (0, 0, 1, depth)` are weight 0, weight 1, weight 2 and the depth. Degenerate
        triangles give values that are not finite.
    """
    (x0, y0), (x1, y1), (x2, y2) = (corner_xy[:, :, k].unbind(-1) for k in range(3))
    inverse = 1.0 / ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))
    a0, b0 = (y1 - y2) * inverse, (x2 - x1) * inverse
    a1, b1 = (y2 - y0) * inverse, (x0 - x2) * inverse
    z0, z1, z2 = corner_z.unbind(-1)
    az, bz = (p0 * (z0 - z2) + p1 * (z1 - z2) for p0, p1 in ((a0, a1), (b0, b1)))
    return torch.stack([a0, a1, -a0 - a1, az, b0, b1, -b0 - b1, bz, x2, y2, z2], -1)


def _draw_window(
    keys: Tensor,
    equations: Tensor,
    first: Tensor,
    slot: Tensor,
    number: Tensor,
    window: int,
    size: tuple[int, int],
) -> None:
    """Draw N triangles whose boxes fit into `window` x `window` pixels.

    Args:
        keys: `(slots * (H + GUARD) * (W + GUARD),)` int64 nearest keys, updated in place.
        equations: `(N, 11)`.
        first: `(N, 2)` first pixel (x, y) of each box.
        slot: `(N,)` which z-buffer: picture * planes + plane.
        number: `(N,)` triangle numbers.
        window: Window side [px].
        size: H and W [px].
    """
    H, W = size
    step = torch.arange(window, device=keys.device)
    start = first + 0.5 - equations[:, 8:10]
    x, y = start[:, :1] + step, start[:, 1:] + step  # (N, window)
    row = equations[:, 0:4, None] * x[:, None]
    column = equations[:, 4:8, None] * y[:, None]
    row[:, 2] += 1
    row[:, 3] += equations[:, 10:]
    value = row[:, :, None, :] + column[:, :, :, None]  # (N, 4, window y, window x)
    hit = value[:, :3].amin(1) >= -1e-5
    if window > GUARD:
        hit &= ((first[:, :1] + step < W)[:, None, :]) & ((first[:, 1:] + step < H)[:, :, None])
    n, ky, kx = hit.nonzero(as_tuple=True)
    key = (value[n, 3, ky, kx].view(torch.int32).long() << 32) | number[n]
    corner_pixel = (slot * (H + GUARD) + first[:, 1]) * (W + GUARD) + first[:, 0]
    keys.scatter_reduce_(0, corner_pixel[n] + ky * (W + GUARD) + kx, key, "amin")


def rasterize(
    xy: Tensor,
    depth: Tensor,
    tris: Tensor,
    size: tuple[int, int],
    *,
    plane: Tensor | None = None,
    planes: int = 1,
) -> tuple[Tensor, Tensor]:
    """Find the nearest triangle of every pixel.

    Args:
        xy: `(B, V, 2)` vertex positions [px], pixel centres at +0.5.
        depth: `(B, V)` distance from the camera, positive.
        tris: `(T, 3)` vertex numbers, int64.
        size: H and W [px].
        plane: `(T,)` int64, the z-buffer that each triangle is drawn into; all into the first when `None`.
        planes: Number P of z-buffers.

    Returns:
        Triangle number per pixel `(B, P, H, W)` int64, -1 where nothing was drawn, and the triangle equations
        `(B, T, 11)` that `interpolate` needs.
    """
    H, W = size
    B = xy.shape[0]
    if plane is None:
        plane = torch.zeros_like(tris[:, 0])
    corner = xy[:, tris]  # (B, T, 3, 2)
    equations = triangle_equations(corner, depth[:, tris])
    first, last = _pixel_boxes(corner, size)
    drawable = (last >= first).all(-1) & equations.isfinite().all(-1)
    keep = 0 if has_kernels(xy.device) else GUARD
    keys = torch.full((B * planes * (H + keep) * (W + keep),), EMPTY, dtype=torch.int64, device=xy.device)
    if has_kernels(xy.device):
        from portrait_anim.training.synthetic import raster_triton

        raster_triton.draw(keys, equations, first, torch.where(drawable[..., None], last, -1), plane, size, planes)
    else:
        box = torch.where(drawable, (last - first).amax(-1) + 1, 0)  # (B, T) longest side in pixels
        _draw_by_size(keys, equations, first, box, plane, size, planes)
    keys = keys.view(B, planes, H + keep, W + keep)[..., :H, :W]
    return torch.where(keys == EMPTY, -1, keys & 0xFFFFFFFF), equations


def has_kernels(device: torch.device) -> bool:
    """Whether the kernels of `raster_triton.py` can draw on a device."""
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None


def _pixel_boxes(corner: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """First and last pixel (x, y) whose centre lies in the box around each triangle `(B, T, 3, 2)`, `(B, T, 2)` each.

    A box that misses the picture or every pixel centre ends before it starts.
    """
    low, high = (corner.amin(2) - 0.5).ceil().long(), (corner.amax(2) - 0.5).floor().long()
    sides = (size[1], size[0])
    first = torch.stack([low[..., k].clamp(0, side) for k, side in enumerate(sides)], -1)
    last = torch.stack([high[..., k].clamp(max=side - 1) for k, side in enumerate(sides)], -1)
    return first, last


def _draw_by_size(
    keys: Tensor, equations: Tensor, first: Tensor, box: Tensor, plane: Tensor, size: tuple[int, int], planes: int
) -> None:
    """Draw all triangles with torch, window by window; `box` `(B, T)` is the longest side of their boxes [px]."""
    largest = int(box.max()) if box.numel() else 0
    smaller = 0
    for window in WINDOWS:
        if smaller >= largest:
            break
        todo_b, todo_t = ((box > smaller) & (box <= window)).nonzero(as_tuple=True)
        step = max(1, MAX_CANDIDATES // (window * window))
        for s in range(0, len(todo_b), step):
            b, t = todo_b[s : s + step], todo_t[s : s + step]
            _draw_window(keys, equations[b, t], first[b, t], b * planes + plane[t], t, window, size)
        smaller = window


def interpolate(
    attributes: Tensor, tri_id: Tensor, equations: Tensor, tris: Tensor, *, out: Tensor | None = None
) -> Tensor:
    """Interpolate vertex attributes at the centres of the covered pixels.

    Args:
        attributes: `(B, V, C)`.
        tri_id: `(B, H, W)` triangle per pixel, -1 for none.
        equations: `(B, T, 11)` as `rasterize` gave them.
        tris: `(T, 3)` vertex numbers, int64.
        out: `(B, H, W, C)` to write into; pixels that are not covered keep their values. Zeros when `None`.

    Returns:
        `(B, H, W, C)`.
    """
    B, H, W = tri_id.shape
    if out is None:
        out = attributes.new_zeros(B, H, W, attributes.shape[-1])
    if has_kernels(attributes.device):
        from portrait_anim.training.synthetic import raster_triton

        raster_triton.interpolate(attributes, tri_id, equations, tris, out)
        return out
    b, y, x = cell = (tri_id >= 0).nonzero(as_tuple=True)
    out[cell] = interpolate_at(attributes, tri_id[cell], (b, y, x), equations, tris)
    return out


def interpolate_at(
    attributes: Tensor, tri_id: Tensor, cell: tuple[Tensor, Tensor, Tensor], equations: Tensor, tris: Tensor
) -> Tensor:
    """Interpolate vertex attributes at the centres of listed pixels.

    Args:
        attributes: `(B, V, C)`.
        tri_id: `(n,)` triangle of each pixel; none may be negative.
        cell: Picture, row and column of each pixel, `(n,)` int64 each.
        equations: `(B, T, 11)` as `rasterize` gave them.
        tris: `(T, 3)` vertex numbers, int64.

    Returns:
        `(n, C)`.
    """
    b, y, x = cell
    e = equations[b, tri_id]  # (n, 11)
    dx, dy = x + 0.5 - e[:, 8], y + 0.5 - e[:, 9]
    w0, w1 = ((e[:, k] * dx + e[:, k + 4] * dy)[:, None] for k in (0, 1))
    corner = tris[tri_id] + (b * attributes.shape[1])[:, None]  # rows of the flattened vertex table
    table = attributes.flatten(0, 1)
    value = table[corner[:, 0]] * w0
    return value.addcmul_(table[corner[:, 1]], w1).addcmul_(table[corner[:, 2]], 1 - w0 - w1)
