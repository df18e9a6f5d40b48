"""Frames per second of whole renders with the `xportrait2` networks and random weights, in several orders of work.

Called by `python -m portrait_anim.evaluation.xportrait2_benchmark --gpu`. Motion encoding, reference network, sampling
and decoding are all in; reading files, faces, labels and encoding are not. Random weights cost what real ones do. An
order of work that would not be done within the time that is left is left out and named.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch.utils.flop_counter import FlopCounterMode

from portrait_anim.evaluation.published_order import published_step, published_taps
from portrait_anim.models.xportrait2.adapter import DDIM_CONFIG, PUBLISHED, PublishedModule
from portrait_anim.pipelines.xportrait2_ahead import WorkAhead
from portrait_anim.pipelines.xportrait2_guidance import LazyRow
from portrait_anim.pipelines.xportrait2_inputs import decode_frames
from portrait_anim.pipelines.xportrait2_options import PRESETS, SamplingOptions
from portrait_anim.pipelines.xportrait2_sampling import denoise, draw_noise, draw_offsets
from portrait_anim.pipelines.xportrait2_streaming import NoiseStream, denoise_stream
from portrait_anim.pipelines.xportrait2_tuning import compile_blocks, use_channels_last


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderSetting:
    """What to render.

    Attributes:
        size_px: Side of the output [px].
        frames: Frames of the clip.
        steps: Steps of exact mode and of the published order; the preset keeps its own unless that is more.
        device: torch device.
        dtype: Type of all networks.
        compiled: Whether exact mode is also timed with compiled blocks.
        budget_s: Time for everything [s].
    """

    size_px: int = 512
    frames: int = 96
    steps: int = 35
    device: str = "cuda"
    dtype: torch.dtype = torch.bfloat16
    compiled: bool = False
    budget_s: float = 1200.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderFigures:
    """What a render took.

    Attributes:
        name: Order of work.
        frames_per_s: Frames per second of the whole render.
        first_frame_s: Time to the first frame [s].
        peak_gib: Peak memory of the device [GiB]; 0 where it does not tell.
        tflop: Counted work of the render [TFLOP].
        matrix_share: Part of the measured matrix rate that this work reached.
    """

    name: str
    frames_per_s: float
    first_frame_s: float
    peak_gib: float
    tflop: float
    matrix_share: float


def matrix_rate(device: str, dtype: torch.dtype, side: int = 8192, repeats: int = 20) -> float:
    """Measured rate of large matrix products [FLOP/s]."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    a @ b
    _wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        a @ b
    _wait(device)
    return 2 * side**3 * repeats / (time.perf_counter() - start)


class RenderBench:
    """All networks and the inputs of one clip.

    Args:
        setting: What to render.
        networks: Networks by the names of the pipeline's components, on the device.
        scheduler: The published schedule.
        crop_px: Side of a motion crop.
    """

    def __init__(self, setting: RenderSetting, networks: dict[str, Any], scheduler: Any, *, crop_px: int = 224) -> None:
        self.setting, self._networks, self._scheduler, self._compiled = setting, networks, scheduler, False
        side, self._shape = setting.size_px // 8, (4, setting.frames, setting.size_px // 8, setting.size_px // 8)
        generator = torch.Generator().manual_seed(0)

        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator).to(setting.device, setting.dtype)

        self._crops, self._latent = draw(setting.frames, 3, crop_px, crop_px), draw(1, 4, side, side)
        self._token = draw(1, networks["denoising_unet"].config.context_dim)

    def render(self, options: SamplingOptions) -> Iterator[int]:
        """Our order of work; gives the number of frames of every run that is decoded."""
        unet, encoder, vae = (self._networks[name] for name in ("denoising_unet", "motion_encoder", "vae"))
        motion = torch.cat([encoder(part).latent for part in self._crops.split(8)])
        taps = self._networks["reference_unet"](self._latent, self._token)
        given: dict[str, Any] = {
            "portrait": self._latent, "options": options,
            "unconditional": unet.condition(torch.zeros_like(self._token), None, motion[:1]),
        }  # fmt: skip
        runs: Iterator[torch.Tensor]
        if options.stream:
            row = LazyRow(unet=unet, still=unet.condition(self._token, taps, motion[:1]), motion=motion)
            noise = NoiseStream(self._shape, 0)
            runs = denoise_stream(unet, self._scheduler, conditional=row, noise=noise, num_frames=len(motion), **given)
        else:
            conditional = unet.condition(self._token, taps, motion)
            offsets = draw_offsets(options, len(motion))
            start = draw_noise(self._shape, 0)
            whole = denoise(unet, self._scheduler, conditional=conditional, noise=start, offsets=offsets, **given)
            runs = iter([whole])
        if options.overlap:
            runs = WorkAhead[torch.Tensor](self._latent.device).items(runs, lambda: None)
        for latents in runs:
            for frames in decode_frames(vae, latents):
                yield len(frames.cpu())

    def render_compiled(self, options: SamplingOptions) -> Iterator[int]:
        """Our order of work with compiled blocks, which stay compiled."""
        if not self._compiled:
            compile_blocks(self._networks["denoising_unet"])
            self._compiled = True
        return self.render(options)

    def published(self, options: SamplingOptions) -> Iterator[int]:
        """The published order of work, on our networks: same windows, steps and decoder; frames at the end."""
        unet, encoder = self._networks["denoising_unet"], self._networks["motion_encoder"]
        taps = published_taps(self._networks["reference_unet"], self._latent, self._token)

        def predict(sample: torch.Tensor, timestep: torch.Tensor, rows: Any, **extra: Any) -> torch.Tensor:
            return published_step(
                unet, encoder, sample=sample, timestep=timestep, crops=self._crops[rows[-1].index],
                still=self._crops[:1], taps=taps, token=self._token,
            )  # fmt: skip

        row = _Frames(image=(self._token,))
        latents = denoise(
            predict, self._scheduler, portrait=self._latent, unconditional=row, conditional=row,  # type: ignore[arg-type]
            noise=draw_noise(self._shape, 0), offsets=draw_offsets(options, self._shape[1]), options=options,
        )  # fmt: skip
        videos = [frames.cpu() for frames in decode_frames(self._networks["vae"], latents)]
        yield sum(len(video) for video in videos)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frames:
    """A guidance row that only says which frames are meant; the published order makes everything else anew."""

    image: tuple[torch.Tensor, ...]
    index: torch.Tensor | None = None

    def frames(self, indices: torch.Tensor) -> _Frames:
        return replace(self, index=indices)


