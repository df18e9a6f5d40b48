"""What an opening mouth uncovers: teeth, gums, tongue and cavity of the average head, behind the portrait's lips.

A portrait with closed lips says nothing about its teeth. Three pictures of the average mouth, seen from the front, give
the denoiser something to start from: the flesh at the back, the lower row, which moves with the jaw, and the upper row,
which is fixed to the skull. Every pixel between the lips looks up which point of each picture it shows. Pictures and
depths come from ICT-FaceKit (Li et al. 2020, MIT); see `training.canonical_mouth`.

Shapes: B batch, A = 3 layers from back to front, J jaw coefficients, n m sides of the pictures, f fine side.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from portrait_anim.models.lite.expressions import EXPRESSIONS
from portrait_anim.models.lite.geometry import move_positions

JAW = tuple(EXPRESSIONS.index(n) for n in ("jawForward", "jawLeft", "jawOpen", "jawRight"))
NUM_LAYERS = 3
# What the pictures show of the canonical face [10 cm]: x to the subject's left, y up.
LEFT, RIGHT, BOTTOM, TOP = -0.36, 0.36, -0.62, -0.08
# Skin between nose and upper lip, which neither jaw nor smile displaces much: canonical box [10 cm].
_ABOVE_LIP = ((-0.25, 0.25), (-0.32, -0.12))
# Between opened lips lies what is deeper than the lips, which bend back towards the corners [10 cm].
_LIPS = ((-0.3, 0.3), (-0.46, -0.2))
_LIP_DEPTH, _LIP_BEND, _DEEPER = 1.15, 1.68, 0.05
_MIDDLE = (0.0, -0.33)  # of the mouth [10 cm]
_USUAL_SCALE = 0.7  # of heads in crops [half crop sides per 10 cm]
_ROUNDS = 3  # of Newton's method, with a fixed slope, which rows of teeth need to a tenth of a pixel


def between_lips(canonical: torch.Tensor) -> torch.Tensor:
    """Whether canonical points of a rendered face `(B, 3, H, W)` lie inside the mouth, `(B, 1, H, W)` 0 or 1."""
    (left, right), (bottom, top) = _LIPS
    x, y, z = canonical.unbind(1)
    inside = (x > left) & (x < right) & (y > bottom) & (y < top) & (z < _LIP_DEPTH - _LIP_BEND * x**2 - _DEEPER)
    return inside[:, None].to(canonical)


class MouthInterior(nn.Module):
    """Pictures of the average mouth.

    Args:
        height: Of the pictures n.
        width: Of the pictures m.
    """

    pictures: torch.Tensor
    depths: torch.Tensor
    jaw: torch.Tensor

    def __init__(self, height: int = 120, width: int = 160) -> None:
        super().__init__()
        self.register_buffer("pictures", torch.zeros(NUM_LAYERS, 4, height, width))  # colour in [-1, 1], opacity
        self.register_buffer("depths", torch.zeros(NUM_LAYERS, 1, height, width))  # canonical z [10 cm]
        self.register_buffer("jaw", torch.zeros(NUM_LAYERS, len(JAW), 3))  # displacement per jaw coefficient [10 cm]

    def anchor(
        self, canonical: torch.Tensor, known: torch.Tensor, depth: torch.Tensor, grid: torch.Tensor, scale: torch.Tensor
    ) -> torch.Tensor:
        """Where a portrait, as it was photographed, has the points of the average mouth, jaw closed.

        Canonical position maps to image position by the affine map that fits the skin above the upper lip best.

        Args:
            canonical: `(B, 3, f, f)` [10 cm].
            known: `(B, 1, f, f)`, 1 where that was measured.
            depth: `(B, 1, f, f)` [half crop sides].
            grid: Positions of the pixels `(2, f, f)` in [-1, 1].
            scale: `(B,)` head size [half crop sides per 10 cm].

        Returns:
            `(B, 4, 3)`, which maps x, y, z, 1 on the canonical face to position in [-1, 1] and depth [half crop sides].
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
        lip = (canonical[:, 2].flatten(1) * chosen).sum(1) / chosen.sum(1).clamp(min=1)  # depth of the fitted skin
        surface = affine.new_tensor([*_MIDDLE, 1.0]) @ affine[:, :, 2:]  # (B, 1)
        place = F.pad(affine[:, :, :2], (0, 1))  # (B, 3, 3)
        place[:, 2, 2] = surface[:, 0] + lip * scale
        towards = F.pad(-scale[:, None, None], (2, 0))  # (B, 1, 3): z grows towards the viewer, depth away from him
        return torch.cat([place[:, :2], towards, place[:, 2:]], dim=1)

    def forward(
        self,
        place: torch.Tensor,
        placed: torch.Tensor,
        coefficients: torch.Tensor,
        pose: torch.Tensor,
        scale: torch.Tensor,
        head: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
        side: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Look into the mouth.

        Args:
            place: Positions in the frame to look at `(B, h, w, 2)` in [-1, 1].
            placed: From `anchor` `(B, 4, 3)`.
            coefficients: Coefficients to show `(B, K)`.
            pose: Head pose of the portrait `(B, 3, 3)`, image axes.
            scale: Head size of the portrait `(B,)` [half crop sides per 10 cm].
            head: Relative rotation, anchor in portrait and frame, relative scale, as `move_positions` takes them.
            side: Side of the frame [px].

        Returns:
            Colours `(B, 3, h, w)` in [-1, 1], and 1 where they are of the average mouth, 0 beyond its pictures
            `(B, 1, h, w)`.
        """
        flip = pose.new_tensor([1.0, -1.0, -1.0])
        opened = torch.einsum("bj,ajc->bac", coefficients[:, list(JAW)].clamp(min=0), self.jaw)
        offsets = torch.einsum("bij,baj->bai", pose, opened * flip) * scale[:, None, None]  # (B, A, 3)
        # pictures with no more pixels than the frame has there, so that edges of teeth do not flicker
        finer = self.pictures.shape[-1] / (RIGHT - LEFT) * 2 / (side * _USUAL_SCALE)
        pictures = F.avg_pool2d(self.pictures, max(1, round(finer)))
        colour = place.new_zeros(len(place), 3, *place.shape[1:3])
        present = place.new_zeros(len(place), 1, *place.shape[1:3])
        for layer in range(NUM_LAYERS):
            grid = self._find(layer, place, placed, offsets[:, layer], head)
            picture = pictures[layer].expand(len(place), -1, -1, -1)
            # beyond the picture of the flesh lies more flesh, beyond a row of teeth nothing
            padding = "border" if layer == 0 else "zeros"
            seen = F.grid_sample(picture, grid, padding_mode=padding, align_corners=False)
            opacity = seen[:, 3:].clamp(0, 1)
            # pictures hold colour times opacity, so that edges do not mix with what is beside them
            colour = colour * (1 - opacity) + seen[:, :3]
            if layer == 0:
                present = (grid.abs().amax(-1) < 1).to(place)[:, None]
        return colour, present

    def _find(
        self,
        layer: int,
        place: torch.Tensor,
        placed: torch.Tensor,
        offset: torch.Tensor,
        head: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Which point of a layer's picture shows at each place `(B, h, w, 2)`, as a sampling grid of that shape."""
        batch, height, width = place.shape[:3]
        wanted = place.flatten(1, 2).transpose(1, 2)  # (B, 2, N)
        depths = self.depths[layer].expand(batch, -1, -1, -1)

        def shown(point: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            there = torch.cat([point, z, torch.ones_like(z)], dim=1)  # (B, 4, N)
            still = placed.transpose(1, 2) @ there
            moved, _ = move_positions(
                still[:, :2], still[:, 2:], offset[:, :, None].expand_as(still), torch.ones_like(z), *head
            )
            return moved

        def depth_at(point: torch.Tensor) -> torch.Tensor:
            found = F.grid_sample(depths, _grid(point)[:, None], padding_mode="border", align_corners=False)
            return found[:, :, 0]

        middle = place.new_tensor([[_MIDDLE[0]], [_MIDDLE[1]]]).expand(batch, 2, 1)
        probe = middle + place.new_tensor([[0.0, 0.1, 0.0], [0.0, 0.0, 0.1]])
        seen = shown(probe, depth_at(middle).expand(-1, -1, 3))
        slope = _inverse((seen[:, :, 1:] - seen[:, :, :1]) / 0.1)  # (B, 2, 2)
        point = middle + slope @ (wanted - seen[:, :, :1])
        for _ in range(_ROUNDS):
            point = point + slope @ (wanted - shown(point, depth_at(point)))
        grid: torch.Tensor = _grid(point).unflatten(1, (height, width))
        return grid


def _inverse(matrix: torch.Tensor) -> torch.Tensor:
    """Inverse of matrices `(B, 2, 2)`, something finite for those without one (and without waiting for a GPU)."""
    (a, b), (c, d) = (row.unbind(-1) for row in matrix.unbind(-2))
    determinant = a * d - b * c
    safe = torch.where(determinant.abs() < 1e-6, torch.ones_like(determinant), determinant)
    return torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2) / safe[:, None, None]


def _grid(point: torch.Tensor) -> torch.Tensor:
    """Sampling grid `(B, N, 2)` of the pictures for canonical points `(B, 2, N)` [10 cm]."""
    x = (point[:, 0] - LEFT) * (2 / (RIGHT - LEFT)) - 1
    y = (TOP - point[:, 1]) * (2 / (TOP - BOTTOM)) - 1
    return torch.stack([x, y], dim=-1)
