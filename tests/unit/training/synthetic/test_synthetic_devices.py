"""Samples are made where the renderer is: few waits for the device, and CUDA agrees with the CPU."""

import traceback
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from portrait_anim.training.synthetic import raster
from portrait_anim.training.synthetic.motion import Gesture
from portrait_anim.training.synthetic.mouth import LOOK
from portrait_anim.training.synthetic.pack import Pack
from portrait_anim.training.synthetic.people import Cast
from portrait_anim.training.synthetic.renderer import Renderer
from portrait_anim.training.synthetic.samples import TrainingBatch, render_samples
from portrait_anim.training.synthetic.variation import Variation, draw_variation

PACKAGE = Path(raster.__file__).parent
WAITS = 13  # per batch, as the documentation of `benchmark` says
REAL = (42, 67, 707, 857)
READS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default, torch.ops.aten.equal.default}
FACTORIES = {
    torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.ones, torch.rand, torch.randint,
    torch.randn, torch.tensor, torch.zeros,
}  # fmt: skip
Given = TypeVar("Given", Gesture, Variation)


class Waits(TorchDispatchMode):
    """Counts reads of values by the file that asks for them."""

    def __init__(self) -> None:
        super().__init__()
        self.by_file: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        indices = args[1] if func is torch.ops.aten.index.Tensor else ()
        if func in READS or any(i is not None and i.dtype == torch.bool for i in indices):
            files = [Path(f.filename) for f in traceback.extract_stack()]
            self.by_file[next(f.name for f in reversed(files) if f.parent == PACKAGE)] += 1
        return func(*args, **(kwargs or {}))


class NoFactoryWithoutDevice(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in FACTORIES or (kwargs or {}).get("device") is not None, func
        return func(*args, **(kwargs or {}))


def test_a_batch_waits_rarely_and_makes_nothing_on_another_device(toy_cast: Cast) -> None:
    """The rasteriser does not count: its kernels for CUDA never wait."""
    renderer, generator = Renderer(toy_cast, size_px=32), torch.Generator().manual_seed(1)
    renderer.sample(12, generator)
    with NoFactoryWithoutDevice(), Waits() as waits:
        renderer.sample(12, generator)
    assert waits.by_file.pop("raster.py") > 0
    assert sum(waits.by_file.values()) <= WAITS, waits.by_file


def moved(value: Given, device: str) -> Given:
    return type(value)(**{f.name: getattr(value, f.name).to(device) for f in fields(value)})


def given_samples(pack: Pack, device: str) -> TrainingBatch:
    """Samples of the same people and gestures, drawn on the CPU, rendered on a device."""
    renderer = Renderer.from_pack(pack, size_px=128, numbers=REAL, device=device)
    here = renderer if device == "cpu" else Renderer.from_pack(pack, size_px=128, numbers=REAL)
    B, g = 6, torch.Generator().manual_seed(5)
    who, other = torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([1, 2, 3, 0, 2, 3])
    draws = [
        Gesture(
            expr=here.statistics.expression(B, g),
            head=here.statistics.head(B, g) * 0.7,
            shift=here.statistics.shift(B, g),
            gaze=here.statistics.gaze(B, g),
        )
        for _ in range(3)
    ]
    variation = moved(draw_variation(here.cast.people, torch.cat([who, other]), g), device)
    own = torch.randn(2 * B, LOOK, generator=g).to(device)
    source, target, driver = (moved(gesture, device) for gesture in draws)
    photo = torch.arange(B, device=device)
    is_photo = (photo == 0, photo == 1)
    rows = who.to(device), other.to(device)
    return render_samples(renderer, *rows, (source, target, driver), is_photo, own, variation)


@pytest.mark.gpu
def test_cuda_renders_what_the_cpu_renders(pack: Pack) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    expected = given_samples(pack, "cpu")
    found = given_samples(pack, "cuda")
    for name in ("source", "target", "driver"):
        a, b = getattr(expected, name).int(), getattr(found, name).cpu().int()
        assert ((a - b).abs() <= 2).float().mean() > 0.99, name
    seen = (expected.visible[:, 0] > 250) & (found.visible[:, 0].cpu() > 250)
    assert seen.float().mean() > 0.5
    miss = (expected.flow.float() - found.flow.cpu().float()).norm(dim=1) * 64  # pixels at 128
    assert (miss[seen] < 0.05).float().mean() > 0.99
    for name in ("expr_drv", "head_tgt", "gaze_drv", "anchor_src", "anchor_tgt", "anchor_drv"):
        assert torch.allclose(getattr(expected, name), getattr(found, name).cpu(), atol=1e-3), name


@pytest.mark.gpu
def test_cuda_draws_batches_of_its_own(pack: Pack) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    renderer = Renderer.from_pack(pack, size_px=128, numbers=REAL, device="cuda")
    batch = renderer.sample(8, torch.Generator("cuda").manual_seed(0))
    assert all(value.is_cuda for value in batch.as_dict().values())
    assert all(torch.isfinite(v.float()).all() for v in (batch.source, batch.flow, batch.points))
