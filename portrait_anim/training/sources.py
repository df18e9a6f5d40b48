"""Where batches come from: shards on disk, or samples rendered on the training device while it trains.

Both are endless, deterministic by seed, and start at any batch number, so that a resumed run sees what the
uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import torch

from portrait_anim.errors import InputError
from portrait_anim.training.draws import step_seed
from portrait_anim.training.shards import ShardDataset, shard_folders
from portrait_anim.training.stages import DataKind
from portrait_anim.training.step import Batch
from portrait_anim.training.synthetic.people import Cast, load_cast
from portrait_anim.training.synthetic.renderer import Renderer
from portrait_anim.training.synthetic.samples import Split

_HELD_OUT_SEED: Final = 12


class BatchSource(Protocol):
    """Endless batches of stored samples on the training device."""

    def batches(self, size: int, start: int = 0) -> Iterator[Batch]:
        """Batches of `size` samples from batch number `start` on."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSource:
    """Batches from shards.

    Attributes:
        data: The shards.
        device: Where batches go.
        seed: Decides their order.
        rank: Number of this process.
        world: Number of processes that share each batch.
    """

    data: ShardDataset
    device: torch.device
    seed: int
    rank: int = 0
    world: int = 1

    def batches(self, size: int, start: int = 0) -> Iterator[Batch]:
        """Batches of `size` samples from batch number `start` on."""
        for batch in self.data.batches(size, self.seed, start, rank=self.rank, world=self.world):
            yield _to_device(batch, self.device)


@dataclass(frozen=True, kw_only=True, slots=True)
class PackStream:
    """Batches rendered on the way, every sample used `reuse` times.

    Samples are rendered in chunks. At every turn one new chunk joins the `reuse - 1` newest ones, all their samples are
    shuffled into batches, and the oldest chunk leaves. Chunk and order depend on the seed and their numbers only.

    Attributes:
        renderer: Draws the people of its split.
        kind: What to draw.
        seed: Decides everything.
        chunk_batches: Batches' worth of samples that are new at every turn.
        reuse: How often each sample is used.
        render_batch: Samples rendered together at most.
        rank: Number of this process; each renders its own samples.
    """

    renderer: Renderer
    kind: DataKind
    seed: int
    chunk_batches: int = 4
    reuse: int = 3
    render_batch: int = 64
    rank: int = 0

    def batches(self, size: int, start: int = 0) -> Iterator[Batch]:
        """Batches of `size` samples from batch number `start` on; resuming renders up to `reuse` chunks anew."""
        per_turn = self.chunk_batches * self.reuse
        turn, first = divmod(start, per_turn)
        count = size * self.chunk_batches
        pool: Batch = {}
        for age in range(self.reuse - 1, 0, -1):
            pool = _joined(pool, self.chunk(turn - age, count))
        while True:
            pool = _joined(pool, self.chunk(turn, count))
            for indices in self._order(turn, size)[first:]:
                index = indices.to(self.renderer.device)
                yield {k: v[index] for k, v in pool.items()}
            pool = {k: v[count:] for k, v in pool.items()}
            turn, first = turn + 1, 0

    def chunk(self, number: int, count: int) -> Batch:
        """Render one chunk; chunks before number 0 fill the buffer at the start."""
        generator = torch.Generator(self.renderer.device)
        generator.manual_seed(step_seed(self.seed, self.kind.name, self.rank, number))
        group = self.kind.group
        largest = max(group, self.render_batch // group * group)
        parts = [
            self.kind.draw(self.renderer, min(largest, count - done), generator) for done in range(0, count, largest)
        ]
        return {k: torch.cat([part[k] for part in parts]) for k in parts[0]}

    def _order(self, turn: int, size: int) -> list[torch.Tensor]:
        """Sample numbers of every batch of a turn."""
        group = self.kind.group
        total = size * self.chunk_batches * self.reuse
        shuffled = np.random.default_rng([step_seed(self.seed, "order", self.rank), turn + self.reuse])
        groups = torch.from_numpy(shuffled.permutation(total // group))
        return list((groups[:, None] * group + torch.arange(group)).flatten().split(size))


@dataclass(kw_only=True, slots=True)
class Materials:
    """Opens sources of a run; the pack is loaded once, when it is first needed.

    Attributes:
        device: Where batches go.
        seed: Decides their order and content.
        data: Folder of shards, or `None`.
        pack: Data pack, or `None`; shards have precedence for the kinds that they hold.
        reuse: How often a rendered sample is used.
        chunk_batches: Batches' worth of samples rendered at a time.
        render_batch: Samples rendered together.
        rank: Number of this process.
        world: Number of processes.
        cast: The pack's people, once loaded.
    """

    device: torch.device
    seed: int
    data: Path | None = None
    pack: Path | None = None
    reuse: int = 3
    chunk_batches: int = 4
    render_batch: int = 64
    rank: int = 0
    world: int = 1
    cast: Cast | None = field(default=None, repr=False)

    def training(self, kind: DataKind) -> BatchSource:
        """Batches of people who train.

        Raises:
            InputError: If there is neither a pack nor shards of this kind.
        """
        if self._has_shards(kind.train_shards):
            assert self.data is not None
            shards = ShardDataset(self.data, kind.train_shards, kind.group)
            return ShardSource(data=shards, device=self.device, seed=self.seed, rank=self.rank, world=self.world)
        return self._stream(kind, "train", self.seed)

    def held_out(self, kind: DataKind, size: int, count: int) -> list[Batch]:
        """The same `count` batches of `size` samples of held-out people every time; none if the data has none."""
        if self._has_shards(kind.held_out_shards):
            assert self.data is not None
            shards = ShardDataset(self.data, kind.held_out_shards, kind.group)
            size = min(size, len(shards)) // kind.group * kind.group
            starts = range(0, min(len(shards) - size + 1, count * size), size)
            return [_to_device(shards.batch(np.arange(s, s + size)), self.device) for s in starts]
        if self.pack is None:
            return []
        stream = self._stream(kind, "evaluation", _HELD_OUT_SEED)
        return [stream.chunk(number, size) for number in range(count)]

    def _has_shards(self, pattern: str) -> bool:
        return self.data is not None and bool(shard_folders(self.data, pattern))

    def _stream(self, kind: DataKind, split: Split, seed: int) -> PackStream:
        if self.pack is None:
            raise InputError(
                f"expected shards {kind.train_shards!r} in --data {self.data}, or a data pack to render them from, got "
                "neither; give --pack PACK.npz"
            )
        if self.cast is None:
            self.cast = load_cast(self.pack, device=str(self.device))
        return PackStream(
            renderer=Renderer(self.cast, split=split), kind=kind, seed=seed, reuse=self.reuse,
            chunk_batches=self.chunk_batches, render_batch=self.render_batch, rank=self.rank,
        )  # fmt: skip


def _joined(pool: Batch, new: Batch) -> Batch:
    return {k: torch.cat([pool[k], v]) if k in pool else v for k, v in new.items()}


def _to_device(batch: Batch, device: torch.device) -> Batch:
    if device.type != "cuda":
        return {k: v.to(device) for k, v in batch.items()}
    return {k: v.pin_memory().to(device, non_blocking=True) for k, v in batch.items()}
