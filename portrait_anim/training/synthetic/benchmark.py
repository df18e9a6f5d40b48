"""How fast samples are made: `python -m portrait_anim.training.synthetic.benchmark --pack PACK --device cpu`.

The rate is compared with that of the same engine asked for one sample at a time, on the CPU, in the same run: what a
data loader without batches would do. Batches and the device are what the ratio measures.

On CUDA the host runs ahead of the device, and waits for it up to 13 times per batch, each time to learn how many pixels
or pictures there are: mouths, eyes and seams of parts (3), who wears glasses and where (7), which pictures are rendered
at all (3). Working on all pixels instead would cost more than the waits: these are a few percent of a picture. Another
dozen waits are copies of short index lists. The rasteriser does not wait where Triton can be imported; in plain torch
it does about 50 times.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from portrait_anim.training.synthetic.pack import Pack, read_pack
from portrait_anim.training.synthetic.renderer import Renderer


def measure(renderer: Renderer, batch: int, repeats: int) -> float:
    """Samples per second.

    Args:
        renderer: Makes them, on its own device.
        batch: Samples per batch.
        repeats: Timed batches; one more comes before them untimed.

    Returns:
        Samples per second of wall time, with the device waited for.
    """
    generator = torch.Generator(renderer.device).manual_seed(0)
    renderer.sample(batch, generator)
    _wait(renderer.device)
    start = time.perf_counter()
    for _ in range(repeats):
        renderer.sample(batch, generator)
    _wait(renderer.device)
    return batch * repeats / (time.perf_counter() - start)


def measure_one_by_one(pack: Pack, numbers: Sequence[int] | None, size_px: int, samples: int) -> float:
    """Samples per second of a loop that asks for one sample at a time, on the CPU.

    Args:
        pack: The data pack.
        numbers: People to load; everybody when `None`.
        size_px: Side of the pictures.
        samples: Timed samples.

    Returns:
        Samples per second of wall time.
    """
    return measure(Renderer.from_pack(pack, size_px=size_px, numbers=numbers), 1, samples)


def _wait(device: torch.device) -> None:
    """Wait until the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print samples per second and the ratio to the loop over single samples."""
    parser = argparse.ArgumentParser(prog="benchmark", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pack", type=Path, required=True, help="data pack of people who do not exist")
    parser.add_argument("--device", default="cpu", help="torch device (default cpu)")
    parser.add_argument("--batch", type=int, default=8, help="samples per batch (default 8)")
    parser.add_argument("--repeats", type=int, default=3, help="timed batches (default 3)")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels (default 256)")
    parser.add_argument("--numbers", type=int, nargs="*", default=None, help="people to load; everybody by default")
    parser.add_argument("--peer", type=int, default=8, help="samples made one by one to compare with; 0 for none")
    arguments = parser.parse_args(argv)
    pack = read_pack(arguments.pack)
    renderer = Renderer.from_pack(pack, size_px=arguments.size, device=arguments.device, numbers=arguments.numbers)
    rate = measure(renderer, arguments.batch, arguments.repeats)
    line = f"{arguments.device}, {arguments.size} px, batch {arguments.batch}: "
    line += f"{rate:.2f} samples/s, {1 / rate:.3f} s each"
    if arguments.peer:
        peer = measure_one_by_one(pack, arguments.numbers, arguments.size, arguments.peer)
        line += f", {rate / peer:.2f} times the {peer:.2f}/s of one sample at a time on the CPU"
    sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
