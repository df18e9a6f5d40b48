"""Cost of the `xportrait2` profile with random weights, in our order of work and in the published one.

    python -m portrait_anim.evaluation.xportrait2_benchmark --size 512 --frames 24 --count-only
    python -m portrait_anim.evaluation.xportrait2_benchmark --size 512 --frames 24 --device cuda --dtype float16
    python -m portrait_anim.evaluation.xportrait2_benchmark --gpu
    python -m portrait_anim.evaluation.xportrait2_benchmark --gpu --trial --device cpu --size 128 --frames 3 --steps 2

Counting needs neither time nor memory: the networks have shapes, but no numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from portrait_anim.evaluation.published_order import published_step, published_taps
from portrait_anim.evaluation.xportrait2_gpu import RenderFigures, RenderSetting
from portrait_anim.evaluation.xportrait2_gpu import report as render_report
from portrait_anim.evaluation.xportrait2_trial import trial_modules
from portrait_anim.models.xportrait2.adapter import PUBLISHED
from portrait_anim.models.xportrait2.feature_cache import FeatureCache
from portrait_anim.pipelines.xportrait2_options import PRESETS

_STEPS = 35
_WINDOW, _STRIDE = 24, 20


@dataclass(frozen=True, kw_only=True, slots=True)
class StageCost:
    """Cost of one stage.

    Attributes:
        name: Stage.
        per: What it is done for: `"step and frame"`, `"frame"` or `"portrait"`.
        ours_gflop: Our order of work [GFLOP]; a multiplication with addition is two.
        published_gflop: Published order of work [GFLOP].
        ours_ms: Time in our order [ms], `None` when only counted; on a CPU time of all its cores together.
        published_ms: Time in the published order [ms].
    """

    name: str
    per: str
    ours_gflop: float
    published_gflop: float
    ours_ms: float | None = None
    published_ms: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What to measure.

    Attributes:
        size_px: Side of the output [px].
        frames: Frames of a window.
        device: torch device; `"meta"` only counts.
        dtype: Type of all networks.
        repeats: Runs of which the fastest counts.
    """

    size_px: int
    frames: int
    device: str
    dtype: torch.dtype
    repeats: int = 3


