"""Where skin ends: lid and lip edges as curves between two corners, displaced like the skin beside them.

What a warp on a grid loses at such an edge, an opening of a few pixels, a curve keeps.

Shapes: B batch, N points, P points of one edge, S side of the frame, h w side of a window of it.
"""

from __future__ import annotations

import torch

from portrait_anim.models.lite.expression_field import ExpressionField
from portrait_anim.models.lite.geometry import move_positions


def displace_edges(
    points: torch.Tensor,
    place: torch.Tensor,
    field: ExpressionField,
    change: torch.Tensor,
    pose: torch.Tensor,
    size: torch.Tensor,
    head: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Points of edges in a frame.

    Args:
        points: `(B, 3, N)` position and depth in the portrait [half crop sides].
        place: `(B, 3, N)` their places on the canonical face [10 cm].
        field: Field over the canonical face.
        change: Change of the coefficients `(B, K)`.
        pose: `(B, 3, 3)` head pose of the portrait, image axes.
        size: `(B,)` head size of the portrait [half crop sides per 10 cm].
        head: Relative rotation, anchor in portrait and frame, relative scale, as `move_positions` takes them.

    Returns:
        Positions `(B, 2, N)` in [-1, 1].
    """
    flip = change.new_tensor([1.0, -1.0, -1.0])[:, None]
    offset = field(change, place[:, :, None])[:, :, 0]
    offset = torch.einsum("bij,bjn->bin", pose, offset * flip) * size[:, None, None]
    moved, _ = move_positions(points[:, :2], points[:, 2:], offset, torch.ones_like(points[:, :1]), *head)
    return moved


def window_around(edges: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The pixels around some points, in a window of one size for the whole batch.

    Args:
        edges: `(B, R, P, 2)` in [-1, 1], R rows of P points.
        size: Side S of the frame.

    Returns:
        Positions of the pixels in [-1, 1], and their columns and rows, `(B, h, w, 2)` each.
    """
    low, high = edges.amin((1, 2)), edges.amax((1, 2))
    span = int(((high - low).amax() * size / 2).ceil()) + 6
    span = min(max(span, 8), size)
    first = (((low + high) / 2 + 1) * size / 2 - span / 2).round().long().clamp(0, size - span)  # (B, 2)
    step = torch.arange(span, device=edges.device)
    x = (first[:, 0, None, None] + step[None, None]).expand(-1, span, -1)
    y = (first[:, 1, None, None] + step[None, :, None]).expand(-1, -1, span)
    at = torch.stack([x, y], dim=-1)
    return (at + 0.5) * (2 / size) - 1, at


def below_edge(edge: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """How far places `(B, h, w, 2)` lie below an edge `(B, P, 2)`, across the line of its corners `(B, h, w)`."""
    first, across = edge[:, :1], edge[:, -1:] - edge[:, :1]
    length = across.square().sum(-1, keepdim=True).clamp(min=1e-8)  # (B, 1, 1)
    down = torch.stack([-across[..., 1], across[..., 0]], dim=-1)

    def local(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        relative = points - first
        return ((relative * across).sum(-1, keepdim=True) / length, (relative * down).sum(-1, keepdim=True) / length)

    u, v = local(edge)  # (B, P, 1)
    u, v = _finer(u), _finer(v)
    here, depth = local(place.flatten(1, 2))  # (B, N, 1)
    step = (u[:, 1:] - u[:, :-1]).clamp(min=1e-4)
    share = ((here - u[:, :-1].transpose(1, 2)) / step.transpose(1, 2)).clamp(0, 1)  # (B, N, P - 1)
    at = v[:, :1] + share @ (v[:, 1:] - v[:, :-1])
    below: torch.Tensor = ((depth - at) * length.sqrt()).unflatten(1, place.shape[1:3])[..., 0]
    return below


def _finer(values: torch.Tensor) -> torch.Tensor:
    """Points `(B, P, 1)` of a curve with one between every two (Catmull-Rom)."""
    ends = torch.cat([2 * values[:, :1] - values[:, 1:2], values, 2 * values[:, -1:] - values[:, -2:-1]], dim=1)
    between = (9 * (ends[:, 1:-2] + ends[:, 2:-1]) - ends[:, :-3] - ends[:, 3:]) / 16
    mixed = torch.stack([values[:, :-1], between], dim=2).flatten(1, 2)
    return torch.cat([mixed, values[:, -1:]], dim=1)
