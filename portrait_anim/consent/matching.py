"""Whether two identity embeddings are of the same person."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from portrait_anim.likeness import SAME_PERSON
from portrait_anim.types import IdentityEmbedding


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchPolicy:
    """How alike two faces must be to count as one person.

    Attributes:
        dlib: Largest Euclidean distance for the dlib backend.
        arcface: Largest cosine distance, 1 - cos, for the arcface backend.
        frame_slack: Factor on the limit for one video frame, which is noisier than a mean or a portrait.
        turned_slack: Factor on the limit for one frame in which the head is turned away.
    """

    dlib: float = SAME_PERSON["dlib"]
    arcface: float = SAME_PERSON["arcface"]
    frame_slack: float = 1.28
    turned_slack: float = 1.50

    def __post_init__(self) -> None:
        for name in ("dlib", "arcface", "frame_slack", "turned_slack"):
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise ValueError(f"expected a positive {name}, got {value}")

    def limit(self, backend: str) -> float:
        """Return the largest distance that counts as the same person.

        Args:
            backend: `"dlib"` or `"arcface"`.

        Raises:
            ValueError: If the backend is unknown.
        """
        if backend == "dlib":
            return self.dlib
        if backend == "arcface":
            return self.arcface
        raise ValueError(f"expected the backend dlib or arcface, got {backend!r}")


def distance(first: IdentityEmbedding, second: IdentityEmbedding) -> float:
    """Measure how different two faces are.

    Args:
        first: One face.
        second: Another, from the same backend.

    Returns:
        Euclidean distance (dlib) or 1 - cosine (arcface); 0 is identical.

    Raises:
        ValueError: If the backends or sizes differ, or a value is not finite.
    """
    if first.backend != second.backend or first.vector.shape != second.vector.shape:
        raise ValueError(
            f"expected two embeddings of one backend, got {first.backend} {first.vector.shape} and "
            f"{second.backend} {second.vector.shape}; measure both pictures with the same backend"
        )
    a, b = _checked(first), _checked(second)
    if first.backend == "dlib":
        return float(np.linalg.norm(a - b))
    return float(1.0 - (a @ b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def matches(face: IdentityEmbedding, known: Iterable[IdentityEmbedding], policy: MatchPolicy) -> bool | None:
    """Say whether a face is the person of some known embeddings.

    Args:
        face: The face in question.
        known: Embeddings of one person.
        policy: How alike they must be.

    Returns:
        `True` or `False`, or `None` when no known embedding is from the same backend.
    """
    comparable = [other for other in known if other.backend == face.backend]
    if not comparable:
        return None
    return min(distance(face, other) for other in comparable) <= policy.limit(face.backend)


def mean_embedding(embeddings: Sequence[IdentityEmbedding]) -> IdentityEmbedding:
    """Average several embeddings of one person.

    Args:
        embeddings: At least one, all from one backend.

    Returns:
        The mean; of unit length for arcface.

    Raises:
        ValueError: If there is none, or backends differ.
    """
    if not embeddings:
        raise ValueError("expected at least one embedding, got none")
    backend = embeddings[0].backend
    if any(embedding.backend != backend for embedding in embeddings):
        raise ValueError("expected embeddings of one backend, got several; measure all frames with the same backend")
    mean = np.mean([_checked(embedding) for embedding in embeddings], axis=0)
    if backend == "arcface":
        mean = mean / np.linalg.norm(mean)
    return IdentityEmbedding(vector=mean.astype(np.float32), backend=backend)


def check_embedding(embedding: IdentityEmbedding) -> None:
    """Refuse an embedding that says nothing about anybody.

    Raises:
        ValueError: If it is not a finite vector other than zero.
    """
    _checked(embedding)


def _checked(embedding: IdentityEmbedding) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    vector = np.asarray(embedding.vector, dtype=np.float64)
    # NaN compares as "not alike", which would let a face pass where likeness forbids: refuse it here.
    if vector.ndim != 1 or vector.size == 0 or not np.isfinite(vector).all() or not vector.any():
        raise ValueError(f"expected a finite embedding vector other than zero, got shape {vector.shape}; measure again")
    return vector
