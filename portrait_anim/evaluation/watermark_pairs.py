"""Attacks a mark with every pair of attacks, from as little of the clip as is enough.

What is read from the first second of a clip is also read from four, so longer pieces are tried only where shorter ones
were not enough.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from portrait_anim.evaluation.attacks import Attack
from portrait_anim.evaluation.watermark_rivals import Mark
from portrait_anim.types import Progress, ProgressCallback, UInt8Array

PIECES_S: Final = (1.0, 2.0, 4.0)
"""Lengths of the clip that are tried, one after the other [s]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairResult:
    """A mark after two attacks.

    Attributes:
        first: Name of the attack that was applied first.
        second: Name of the other.
        seconds: Length of the longest piece that was tried [s]; it was enough when `detected`.
        bit_accuracy: Share of right bits.
        detected: Whether the mark was found.
        log10_false_positive: Chance of such a result without a mark, as a power of ten.
    """

    first: str
    second: str
    seconds: float
    bit_accuracy: float
    detected: bool
    log10_false_positive: float | None


def measure_pairs(
    mark: Mark,
    marked: Sequence[UInt8Array],
    pairs: Sequence[tuple[Attack, Attack]],
    *,
    fps: float,
    seed: int = 0,
    done: Sequence[PairResult] = (),
    on_result: Callable[[PairResult], None] | None = None,
    on_progress: ProgressCallback | None = None,
) -> list[PairResult]:
    """Attack marked frames with every pair of attacks.

    Args:
        mark: Reader.
        marked: Marked frames, `(H, W, 3)` uint8 sRGB each.
        pairs: See `attacks.pairs`.
        fps: Frame rate of the clip [1/s].
        seed: Draws places and noise.
        done: Results of an earlier run; those of these pairs are taken over.
        on_result: Told every new result.
        on_progress: Told after every pair.

    Returns:
        One result per pair, the earlier ones first.
    """
    wanted = {(first.name, second.name) for first, second in pairs}
    results = [result for result in done if (result.first, result.second) in wanted]
    known = {(result.first, result.second) for result in results}
    for _, group in itertools.groupby(pairs, key=lambda pair: pair[0].name):
        pieces = _Pieces(marked, fps, seed)
        for first, second in group:
            if (first.name, second.name) in known:
                continue
            result = _read_pair(mark, pieces, first, second)
            results.append(result)
            if on_result is not None:
                on_result(result)
            if on_progress is not None:
                on_progress(Progress(stage=mark.name, done=len(results), total=len(pairs)))
    return results


class _Pieces:
    """Beginnings of a clip after one attack, which its pairs share."""

    def __init__(self, marked: Sequence[UInt8Array], fps: float, seed: int) -> None:
        self._marked, self._fps, self.seed = marked, fps, seed
        self._attacked: dict[int, list[UInt8Array]] = {}

    def after(self, attack: Attack) -> Iterator[tuple[float, list[UInt8Array], bool]]:
        """Length [s] and frames of each piece, the shortest first, and whether it is the last."""
        lengths = [min(len(self._marked), max(1, round(seconds * self._fps))) for seconds in PIECES_S]
        for count in dict.fromkeys(lengths):
            if count not in self._attacked:
                rng = np.random.default_rng([self.seed, *attack.name.encode()])
                self._attacked[count] = attack(self._marked[:count], rng)
            yield count / self._fps, self._attacked[count], count == lengths[-1]


def _read_pair(mark: Mark, pieces: _Pieces, first: Attack, second: Attack) -> PairResult:
    for seconds, frames, is_last in pieces.after(first):
        rng = np.random.default_rng([pieces.seed, *second.name.encode()])
        outcome = mark.read(second(frames, rng))
        if outcome.detected or is_last:
            return PairResult(
                first=first.name, second=second.name, seconds=round(seconds, 2), bit_accuracy=outcome.bit_accuracy,
                detected=outcome.detected, log10_false_positive=outcome.log10_false_positive,
            )  # fmt: skip
    raise ValueError("Expected at least one marked frame, got none.")
