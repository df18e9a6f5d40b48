"""How fast samples are made: `python -m portrait_anim.training.synthetic.benchmark --pack PACK --device cpu`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from portrait_anim.training.synthetic.renderer import Renderer

CPU_BASELINE: Final = 6.0  # samples/s at 256 px: 0.15 to 0.18 s each on one core, before the mouth was shaded per pixel


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


def _wait(device: torch.device) -> None:
    """Wait until the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print samples per second and the ratio to the CPU baseline."""
    parser = argparse.ArgumentParser(prog="benchmark", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pack", type=Path, required=True, help="data pack of people who do not exist")
    parser.add_argument("--device", default="cpu", help="torch device (default cpu)")
    parser.add_argument("--batch", type=int, default=8, help="samples per batch (default 8)")
    parser.add_argument("--repeats", type=int, default=3, help="timed batches (default 3)")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels (default 256)")
    parser.add_argument("--numbers", type=int, nargs="*", default=None, help="people to load; everybody by default")
    arguments = parser.parse_args(argv)
    renderer = Renderer.from_pack(
        arguments.pack, size_px=arguments.size, device=arguments.device, numbers=arguments.numbers
    )
    rate = measure(renderer, arguments.batch, arguments.repeats)
    line = f"{arguments.device}, {arguments.size} px, batch {arguments.batch}: "
    line += f"{rate:.2f} samples/s, {1 / rate:.3f} s each"
    if arguments.size == 256:
        line += f", {rate / CPU_BASELINE:.1f} times the CPU baseline of {CPU_BASELINE:g}/s"
    sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
