"""The language between motion tokens and face geometry: 53 expression coefficients and gaze.

Names and order are those of ICT-FaceKit (Li et al. 2020), whose coefficients supervise training.
"""

from __future__ import annotations

import torch
from torch import nn

from portrait_anim.types import Region

# Which tokens carry which part of the face. Training supervises each group with its own linear
# probe only, so exchanging a group between two latents exchanges that part of the expression.
TOKEN_GROUPS: dict[Region, tuple[int, int]] = {"mouth": (0, 9), "eyes": (9, 12), "brows": (12, 14), "gaze": (14, 16)}

NUM_COEFFICIENTS = 55  # 53 expressions, then gaze right and down [20 degrees]

EXPRESSIONS: tuple[str, ...] = tuple(
    [
        "browDown_L",
        "browDown_R",
        "browInnerUp_L",
        "browInnerUp_R",
        "browOuterUp_L",
        "browOuterUp_R",
        "cheekPuff_L",
        "cheekPuff_R",
        "cheekSquint_L",
        "cheekSquint_R",
        "eyeBlink_L",
        "eyeBlink_R",
        "eyeLookDown_L",
        "eyeLookDown_R",
        "eyeLookIn_L",
        "eyeLookIn_R",
        "eyeLookOut_L",
        "eyeLookOut_R",
        "eyeLookUp_L",
        "eyeLookUp_R",
        "eyeSquint_L",
        "eyeSquint_R",
        "eyeWide_L",
        "eyeWide_R",
        "jawForward",
        "jawLeft",
        "jawOpen",
        "jawRight",
        "mouthClose",
        "mouthDimple_L",
        "mouthDimple_R",
        "mouthFrown_L",
        "mouthFrown_R",
        "mouthFunnel",
        "mouthLeft",
        "mouthLowerDown_L",
        "mouthLowerDown_R",
        "mouthPress_L",
        "mouthPress_R",
        "mouthPucker",
        "mouthRight",
        "mouthRollLower",
        "mouthRollUpper",
        "mouthShrugLower",
        "mouthShrugUpper",
        "mouthSmile_L",
        "mouthSmile_R",
        "mouthStretch_L",
        "mouthStretch_R",
        "mouthUpperUp_L",
        "mouthUpperUp_R",
        "noseSneer_L",
        "noseSneer_R",
    ]
)

_PREFIXES: dict[Region, tuple[str, ...]] = {
    "mouth": ("mouth", "jaw", "cheek", "nose"),
    "eyes": ("eyeBlink", "eyeWide", "eyeSquint"),
    "brows": ("brow",),
    "gaze": ("eyeLook",),
}


def group_indices(region: Region) -> list[int]:
    """Positions in `EXPRESSIONS` of the coefficients that belong to `region` (not for `"pose"`)."""
    return [k for k, name in enumerate(EXPRESSIONS) if name.startswith(_PREFIXES[region])]


def mirror_indices() -> list[int]:
    """Position of each coefficient's partner when the image is mirrored: left becomes right."""
    swap = {"_L": "_R", "_R": "_L"}
    names = {
        "jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft",
    }  # fmt: skip
    partner = [names.get(n, n[:-2] + swap[n[-2:]] if n[-2:] in swap else n) for n in EXPRESSIONS]
    return [EXPRESSIONS.index(n) for n in partner]


def mirrored_coefficients(coefficients: torch.Tensor) -> torch.Tensor:
    """Coefficients `(B, 55)` of the mirrored face."""
    expression, gaze = coefficients[:, : len(EXPRESSIONS)], coefficients[:, len(EXPRESSIONS) :]
    return torch.cat([expression[:, mirror_indices()], gaze * gaze.new_tensor([-1.0, 1.0])], dim=1)


class ExpressionHeads(nn.Module):
    """Linear maps from token groups to what they mean; each group sees only its own tokens.

    Because the maps are linear, differences of latents are differences of coefficients, and exchanging a token group
    exchanges that part of the expression and nothing else.

    Args:
        token_dim: Channels per motion token.
    """

    def __init__(self, token_dim: int = 16) -> None:
        super().__init__()
        self.expression = nn.ModuleDict()
        for region, (first, last) in TOKEN_GROUPS.items():
            width = len(group_indices(region)) if region != "gaze" else 2
            self.expression[region] = nn.Linear((last - first) * token_dim, width)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Map latents `(B, L, C)` to `(B, 55)`; the eyeLook* columns stay 0 because gaze says it."""
        out = latent.new_zeros(latent.shape[0], NUM_COEFFICIENTS)
        for region, (first, last) in TOKEN_GROUPS.items():
            columns = group_indices(region) if region != "gaze" else [53, 54]
            out[:, columns] = self.expression[region](latent[:, first:last].flatten(1)).to(out.dtype)
        return out

    def lift(self, change: torch.Tensor) -> torch.Tensor:
        """Smallest change of a latent `(B, L, C)` that changes the coefficients by `change` `(B, 55)`.

        Directions of a latent that no head reads stay as they are. The eyeLook* columns have no tokens and are ignored.
        """
        groups = []
        for region, (first, last) in TOKEN_GROUPS.items():
            columns = group_indices(region) if region != "gaze" else [53, 54]
            inverse = torch.linalg.pinv(self.expression[region].weight.float())  # (d, n)
            groups.append((change[:, columns].float() @ inverse.T).unflatten(1, (last - first, -1)))
        return torch.cat(groups, dim=1).to(change.dtype)
