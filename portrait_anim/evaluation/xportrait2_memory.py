"""The memory forecast of the `xportrait2` profile beside what its networks really hold while they work.

    python -m portrait_anim.evaluation.xportrait2_memory --size 512 --frames 24
    python -m portrait_anim.evaluation.xportrait2_memory --size 256 --frames 8 --measure

Counting follows every tensor of a call on networks that have shapes but no numbers, so any size can be counted
anywhere; attention is taken to need no matrix of weights, as with fused kernels. `--measure` also runs the networks,
with weights of zero, and reads the peak of the process's memory, which needs Linux.

Shapes: T frames, h side of a latent, S side of a picture.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from portrait_anim.models.xportrait2.adapter import PUBLISHED
from portrait_anim.pipelines.context import WindowPlan
from portrait_anim.pipelines.xportrait2_inputs import decode_frames
from portrait_anim.pipelines.xportrait2_lean_decoder import slice_decoder
from portrait_anim.pipelines.xportrait2_memory import forecast
from portrait_anim.pipelines.xportrait2_options import SamplingOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkingMemory:
    """What one network holds while it works, without its weights.

    Attributes:
        network: Component of the pipeline.
        forecast_mib: Said before a render [MiB].
        counted_mib: Peak of the tensors of a call [MiB].
        measured_mib: Growth of the process's peak [MiB], `None` when not measured.
    """

    network: str
    forecast_mib: float
    counted_mib: float
    measured_mib: float | None = None


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of tensors that are made in its block and still used.

    Attributes:
        peak: Most bytes at one time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0
        self._users: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make the call and look at what it returns."""
        out = func(*args, **(kwargs or {}))
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if torch.is_tensor(leaf)}
        for leaf in tree_leaves(out):
            if torch.is_tensor(leaf):
                self._follow(leaf, given)
        return out

    def _follow(self, tensor: torch.Tensor, given: set[int]) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if self._users[key] == 0:
            if key in given:
                return  # a view of a weight or an input
            self._now += size
            self.peak = max(self.peak, self._now)
        self._users[key] += 1
        weakref.finalize(tensor, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._users[key] -= 1
        if self._users[key] == 0:
            self._now -= size


class _FusedAttention(TorchFunctionMode):
    """Attention as fused kernels do it: nothing but the result is held."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            return torch.empty_like(args[0] if args else kwargs["query"])
        return func(*args, **(kwargs or {}))


def count(work: Callable[[], object]) -> int:
    """Peak bytes of the tensors of `work`, which should run on `"meta"`."""
    with LiveTensors() as tensors, _FusedAttention():
        work()
    return int(tensors.peak)


def measure(work: Callable[[], object]) -> int:
    """Growth of the peak memory of this process while `work` runs [byte].

    A process has one peak in its life, so only the largest piece of work so far can be measured.
    """
    import resource  # not on every system

    gc.collect()
    before: int = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    work()
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)


def denoising_work(unet: Any, size_px: int, frames: int) -> Callable[[], object]:
    """One step of one window under both guidance rows; the portrait's features are made before."""
    side, dtype, device = size_px // 8, unet.dtype, unet.device

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=device, dtype=dtype)

    layers = unet.image_transformers()
    steps = {320: 1, 640: 2}
    taps = [
        draw(1, (side // steps.get(layer.block.norm1.weight.numel(), 4)) ** 2, layer.block.norm1.weight.numel())
        for layer in layers
    ]
    token = draw(1, unet.config.context_dim)
    rows = [
        unet.condition(torch.zeros_like(token), None, draw(1, 32, unet.config.motion_dim)),
        unet.condition(token, taps, draw(frames, 32, unet.config.motion_dim)),
    ]
    sample, timestep = draw(4, frames, side, side), torch.full((), 481, device=device)
    return lambda: unet(sample, timestep, rows)


def decoding_work(vae: Any, size_px: int, frames: int) -> Callable[[], object]:
    """Decode one run of frames."""
    latents = torch.randn(4, frames, size_px // 8, size_px // 8, device=vae.device)
    return lambda: list(decode_frames(vae, latents))


WORK = {"denoising_unet": denoising_work, "vae": decoding_work}


@torch.inference_mode()
def compare(
    network: str, *, size_px: int, frames: int, dtype: torch.dtype, measured: bool, sliced: bool = False
) -> WorkingMemory:
    """Compare the forecast of one network with what it holds.

    Args:
        network: `"denoising_unet"` or `"vae"`.
        size_px: Side of the output [px].
        frames: Frames of a window, or decoded together; at most 25.
        dtype: Type of the network.
        measured: Also run it and look at the process.
        sliced: Whether the decoder works in slices.
    """
    build = {name: _build(name, "meta", dtype, sliced=sliced) for name in PUBLISHED}
    options = SamplingOptions(plan=WindowPlan(size=max(frames, 5)))
    said = forecast(build, options, size_px=size_px, num_frames=frames, sliced=sliced)
    counted = count(WORK[network](build[network], size_px, frames))
    seen = None
    if measured:
        real = _build(network, "cpu", dtype, sliced=sliced)
        seen = measure(WORK[network](real, size_px, frames)) / 2**20
    expected = said.denoising if network == "denoising_unet" else said.decoding
    return WorkingMemory(network=network, forecast_mib=expected / 2**20, counted_mib=counted / 2**20, measured_mib=seen)


def _build(name: str, device: str, dtype: torch.dtype, *, sliced: bool) -> Any:
    # Not their own `to`, which has advice about casting; the decoder's mixing factors ignore where they are made.
    network = torch.nn.Module.to(PUBLISHED[name].build("meta"), "meta", dtype)
    if device != "meta":
        network.to_empty(device=device)
        for tensor in network.state_dict().values():
            tensor.zero_()  # as memory that was never written is not there yet
    if sliced and name == "vae":
        slice_decoder(network)
    return network


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON object per network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--network", choices=sorted(WORK), action="append", help="all by default")
    parser.add_argument("--measure", action="store_true", help="also run the networks; one per process is exact")
    parser.add_argument("--sliced", action="store_true", help="the decoder works in slices")
    given = parser.parse_args(arguments)
    for network in given.network or sorted(WORK):
        line = compare(
            network, size_px=given.size, frames=given.frames, dtype=getattr(torch, given.dtype),
            measured=given.measure, sliced=given.sliced,
        )  # fmt: skip
        sys.stdout.write(json.dumps({"size_px": given.size, "frames": given.frames, **asdict(line)}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
