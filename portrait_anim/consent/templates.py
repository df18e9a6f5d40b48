"""Biometric templates as bytes, before they are sealed and after they were opened."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from portrait_anim.consent.keys import canonical
from portrait_anim.types import IdentityEmbedding

_Packed: TypeAlias = list[list[str]]


def embeddings_bytes(embeddings: Sequence[IdentityEmbedding]) -> bytes | None:
    """Return embeddings as the bytes that are sealed, or `None` for none."""
    return canonical(_packed(embeddings)) if embeddings else None


def embeddings_of(plain: bytes | None) -> tuple[IdentityEmbedding, ...]:
    """Return all embeddings that `embeddings_bytes` or `faces_bytes` packed, float32."""
    kept = [] if plain is None else json.loads(plain)
    return _opened(kept["portrait"] + kept["video"] if isinstance(kept, dict) else kept)


def faces_bytes(portrait: Sequence[IdentityEmbedding], video: Sequence[IdentityEmbedding]) -> bytes | None:
    """Return the faces of a cameo and where each was measured, as the bytes that are sealed, or `None` for none."""
    return canonical({"portrait": _packed(portrait), "video": _packed(video)}) if portrait or video else None


def faces_of(plain: bytes | None, *, real: bool) -> tuple[tuple[IdentityEmbedding, ...], tuple[IdentityEmbedding, ...]]:
    """Return the faces that `faces_bytes` packed: those of the portrait, and those of the challenge video.

    Rows that were written before their origin was kept hold a list, of real people with the video's face at its end.

    Args:
        plain: What was packed, or `None` for none.
        real: Whether the cameo is a real person's.
    """
    kept = [] if plain is None else json.loads(plain)
    if isinstance(kept, dict):
        return _opened(kept["portrait"]), _opened(kept["video"])
    portraits = len(kept) - 1 if real and kept else len(kept)
    return _opened(kept[:portraits]), _opened(kept[portraits:])


def _packed(embeddings: Sequence[IdentityEmbedding]) -> _Packed:
    return [
        [embedding.backend, base64.b64encode(np.asarray(embedding.vector, dtype="<f4").tobytes()).decode()]
        for embedding in embeddings
    ]


def _opened(packed: _Packed) -> tuple[IdentityEmbedding, ...]:
    return tuple(
        IdentityEmbedding(
            vector=np.frombuffer(base64.b64decode(data), dtype="<f4").astype(np.float32),
            backend=backend,  # type: ignore[arg-type]
        )
        for backend, data in packed
    )
