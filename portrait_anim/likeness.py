"""The one place that says how alike two faces must be to count as one person."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SAME_PERSON: Final[Mapping[str, float]] = MappingProxyType({"dlib": 0.44, "arcface": 0.53})
"""Largest distance by face model: Euclidean for dlib, 1 - cosine for arcface.

dlib: at 0.44, 0.080 % of 299,151 pairs of portraits of different synthetic adults pass, and 0.094 % of pairs of a mean
over frames and a portrait (`python -m portrait_anim.evaluation.face_match`; table in docs/CONSENT.md). arcface: at
0.534, 0.100 % of as many pairs pass with the one ArcFace network that was at hand, a MobileFaceNet; others are measured
with the same command.
"""
