"""The one place that says how alike two faces must be to count as one person."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SAME_PERSON: Final[Mapping[str, float]] = MappingProxyType({"dlib": 0.44, "arcface": 0.60})
"""Largest distance by face model: Euclidean for dlib, 1 - cosine for arcface.

dlib: chosen at a share of false accepts of at most 0.1 % among 299,151 pairs of portraits of different synthetic adults
(`python -m portrait_anim.evaluation.face_match`; table in docs/CONSENT.md). arcface: its authors' practice (cosine 0.4),
not measured here.
"""
