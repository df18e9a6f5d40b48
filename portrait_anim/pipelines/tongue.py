"""What a driver's tongue does to a portrait. Pure arithmetic on what the encoder reads.

Shapes: T frames, K = 55 coefficients, see `models.lite.expressions`.
"""

from __future__ import annotations

import numpy as np

from portrait_anim.models.lite.expressions import EXPRESSIONS
from portrait_anim.types import Float32Array

_CALM, _MOST_CALM = 0.1, 0.15  # quantile of a clip that shows no tongue, and the most that may be taken for none
_DOUBT = (0.22, 0.42)  # of `out`: pouts and round mouths reach the first, nothing but a tongue the second
_PARTED, _LONGER = 0.10, 0.22  # of `jawOpen`, which lets a tongue through, and what a tongue all out adds
_THROUGH = (0.1, 0.3)  # of `out`, from where on and at which it does
_JAW_OPEN = EXPRESSIONS.index("jawOpen")


def tongue_to_show(read: Float32Array, gain: float = 1.0) -> Float32Array:
    """Tongue of a clip, measured from where it is at rest.

    Args:
        read: `(T, 3)`, as `LiteMotionOutput.tongue`.
        gain: Factor on what is read.

    Returns:
        `(T, 3)`; the first column in [0, 1].
    """
    rest = np.clip(np.quantile(read[:, 0], _CALM), 0, _MOST_CALM)
    out = np.clip((read[:, :1] - rest) / (1 - rest), 0, 1)
    sure = np.clip((out - _DOUBT[0]) / (_DOUBT[1] - _DOUBT[0]), 0, 1)
    sure = gain * sure * sure * (3 - 2 * sure)
    out = np.clip(sure * out, 0, 1)
    return np.asarray(np.concatenate([out, np.clip(sure * read[:, 1:], -out, out)], axis=1), dtype=np.float32)


def let_through(change: Float32Array, own: Float32Array, tongue: Float32Array) -> Float32Array:
    """Change of a portrait's coefficients `(T, K)` after which its jaw is open by at least what a tongue needs.

    Args:
        change: `(T, K)`.
        own: The portrait's coefficients `(K,)`; a mouth that is open already has to open less.
        tongue: `(T, 3)`, as `tongue_to_show` gives it.
    """
    low, high = _THROUGH
    share = np.clip((tongue[:, 0] - low) / (high - low), 0, 1)
    open_by = max(float(own[_JAW_OPEN]), 0.0) + change[:, _JAW_OPEN]
    missing = np.maximum(_PARTED + _LONGER * tongue[:, 0] - open_by, 0)
    out = change.copy()
    out[:, _JAW_OPEN] += share * missing
    return out
