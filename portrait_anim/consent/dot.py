"""A dot that moves over the screen, and whether eyes and head followed it. Pure.

The path is drawn at random for each challenge, so that a prepared recording looks elsewhere. Eyes lag and people start
when they like, so the path is laid over the recording at every moment and the best agreement counts.
"""

from __future__ import annotations

import json
import random as random_module
from dataclasses import dataclass
from typing import Final

import numpy as np

from portrait_anim.consent.face_signals import FaceSignals
from portrait_anim.types import Float64Array

NUM_STOPS: Final = 8
_MOVE_S: Final = 0.35
_REST_S: Final = (0.4, 1.2)  # shortest and longest rest: uneven rests are what tells two paths apart
_STEP_S: Final = 1.0 / 15.0
_COLUMNS: Final = (-1.0, -0.35, 0.35, 1.0)
_ROWS: Final = (-0.8, 0.0, 0.8)
_LEAST_HOP: Final = 0.6  # of the way from the middle to the edge; smaller hops drown in the tracker's noise
_MOST_STOPS: Final = 20
_LEAST_LOOK_DEG: Final = 1.5  # a look that moves less than this (standard deviation) follows nothing
_MOST_TURN_DEG, _MOST_NOD_DEG = 15.0, 12.0  # a turn or nod outweighs all that eyes do, and would decide alone
_VERTICAL_WEIGHT: Final = 0.5  # lids hide the iris, so that up and down are measured worse than left and right


@dataclass(frozen=True, kw_only=True, slots=True)
class DotPath:
    """Where the dot is over time.

    Attributes:
        stops: In turn `(right, up, rest_s)`: a position as the person sees the screen, from -1 (edge) to 1, and how
            long the dot rests there [s]. It starts in the middle and moves from one to the next in 0.35 s.
    """

    stops: tuple[tuple[float, float, float], ...]

    def __post_init__(self) -> None:
        flat = np.array(self.stops, dtype=np.float64)
        if not 2 <= len(self.stops) <= _MOST_STOPS or flat.shape != (len(self.stops), 3):
            raise ValueError(f"expected 2 to {_MOST_STOPS} stops (right, up, rest_s), got {len(self.stops)}")
        rests = flat[:, 2]
        if not np.isfinite(flat).all() or np.abs(flat[:, :2]).max() > 1 or rests.min() <= 0 or rests.max() >= 5:
            raise ValueError("expected stops from -1 to 1 that rest for 0 to 5 s, got others; draw the path anew")

    @property
    def duration_s(self) -> float:
        """How long the dot is shown [s]."""
        return sum(_MOVE_S + rest_s for _, _, rest_s in self.stops)

    def keys(self) -> tuple[tuple[float, float, float], ...]:
        """Corners of the path as `(time_s, right, up)`, for whoever shows it; straight lines lie between."""
        keys, time_s = [(0.0, 0.0, 0.0)], 0.0
        for right, up, rest_s in self.stops:
            keys += [(time_s + _MOVE_S, right, up), (time_s + _MOVE_S + rest_s, right, up)]
            time_s += _MOVE_S + rest_s
        return tuple(keys)

    def at(self, time_s: Float64Array) -> Float64Array:
        """Position at times `(T,)` from the start [s], `(T, 2)` right and up."""
        key_s, right, up = np.array(self.keys()).T
        return np.stack([np.interp(time_s, key_s, right), np.interp(time_s, key_s, up)], axis=1)

    def to_json(self) -> str:
        """Pack for the store."""
        return json.dumps(self.stops)

    @classmethod
    def from_json(cls, text: str) -> DotPath:
        """Unpack what `to_json` gave.

        Raises:
            ValueError: If the text is no path.
        """
        try:
            return cls(stops=tuple((float(x), float(y), float(rest_s)) for x, y, rest_s in json.loads(text)))
        except (TypeError, ValueError) as error:
            raise ValueError(f"expected the path of a dot, got {text[:80]!r}; issue a new challenge") from error


def draw_dot_path(random: random_module.Random) -> DotPath:
    """Draw a path whose every hop is large and goes sideways, with uneven rests.

    Args:
        random: Source of randomness.
    """
    stops: list[tuple[float, float, float]] = []
    right = 0.0
    while len(stops) < NUM_STOPS:
        wanted = random.choice(_COLUMNS)
        if abs(wanted - right) >= _LEAST_HOP:
            right = wanted
            stops.append((wanted, random.choice(_ROWS), round(random.uniform(*_REST_S), 2)))
    return DotPath(stops=tuple(stops))


def agreement(signals: FaceSignals, path: DotPath) -> tuple[Float64Array, Float64Array]:
    """Say how well the look follows the path, for every moment at which it may have started.

    Args:
        signals: What was measured in the recording.
        path: Where the dot was.

    Returns:
        Start times `(S,)` [s] and agreement `(S,)`: the correlation of look and dot, sideways and up together, from -1
        to 1; 0 where the look does not move, or the head turns or nods far as in another step.
    """
    begin, end = float(signals.time_s[0]), float(signals.time_s[-1])
    grid = np.arange(0.0, path.duration_s, _STEP_S)
    starts = np.arange(begin, end - grid[-1] + _STEP_S / 2, _STEP_S)
    dot = path.at(grid)
    dot = dot - dot.mean(axis=0)
    weight = np.array([1.0, _VERTICAL_WEIGHT])
    result = np.zeros(len(starts))
    turn, nod = (np.abs(angle - np.median(angle)) for angle in (signals.yaw_deg, signals.pitch_deg))
    away_s = signals.time_s[(turn > _MOST_TURN_DEG) | (nod > _MOST_NOD_DEG)]
    for place, start in enumerate(starts):
        if ((away_s >= start) & (away_s <= start + grid[-1])).any():
            continue
        look = np.stack(
            [np.interp(start + grid, signals.time_s, signals.look_right_deg),
             np.interp(start + grid, signals.time_s, signals.look_up_deg)], axis=1,
        )  # fmt: skip
        look = look - look.mean(axis=0)
        scale = np.sqrt((look**2 * weight).sum() * (dot**2 * weight).sum())
        moved = float(look[:, 0].std())
        result[place] = (look * dot * weight).sum() / scale if scale > 1e-9 and moved >= _LEAST_LOOK_DEG else 0.0
    return starts, result
