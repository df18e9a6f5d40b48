"""Where every point of a face goes when its expression changes: a low-rank field over the canonical face.

The field is a picture of the average face seen from the front. Each cell says how that point of the skin (or of the
eyeball inside the lid opening) is displaced by each expression coefficient and by gaze. A portrait only has to know
which canonical point each of its pixels shows; the lip line and the lid edges, across which displacement jumps, are
then as sharp as the field, not as the network's grid. Displacements come from ICT-FaceKit (Li et al. 2020, MIT); see
`training.canonical_face`.

Shapes: B batch, K coefficients, R rank, N field side, H W pixels, T triangles.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from portrait_anim.models.lite.expressions import NUM_COEFFICIENTS

# What the field covers on the canonical face [10 cm]: x to the subject's left, y up.
FIELD_LEFT, FIELD_RIGHT, FIELD_BOTTOM, FIELD_TOP = -0.9, 0.9, -1.1, 1.1
NUM_LANDMARKS = 468
_LEAST_OPENING = 0.04  # of the inner lips, height over width; below, a mouth counts as closed
# MediaPipe's inner lip contour, around the mouth: between it shows the inside of the mouth.
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)


class ExpressionField(nn.Module):
    """Displacement of canonical points, and the canonical points of face landmarks.

    Args:
        basis_size: Number of coefficients K.
        rank: Number of spatial patterns R.
        size: Side of the field N [cells].
        num_triangles: Triangles T between the landmarks.
    """

    landmarks: torch.Tensor
    triangles: torch.Tensor
    eyeball: torch.Tensor
    anchor: torch.Tensor

    def __init__(
        self, basis_size: int = NUM_COEFFICIENTS, rank: int = 48, size: int = 192, num_triangles: int = 871
    ) -> None:
        super().__init__()
        self.patterns = nn.Parameter(torch.zeros(rank, size, size))
        self.mix = nn.Parameter(torch.zeros(basis_size, rank, 3))
        self.register_buffer("eyeball", torch.zeros(1, size, size))  # 1 inside the lid openings
        self.register_buffer("landmarks", torch.zeros(NUM_LANDMARKS, 3))  # canonical position [10 cm]
        self.register_buffer("triangles", torch.zeros(num_triangles, 3, dtype=torch.int16))
        self.register_buffer("anchor", torch.zeros(3))  # canonical midpoint of the eyeballs [10 cm]

    def forward(self, change: torch.Tensor, canonical: torch.Tensor) -> torch.Tensor:
        """Displace canonical points.

        Args:
            change: Change of the coefficients `(B, K)`.
            canonical: Canonical positions `(B, 3, H, W)` [10 cm].

        Returns:
            Displacement `(B, 3, H, W)` [10 cm], head axes (x to the subject's left, y up, z forward).
        """
        mix = torch.einsum("bk,krc->bcr", change, self.mix)
        combined = torch.einsum("bcr,rhw->bchw", mix, self.patterns)
        return F.grid_sample(combined, field_grid(canonical), padding_mode="border", align_corners=False)

    def under_lids(self, canonical: torch.Tensor) -> torch.Tensor:
        """How far canonical points `(B, 3, H, W)` lie on an eyeball, where lids may slide over, `(B, 1, H, W)`."""
        batch = len(canonical)
        return F.grid_sample(
            self.eyeball.expand(batch, -1, -1, -1), field_grid(canonical), padding_mode="zeros", align_corners=False
        )

    def locate(self, positions: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Canonical position of every pixel between a portrait's landmarks.

        Args:
            positions: Landmarks in the crop `(468, 2)`, [-1, 1], x right and y down.
            size: Side of the map [px].

        Returns:
            Canonical positions `(1, 3, size, size)` [10 cm], where they are known and where the mouth is open, both
            `(1, 1, size, size)`, 0 or 1.
        """
        corners = (positions.float().cpu() + 1) * (size / 2)
        out = torch.zeros(5, size, size, dtype=torch.float32)
        points = torch.cat([self.landmarks.float().cpu(), torch.ones(NUM_LANDMARKS, 1)], dim=1)
        for numbers in self.triangles.long().cpu().unbind(0):
            _fill_triangle(out, corners[numbers], F.pad(points[numbers], (0, 1)))
        lips, around = corners[list(INNER_LIPS)], points[list(INNER_LIPS)]
        opening = (lips[5] - lips[15]).norm() / (lips[0] - lips[10]).norm().clamp(min=1e-6)
        if opening > _LEAST_OPENING:
            middle, inside = lips.mean(0), F.pad(around, (0, 1), value=1.0)
            for here in range(len(INNER_LIPS)):
                pair = [here, (here + 1) % len(INNER_LIPS)]
                values = torch.cat([inside[pair], inside.mean(0, keepdim=True)])
                _fill_triangle(out, torch.cat([lips[pair], middle[None]]), values)
        canonical, known, opened = out[None].to(self.patterns).split([3, 1, 1], dim=1)
        return canonical, known, opened


def _fill_triangle(out: torch.Tensor, corners: torch.Tensor, values: torch.Tensor) -> None:
    """Interpolate `values` `(3, C)` at the `corners` `(3, 2)` [px] of a triangle into `out` `(C, S, S)`."""
    size = out.shape[-1]
    low = (corners.amin(0) - 0.5).ceil().clamp(min=0).long()
    high = (corners.amax(0) - 0.5).floor().clamp(max=size - 1).long()
    if bool((low > high).any()):
        return
    edge1, edge2 = corners[1] - corners[0], corners[2] - corners[0]
    area = edge1[0] * edge2[1] - edge2[0] * edge1[1]
    if abs(float(area)) < 1e-6:
        return
    y, x = torch.meshgrid(
        torch.arange(int(low[1]), int(high[1]) + 1), torch.arange(int(low[0]), int(high[0]) + 1), indexing="ij"
    )
    offset_x, offset_y = x + 0.5 - corners[0, 0], y + 0.5 - corners[0, 1]
    weight1 = (offset_x * edge2[1] - edge2[0] * offset_y) / area
    weight2 = (edge1[0] * offset_y - offset_x * edge1[1]) / area
    weights = torch.stack([1 - weight1 - weight2, weight1, weight2], -1)
    inside = (weights >= -1e-5).all(-1)
    rows, columns = y[inside], x[inside]
    out[:, rows, columns] = (weights[inside] @ values).T


def field_grid(canonical: torch.Tensor) -> torch.Tensor:
    """Sampling grid `(B, H, W, 2)` of the field for canonical positions `(B, 3, H, W)` [10 cm]."""
    x = (canonical[:, 0] - FIELD_LEFT) * (2 / (FIELD_RIGHT - FIELD_LEFT)) - 1
    y = (FIELD_TOP - canonical[:, 1]) * (2 / (FIELD_TOP - FIELD_BOTTOM)) - 1
    return torch.stack([x, y], dim=-1)
