"""Speed of the pipeline, stage by stage: `python -m portrait_anim.evaluation.benchmark PORTRAIT CLIP`.

Prints a table in Markdown. Seconds are wall time on this machine; GFLOP are counted by torch's own counter (one
multiplication and one addition are two operations). The pipeline's networks are timed on their own, without the
consent gate, because no picture of anybody leaves this program: outputs are thrown away.
"""

from __future__ import annotations

import argparse
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from portrait_anim.face.track import track
from portrait_anim.inputs import DrivingSource, read_portrait
from portrait_anim.pipelines.motion import TargetMotion
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.studio import load_pipeline


def gflop(run: Callable[[], object]) -> float:
    """Operations of one call [10^9]."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops()) / 1e9


def seconds(run: Callable[[], object], repeat: int = 5) -> float:
    """Best wall time of one call [s] after one warm-up."""
    run()
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def measure(portrait: Path, clip: Path, batch: int = 4) -> list[tuple[str, float, float]]:
    """Time every stage.

    Args:
        portrait: Picture with one face.
        clip: Driving clip.
        batch: Frames per network call, as in the pipeline.

    Returns:
        Rows of stage, GFLOP per frame (0 where nothing is counted), seconds per frame.
    """
    pipeline = load_pipeline()
    source = DrivingSource(clip, end_s=2.0)
    rows = []
    with source.frames() as frames:
        decoded = list(frames)
    start = time.perf_counter()
    tracked = list(track(iter(decoded)))
    rows.append(("face tracking", 0.0, (time.perf_counter() - start) / len(tracked)))
    with torch.inference_mode():
        prepared = pipeline.prepare_portrait(read_portrait(portrait), AnimationOptions())
        crops = torch.zeros(1, 3, 128, 128)
        encode = lambda: pipeline.motion_encoder(crops)  # noqa: E731
        rows.append(("motion encoder", gflop(encode), seconds(encode)))
        refer = lambda: pipeline.reference_encoder(prepared.low)  # noqa: E731
        rows.append(("reference encoder (once per portrait)", gflop(refer), seconds(refer)))
        still = prepared.still
        target = TargetMotion(
            latent=np.repeat(still.latent[None], batch, 0),
            rotation=np.repeat(np.eye(3, dtype=np.float32)[None], batch, 0),
            anchor=np.repeat(still.anchor[None], batch, 0),
            scale=np.ones(batch, np.float32),
        )
        warp = lambda: pipeline.warp(prepared, target, slice(0, batch))  # noqa: E731
        rows.append(("warp field and eyes", gflop(warp) / batch, seconds(warp) / batch))
        warped = warp()
        noise = torch.zeros(1, 3, 256, 256)
        for steps in (1, 2, 4):
            options = AnimationOptions(num_steps=steps)
            denoise = lambda: pipeline.denoise(prepared, warped, noise, options)  # noqa: B023, E731
            rows.append((f"denoiser, {steps} steps", gflop(denoise) / batch, seconds(denoise) / batch))
    return rows


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("portrait", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: torch's choice)")
    arguments = parser.parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rows = measure(arguments.portrait, arguments.clip)
    lines = [
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "",
        "| stage | GFLOP per frame | ms per frame |",
        "|---|---|---|",
        *(f"| {name} | {flop:.2f} | {1e3 * time_s:.1f} |" for name, flop, time_s in rows),
        "",
        f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
