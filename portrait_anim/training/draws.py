"""Random numbers of a training step: a function of seed and step, drawn where the generator lives.

Every step seeds its generator anew (`step_seed`), so a resumed run draws what the uninterrupted one would have drawn
and no state of a generator needs to be saved. Several processes that share one batch draw for the whole batch and take
their part, so that they see together what one process would have seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class RankDraws:
    """Draws of one of several processes.

    Attributes:
        generator: Source of randomness, seeded alike in every process.
        rank: Number of this process.
        world: Number of processes.
    """

    generator: torch.Generator
    rank: int
    world: int


Draws: TypeAlias = torch.Generator | RankDraws


def uniform(draws: Draws, like: torch.Tensor, *shape: int) -> torch.Tensor:
    """Uniform numbers in [0, 1).

    Args:
        draws: Source of randomness.
        like: The result goes to its device.
        shape: Shape of the result, batch first.

    Returns:
        float32 tensor.
    """
    return _draw(torch.rand, draws, like, shape)


def normal(draws: Draws, like: torch.Tensor, *shape: int) -> torch.Tensor:
    """Standard normal numbers; see `uniform`."""
    return _draw(torch.randn, draws, like, shape)


def step_seed(*parts: int | str) -> int:
    """Seed of 63 bits made from whatever tells one use from another, such as run seed, stage and step."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _draw(
    make: Callable[..., torch.Tensor], draws: Draws, like: torch.Tensor, shape: tuple[int, ...]
) -> torch.Tensor:
    generator, rank, world = (
        (draws.generator, draws.rank, draws.world) if isinstance(draws, RankDraws) else (draws, 0, 1)
    )
    whole = make((shape[0] * world, *shape[1:]), generator=generator, device=generator.device)
    return whole[rank * shape[0] : (rank + 1) * shape[0]].to(like.device)
