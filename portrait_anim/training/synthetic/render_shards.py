"""Render training samples to folders: `python -m portrait_anim.training.synthetic.render_shards --pack PACK --out DIR`.

Each shard is a folder of `.npy` files (see `training.shards`), written under a temporary name and renamed, so an
interrupted run leaves only whole shards and the next run goes on behind them. Shards of people who train are called
`0...`, those of people kept for evaluation `1...`, with the kind before it for `--kind crops` and `pairs`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from portrait_anim.training.synthetic.renderer import Renderer
from portrait_anim.training.synthetic.samples import Split, draw_samples


def write_shard(
    renderer: Renderer,
    folder: Path,
    seed: int,
    *,
    batches: int = 4,
    batch_size: int = 32,
    draw: Callable[[Renderer, int, torch.Generator], dict[str, torch.Tensor]] = draw_samples,
) -> None:
    """Render one shard.

    Args:
        renderer: Draws the people of its split.
        folder: Folder to make.
        seed: Decides everything random in it.
        batches: Batches per shard.
        batch_size: Samples per batch.
        draw: What a sample is.
    """
    generator = torch.Generator(renderer.device).manual_seed(seed)
    parts = [draw(renderer, batch_size, generator) for _ in range(batches)]
    temporary = folder.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for key in parts[0]:
        np.save(temporary / f"{key}.npy", torch.cat([part[key] for part in parts]).cpu().numpy())
    os.replace(temporary, folder)


def main(argv: list[str] | None = None) -> int:
    """Render what is missing of `--count` shards."""
    from portrait_anim.training.stages import DATA_KINDS

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pack", type=Path, required=True, help="data pack of people who do not exist")
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--count", type=int, default=100, help="number of shards of 128 samples (default 100)")
    parser.add_argument("--kind", choices=sorted(DATA_KINDS), default="samples", help="what to render")
    parser.add_argument("--evaluation", action="store_true", help="render the people kept for evaluation instead")
    parser.add_argument("--device", default="cpu", help="torch device (default cpu)")
    arguments = parser.parse_args(argv)
    split: Split = "evaluation" if arguments.evaluation else "train"
    first = 10_000 if arguments.evaluation else 0
    renderer = Renderer.from_pack(arguments.pack, split=split, device=arguments.device)
    kind = DATA_KINDS[arguments.kind]
    folders = {first + k: arguments.out / f"{kind.train_shards[:-2]}{first + k:05d}" for k in range(arguments.count)}
    missing = {number: folder for number, folder in folders.items() if not folder.exists()}
    for number, folder in track(missing.items(), description="shards"):
        write_shard(renderer, folder, seed=number, draw=kind.draw)
    sys.stdout.write(f"{arguments.count} shards in {arguments.out}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
