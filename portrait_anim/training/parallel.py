"""One process or several: what they must agree on, by way of `accelerate` (extra `train`).

Parameters and optimizer are the same everywhere; each process sees its part of the batch and gradients are averaged.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from portrait_anim.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Crew:
    """The processes that train together.

    Attributes:
        device: Device of this one.
        rank: Number of this one.
        world: How many there are.
        accelerator: `accelerate.Accelerator` when there are several.
    """

    device: torch.device
    rank: int = 0
    world: int = 1
    accelerator: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def mean_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace float tensors by their mean over all processes, with one exchange."""
        if self.world == 1:
            return
        found = [t for t in tensors if t.is_floating_point()]
        if not found:
            return
        flat = torch.cat([t.detach().float().flatten() for t in found])
        mean = self.accelerator.reduce(flat, reduction="mean")
        for tensor, part in zip(found, mean.split([t.numel() for t in found]), strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def agree(self, value: float) -> float:
        """What the main process says."""
        if self.world == 1:
            return value
        told = torch.tensor([value if self.is_main else 0.0], dtype=torch.float64, device=self.device)
        return float(self.accelerator.reduce(told, reduction="sum").item())

    def wait(self) -> None:
        """Let the others catch up."""
        if self.world > 1:
            self.accelerator.wait_for_everyone()

    def close(self) -> None:
        """Leave the group of processes."""
        if self.world > 1:
            self.accelerator.end_training()


def open_crew(device: str) -> Crew:
    """Join the processes that a launcher such as `accelerate launch` or `torchrun` started, or train alone.

    Args:
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, or `"auto"` for CUDA where there is one.

    Raises:
        InputError: If the device is not there, or several processes were started without `accelerate`.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.device(device)
    if where.type not in ("cpu", "cuda"):
        raise InputError(f"expected the device cpu or cuda, got {device!r}")
    if where.type == "cuda" and not torch.cuda.is_available():
        raise InputError("expected a CUDA device, got none that torch can use; give --device cpu")
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Crew(device=where)
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise InputError(
            "expected accelerate to train with several processes, got none; install portrait-anim[train]"
        ) from error
    accelerator = Accelerator(cpu=where.type == "cpu")
    return Crew(
        device=accelerator.device,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        accelerator=accelerator,
    )
