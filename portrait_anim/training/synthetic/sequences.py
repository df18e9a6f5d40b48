"""Smooth random motion over time: talking phrases, moods, nods, blinks, saccades.

Shape legend: B batch, T frames, E = 53 coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from portrait_anim.training.synthetic.motion import Gesture, MotionStatistics

_REFERENCE_FPS = 25.0  # durations below are stated in frames of this rate


class MotionSequences:
    """Samples motion curves over time.

    Args:
        statistics: Tables and single-frame samplers.
        fps: Frames per second of the curves.
    """

    def __init__(self, statistics: MotionStatistics, *, fps: float = 25.0) -> None:
        self.statistics = statistics
        self.fps = fps
        self._unit = fps / _REFERENCE_FPS

    def sample(self, B: int, T: int, g: torch.Generator) -> Gesture:
        """Random talking heads.

        Args:
            B: Number of sequences.
            T: Frames per sequence.
            g: Source of randomness.

        Returns:
            Curves with shapes `(B, T, ...)`.
        """
        s, unit = self.statistics, self._unit
        smooth = self.smooth
        speech, talking = self.speech(B, T, g)
        mood = s.pick(g, s.emotions, B)[:, None] * smooth(g, B, T, 1, 20 * unit, 70 * unit).clamp(0, 1.1)
        raised = s.shape(browInnerUp=0.5, browOuterUp=0.5)
        brows = raised * smooth(g, B, T, 1, 8 * unit, 25 * unit).sub(0.8).clamp(min=0)
        mouth = self._passing(s.actions(g, s.mouth_actions, B), 1.0, T, g)
        brows = torch.maximum(brows, self._passing(s.actions(g, s.brow_actions, B), 0.6, T, g))
        talk = speech * talking * (1 - 0.7 * mouth.amax(-1, keepdim=True))
        expr = (torch.maximum(torch.maximum(mood, talk), mouth) + brows) * s.asymmetry(g, B)[:, None]
        uneven = 1 - 0.08 * s.rand(g, B, 1, 2) * (s.rand(g, B, 1, 2) < 0.5)  # one lid may stay behind a little
        expr = s.set_blink(expr.clamp(0, 1), self.blinks(B, T, g)[..., None] * uneven)
        head = smooth(g, B, T, 3, 15 * unit, 50 * unit) * s.vector(8.0, 4.0, 4.0)
        head = head + smooth(g, B, T, 3, 4 * unit, 9 * unit) * s.vector(1.0, 1.2, 0.7) * talking
        time_s = torch.arange(T, device=s.device) / self.fps
        nod = smooth(g, B, T, 1, 15 * unit, 40 * unit).sub(0.9).clamp(min=0)[..., 0]
        head[..., 1] += 8 * nod * torch.sin(2 * math.pi * 1.8 * time_s)
        head = torch.maximum(torch.minimum(head, s.head_limits), -s.head_limits)
        shift = smooth(g, B, T, 3, 20 * unit, 60 * unit) * s.vector(0.5, 0.4, 1.5)
        return Gesture(expr=expr, head=head, shift=shift, gaze=self.saccades(B, T, g))

    def speech(self, B: int, T: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random mouth shapes of 100 to 220 ms `(B, T, 53)` and how far somebody talks `(B, T, 1)`, 0 to 1."""
        s, unit = self.statistics, self._unit
        keys = int(T / (2.5 * unit)) + 3
        k, phase = self._keys(g, B, T, keys, 2.5 * unit, 5.5 * unit)
        shapes = s.pick(g, s.visemes, B, keys) * (0.4 + 0.6 * s.rand(g, B, keys, 1))
        take = _taker(shapes)
        speech = torch.lerp(take(k), take(k + 1), _ease(phase))
        talking = torch.sigmoid(6 * (self.smooth(g, B, T, 1, 12 * unit, 45 * unit) + 0.3))
        return speech, talking

    def _passing(self, action: Tensor, threshold: float, T: int, g: torch.Generator) -> Tensor:
        """An action `(B, 53)` that comes and goes, `(B, T, 53)`; the higher the threshold, the rarer."""
        level = self.smooth(g, len(action), T, 1, 8 * self._unit, 30 * self._unit).sub(threshold).clamp(0, 1)
        return action[:, None] * level

    def smooth(self, g: torch.Generator, B: int, T: int, channels: int, shortest: float, longest: float) -> Tensor:
        """Smooth random curves.

        Args:
            g: Source of randomness.
            B: Number of sequences.
            T: Frames.
            channels: Curves per sequence; they share their key times.
            shortest: Shortest time between keys [frames].
            longest: Longest time between keys [frames].

        Returns:
            `(B, T, channels)`, unit variance at the keys, cosine interpolation between them.
        """
        keys = int(T / shortest) + 3
        k, phase = self._keys(g, B, T, keys, shortest, longest)
        take = _taker(self.statistics.randn(g, B, keys, channels))
        return torch.lerp(take(k), take(k + 1), _ease(phase))

    def blinks(self, B: int, T: int, g: torch.Generator) -> Tensor:
        """Lid closure `(B, T)`: a blink every 2 to 6 s lasting 100 to 300 ms, closing faster than opening.

        One in six is not complete, and one in eight is followed by another at once.
        """
        s = self.statistics
        keys = int(T / self.fps / 1.5) + 3
        gap = 2 + 4 * s.rand(g, B, keys)
        gap = torch.where(s.rand(g, B, keys) < 0.125, 0.45, gap)
        gap[:, 0] *= s.rand(g, B)
        at = gap.cumsum(1)[:, :, None]
        length = (0.10 + 0.20 * s.rand(g, B, keys))[:, :, None]
        phase = (torch.arange(T, device=s.device) / self.fps - at) / length  # (B, keys, T)
        depth = torch.where(s.rand(g, B, keys, 1) < 1 / 6, 0.55 + 0.3 * s.rand(g, B, keys, 1), 1.0)
        return (blink_shape(phase) * depth).amax(1)

    def saccades(self, B: int, T: int, g: torch.Generator) -> Tensor:
        """Gaze `(B, T, 2)` [deg]: fixations of 0.3 to 2 s, jumps, a little drift."""
        s, unit = self.statistics, self._unit
        keys = int(T / (8 * unit)) + 3
        k, phase = self._keys(g, B, T, keys, 8 * unit, 50 * unit)
        take = _taker(s.gaze(B * keys, g).view(B, keys, 2))
        jump = 0.06 / 0.8  # share of a fixation that the jump at its end takes
        moved = ((phase - 1 + jump) / jump).clamp(0, 1)[..., None]
        return torch.lerp(take(k), take(k + 1), moved) + 0.3 * self.smooth(g, B, T, 2, 6 * unit, 15 * unit)

    def _keys(
        self, g: torch.Generator, B: int, T: int, keys: int, shortest: float, longest: float
    ) -> tuple[Tensor, Tensor]:
        """Random key times: for every frame its key number `(B, T)` and the phase 0 to 1 inside that key."""
        device = self.statistics.device
        length = shortest + (longest - shortest) * self.statistics.rand(g, B, keys)
        end = length.cumsum(1)
        time = torch.arange(T, device=device, dtype=torch.float32).expand(B, T).contiguous()
        k = torch.searchsorted(end.contiguous(), time, right=True).clamp(max=keys - 2)
        start = end.gather(1, k) - length.gather(1, k)
        return k, ((time - start) / length.gather(1, k)).clamp(0, 1)


def blink_shape(phase: Tensor) -> Tensor:
    """Lid closure 0 to 1 over the phase 0 to 1 of a blink; 0 outside. Closing is twice as fast as opening."""
    shape = torch.minimum(phase / 0.3, (1 - phase) / 0.6).clamp(0, 1)
    return shape * shape * (3 - 2 * shape)


def _ease(phase: Tensor) -> Tensor:
    """Cosine ease of `(B, T)` phases, `(B, T, 1)`."""
    return (0.5 - 0.5 * torch.cos(math.pi * phase))[..., None]


def _taker(values: Tensor) -> Callable[[Tensor], Tensor]:
    """Function that looks up keys `(B, T)` in `values` `(B, keys, C)`."""

    def take(k: Tensor) -> Tensor:
        return values.gather(1, k[..., None].expand(-1, -1, values.shape[-1]))

    return take
