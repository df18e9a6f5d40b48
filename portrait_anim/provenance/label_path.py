"""Where the visible label is at any time: a figure-of-eight through the frame that dashes past eyes and mouth.

A mark that stays in one place is gone after one crop. This one drifts along the bottom and the top edge, where it
hides little, and crosses the frame in about a second in between. Where its way leads over a zone that must stay clear,
it waits outside and then passes in `MOMENT_S`.
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
"""Time after which it is where it was [s]."""
MOMENT_S: Final = 0.4
"""Longest time over a zone that must stay clear [s]."""

_MARGIN_SHARE: Final = 0.025
_STEPS: Final = 720  # of the cycle, when looking for the times over a zone
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
        self._stays = self._over(keep_clear) if keep_clear else []

    def box(self, time_s: float) -> tuple[int, int, int, int]:
        """Where the label is.

        Args:
            time_s: Time from the start of the clip [s].

        Returns:
            Left, top, right and bottom [px], inside the frame.
        """
        return self._box(self._hurried(time_s % CYCLE_S))

    def _box(self, phase_s: float) -> tuple[int, int, int, int]:
        across, down = position(phase_s)
        (width, height), (label_width, label_height) = self._frame_size, self._label_size
        left = _place(across, width - label_width, self._margin)
        top = _place(down, height - label_height, self._margin)
        return left, top, left + label_width, top + label_height

    def _hurried(self, phase_s: float) -> float:
        """Phase of the way at a phase of the clock: stand still before a zone, dash, stand still behind it."""
        for start_s, end_s in self._stays:
            into_s = (phase_s - start_s) % CYCLE_S
            if into_s < end_s - start_s:
                middle_s = (end_s - start_s) / 2
                share = min(1.0, max(0.0, (into_s - middle_s) / MOMENT_S + 0.5))
                return (start_s + share * (end_s - start_s)) % CYCLE_S
        return phase_s

    def _over(self, zones: Sequence[Box]) -> list[tuple[float, float]]:
        """Start and end of each stay over a zone that is longer than a moment [s]; an end may pass the cycle's."""
        boxes = np.array([self._box(step * CYCLE_S / _STEPS) for step in range(_STEPS)], np.float64)
        over = np.zeros(_STEPS, bool)
        for left, top, right, bottom in zones:
            over |= (boxes[:, 0] < right) & (boxes[:, 2] > left) & (boxes[:, 1] < bottom) & (boxes[:, 3] > top)
        if over.all() or not over.any():
            return []
        first = int(np.argmin(over))  # somewhere outside, so that no stay wraps around
        stays = []
        for start, end in _runs(np.roll(over, -first)):
            length_s = (end - start + 1) * CYCLE_S / _STEPS  # a step on either side stands clear
            if length_s > MOMENT_S:
                start_s = (start + first - 1) * CYCLE_S / _STEPS
                stays.append((start_s, start_s + length_s))
        return stays


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
