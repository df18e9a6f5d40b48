"""Context windows: which frames are denoised together, and how their predictions become one.

Temporal attention sees a limited number of frames, so a long clip is denoised in windows that share some frames with
their neighbours. The predictions of all windows that hold a frame are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowPlan:
    """How a clip is cut into windows.

    Attributes:
        size: Frames per window, 1 to 32.
        overlap: Frames that neighbours share, below `size`.
        closed: Whether windows run on from the end of the clip to its start, as in the published pipeline, so that
            the clip's end and start influence each other. Otherwise the last window is moved back inside.
    """

    size: int = 24
    overlap: int = 4
    closed: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 32:
            raise ValueError(f"expected windows of 1 to 32 frames, got {self.size}")
        if not 0 <= self.overlap < self.size:
            raise ValueError(f"expected an overlap from 0 to {self.size - 1} frames, got {self.overlap}")

    def windows(self, num_frames: int, offset: int = 0) -> list[list[int]]:
        """List the windows of one denoising step.

        Args:
            num_frames: Length of the clip.
            offset: By how many frames the grid is moved at this step, so that its seams do not stay in one place.

        Returns:
            Frame numbers per window; together they hold every frame.
        """
        if num_frames <= self.size:
            return [list(range(num_frames))]
        step = self.size - self.overlap
        if self.closed:
            starts = range(0, num_frames, step)
            return [[(start + offset + k) % num_frames for k in range(self.size)] for start in starts]
        last = num_frames - self.size
        inside = [start for start in range(offset % step - step, last, step) if start > 0]
        return [list(range(start, start + self.size)) for start in (0, *inside, last)]


def average_windows(
    predictions: Sequence[torch.Tensor], windows: Sequence[Sequence[int]], num_frames: int
) -> torch.Tensor:
    """Average what several windows say about each frame.

    Args:
        predictions: Per window `(4, T_window, H, W)`.
        windows: Frame numbers of each window.
        num_frames: Length of the clip.

    Returns:
        `(4, T, H, W)`.
    """
    import torch

    first = predictions[0]
    total = first.new_zeros(first.shape[0], num_frames, *first.shape[2:])
    visits = first.new_zeros(num_frames)
    for prediction, window in zip(predictions, windows, strict=True):
        index = torch.as_tensor(window, device=first.device)
        total.index_add_(1, index, prediction)
        visits.index_add_(0, index, torch.ones_like(index, dtype=visits.dtype))
    return total / visits[:, None, None]
