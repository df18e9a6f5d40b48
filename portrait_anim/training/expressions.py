"""Order and grouping of the 53 expression coefficients of ICT-FaceKit (Li et al. 2020) that supervise training."""

from __future__ import annotations

from portrait_anim.types import Region

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
