"""Bring frames with true timestamps to a constant frame rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction

from portrait_anim.types import Frame


def resample(frames: Iterable[Frame], fps: Fraction) -> Iterator[Frame]:
    """Bring frames with any timestamps to a constant frame rate.

    Each output frame shows the newest frame that is not later than it by more than a quarter of the output's
    period, so that timestamps rounded to milliseconds neither double nor drop frames. Two frames are held.

    Args:
        frames: Frames in order of time.
        fps: Rate wanted [1/s].

    Yields:
        Frame `k` at time `k / fps`; the last input frame is shown as long as the shortest one before it.

    Raises:
        ValueError: If `fps` is not positive.
    """
    if fps <= 0:
        raise ValueError(f"Expected a frame rate above 0, got {fps}. Choose one such as 25.")
    period_s = 1 / Fraction(fps)
    slack_s = float(period_s) / 4
    index, shortest_s = 0, math.inf
    current: Frame | None = None
    for frame in frames:
        if current is not None:
            shortest_s = min(shortest_s, frame.time_s - current.time_s)
            while float(index * period_s) + slack_s < frame.time_s:
                yield Frame(image=current.image, time_s=float(index * period_s), index=index)
                index += 1
        current = frame
    if current is None:
        return
    end_s = current.time_s + shortest_s if math.isfinite(shortest_s) else 0.0
    while index == 0 or float(index * period_s) + slack_s < end_s:
        yield Frame(image=current.image, time_s=float(index * period_s), index=index)
        index += 1
