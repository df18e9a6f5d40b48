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


class ShardDataset:
    """Random access to samples in shards.

    Args:
        folder: Folder that holds shard folders.
        pattern: Which shard folders to use.

    Raises:
        InputError: If there is no shard.
    """

    def __init__(self, folder: Path, pattern: str = "*") -> None:
        paths = sorted(p for p in folder.glob(pattern) if (p / "source.npy").exists() and p.suffix != ".tmp")
        if not paths:
            raise InputError(
                f"expected folders of training samples matching {pattern!r} in {folder}, found none; "
                "render some with 'python -m portrait_anim.training.synthetic.render_shards'"
            )
        self._shards = [{f.stem: np.load(f, mmap_mode="r") for f in p.glob("*.npy")} for p in paths]
        lengths = [len(s["source"]) for s in self._shards]
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

    def batches(self, size: int, seed: int, start: int = 0) -> Iterator[dict[str, torch.Tensor]]:
        """Endless shuffled batches; the order depends on `seed` only, and `start` resumes at a batch number."""
        per_epoch = len(self) // size
        if per_epoch == 0:
            raise InputError(f"expected at least {size} samples for one batch, got {len(self)}; render more")
        number = start
        while True:
            epoch, within = divmod(number, per_epoch)
            order = np.random.default_rng([seed, epoch]).permutation(len(self))
            for k in range(within, per_epoch):
                yield self.batch(order[k * size : (k + 1) * size])
                number += 1
