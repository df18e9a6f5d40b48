"""How far faster ways of sampling with the `xportrait2` profile are from its exact mode, and what they cost.

    python -m portrait_anim.evaluation.xportrait2_curve

Errors come from small networks with seeded random weights, costs are counted on the full-size network without
computing it. Random weights say little about pictures: their predictions do not belong to any. So each option is
measured twice. `raw` takes the random predictions as they are. `picture` steers them around a fixed set of clean
latents, as a trained network would be: the predicted clean latents are those plus a fifth of the network's output.
Which option is best for real weights has to be measured with real weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLTemporalDecoder, DDIMScheduler
from torch.utils.flop_counter import FlopCounterMode

from portrait_anim.evaluation.picture_metrics import ssim
from portrait_anim.models import XPortrait2DenoisingUNet
from portrait_anim.models.xportrait2.adapter import DDIM_CONFIG, PUBLISHED, SVD_VAE_CONFIG
from portrait_anim.models.xportrait2.denoising_unet import RowCondition
from portrait_anim.models.xportrait2.feature_cache import FeatureCache
from portrait_anim.pipelines.context import WindowPlan
from portrait_anim.pipelines.xportrait2_inputs import decode_frames
from portrait_anim.pipelines.xportrait2_options import PRESETS, SamplingOptions
from portrait_anim.pipelines.xportrait2_sampling import denoise, draw_noise

OPTIONS: dict[str, SamplingOptions] = {
    "exact (ddim, 35 steps)": SamplingOptions(),
    "ddim, 16 steps": SamplingOptions(num_steps=16),
    "ddim, 8 steps": SamplingOptions(num_steps=8),
    "dpm++, 16 steps": SamplingOptions(num_steps=16, solver="dpm++"),
    "dpm++, 8 steps": SamplingOptions(num_steps=8, solver="dpm++"),
    "unipc, 8 steps": SamplingOptions(num_steps=8, solver="unipc"),
    "ddim, 35 steps, guided 0-0.5": SamplingOptions(guided=(0.0, 0.5)),
    "ddim, 35 steps, cache 2, 3 blocks": SamplingOptions(cache_every=2),
    "ddim, 35 steps, cache 2, 1 block": SamplingOptions(cache_every=2, cache_blocks=1),
    "ddim, 35 steps, cache 4, 3 blocks": SamplingOptions(cache_every=4),
    "preset fast": PRESETS["fast"],
}
_STEER = 0.2
_OVERLAP_COST = 24 / 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One option.

    Attributes:
        name: What it is called.
        tflop: Sampling of one 512 px frame at full size, windows included, decoding not [TFLOP].
        rms: Per kind of prediction, error of the latents relative to their own root mean square.
        ssim: Per kind of prediction, structural similarity of decoded frames.
    """

    name: str
    tflop: float
    rms: tuple[float, ...]
    ssim: tuple[float, ...]


