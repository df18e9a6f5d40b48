"""What a profile must provide. Protocols only: nothing here is inherited.

Shapes: B batch, T frames, L tokens, C channels, S side of a crop.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch


class MotionEncoder(Protocol):
    """A face crop becomes what moves."""

    def __call__(self, sample: torch.Tensor) -> Any:
        """Map crops `(B, 3, S, S)` in [-1, 1] to an output with `.latent` `(B, L, C)`."""
        ...


class ReferenceEncoder(Protocol):
    """A portrait becomes what stays."""

    def __call__(self, sample: torch.Tensor) -> Any:
        """Map portrait crops `(B, 3, S, S)` in [-1, 1] to reference features, computed once per portrait."""
        ...


class Denoiser(Protocol):
    """The network that is called once per denoising step."""

    def __call__(self, sample: torch.Tensor, timestep: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return an output with `.sample` of the shape of `sample`."""
        ...
