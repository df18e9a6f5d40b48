"""Attacks a mark with every pair of attacks, from as little of the clip as is enough, and can go on after a stop.

What is read from the first second of a clip is also read from four, so longer pieces are tried only where shorter ones
were not enough. Every result is a line of a file.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from portrait_anim.errors import MediaError
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
        done: Results of an earlier run, which are taken over.
        on_result: Told every new result.
        on_progress: Told after every pair.

    Returns:
        One result per pair, the earlier ones first.
    """
    known = {(result.first, result.second) for result in done}
    results = list(done)
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


class PairLog:
    """Results of one clip in a file of JSON lines, the first of which names the clip.

    Args:
        path: The file; made if it does not exist.
        marked: The marked frames.
        seed: That of the attacks.

    Attributes:
        results: What the file held when it was opened.

    Raises:
        MediaError: If the file holds something else, or results of another clip or seed.
        OSError: If it cannot be read or written.
    """

    def __init__(self, path: Path, marked: Sequence[UInt8Array], seed: int) -> None:
        self._path = path
        digest = hashlib.sha256(str(seed).encode())
        for frame in marked:
            digest.update(frame.tobytes())
        header = {"clip_and_seed_sha256": digest.hexdigest()}
        self.results: list[PairResult] = []
        if not path.exists():
            self._append(header)
            return
        try:
            there, *rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
            self.results = [PairResult(**row) for row in rows]
        except (ValueError, TypeError) as error:
            raise MediaError(f"expected results of pairs in {path.name}, got other text; name another file") from error
        if there != header:
            raise MediaError(f"expected results of this clip and seed in {path.name}, got others; name another file")

    def add(self, result: PairResult) -> None:
        """Append a result."""
        self._append(asdict(result))

    def _append(self, row: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
