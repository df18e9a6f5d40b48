"""Folders of pre-rendered training samples.

A shard is a folder of `.npy` files, one per key of `synthetic.samples`, first axis = sample. Arrays are memory-mapped:
the operating system's cache decides how much of the data set stays in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from portrait_anim.errors import InputError


def shard_folders(folder: Path, pattern: str) -> list[Path]:
    """Whole shards in a folder, in order of their names."""
    return sorted(p for p in folder.glob(pattern) if p.suffix != ".tmp" and any(p.glob("*.npy")))


class ShardDataset:
    """Random access to samples in shards.

    Args:
        folder: Folder that holds shard folders.
        pattern: Which shard folders to use.
        group: Neighbouring samples that stay together in a batch, such as the two frames of a pair.

    Raises:
        InputError: If there is no shard.
    """

    def __init__(self, folder: Path, pattern: str = "*", group: int = 1) -> None:
        self._group = group
        paths = shard_folders(folder, pattern)
        if not paths:
            raise InputError(
                f"expected folders of training samples matching {pattern!r} in {folder}, found none; "
                "render some with 'python -m portrait_anim.training.synthetic.render_shards'"
            )
        self._shards = [{f.stem: np.load(f, mmap_mode="r") for f in p.glob("*.npy")} for p in paths]
        lengths = [len(next(iter(s.values()))) for s in self._shards]
        self._starts = np.concatenate([[0], np.cumsum(lengths)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def batch(self, indices: npt.NDArray[np.int64]) -> dict[str, torch.Tensor]:
        """Read samples.

        Args:
            indices: `(B,)` sample numbers.

        Returns:
            Tensors with first axis B; images stay uint8.
        """
        shard = np.searchsorted(self._starts, indices, side="right") - 1
        rows = indices - self._starts[shard]
        keys = self._shards[0].keys()
        return {
            k: torch.from_numpy(np.stack([self._shards[s][k][r] for s, r in zip(shard, rows, strict=True)]))
            for k in keys
        }

    def batches(
        self, size: int, seed: int, start: int = 0, *, rank: int = 0, world: int = 1
    ) -> Iterator[dict[str, torch.Tensor]]:
        """Endless shuffled batches; the order depends on `seed` and `size * world` only.

        Args:
            size: Samples per batch, a multiple of the group.
            seed: Decides the order.
            start: Number of the first batch, to resume there.
            rank: Which part of a batch shared by several processes to read.
            world: Number of these processes.

        Raises:
            InputError: If there are too few samples for one batch.
            ValueError: If `size` is not a multiple of the group.
        """
        if size % self._group:
            raise ValueError(f"expected a batch size that is a multiple of {self._group}, got {size}")
        groups, wanted = len(self) // self._group, size * world // self._group
        per_epoch = groups // wanted
        if per_epoch == 0:
            raise InputError(f"expected at least {size * world} samples for one batch, got {len(self)}; render more")
        within_group = np.arange(self._group)
        number = start
        while True:
            epoch, first = divmod(number, per_epoch)
            order = np.random.default_rng([seed, epoch]).permutation(groups)
            for k in range(first, per_epoch):
                whole = order[k * wanted : (k + 1) * wanted, None] * self._group + within_group
                yield self.batch(whole.reshape(-1)[rank * size : (rank + 1) * size])
                number += 1
