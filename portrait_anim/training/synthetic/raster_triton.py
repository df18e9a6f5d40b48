"""The rasteriser of `raster.py` as two Triton kernels for CUDA: one launch each, and the host never waits.

`draw` gives a program a block of triangles; it walks over their pixel boxes in tiles of 4 x 4 pixels and keeps the
nearest triangle of a pixel by an atomic minimum on the same keys as the torch path (depth bits << 32 | triangle). The
arithmetic is done in the same order, without fused multiply-add, so that both paths agree to the last bit except for
pixel centres on an edge.

Triton is no dependency of this project: torch brings it where there is CUDA. This module is only imported where it is.

Shape legend: B pictures, V vertices, T triangles, P z-buffer planes, H and W picture size, C channels.
"""
# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-def"

# The compiler reads the annotations of the kernels, so that they are not postponed and name nothing but `tl.constexpr`.
from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

_TRIANGLES: Final = 16  # per program
_PIXELS: Final = 256  # per program


def _draw_block(
    keys,
    equations,
    first,
    last,
    plane,
    T,
    P,
    H,
    W,
    BLOCK: tl.constexpr,
):
    """Draw BLOCK triangles of one picture; lanes are (triangle, pixel of a 4 x 4 tile)."""
    b = tl.program_id(1).to(tl.int64)
    t = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    known = t < T
    row = b * T + t
    left = tl.load(first + row * 2, mask=known, other=0)
    top = tl.load(first + row * 2 + 1, mask=known, other=0)
    right = tl.load(last + row * 2, mask=known, other=-1)  # an empty box ends before it starts
    bottom = tl.load(last + row * 2 + 1, mask=known, other=-1)
    e = equations + row * 11
    ax0 = tl.load(e, mask=known, other=0.0)[:, None]
    ax1 = tl.load(e + 1, mask=known, other=0.0)[:, None]
    ax2 = tl.load(e + 2, mask=known, other=0.0)[:, None]
    axz = tl.load(e + 3, mask=known, other=0.0)[:, None]
    ay0 = tl.load(e + 4, mask=known, other=0.0)[:, None]
    ay1 = tl.load(e + 5, mask=known, other=0.0)[:, None]
    ay2 = tl.load(e + 6, mask=known, other=0.0)[:, None]
    ayz = tl.load(e + 7, mask=known, other=0.0)[:, None]
    start_x = (left.to(tl.float32) + 0.5 - tl.load(e + 8, mask=known, other=0.0))[:, None]
    start_y = (top.to(tl.float32) + 0.5 - tl.load(e + 9, mask=known, other=0.0))[:, None]
    depth = tl.load(e + 10, mask=known, other=0.0)[:, None]
    slot = ((b * P + tl.load(plane + t, mask=known, other=0)) * H * W)[:, None]
    lane = tl.arange(0, 16)[None, :]
    wide, high = tl.max(right - left, axis=0) + 1, tl.max(bottom - top, axis=0) + 1
    for v in range(0, high, 4):
        for u in range(0, wide, 4):
            i, j = u + lane % 4, v + lane // 4
            column, line = left[:, None] + i, top[:, None] + j
            x, y = start_x + i.to(tl.float32), start_y + j.to(tl.float32)
            w0 = ax0 * x + ay0 * y
            w1 = ax1 * x + ay1 * y
            w2 = (ax2 * x + 1.0) + ay2 * y
            z = (axz * x + depth) + ayz * y
            inside = (column <= right[:, None]) & (line <= bottom[:, None])
            hit = inside & (w0 >= -1e-5) & (w1 >= -1e-5) & (w2 >= -1e-5)
            key = (z.to(tl.int32, bitcast=True).to(tl.int64) << 32) | t[:, None].to(tl.int64)
            tl.atomic_min(keys + slot + line * W + column, key, mask=hit, sem="relaxed")


