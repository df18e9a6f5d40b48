"""Where the visible label is at any time: a figure-of-eight through the frame that dashes past eyes and mouth.

A mark that stays in one place is gone after one crop. This one drifts along the bottom and the top edge, where it
hides little, and crosses the frame in about a second in between. Where its way leads over a zone that must stay clear,
it passes in `MOMENT_S`, and is back the sooner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom [px]."""

EDGE_S: Final = 2.4
"""Time along one edge [s]."""
CROSSING_S: Final = 1.2
"""Time from one corner to the opposite one [s]."""
CYCLE_S: Final = 2 * (EDGE_S + CROSSING_S)
"""Time after which it is where it was [s]; less where it hurries past a zone."""
MOMENT_S: Final = 0.4
"""Longest time over a zone that must stay clear [s]."""

_MARGIN_SHARE: Final = 0.025
_STEPS: Final = 720  # of the cycle, when looking for the times over a zone
_SHORTEST_CYCLE_S: Final = 4.0
_WORTH_IT: Final = 0.1  # of the cycle, that a smaller margin must spare
_SHORTEST_GAP: Final = 20  # steps; eyes and mouth passed within a blink of each other are one stay


class LabelPath:
    """The way of a label of one size through frames of one size.

    Args:
        frame_size: Width and height of the frames [px].
        label_size: Width and height of the label [px], no larger than the frame.
        keep_clear: Zones of the frame that the label may only pass quickly, such as eyes and mouth. Those that
            fill so much that no way leads around them are passed over as without them.
    """

    def __init__(
        self, frame_size: tuple[int, int], label_size: tuple[int, int], keep_clear: Sequence[Box] = ()
    ) -> None:
        self._frame_size, self._label_size = frame_size, label_size
        self._margin = round(_MARGIN_SHARE * min(frame_size))
        self._clock_s = self._way_s = np.array([0.0, CYCLE_S])
        self._begin_s = 0.0
        if keep_clear:
            self._keep_off(keep_clear)

    def box(self, time_s: float) -> tuple[int, int, int, int]:
        """Where the label is.

        Args:
            time_s: Time from the start of the clip [s].

        Returns:
            Left, top, right and bottom [px], inside the frame.
        """
        phase_s = (time_s + self._begin_s) % self._clock_s[-1]
        return self._box(float(np.interp(phase_s, self._clock_s, self._way_s)))

    def _box(self, phase_s: float) -> tuple[int, int, int, int]:
        across, down = position(phase_s)
        (width, height), (label_width, label_height) = self._frame_size, self._label_size
        left = _place(across, width - label_width, self._margin)
        top = _place(down, height - label_height, self._margin)
        return left, top, left + label_width, top + label_height

    def _keep_off(self, zones: Sequence[Box]) -> None:
        """Find the stays over zones; closer to the frame's edge, if that avoids much of them."""
        over = self._over(zones)
        usual, self._margin = self._margin, self._margin // 4
        closer = self._over(zones)
        if over.sum() - closer.sum() >= _WORTH_IT * _STEPS:
            over = closer
        else:
            self._margin = usual
        self._clock_s, self._way_s = _hurried(_stays(over))
        if not over[0]:  # else the clip begins beside the first zone
            self._begin_s = float(np.interp(CYCLE_S, self._way_s, self._clock_s))

    def _over(self, zones: Sequence[Box]) -> npt.NDArray[np.bool_]:
        """At which steps of the cycle `(_STEPS,)` the label lies over a zone."""
        boxes = np.array([self._box(step * CYCLE_S / _STEPS) for step in range(_STEPS)], np.float64)
        over = np.zeros(_STEPS, bool)
        for left, top, right, bottom in zones:
            over |= (boxes[:, 0] < right) & (boxes[:, 2] > left) & (boxes[:, 1] < bottom) & (boxes[:, 3] > top)
        return over


def position(time_s: float) -> tuple[float, float]:
    """Place on the figure-of-eight: 0 to 1 across, 0 to 1 down.

    The clip begins in the middle of the bottom edge; then bottom right, top left, top right, bottom left.

    Args:
        time_s: Time from the start of the clip [s].
    """
    phase = (time_s + EDGE_S / 2) % CYCLE_S
    half, phase = divmod(phase, EDGE_S + CROSSING_S)
    if phase < EDGE_S:
        return phase / EDGE_S, 1.0 - half
    vertical = (1 - math.cos(math.pi * (phase - EDGE_S) / CROSSING_S)) / 2
    sideways = vertical * vertical * (3 - 2 * vertical)  # later, so that the mark passes the sides too
    return 1 - sideways, half + (1 - 2 * half) * (1 - vertical)


def _place(share: float, room: int, margin: int) -> int:
    """Pixel offset for a share of the free room, keeping a margin where there is one."""
    margin = min(margin, room // 2)
    return margin + round(share * (room - 2 * margin))


def _stays(over: npt.NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Start and end of each stay over a zone, from the first on the way [s]; an end may pass the cycle's."""
    if over.all() or not over.any():
        return []
    first = int(np.argmin(over))  # somewhere outside, so that no stay wraps around
    step_s = CYCLE_S / _STEPS
    # A step on either side stands clear.
    return [((first + start - 1) * step_s, (first + end) * step_s) for start, end in _runs(np.roll(over, -first))]


def _hurried(stays: list[tuple[float, float]]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Times on the clock, from 0, and on the way [s], between which the label goes evenly; over one cycle."""
    if not stays:
        return np.array([0.0, CYCLE_S]), np.array([0.0, CYCLE_S])
    free_s = CYCLE_S - sum(end_s - start_s for start_s, end_s in stays)
    dashes_s = sum(min(end_s - start_s, MOMENT_S) for start_s, end_s in stays)
    slower = max(1.0, (_SHORTEST_CYCLE_S - dashes_s) / free_s)
    first_s = (stays[0][0] + CYCLE_S, stays[0][1] + CYCLE_S)
    clock_s, way_s = [0.0], [stays[0][1]]  # a clip begins beside a zone, not on it
    for start_s, end_s in [*stays[1:], first_s]:
        there_s = clock_s[-1] + slower * (start_s - way_s[-1])
        clock_s += [there_s, there_s + min(end_s - start_s, MOMENT_S)]
        way_s += [start_s, end_s]
    return np.array(clock_s), np.array(way_s)


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and past-the-last index of each run of true values, gaps of a blink closed; the first must be false."""
    edges = np.flatnonzero(np.diff(np.concatenate([flags, [False]]).astype(np.int8))) + 1
    runs: list[tuple[int, int]] = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if runs and start - runs[-1][1] < _SHORTEST_GAP:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs
