"""Folds that an expression throws: shading of the skin over the shared head.

Nasolabial folds deepen with smile and sneer, lines cross the forehead with raised brows, furrows stand between lowered
brows, crow's feet spread with squeezed eyes. A fold is dark in its depth and light on the ridge beside it. How deep
somebody's folds are is the person's own, so that faces of one expression differ.

Folds are finer than the mesh, so that they are kept as a picture of the average head seen from the front, looked up
per pixel.

Shape legend: B pictures, R picture side [px], F folds, M = 160 side of the fold pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

# fold: line of points on the average head (x outwards, y up) [cm], half width [cm], coefficients that throw it
_FOLDS: Final[Mapping[str, tuple[tuple[tuple[float, float], ...], float, Mapping[str, float]]]] = MappingProxyType(
    {
        "nasolabial": (
            ((1.75, 0.6), (2.35, -0.4), (2.95, -1.7), (3.25, -2.9)), 0.30,
            {"mouthSmile": 0.8, "noseSneer": 0.7, "cheekSquint": 0.3, "mouthUpperUp": 0.5, "mouthDimple": 0.3},
        ),
        "forehead low": (((0.0, 5.9), (1.8, 6.2), (3.6, 6.2)), 0.30, {"browInnerUp": 0.40, "browOuterUp": 0.30}),
        "forehead middle": (((0.0, 6.9), (1.8, 7.2), (3.8, 7.1)), 0.30, {"browInnerUp": 0.38, "browOuterUp": 0.34}),
        "forehead high": (((0.0, 7.9), (1.6, 8.1), (3.2, 8.0)), 0.30, {"browInnerUp": 0.32, "browOuterUp": 0.26}),
        "glabella": (((0.50, 4.2), (0.55, 5.0), (0.75, 5.7)), 0.20, {"browDown": 0.9, "noseSneer": 0.2}),
        "crow's foot high": (((4.9, 3.9), (5.5, 4.2)), 0.18, {"cheekSquint": 0.6, "mouthSmile": 0.3, "eyeSquint": 0.3}),
        "crow's foot": (((4.95, 3.5), (5.6, 3.5)), 0.18, {"cheekSquint": 0.6, "mouthSmile": 0.3, "eyeSquint": 0.3}),
        "crow's foot low": (((4.9, 3.1), (5.5, 2.8)), 0.18, {"cheekSquint": 0.7, "mouthSmile": 0.3, "eyeSquint": 0.3}),
        "bunny": (((0.35, 3.0), (1.0, 3.3)), 0.18, {"noseSneer": 0.8}),
        "chin": (((0.0, -5.6), (1.2, -5.5), (1.9, -5.2)), 0.28, {"mouthShrugLower": 0.8, "mouthPress": 0.2}),
    }
)  # fmt: skip
_DEPTH: Final = 0.20  # darkening of a full fold of average depth
_RIDGE: Final = 1.2  # curvature of the light ridge beside it
_SIDE: Final = 160
_LEFT, _TOP, _SPAN = -8.0, 9.0, 16.0  # part of the average head that the pictures show [cm]


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldMap:
    """Where folds are and what throws them.

    Attributes:
        relief: `(F, M, M)` brightness of each fold when it is thrown: negative in its depth, positive beside it.
        thrown_by: `(F, E)` how far each expression coefficient throws it.
    """

    relief: Tensor
    thrown_by: Tensor


def map_folds(names: tuple[str, ...], device: torch.device) -> FoldMap:
    """Draw the folds of the average head, the two sides separately.

    Args:
        names: Names of the expression coefficients.
        device: Where the map goes.

    Returns:
        The map; of each pair the fold of the subject's left half comes first.
    """
    line = (torch.arange(_SIDE, device=device) + 0.5) * (_SPAN / _SIDE)
    y, x = torch.meshgrid(_TOP - line, _LEFT + line, indexing="ij")
    relief, thrown = [], []
    for points, width, causes in _FOLDS.values():
        for side, ending in ((1.0, "_L"), (-1.0, "_R")):
            mine = torch.stack([side * x.flatten(), y.flatten()], 1)
            away = _distance(mine, torch.tensor(points, device=device)) / width
            shape = (_RIDGE * away**2 - 1) * torch.exp(-(away**2))
            half = torch.sigmoid(8 * mine[:, 0])  # folds across the middle join there
            relief.append((shape * half).view(_SIDE, _SIDE))
            row = torch.zeros(len(names), device=device)
            for name, share in causes.items():
                row[names.index(name if name in names else name + ending)] = share
            thrown.append(row)
    return FoldMap(relief=torch.stack(relief), thrown_by=torch.stack(thrown))


def _distance(points: Tensor, line: Tensor) -> Tensor:
    """Distance of points `(V, 2)` from a line of straight pieces through `(n, 2)` points, `(V,)`."""
    start, piece = line[:-1], line[1:] - line[:-1]
    offset = points[:, None] - start  # (V, n - 1, 2)
    along = ((offset * piece).sum(-1) / (piece * piece).sum(-1)).clamp(0, 1)
    nearest: Tensor = (offset - along[..., None] * piece).norm(dim=-1).amin(1)
    return nearest


def fold_shade(folds: FoldMap, change: Tensor, depth: Tensor, place: Tensor) -> Tensor:
    """Factor on the brightness of the skin.

    Args:
        folds: Where folds are.
        change: `(B, E)` expression beyond what the photograph shows already; its own folds are not smoothed away.
        depth: `(B,)` how deep somebody's folds are, 1 on average.
        place: `(B, 2, R, R)` x and y on the average head that each pixel shows [cm].

    Returns:
        `(B, 1, R, R)`, 1 where nothing folds.
    """
    thrown = (change.clamp(min=0) @ folds.thrown_by.T).clamp(0, 1.2)
    picture = torch.einsum("bf,fhw->bhw", thrown * thrown.sqrt() * depth[:, None], folds.relief)
    x, y = (place[:, 0] - _LEFT) * (2 / _SPAN) - 1, (_TOP - place[:, 1]) * (2 / _SPAN) - 1
    return 1 + _DEPTH * F.grid_sample(picture[:, None], torch.stack([x, y], -1), align_corners=False)


def fold_depth(number: Tensor) -> Tensor:
    """How deep the folds of the people with these numbers `(B,)` are, `(B,)`: 0.35 to 1.65, the same every time."""
    return 0.35 + 1.3 * ((number.double() * 0.7548776662 + 0.21) % 1.0).float()
