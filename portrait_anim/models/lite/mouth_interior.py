"""What an opening mouth uncovers: teeth, gums, tongue and cavity of the average head, behind the portrait's lips.

A portrait with closed lips says nothing about its teeth. Points of the average mouth, with plain shaded colours, give
the denoiser a picture to start from that already has the upper row fixed to the skull and the lower row to the jaw.
Points and colours come from ICT-FaceKit (Li et al. 2020, MIT); see `training.canonical_face`.

Shapes: B batch, P points, J jaw coefficients, f fine side, s output side.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from portrait_anim.models.lite.expressions import EXPRESSIONS
from portrait_anim.models.lite.geometry import fill_holes, move_positions, scatter_points

JAW = tuple(EXPRESSIONS.index(n) for n in ("jawForward", "jawLeft", "jawOpen", "jawRight"))
# Skin between nose and upper lip, which neither jaw nor smile displaces much: canonical box [10 cm].
_ABOVE_LIP = ((-0.25, 0.25), (-0.32, -0.12))
# Between opened lips lies what is deeper than the lips, which bend back towards the corners [10 cm].
_LIPS = ((-0.3, 0.3), (-0.46, -0.2))
_LIP_DEPTH, _LIP_BEND, _DEEPER = 1.15, 1.68, 0.05
_SHARPNESS = 30.0  # how strongly nearer points win, per unit depth


def between_lips(canonical: torch.Tensor) -> torch.Tensor:
    """Whether canonical points of a rendered face `(B, 3, H, W)` lie inside the mouth, `(B, 1, H, W)` 0 or 1."""
    (left, right), (bottom, top) = _LIPS
    x, y, z = canonical.unbind(1)
    inside = (x > left) & (x < right) & (y > bottom) & (y < top) & (z < _LIP_DEPTH - _LIP_BEND * x**2 - _DEEPER)
    return inside[:, None].to(canonical)


class MouthInterior(nn.Module):
    """Coloured points of the average mouth.

    Args:
        num_points: Points P.
    """

    points: torch.Tensor
    colours: torch.Tensor
    jaw: torch.Tensor

    def __init__(self, num_points: int = 4272) -> None:
        super().__init__()
        self.register_buffer("points", torch.zeros(num_points, 3))  # canonical position, jaw closed [10 cm]
        self.register_buffer("colours", torch.zeros(num_points, 3))  # [-1, 1]
        self.register_buffer("jaw", torch.zeros(len(JAW), num_points, 3))  # displacement per jaw coefficient [10 cm]

    def anchor(
        self, canonical: torch.Tensor, known: torch.Tensor, depth: torch.Tensor, grid: torch.Tensor, scale: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the points behind the lips of a portrait as it was photographed, jaw closed.

        Canonical position maps to image position by the affine map that fits the skin above the upper lip best.

        Args:
            canonical: `(B, 3, f, f)` [10 cm].
            known: `(B, 1, f, f)`, 1 where that was measured.
            depth: `(B, 1, f, f)` [half crop sides].
            grid: Positions of the pixels `(2, f, f)` in [-1, 1].
            scale: `(B,)` head size [half crop sides per 10 cm].

        Returns:
            Positions `(B, 2, P)` in [-1, 1] and depths `(B, 1, P)` [half crop sides].
        """
        (left, right), (bottom, top) = _ABOVE_LIP
        x, y = canonical[:, 0], canonical[:, 1]
        near = (x > left) & (x < right) & (y > bottom) & (y < top) & (known[:, 0] > 0.5)
        chosen = near.to(canonical).flatten(1)  # (B, N)
        seen = torch.stack([x, y, torch.ones_like(x)], dim=-1).flatten(1, 2)  # (B, N, 3)
        weighted = (seen * chosen[..., None]).transpose(1, 2)
        normal = weighted @ seen + 1e-4 * torch.eye(3, device=seen.device, dtype=seen.dtype)
        shown = torch.cat([grid.flatten(1).T.expand(len(x), -1, -1), depth.flatten(1)[..., None]], dim=-1)
        affine = torch.linalg.solve(normal, weighted @ shown)  # (B, 3, 3): x, y, 1 -> u, v, depth
        ones = torch.ones_like(self.points[:, :1])
        placed = torch.cat([self.points[:, :2], ones], dim=1) @ affine  # (B, P, 3)
        count = chosen.sum(1).clamp(min=1)
        lip = (canonical[:, 2].flatten(1) * chosen).sum(1) / count  # canonical depth of the skin that was fitted
        behind = (lip[:, None] - self.points[:, 2]) * scale[:, None]
        surface = placed[..., 2].mean(1, keepdim=True)
        return placed[..., :2].transpose(1, 2), (surface + behind)[:, None]

    def forward(
        self,
        positions: torch.Tensor,
        depth: torch.Tensor,
        coefficients: torch.Tensor,
        pose: torch.Tensor,
        scale: torch.Tensor,
        head: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
        size: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw the points.

        Args:
            positions: From `anchor` `(B, 2, P)`.
            depth: From `anchor` `(B, 1, P)`.
            coefficients: Coefficients to show `(B, K)`.
            pose: Head pose of the portrait `(B, 3, 3)`, image axes.
            scale: Head size of the portrait `(B,)` [half crop sides per 10 cm].
            head: Relative rotation, anchor in portrait and frame, relative scale, as `move_positions` takes them.
            size: Side s of the picture.

        Returns:
            Colours `(B, 3, s, s)` in [-1, 1], gaps filled, and where points lie `(B, 1, s, s)` in [0, 1].
        """
        flip = pose.new_tensor([1.0, -1.0, -1.0])
        opened = torch.einsum("bj,jpc->bpc", coefficients[:, list(JAW)].clamp(min=0), self.jaw)
        offset = torch.einsum("bij,bpj->bip", pose, opened * flip) * scale[:, None, None]
        moved, deep = move_positions(positions, depth, offset, torch.ones_like(depth), *head)
        weight = torch.exp(-_SHARPNESS * (deep - deep.amin(-1, keepdim=True)))
        values = torch.cat([self.colours.T.expand(len(moved), -1, -1), torch.ones_like(deep)], dim=1)
        total, density = scatter_points(values, weight, moved, size)
        total, density = (F.avg_pool2d(v, 3, 1, 1) for v in (total, density))  # no dots between points
        mass = total[:, -1:]
        mean = total[:, :-1] / mass.clamp(min=1e-8)
        present = (density > 0).to(mean)
        return fill_holes(mean, present * (mass > 1e-8)), (8 * F.avg_pool2d(density, 5, 1, 2)).clamp(max=1)
