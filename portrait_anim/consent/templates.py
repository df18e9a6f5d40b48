"""Biometric templates as bytes, before they are sealed and after they were opened."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import numpy as np

from portrait_anim.consent.keys import canonical
from portrait_anim.types import IdentityEmbedding


def embeddings_bytes(embeddings: Sequence[IdentityEmbedding]) -> bytes | None:
    """Return embeddings as the bytes that are sealed, or `None` for none."""
    if not embeddings:
        return None
    return canonical(
        [
            [embedding.backend, base64.b64encode(np.asarray(embedding.vector, dtype="<f4").tobytes()).decode()]
            for embedding in embeddings
        ]
    )


def embeddings_of(plain: bytes | None) -> tuple[IdentityEmbedding, ...]:
    """Return the embeddings that `embeddings_bytes` packed, float32."""
    return tuple(
        IdentityEmbedding(vector=np.frombuffer(base64.b64decode(data), dtype="<f4").astype(np.float32), backend=backend)
        for backend, data in (() if plain is None else json.loads(plain))
    )
