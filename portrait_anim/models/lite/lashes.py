"""Upper lashes move with their lid: they are carried along, not stretched like the skin that they are seen on.

The field of the average face stretches all the skin between lid edge and brow alike. Living lids are stiff near their
edge (the tarsal plate), and the skin above folds and unfolds. Where a portrait shows lashes, its lids are made stiff as
far as lashes reach; elsewhere they are left alone, since what lies there may be the rim of glasses.

Shapes: S side of the portrait, s side of a map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from portrait_anim.models.lite.edges import below_edge
from portrait_anim.models.lite.expression_field import ExpressionField
from portrait_anim.models.lite.eyes import LIDS

_STIFF, _FREE = 0.085, 0.15  # height above the lid edge up to which it is stiff, and from which it is not [10 cm]
_EDGE = 0.03  # where a lid edge's own displacement is read [10 cm]
_REACH = (0.06, 0.26)  # of lashes above the lid edge [eye widths]
_COLUMNS, _ROWS = 40, 14  # samples of that strip
_STREAKS = (0.018, 0.024)  # change of brightness from column to column without and with lashes, median


def lash_share(image: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
    """Whether a portrait shows lashes on its upper lids: brightness that varies along the lid and not across it.

    Args:
        image: `(1, 3, S, S)` in [-1, 1], S at least 256.
        landmarks: `(478, 2)` in the crop, [-1, 1].

    Returns:
        Scalar in [0, 1], the eye that shows more of them.
    """
    light = image.mean(1, keepdim=True)
    streaks = []
    for upper, _ in LIDS:
        strip = F.grid_sample(light, _above(landmarks[list(upper)])[None], align_corners=False)
        along = F.avg_pool2d(strip, (5, 1), 1)  # lashes stand across the lid
        around = F.avg_pool2d(F.pad(along, (4, 4, 0, 0), mode="replicate"), (1, 9), 1)
        streaks.append((along - around).abs().median())  # a rim that leaves the strip changes few columns
    none, sure = _STREAKS
    return ((torch.stack(streaks).amax() - none) / (sure - none)).clamp(0, 1)


def _above(edge: torch.Tensor) -> torch.Tensor:
    """Places `(_ROWS, _COLUMNS, 2)` above a lid edge `(P, 2)`, corners left out."""
    across = edge[-1] - edge[0]
    up = torch.stack([across[1], -across[0]])
    position = torch.linspace(0.1, 0.9, _COLUMNS, device=edge.device) * (len(edge) - 1)
    first = position.floor().long().clamp(max=len(edge) - 2)
    foot = torch.lerp(edge[first], edge[first + 1], (position - first)[:, None])
    return foot + torch.linspace(*_REACH, _ROWS, device=edge.device)[:, None, None] * up


def carry_lashes(canonical: torch.Tensor, field: ExpressionField, share: torch.Tensor) -> torch.Tensor:
    """Canonical places that move the lashes as one piece with the edge of their lid.

    Args:
        canonical: Canonical position of every pixel `(1, 3, s, s)` [10 cm].
        field: Field over the canonical face.
        share: Scalar in [0, 1], 0 changes nothing.

    Returns:
        `(1, 3, s, s)`: pixels above an upper lid edge take the place, and so the motion, of points nearer to it.
    """
    flip = canonical.new_tensor([1.0, -1.0])  # to y down
    x, y, depth = canonical.unbind(1)
    for upper, _ in LIDS:
        edge = field.landmarks[list(upper), :2].to(canonical) * flip
        height = -below_edge(edge[None], torch.stack([x, -y], dim=-1))  # (1, s, s)
        beyond = torch.maximum(edge[0, 0] - x, x - edge[-1, 0]).clamp(min=0)
        near = (height > 0) & (height < _FREE)
        moves = share * torch.exp(-((beyond / _STIFF) ** 2)) * near
        unfolded = _EDGE + (height - _STIFF).clamp(min=0) * ((_FREE - _EDGE) / (_FREE - _STIFF))
        y = y + moves * (unfolded - height)
    return torch.stack([x, y, depth], dim=1)
