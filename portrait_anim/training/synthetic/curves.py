"""Motion over time from named keys: what an actor is told to do.

Shape legend: T frames, E = 53 expression coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from portrait_anim.training.synthetic.motion import Gesture, MotionStatistics
from portrait_anim.training.synthetic.motion_tables import Shape
from portrait_anim.training.synthetic.sequences import MotionSequences, blink_shape
from portrait_anim.training.synthetic.speech import TimedPhone, mouth_curves

Key: TypeAlias = tuple[float, float]  # time [s], value
Track: TypeAlias = tuple[Shape, Sequence[Key]]  # a facial shape and how strongly it is shown over time
BLINK_S: Final = 0.30  # length of one blink


@dataclass(frozen=True, kw_only=True, slots=True)
class Performance:
    """What an actor does, as keys over time; between keys a curve eases, outside it stays.

    Attributes:
        duration_s: Length [s].
        expression: Facial shapes and their strength over time, 0 to 1; they add up.
        line: What is spoken meanwhile.
        yaw: Keys of head yaw [deg], > 0 to the subject's own left.
        pitch: Keys of head pitch [deg], > 0 down.
        roll: Keys of head roll [deg].
        rest_pitch: Pitch to which all of the above is added [deg]: how the actor holds the head at rest.
        gaze_right: Keys of gaze [deg], > 0 towards the right of the picture.
        gaze_down: Keys of gaze [deg].
        shift_x: Keys of translation to the right [cm].
        shift_y: Keys of translation upwards [cm].
        shift_z: Keys of translation towards the camera [cm].
        blinks: Times at which a blink starts [s].
        unrest: Size of the small motion that no living head is without; 1 is usual, 0 none.
        seed: Seed of that motion.
    """

    duration_s: float
    expression: Sequence[Track] = ()
    line: tuple[TimedPhone, ...] = ()
    yaw: Sequence[Key] = ()
    pitch: Sequence[Key] = ()
    roll: Sequence[Key] = ()
    rest_pitch: float = 0.0
    gaze_right: Sequence[Key] = ()
    gaze_down: Sequence[Key] = ()
    shift_x: Sequence[Key] = ()
    shift_y: Sequence[Key] = ()
    shift_z: Sequence[Key] = ()
    blinks: Sequence[float] = ()
    unrest: float = 0.0
    seed: int = 0


def curve(keys: Sequence[Key], time_s: Tensor) -> Tensor:
    """Ease through keys.

    Args:
        keys: (time [s], value), times not falling; none means 0 everywhere.
        time_s: `(T,)` [s].

    Returns:
        `(T,)` float32; smooth, without overshoot.

    Raises:
        ValueError: If the key times fall.
    """
    if not keys:
        return torch.zeros_like(time_s)
    at, value = (np.array(c, dtype=np.float64) for c in zip(*keys, strict=True))
    if (np.diff(at) < 0).any():
        raise ValueError(f"expected keys in order of time, got times {at.tolist()}")
    t = time_s.double().numpy()
    k = np.clip(np.searchsorted(at, t, side="right") - 1, 0, max(len(at) - 2, 0))
    following = np.minimum(k + 1, len(at) - 1)
    phase = np.clip((t - at[k]) / np.maximum(at[following] - at[k], 1e-9), 0, 1)
    eased = phase * phase * (3 - 2 * phase)
    return torch.from_numpy(value[k] + (value[following] - value[k]) * eased).float()


def perform(statistics: MotionStatistics, performance: Performance, fps: float) -> Gesture:
    """Sample a performance at a frame rate.

    Args:
        statistics: Knows the coefficient names.
        performance: What is done.
        fps: Frames per second.

    Returns:
        Curves of `T = round(duration * fps)` frames.
    """
    T = round(performance.duration_s * fps)
    time_s = torch.arange(T) / fps
    p, device = performance, statistics.device
    expr = mouth_curves(statistics, p.line, time_s)
    for shape, keys in p.expression:
        expr = expr + curve(keys, time_s)[:, None].to(device) * statistics.shape(**shape)
    closure = torch.zeros_like(time_s)
    for start in p.blinks:
        closure = torch.maximum(closure, blink_shape((time_s - start) / BLINK_S))

    def columns(*keys: Sequence[Key]) -> Tensor:
        return torch.stack([curve(k, time_s) for k in keys], 1).to(device)

    unrest = p.unrest * _unrest(statistics, T, fps, p.seed)
    return Gesture(
        expr=statistics.set_blink(expr.clamp(0, 1), closure[:, None].expand(-1, 2).to(device)),
        head=columns(p.yaw, p.pitch, p.roll) + statistics.vector(0.0, p.rest_pitch, 0.0) + unrest[:, :3],
        shift=columns(p.shift_x, p.shift_y, p.shift_z) + unrest[:, 3:6],
        gaze=columns(p.gaze_right, p.gaze_down) + unrest[:, 6:],
    )


def _unrest(statistics: MotionStatistics, T: int, fps: float, seed: int) -> Tensor:
    """Small smooth motion of head [deg], position [cm] and gaze [deg], `(T, 8)`."""
    sequences = MotionSequences(statistics, fps=fps)
    generator = torch.Generator(statistics.device).manual_seed(seed)
    slow = sequences.smooth(generator, 1, T, 8, 0.6 * fps, 1.6 * fps)[0]
    quick = sequences.smooth(generator, 1, T, 8, 0.16 * fps, 0.4 * fps)[0]
    slow_size = statistics.vector(1.0, 0.7, 0.7, 0.10, 0.08, 0.25, 0.8, 0.5)
    quick_size = statistics.vector(0.15, 0.2, 0.1, 0.01, 0.02, 0.03, 0.2, 0.2)
    return slow * slow_size + quick * quick_size