class Budget:
    """Decides what there is still time for.

    Args:
        budget_s: Time for everything [s].
        clock: Steady clock [s].
    """

    def __init__(self, budget_s: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._end = clock, clock() + budget_s
        self.left_out: dict[str, str] = {}

    def allows(self, name: str, expected_s: float) -> bool:
        """Whether there is time; what there is none for is noted."""
        left = self._end - self._clock()
        if expected_s > left:
            self.left_out[name] = f"takes about {expected_s:.0f} s or more, {max(left, 0):.0f} s were left"
        return expected_s <= left


@torch.inference_mode()
def measure_renders(bench: RenderBench, rate: float, budget: Budget) -> Iterator[RenderFigures]:
    """Render twice with every order of work: first to count it and to let kernels be chosen, then to time it.

    Renders of one step and of two tell before how long that will take.

    Args:
        bench: Networks and inputs.
        rate: See `matrix_rate` [FLOP/s].
        budget: Time for everything.

    Yields:
        Figures of each order that there was time for.
    """
    steps = bench.setting.steps
    exact = replace(PRESETS["exact"], num_steps=steps)
    fast = replace(PRESETS["fast"], num_steps=min(PRESETS["fast"].num_steps, steps))
    orders: dict[str, tuple[Callable[[SamplingOptions], Iterator[int]], SamplingOptions]] = {
        "exact": (bench.render, exact),
        "published order": (bench.published, exact),
        "fast": (bench.render, fast),
        "fast, streamed": (bench.render, replace(fast, stream=True)),
        "fast, streamed, decoding beside denoising": (bench.render, replace(fast, stream=True, overlap=True)),
    }
    if bench.setting.compiled:
        orders["exact, compiled"] = (bench.render_compiled, exact)
    for name, (render, options) in orders.items():
        if not budget.allows(name, 0):
            continue
        few = (replace(options, num_steps=steps) for steps in (1, 2))
        one_s, two_s = (_seconds(render, sampling, bench.setting.device) for sampling in few)
        if not budget.allows(name, 2 * (one_s + max(two_s - one_s, 0) * (options.num_steps - 1))):
            continue
        with FlopCounterMode(display=False) as counter:
            list(render(replace(options, overlap=False)))  # it counts this thread only; the work is the same
        yield _time(name, render, options, bench.setting, rate, counter.get_total_flops() / 1e12)


def _seconds(render: Callable[[SamplingOptions], Iterator[int]], options: SamplingOptions, device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    list(render(options))
    _wait(device)
    return time.perf_counter() - start


def _time(
    name: str,
    render: Callable[[SamplingOptions], Iterator[int]],
    options: SamplingOptions,
    setting: RenderSetting,
    rate: float,
    tflop: float,
) -> RenderFigures:
    cuda = setting.device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    _wait(setting.device)
    start, first = time.perf_counter(), 0.0
    for _ in render(options):
        first = first or time.perf_counter() - start
    whole = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else 0.0
    return RenderFigures(
        name=name, frames_per_s=setting.frames / whole, first_frame_s=first, peak_gib=peak, tflop=tflop,
        matrix_share=tflop * 1e12 / whole / rate,
    )  # fmt: skip


def report(
    setting: RenderSetting,
    modules: Mapping[str, PublishedModule] = PUBLISHED,
    *,
    matrix_side: int = 8192,
    on_figures: Callable[[RenderFigures], None] | None = None,
) -> dict[str, Any]:
    """Build the networks with random weights, render in all orders of work, compare.

    Args:
        setting: What to render.
        modules: The networks.
        matrix_side: Side of the matrices whose product is timed.
        on_figures: Told the figures of each order as soon as they are there.
    """
    torch.manual_seed(0)
    budget = Budget(setting.budget_s)
    rate = matrix_rate(setting.device, setting.dtype, matrix_side)
    names = ("motion_encoder", "reference_unet", "denoising_unet", "vae")
    networks: dict[str, Any] = {
        name: torch.nn.Module.to(modules[name].build(setting.device), setting.dtype) for name in names
    }
    for name in names[1:]:
        use_channels_last(networks[name])
    bench = RenderBench(
        setting, networks, DDIMScheduler(**DDIM_CONFIG), crop_px=networks["motion_encoder"].config.sample_size
    )
    figures = []
    for line in measure_renders(bench, rate, budget):
        figures.append(line)
        if on_figures:
            on_figures(line)
    speed = {line.name: line.frames_per_s for line in figures}
    compared = {"exact", "published order"} <= speed.keys()
    return {
        "size_px": setting.size_px, "frames": setting.frames, "steps": setting.steps, "device": _name(setting.device),
        "dtype": str(setting.dtype), "torch": torch.__version__, "matrix_tflop_per_s": rate / 1e12,
        "renders": [asdict(line) for line in figures], "left_out": budget.left_out,
        "exact_over_published": speed["exact"] / speed["published order"] if compared else None,
    }  # fmt: skip


def _name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