class Bench:
    """Small networks with random weights.

    Args:
        frames: Frames, at most 24 as one window holds them.
        latent_px: Side of a latent.
        seed: Seed of weights, noise and inputs.
    """

    def __init__(self, frames: int, latent_px: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self._unet = XPortrait2DenoisingUNet(
            block_channels=(32, 64, 64, 64), heads=4, context_dim=16, motion_dim=16
        ).eval()
        for name, tensor in self._unet.named_parameters():
            if "modules" in name and name.endswith("proj_out.weight"):
                torch.nn.init.normal_(tensor, std=0.1)
        narrow = {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1}
        self._vae = AutoencoderKLTemporalDecoder(**SVD_VAE_CONFIG | narrow).eval()
        self._scheduler = DDIMScheduler(**DDIM_CONFIG)
        self._shape = (4, frames, latent_px, latent_px)
        self._portrait = torch.randn(1, 4, latent_px, latent_px)
        self._clean = self._portrait[0][:, None] + 0.3 * torch.randn(self._shape)
        token, motion = torch.randn(1, 16), torch.randn(frames, 32, 16)
        with torch.inference_mode():
            self._rows = (
                self._unet.condition(torch.zeros_like(token), None, motion[:1]),
                self._unet.condition(token, None, motion),
            )

    def raw(self, sample: torch.Tensor, timestep: torch.Tensor, rows: Sequence[RowCondition], **extra: Any) -> Any:
        """The random network as it is."""
        return self._unet(sample, timestep, rows, **extra)

    def picture(self, sample: torch.Tensor, timestep: torch.Tensor, rows: Sequence[RowCondition], **extra: Any) -> Any:
        """The random network around clean latents."""
        alpha = self._scheduler.alphas_cumprod[timestep]
        clean = self._clean + _STEER * self._unet(sample, timestep, rows, **extra)
        return (sample - alpha.sqrt() * clean) / (1 - alpha).sqrt()

    def sample(self, predict: Callable[..., Any], options: SamplingOptions) -> torch.Tensor:
        """Latents `(4, T, h, h)`."""
        return denoise(
            predict, self._scheduler, portrait=self._portrait, unconditional=self._rows[0], conditional=self._rows[1],
            noise=draw_noise(self._shape, 0), offsets=[0] * options.num_steps, options=options,
        )  # fmt: skip

    def similarity(self, got: torch.Tensor, want: torch.Tensor) -> float:
        """SSIM of decoded latents `(4, T, h, h)`; both are brought to the scale of a VAE's by the same factor."""
        scale = 0.8 / want.std()
        videos = [torch.cat(list(decode_frames(self._vae, latents * scale))) for latents in (got, want)]
        low, high = videos[1].amin(), videos[1].amax()
        frames = [
            ((video - low) / (high - low) * 255).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy() for video in videos
        ]
        return float(np.mean([ssim(a, b) for a, b in zip(*frames, strict=True)]))


@torch.inference_mode()
def call_costs(size_px: int = 512, frames: int = 24) -> dict[tuple[int, int], float]:
    """TFLOP per frame of one call at full size, by guidance rows and blocks computed (0: all)."""
    unet: Any = PUBLISHED["denoising_unet"].build("meta")
    reference: Any = PUBLISHED["reference_unet"].build("meta")
    side = size_px // 8

    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device="meta")

    taps = reference(empty(1, 4, side, side), empty(1, 768))
    rows = [
        unet.condition(empty(1, 768), None, empty(1, 32, 16)),
        unet.condition(empty(1, 768), taps, empty(frames, 32, 16)),
    ]
    costs = {}
    for blocks in (0, 1, 3):
        for count in (1, 2):
            cache = FeatureCache(blocks=blocks or 3)
            unet(empty(4, frames, side, side), empty(), rows[-count:], cache)
            cache.reuse = blocks > 0
            with FlopCounterMode(display=False) as counter:
                unet(empty(4, frames, side, side), empty(), rows[-count:], cache)
            costs[count, blocks] = counter.get_total_flops() / frames / 1e12
    return costs


def sampling_cost(options: SamplingOptions, costs: dict[tuple[int, int], float]) -> float:
    """TFLOP per frame of all steps."""
    total = 0.0
    for step in range(options.num_steps):
        rows = 2 if options.is_guided(step) else 1
        total += costs[rows, 0 if options.is_whole(step) else options.cache_blocks]
    return total * _OVERLAP_COST


def measure(frames: int = 4, latent_px: int = 8, costs: dict[tuple[int, int], float] | None = None) -> list[Point]:
    """Measure every option against the first, which is exact mode."""
    bench = Bench(frames, latent_px)
    costs = costs or call_costs()
    exact: list[torch.Tensor] = []
    points = []
    for name, options in OPTIONS.items():
        alike = replace(options, plan=WindowPlan())
        latents = [bench.sample(predict, alike) for predict in (bench.raw, bench.picture)]
        exact = exact or latents
        pairs = list(zip(latents, exact, strict=True))
        points.append(
            Point(
                name=name,
                tflop=sampling_cost(options, costs),
                rms=tuple(float((got - want).norm() / want.norm()) for got, want in pairs),
                ssim=tuple(bench.similarity(got, want) for got, want in pairs),
            )
        )
    return points


def table(points: Sequence[Point]) -> str:
    """The points as a Markdown table."""
    lines = [
        "| option | TFLOP per frame | latent rms, raw | SSIM, raw | latent rms, picture | SSIM, picture |",
        "|---|---|---|---|---|---|",
    ]
    for point in points:
        values = (point.tflop, point.rms[0], point.ssim[0], point.rms[1], point.ssim[1])
        lines.append(f"| {point.name} | " + f"{values[0]:.1f} | " + " | ".join(f"{v:.3f}" for v in values[1:]) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--latent", type=int, default=8, help="side of a latent, a multiple of 8")
    given = parser.parse_args(arguments)
    sys.stdout.write(table(measure(given.frames, given.latent)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