class Bench:
    """Networks and inputs, one network at a time."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def network(self, name: str) -> torch.nn.Module:
        """Build a network; its weights are whatever the constructor gives."""
        built = PUBLISHED[name].build(self.setting.device)
        return built.to(self.setting.dtype)

    def draw(self, *shape: int) -> torch.Tensor:
        """Random input."""
        return torch.randn(*shape, device=self.setting.device, dtype=self.setting.dtype)

    def measure(self, work: Callable[[], object], units: int) -> tuple[float, float | None]:
        """Cost of `work` per unit: GFLOP, and ms unless only counted."""
        with FlopCounterMode(display=False) as counter:
            work()
        gflop = counter.get_total_flops() / units / 1e9
        if self.setting.device == "meta":
            return gflop, None
        return gflop, min(self._time(work) for _ in range(self.setting.repeats)) / units * 1e3

    def _time(self, work: Callable[[], object]) -> float:
        # Other work on the machine lengthens time on the wall, but hardly that of a processor.
        clock = time.process_time if self.setting.device == "cpu" else time.perf_counter
        self._wait()
        start = clock()
        work()
        self._wait()
        return clock() - start

    def _wait(self) -> None:
        if self.setting.device.startswith("cuda"):
            torch.cuda.synchronize()

    def compare(
        self, name: str, per: str, ours: Callable[[], object], published: Callable[[], object], units: int = 1
    ) -> StageCost:
        """Measure both orders of work of one stage."""
        (our_flop, our_ms), (their_flop, their_ms) = self.measure(ours, units), self.measure(published, units)
        return StageCost(
            name=name, per=per, ours_gflop=our_flop, published_gflop=their_flop, ours_ms=our_ms, published_ms=their_ms
        )


@torch.inference_mode()
def measure_stages(setting: Setting) -> list[StageCost]:
    """Measure the stages that the two orders of work do differently.

    Args:
        setting: Size, frames, device.

    Returns:
        Denoising step, motion, portrait, denoising step of the preset `fast`.
    """
    bench = Bench(setting)
    step, motion, fast = _denoising(bench)
    return [step, motion, _portrait(bench), fast]


def _denoising(bench: Bench) -> list[StageCost]:
    """A step of one window, and motion encoding, which the published order repeats within every step."""
    side, frames = bench.setting.size_px // 8, bench.setting.frames
    unet: Any = bench.network("denoising_unet")
    encoder: Any = bench.network("motion_encoder")
    sample, crops = bench.draw(4, frames, side, side), bench.draw(frames, 3, 224, 224)
    timestep = torch.full((), 481, device=bench.setting.device)
    token = bench.draw(1, 768)
    taps = [bench.draw(*shape) for shape in _tap_shapes(side)]
    rows = [
        unet.condition(torch.zeros_like(token), None, bench.draw(1, 32, 16)),
        unet.condition(token, [tap[1:] for tap in taps], bench.draw(frames, 32, 16)),
    ]
    given: dict[str, Any] = {"timestep": timestep, "crops": crops, "still": crops[:1], "taps": taps, "token": token}
    step = bench.compare(
        "denoising, both guidance rows", "step and frame", lambda: unet(sample, timestep, rows),
        lambda: published_step(unet, encoder, sample=sample, **given), frames,
    )  # fmt: skip
    gflop, ms = _fast_step(bench, lambda few, cache: unet(sample, timestep, rows[-few:], cache))
    fast = replace(step, name="denoising, preset fast, mean of its steps", ours_gflop=gflop, ours_ms=ms)
    return [step, bench.compare("motion encoding", "frame", lambda: encoder(crops), _nothing, frames), fast]


def _fast_step(bench: Bench, predict: Callable[[int, FeatureCache], object]) -> tuple[float, float | None]:
    """Mean cost of a step of the preset `fast` per frame: GFLOP, and ms unless only counted.

    Args:
        bench: Measures.
        predict: Denoises a window with so many guidance rows and kept features.
    """
    options = PRESETS["fast"]
    steps = Counter((2 if options.is_guided(i) else 1, options.is_whole(i)) for i in range(options.num_steps))
    total_gflop, total_ms = 0.0, 0.0
    for (rows, whole), count in steps.items():
        cache = FeatureCache(blocks=options.cache_blocks)
        predict(rows, cache)
        cache.reuse = not whole
        gflop, ms = bench.measure(partial(predict, rows, cache), bench.setting.frames)
        total_gflop, total_ms = total_gflop + count * gflop, total_ms + count * (ms or 0.0)
    timed = bench.setting.device != "meta"
    return total_gflop / options.num_steps, total_ms / options.num_steps if timed else None


def _portrait(bench: Bench) -> StageCost:
    """Features of the portrait."""
    unet: Any = bench.network("reference_unet")
    side = bench.setting.size_px // 8
    latent, token = bench.draw(1, 4, side, side), bench.draw(1, 768)
    return bench.compare(
        "features of the portrait", "portrait", lambda: unet(latent, token), lambda: published_taps(unet, latent, token)
    )


def _nothing() -> None:
    """The published order has encoded motion within the denoising step."""


def _tap_shapes(side: int) -> list[tuple[int, ...]]:
    """Shapes of the features of a portrait, for both guidance rows, without computing any."""
    unet: Any = PUBLISHED["reference_unet"].build("meta")
    taps = unet(torch.empty(2, 4, side, side, device="meta"), torch.empty(2, 768, device="meta"))
    return [tuple(tap.shape) for tap in taps]


def per_output_frame(stages: list[StageCost]) -> tuple[float, float]:
    """GFLOP of sampling per frame of a long clip, ours and published: 35 steps, windows of 24 every 20 frames."""
    step, motion = stages[0], stages[1]
    visits = _STEPS * _WINDOW / _STRIDE
    return step.ours_gflop * visits + motion.ours_gflop, step.published_gflop * visits


def main(arguments: list[str] | None = None) -> int:
    """Print the costs as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, help="24 by default, with --gpu 96")
    parser.add_argument("--device", help="cpu by default, with --gpu cuda")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), help="float32, with --gpu bfloat16")
    parser.add_argument("--count-only", action="store_true")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts")
    renders = parser.add_argument_group("whole renders")
    renders.add_argument("--gpu", action="store_true", help="time whole renders")
    renders.add_argument("--steps", type=int, default=_STEPS)
    renders.add_argument("--compiled", action="store_true", help="also with compiled blocks")
    renders.add_argument("--budget-s", type=float, default=1200.0, help="time for everything")
    renders.add_argument("--trial", action="store_true", help="tiny networks, to try the command itself")
    given = parser.parse_args(arguments)
    wanted = given.device or ("cuda" if given.gpu else "cpu")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        parser.error(f"expected a GPU for {wanted}, found none; try the command with --device cpu --trial")
    return _measure_renders(given) if given.gpu else _measure_stages(given)


def _measure_renders(given: argparse.Namespace) -> int:
    setting = RenderSetting(
        size_px=given.size, frames=given.frames or 96, steps=given.steps, device=given.device or "cuda",
        dtype=getattr(torch, given.dtype or "bfloat16"), compiled=given.compiled, budget_s=given.budget_s,
    )  # fmt: skip

    def on_figures(line: RenderFigures) -> None:
        sys.stderr.write(json.dumps(asdict(line)) + "\n")  # an interrupted run has told what it found

    found = render_report(
        setting, trial_modules() if given.trial else PUBLISHED, matrix_side=256 if given.trial else 8192,
        on_figures=on_figures,
    )  # fmt: skip
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


def _measure_stages(given: argparse.Namespace) -> int:
    dtype = given.dtype or "float32"
    setting = Setting(
        size_px=given.size, frames=given.frames or 24, device="meta" if given.count_only else given.device or "cpu",
        dtype=getattr(torch, dtype), repeats=given.repeats,
    )  # fmt: skip
    stages = measure_stages(setting)
    ours, published = per_output_frame(stages)
    peak = torch.cuda.max_memory_allocated() if setting.device.startswith("cuda") else _peak_rss()
    report = {
        "size_px": setting.size_px, "frames": setting.frames, "device": setting.device, "dtype": dtype,
        "torch": torch.__version__, "threads": torch.get_num_threads(), "peak_gib": peak / 2**30,
        "stages": [asdict(stage) for stage in stages],
        "gflop_per_output_frame": {"ours": ours, "published": published, "ratio": published / ours},
    }  # fmt: skip
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 0


def _peak_rss() -> int:
    import resource  # not on every system

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    raise SystemExit(main())
