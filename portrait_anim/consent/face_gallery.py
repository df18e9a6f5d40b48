"""Faces of one group as matrices, and who among them is nearest to one: pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from portrait_anim.consent.matching import distance
from portrait_anim.types import Float32Array, IdentityEmbedding

FaceGroup = Literal["real", "fictional", "denied"]

_MARGIN = 2e-3
"""How far the fast float32 distance may be off (most near 0); what is this near to a limit is measured exactly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceMatch:
    """One face near to the one looked for.

    Attributes:
        id: Id of the cameo or of the denylist entry.
        group: What it belongs to.
        distance: Euclidean distance (dlib) or 1 - cosine (arcface); 0 is identical.
    """

    id: str
    group: FaceGroup
    distance: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Matrix:
    """The vectors of one face model.

    Attributes:
        vectors: `(N, D)` float32, of unit length for arcface.
        squared: `(N,)` float32 squared lengths.
        owners: Ids of the N vectors; people have several.
    """

    vectors: Float32Array
    squared: Float32Array
    owners: list[str]


@dataclass(kw_only=True, slots=True)
class FaceGallery:
    """Everybody of one group.

    Attributes:
        people: Embeddings by id.
        matrices: The vectors per backend.
        incomparable: Per backend the id of somebody without a vector of it, or `None`.
    """

    people: dict[str, tuple[IdentityEmbedding, ...]] = field(default_factory=dict)
    matrices: dict[str, _Matrix] = field(default_factory=dict)
    incomparable: dict[str, str | None] = field(default_factory=dict)


def arrange(people: dict[str, tuple[IdentityEmbedding, ...]]) -> FaceGallery:
    """Put the faces of a group into matrices.

    Args:
        people: Embeddings by id.
    """
    vectors: dict[str, list[Float32Array]] = {}
    owners: dict[str, list[str]] = {}
    for one, embeddings in people.items():
        for embedding in embeddings:
            vector = np.asarray(embedding.vector, dtype=np.float32)
            if embedding.backend != "dlib":
                vector = vector / np.linalg.norm(vector)
            vectors.setdefault(embedding.backend, []).append(vector)
            owners.setdefault(embedding.backend, []).append(one)
    missing = {backend: people.keys() - set(ids) for backend, ids in owners.items()}
    return FaceGallery(
        people=people,
        matrices={backend: _gallery(np.stack(vectors[backend]), owners[backend]) for backend in vectors},
        incomparable={backend: min(ids) if ids else None for backend, ids in missing.items()},
    )


def _gallery(vectors: Float32Array, owners: list[str]) -> _Matrix:
    return _Matrix(vectors=vectors, squared=np.einsum("nd,nd->n", vectors, vectors), owners=owners)


def without_vector(known: FaceGallery, backend: str) -> str | None:
    """Return the id of somebody who has no vector of a backend, or `None`.

    Args:
        known: The group.
        backend: The face model in question.
    """
    return known.incomparable[backend] if backend in known.matrices else next(iter(known.people), None)


def nearest_in(
    known: FaceGallery, group: FaceGroup, face: IdentityEmbedding, limit: int, within: float | None
) -> Iterator[FaceMatch]:
    """Measure exactly those who may be among the nearest.

    Args:
        known: The group.
        group: Its name.
        face: The face looked for.
        limit: How many people, when there is no limit of distance.
        within: Only people at most this far away.

    Yields:
        Matches in no order, at least the `limit` nearest.
    """
    for one in _candidates(known, face, limit, within):
        exact = min(distance(face, other) for other in known.people[one] if _comparable(face, other))
        if within is None or exact <= within:
            yield FaceMatch(id=one, group=group, distance=exact)


def _candidates(known: FaceGallery, face: IdentityEmbedding, limit: int, within: float | None) -> list[str]:
    """Return the ids of those who may be among the nearest, by float32 distance."""
    if face.backend not in known.matrices:
        return []
    gallery = known.matrices[face.backend]
    vector = np.asarray(face.vector, dtype=np.float32)
    if vector.shape != gallery.vectors.shape[1:]:
        return []
    apart = _apart(gallery, vector, face.backend)
    if within is not None:
        nearby = np.flatnonzero(apart <= within + _MARGIN)
        return list(dict.fromkeys(gallery.owners[index] for index in nearby))
    wanted = limit
    while True:
        wanted = min(4 * wanted, len(apart))
        nearby = np.argpartition(apart, wanted - 1)[:wanted]
        nearest: dict[str, float] = {}
        for index in nearby[np.argsort(apart[nearby], kind="stable")]:
            nearest.setdefault(gallery.owners[index], float(apart[index]))
        if len(nearest) > limit or wanted == len(apart):
            # Those as near as the last one may take its place once measured exactly.
            reach = sorted(nearest.values())[min(limit, len(nearest)) - 1] + _MARGIN
            if wanted == len(apart) or reach < float(apart[nearby].max()):
                return [one for one, distance_to in nearest.items() if distance_to <= reach]


def _apart(gallery: _Matrix, vector: Float32Array, backend: str) -> Float32Array:
    """Return the distance of every vector of a gallery, `(N,)` float32."""
    if backend == "dlib":
        squared: Float32Array = gallery.squared - 2 * (gallery.vectors @ vector) + vector @ vector
        return np.asarray(np.sqrt(np.maximum(squared, 0)), dtype=np.float32)
    return np.asarray(1 - gallery.vectors @ (vector / np.linalg.norm(vector)), dtype=np.float32)


def _comparable(face: IdentityEmbedding, other: IdentityEmbedding) -> bool:
    return other.backend == face.backend and other.vector.shape == face.vector.shape