def _interpolate_block(
    attributes,
    tri_id,
    equations,
    tris,
    out,
    V,
    T,
    H,
    W,
    C: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Interpolate BLOCK pixels; CHANNELS is C rounded up to a power of two."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    cell = b * H * W + pixel
    t = tl.load(tri_id + cell, mask=pixel < H * W, other=-1)
    drawn = t >= 0
    e = equations + (b * T + t) * 11
    x = (pixel % W).to(tl.float32) + 0.5 - tl.load(e + 8, mask=drawn, other=0.0)
    y = (pixel // W).to(tl.float32) + 0.5 - tl.load(e + 9, mask=drawn, other=0.0)
    w0 = tl.load(e, mask=drawn, other=0.0) * x + tl.load(e + 4, mask=drawn, other=0.0) * y
    w1 = tl.load(e + 1, mask=drawn, other=0.0) * x + tl.load(e + 5, mask=drawn, other=0.0) * y
    w2 = 1.0 - w0 - w1
    c = tl.arange(0, CHANNELS)[None, :]
    mask = drawn[:, None] & (c < C)
    table = attributes + b * V * C + c
    corner = tris + t * 3
    first = tl.load(table + tl.load(corner, mask=drawn, other=0)[:, None] * C, mask=mask, other=0.0)
    second = tl.load(table + tl.load(corner + 1, mask=drawn, other=0)[:, None] * C, mask=mask, other=0.0)
    third = tl.load(table + tl.load(corner + 2, mask=drawn, other=0)[:, None] * C, mask=mask, other=0.0)
    value = first * w0[:, None] + second * w1[:, None] + third * w2[:, None]
    tl.store(out + cell[:, None] * C + c, value, mask=mask)


draw_kernel: Final = triton.jit(_draw_block)
interpolate_kernel: Final = triton.jit(_interpolate_block)


def draw(
    keys: Tensor, equations: Tensor, first: Tensor, last: Tensor, plane: Tensor, size: tuple[int, int], planes: int
) -> None:
    """Draw triangles into z-buffers.

    Args:
        keys: `(B * P * H * W,)` int64 nearest keys, updated in place.
        equations: `(B, T, 11)` float32 as `raster.triangle_equations` gives them.
        first: `(B, T, 2)` int64 first pixel (x, y) of each box.
        last: `(B, T, 2)` int64 last pixel; before `first` for triangles that draw nothing.
        plane: `(T,)` int64, the z-buffer of each triangle.
        size: H and W [px].
        planes: Number P of z-buffers.
    """
    B, T = first.shape[:2]
    if B * T:
        grid = (triton.cdiv(T, _TRIANGLES), B)
        given = (keys, equations.contiguous(), first.contiguous(), last.contiguous(), plane.contiguous())
        draw_kernel[grid](*given, T, planes, *size, BLOCK=_TRIANGLES, enable_fp_fusion=False)


def interpolate(attributes: Tensor, tri_id: Tensor, equations: Tensor, tris: Tensor, out: Tensor) -> None:
    """Interpolate vertex attributes at the centres of the covered pixels.

    Args:
        attributes: `(B, V, C)` float32.
        tri_id: `(B, H, W)` int64 triangle per pixel, -1 for none.
        equations: `(B, T, 11)` float32.
        tris: `(T, 3)` int64 vertex numbers.
        out: `(B, H, W, C)` float32, contiguous; written where a triangle is.

    Raises:
        ValueError: If `out` is not contiguous.
    """
    if not out.is_contiguous():
        raise ValueError("expected a contiguous picture to write into; pass out.contiguous()")
    B, H, W = tri_id.shape
    V, C = attributes.shape[1:]
    grid = (triton.cdiv(H * W, _PIXELS), B)
    given = (attributes.contiguous(), tri_id.contiguous(), equations.contiguous(), tris.contiguous(), out)
    interpolate_kernel[grid](
        *given,
        V,
        equations.shape[1],
        H,
        W,
        C=C,
        CHANNELS=triton.next_power_of_2(C),
        BLOCK=_PIXELS,
        enable_fp_fusion=False,
    )
    assert out.dtype == torch.float32
