"""The morphable head that all synthetic people share.

Shape legend: V vertices, T triangles, K = 100 identity shapes, E = 53 expression shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from portrait_anim.training.synthetic.lids import LidMap, map_lids
from portrait_anim.training.synthetic.mouth import ToothMap, map_teeth
from portrait_anim.training.synthetic.pack import Pack
from portrait_anim.training.synthetic.wrinkles import FoldMap, map_folds

SKIN: Final = 0
SOCKET: Final = 2  # parts of the mesh, as the pack numbers them
EYE_LEFT: Final = 3
EYE_RIGHT: Final = 4
GUMS: Final = 5
TEETH: Final = 6
NECK_JOINT_CM: Final = (0.0, -4.0, -1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class InnerMouth:
    """What the vertices of the mouth interior are.

    Attributes:
        is_tooth: `(V,)` 1 on teeth.
        is_gum: `(V,)` 1 on gums.
        teeth: Where each vertex lies on its tooth.
    """

    is_tooth: Tensor
    is_gum: Tensor
    teeth: ToothMap


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadMesh:
    """Simplified ICT head: shapes, triangles and region weights.

    Attributes:
        neutral: `(V, 3)` average head [cm].
        centre: `(3,)` point of the head that the fits rotate about [cm].
        tris: `(T, 3)` int64 vertex numbers.
        plane: `(T,)` int64, 0 outer surface, 1 mouth interior.
        part: `(T,)` int8 part number (`SOCKET`, `EYE_LEFT`, ...).
        normal_tris: `(t, 3)` every triangle once, for normals.
        identity_basis: `(K, 3 V)`.
        expression_basis: `(E, 3 V)`.
        expression_names: E names.
        weights: Region weights by name, each `(V,)`: alpha, eye_near, lid, lash, tongue, upper.
        skin_vertices: Vertices of the outer skin.
        lips: Vertices of the lip contour.
        left: `(V,)` 1 on the subject's left half.
        chin: Mean chin point `(3,)`, its identity shapes `(K, 3)` and expression shapes `(E, 3)`.
        inner: Colours of the mouth interior.
        lids: Where the eyelids are.
        folds: Where expressions fold the skin.
    """

    neutral: Tensor
    centre: Tensor
    tris: Tensor
    plane: Tensor
    part: Tensor
    normal_tris: Tensor
    identity_basis: Tensor
    expression_basis: Tensor
    expression_names: tuple[str, ...]
    weights: dict[str, Tensor]
    skin_vertices: Tensor
    lips: Tensor
    left: Tensor
    chin: tuple[Tensor, Tensor, Tensor]
    inner: InnerMouth
    lids: LidMap
    folds: FoldMap

    def expression_index(self, name: str) -> int:
        """Number of a named expression coefficient."""
        return self.expression_names.index(name)

    def shape(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Heads `(N, V, 3)` [cm] of identity `(N, K)` and expression `(N, E)` coefficients, before any pose."""
        offset = identity @ self.identity_basis + expression @ self.expression_basis
        return self.neutral + offset.view(len(identity), -1, 3)


def _inner_mouth(neutral: Tensor, tris: Tensor, part: Tensor, upper: Tensor) -> InnerMouth:
    """Flags of the interior's vertices and the map of the teeth."""
    zero = torch.zeros_like(upper)
    teeth = tris[part == TEETH]
    return InnerMouth(
        is_tooth=zero.index_fill(0, teeth.flatten(), 1.0),
        is_gum=zero.index_fill(0, tris[part == GUMS].flatten(), 1.0),
        teeth=map_teeth(neutral, teeth, upper),
    )


def load_mesh(pack: Pack, device: torch.device) -> HeadMesh:
    """Build the shared head from a pack.

    Args:
        pack: A loaded pack.
        device: Where the tensors go.

    Returns:
        The mesh.
    """

    def basis(name: str) -> Tensor:
        scale = pack.tensor(f"{name}_scale", device)[:, None, None]
        return (pack.tensor(f"{name}_basis", device) * scale).flatten(1)

    neutral = pack.tensor("neutral", device)
    tris, plane, part = (pack.tensor(n, device, dtype=torch.long) for n in ("tris", "plane", "geo"))
    weights = {n[2:]: pack.tensor(n, device) for n in pack.arrays if n.startswith("w_")}
    chin_identity, chin_expression = (
        pack.tensor("chin_identity", device),
        pack.tensor("chin_expression", device),
    )
    skin_vertices = torch.unique(tris[part == SKIN])
    eyes = (torch.unique(tris[part == EYE_LEFT]), torch.unique(tris[part == EYE_RIGHT]))
    names = tuple(str(n) for n in pack.arrays["expr_names"])
    return HeadMesh(
        neutral=neutral,
        centre=pack.tensor("centre", device),
        tris=tris,
        plane=plane,
        part=part.to(torch.int8),
        normal_tris=tris[(plane == 0) | (part >= GUMS)],
        identity_basis=basis("identity"),
        expression_basis=basis("expression"),
        expression_names=names,
        weights=weights,
        skin_vertices=skin_vertices,
        lips=pack.tensor("lips", device, dtype=torch.long),
        left=(neutral[:, 0] > 0).float(),
        chin=(pack.tensor("chin", device), chin_identity, chin_expression),
        inner=_inner_mouth(neutral, tris, part, weights["upper"]),
        lids=map_lids(neutral, skin_vertices, eyes),
        folds=map_folds(names, device),
    )
