"""False accepts and false rejects of a distance, and the curve that trades one for the other. Pure.

FAR: share of pairs of different people that are taken for one. FRR: share of pairs of one person that are taken for
two. DET: FRR over FAR, on axes stretched by the normal distribution (Martin et al., "The DET curve in assessment of
detection task performance", Eurospeech 1997).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from portrait_anim.types import Float64Array


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorCurve:
    """FAR and FRR at every threshold that changes one of them.

    Attributes:
        threshold: `(K,)` increasing; a pair at or below it is accepted.
        far: `(K,)` share of impostor pairs accepted, 0 to 1.
        frr: `(K,)` share of genuine pairs rejected, 0 to 1.
        num_impostor: Pairs of different people.
        num_genuine: Pairs of one person.
    """

    threshold: Float64Array
    far: Float64Array
    frr: Float64Array
    num_impostor: int
    num_genuine: int

    @property
    def equal_error_rate(self) -> float:
        """The rate at which FAR and FRR cross, 0 to 1."""
        place = int(np.abs(self.far - self.frr).argmin())
        return float((self.far[place] + self.frr[place]) / 2)


def error_curve(genuine: Float64Array, impostor: Float64Array) -> ErrorCurve:
    """Compute FAR and FRR over all thresholds.

    Args:
        genuine: `(G,)` distances of pairs of one person.
        impostor: `(M,)` distances of pairs of different people.

    Returns:
        The curve.

    Raises:
        ValueError: If one of them is empty or holds something that is not a number.
    """
    for name, values in (("genuine", genuine), ("impostor", impostor)):
        if values.size == 0 or not np.isfinite(values).all():
            raise ValueError(f"expected finite {name} distances, got {values.size} of which some are not")
    threshold = np.unique(np.concatenate([genuine, impostor]))
    return ErrorCurve(
        threshold=threshold,
        far=np.searchsorted(np.sort(impostor), threshold, side="right") / impostor.size,
        frr=1.0 - np.searchsorted(np.sort(genuine), threshold, side="right") / genuine.size,
        num_impostor=int(impostor.size),
        num_genuine=int(genuine.size),
    )


def threshold_at_far(impostor: Float64Array, far: float) -> float:
    """Find the largest threshold at which at most a share of impostor pairs is accepted.

    Args:
        impostor: `(M,)` distances of pairs of different people.
        far: Largest share, 0 to 1.

    Returns:
        A threshold just below the first pair too many.

    Raises:
        ValueError: If there are too few pairs to see such a share at all.
    """
    allowed = math.floor(far * impostor.size)
    if allowed < 1:
        needed = math.ceil(1 / far)
        raise ValueError(f"expected at least {needed} impostor pairs for a FAR of {far}, got {impostor.size}")
    ordered = np.sort(impostor)
    return float(np.nextafter(ordered[allowed], -np.inf)) if allowed < ordered.size else float(ordered[-1])


def shares(genuine: Float64Array, impostor: Float64Array, threshold: float) -> tuple[float, float]:
    """Return FAR and FRR at one threshold.

    Args:
        genuine: `(G,)` distances of pairs of one person.
        impostor: `(M,)` distances of pairs of different people.
        threshold: Largest accepted distance.
    """
    return float((impostor <= threshold).mean()), float((genuine > threshold).mean())


def upper_bound(errors: int, trials: int, *, confidence: float = 0.95) -> float:
    """Return the one-sided upper bound of an error rate (Clopper and Pearson 1934), 0 to 1.

    Zero errors among few trials prove little; this says how little. Pairs that share people are not independent, so
    that the true bound is wider.

    Args:
        errors: Errors seen.
        trials: Trials made, at least 1.
        confidence: How sure the bound is.
    """
    from scipy.stats import beta

    return 1.0 if errors >= trials else float(beta.ppf(confidence, errors + 1, trials - errors))
