"""Hand-set shapes of emotions and speech sounds, as ICT expression coefficients.

A name without `_L` or `_R` stands for both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

Shape: TypeAlias = Mapping[str, float]

EMOTIONS: Final[Mapping[str, Shape]] = MappingProxyType(
    {
        "joy": {
            "mouthSmile": 0.9, "cheekSquint": 0.7, "eyeSquint": 0.3, "mouthUpperUp": 0.25, "jawOpen": 0.15,
            "mouthDimple": 0.2,
        },
        "laugh": {
            "mouthSmile": 0.8, "cheekSquint": 0.8, "eyeSquint": 0.5, "jawOpen": 0.5, "mouthUpperUp": 0.4,
            "mouthLowerDown": 0.2, "browOuterUp": 0.2,
        },
        "anger": {
            "browDown": 1.0, "noseSneer": 0.5, "eyeSquint": 0.5, "mouthPress": 0.5, "mouthFrown": 0.4,
            "jawForward": 0.3,
        },
        "rage": {
            "browDown": 1.0, "noseSneer": 0.8, "eyeSquint": 0.4, "jawOpen": 0.45, "mouthUpperUp": 0.6,
            "mouthLowerDown": 0.6, "mouthStretch": 0.4,
        },
        "fear": {
            "browInnerUp": 0.9, "browOuterUp": 0.4, "eyeWide": 0.9, "mouthStretch": 0.7, "jawOpen": 0.25,
            "browDown": 0.2,
        },
        "disgust": {
            "noseSneer": 0.9, "mouthUpperUp": 0.6, "browDown": 0.6, "eyeSquint": 0.4, "mouthShrugLower": 0.4,
            "mouthFrown": 0.3,
        },
        "surprise": {"browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 0.8, "jawOpen": 0.55, "mouthFunnel": 0.25},
        "sadness": {"browInnerUp": 0.8, "mouthFrown": 0.8, "mouthShrugLower": 0.5, "eyeSquint": 0.2, "mouthPress": 0.2},
        "scream": {
            "browInnerUp": 0.9, "browOuterUp": 0.5, "eyeWide": 0.9, "jawOpen": 0.95, "mouthStretch": 0.6,
            "mouthLowerDown": 0.4, "mouthUpperUp": 0.3,
        },
        "crying": {
            "browInnerUp": 0.9, "browDown": 0.4, "eyeSquint": 0.6, "cheekSquint": 0.6, "mouthFrown": 0.7,
            "mouthStretch": 0.5, "mouthUpperUp": 0.35, "mouthLowerDown": 0.3, "jawOpen": 0.35,
        },
        "retching": {
            "noseSneer": 1.0, "mouthUpperUp": 0.9, "browDown": 0.8, "eyeSquint": 0.6, "cheekSquint": 0.5,
            "jawOpen": 0.45, "mouthLowerDown": 0.5,
        },
        "doubt": {"mouthPress": 0.5, "mouthLeft": 0.4, "browOuterUp_L": 0.7, "browDown_R": 0.4, "mouthDimple_L": 0.4},
        "puff": {"cheekPuff": 0.9, "mouthPress": 0.4, "mouthClose": 0.1},
    }
)  # fmt: skip

VISEMES: Final[Mapping[str, Shape]] = MappingProxyType(
    {
        "rest": {},
        "a": {"jawOpen": 0.5, "mouthLowerDown": 0.2},
        "e": {"jawOpen": 0.25, "mouthStretch": 0.35, "mouthSmile": 0.2, "mouthLowerDown": 0.2},
        "i": {
            "jawOpen": 0.12,
            "mouthSmile": 0.35,
            "mouthStretch": 0.3,
            "mouthUpperUp": 0.15,
            "mouthLowerDown": 0.25,
        },
        "o": {"jawOpen": 0.35, "mouthFunnel": 0.5, "mouthPucker": 0.25},
        "u": {"jawOpen": 0.12, "mouthPucker": 0.8, "mouthFunnel": 0.3},
        "m": {"mouthPress": 0.45, "mouthRollLower": 0.25, "mouthRollUpper": 0.2},
        "f": {"mouthRollLower": 0.5, "mouthUpperUp": 0.3, "jawOpen": 0.08},
        "s": {"mouthStretch": 0.3, "mouthLowerDown": 0.3, "mouthUpperUp": 0.2, "jawOpen": 0.05},
        "sh": {"mouthFunnel": 0.6, "mouthPucker": 0.3, "jawOpen": 0.08},
        "l": {"jawOpen": 0.25, "mouthUpperUp": 0.15},
        "r": {"mouthFunnel": 0.3, "jawOpen": 0.15, "mouthPucker": 0.2},
    }
)

# Single actions that neither speech nor the emotions above exercise on their own. A network trained on renders learned
# exactly these last (pucker, press, roll, sideways mouth, one-sided brows), so they get their own share. A name with
# a side moves that side alone; the sampler mirrors half of them.
MOUTH_ACTIONS: Final[Mapping[str, Shape]] = MappingProxyType(
    {
        "pucker": {"mouthPucker": 1.0},
        "kiss": {"mouthPucker": 0.9, "mouthFunnel": 0.5},
        "funnel": {"mouthFunnel": 0.9, "jawOpen": 0.15},
        "press": {"mouthPress": 0.9},
        "roll": {"mouthRollLower": 0.9, "mouthRollUpper": 0.8},
        "bite": {"mouthRollLower": 0.9, "mouthUpperUp": 0.25},
        "puff": {"cheekPuff": 1.0, "mouthPress": 0.3},
        "one cheek": {"cheekPuff_L": 1.0, "mouthPress": 0.3},
        "smirk": {"mouthSmile_L": 0.8, "mouthDimple_L": 0.5, "cheekSquint_L": 0.3},
        "sneer": {"noseSneer_L": 0.9, "mouthUpperUp_L": 0.7},
        "mouth aside": {"mouthLeft": 0.9},
        "jaw aside": {"jawLeft": 0.9, "jawOpen": 0.12},
        "chew": {"jawLeft": 0.5, "jawOpen": 0.2, "mouthLeft": 0.4, "mouthPress_L": 0.3},
        "jut": {"jawForward": 0.9},
        "pout": {"mouthShrugLower": 0.9, "mouthFrown": 0.5},
        "shrug": {"mouthShrugLower": 0.7, "mouthShrugUpper": 0.7, "mouthFrown": 0.4},
        "yawn": {"jawOpen": 1.0, "mouthStretch": 0.2, "eyeSquint": 0.6, "browInnerUp": 0.3},
    }
)
BROW_ACTIONS: Final[Mapping[str, Shape]] = MappingProxyType(
    {
        "raise": {"browInnerUp": 0.9, "browOuterUp": 0.9},
        "inner": {"browInnerUp": 1.0},
        "outer": {"browOuterUp": 0.9},
        "frown": {"browDown": 0.9},
        "one up": {"browOuterUp_L": 1.0, "browInnerUp_L": 0.5},
        "one up, one down": {"browOuterUp_L": 0.9, "browDown_R": 0.7},
        "one down": {"browDown_L": 0.8, "eyeSquint_L": 0.4},
        "worry": {"browInnerUp": 0.8, "browDown": 0.5},
    }
)

# Coefficients that a photograph may really be showing; the others of a fit mostly soak up face shape: identity.
SHOWN: Final = (
    "jawOpen", "mouthSmile", "mouthUpperUp", "mouthLowerDown", "cheekSquint", "mouthStretch", "mouthDimple",
    "mouthFunnel", "noseSneer", "browInnerUp",
)  # fmt: skip
