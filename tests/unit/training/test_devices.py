"""A step makes no tensor on another device than its batch's, and never waits for the device.

No accelerator is needed: factory calls without a device are caught as they happen, reads of values are caught in the
dispatcher, and a run on `meta` tensors fails wherever two devices meet. The marked tests run the same on CUDA.
"""

import contextlib
import copy

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from portrait_anim.training.loop import clip
from portrait_anim.training.networks import LiteNetworks
from portrait_anim.training.stages import DATA_KINDS, STAGES
from portrait_anim.training.step import StepInput

FACTORIES = {
    torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.ones, torch.rand, torch.randint,
    torch.randn, torch.randperm, torch.tensor, torch.zeros,
}  # fmt: skip
READS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default, torch.ops.aten.equal.default}


class NoFactoryWithoutDevice(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in FACTORIES and (kwargs or {}).get("device") is None:
            raise AssertionError(f"torch.{func.__name__} was called without a device")
        return func(*args, **(kwargs or {}))


class NoReads(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in READS:
            raise AssertionError(f"{func} reads a value and makes the host wait")
        return func(*args, **(kwargs or {}))


def networks():
    torch.manual_seed(0)
    nets = LiteNetworks()
    with torch.no_grad():
        nets.warp_field.field.patterns.normal_(std=0.1)
        nets.warp_field.field.mix.normal_(std=0.01)
        nets.warp_field.mouth.pictures.normal_(std=0.1)
    return nets


def kind_of(stage):
    return DATA_KINDS[STAGES[stage].data].name


def run_step(stage, nets, stored, generator, bf16=False):
    spec = STAGES[stage]
    kind = DATA_KINDS[spec.data]
    nets.requires_grad_(False).eval()
    for name in spec.trains:
        nets.get_submodule(name).requires_grad_(True).train()
    teacher = copy.deepcopy(nets).requires_grad_(False).eval() if spec.has_teacher else None
    given = StepInput(nets=nets, draws=generator, strength=1.0, bf16=bf16, teacher=teacher)
    result = spec.step(given, kind.prepare(stored, generator, kind.group))
    result.loss.backward()
    gradients = [p.grad for p in nets.parameters() if p.grad is not None]
    clip(gradients)
    return result, gradients


@pytest.mark.parametrize("stage", STAGES)
def test_a_step_keeps_to_its_device_and_does_not_wait(stage, stored):
    generator = torch.Generator().manual_seed(0)
    nets, batch = networks(), stored(kind_of(stage), 2)
    with NoFactoryWithoutDevice(), NoReads():
        result, gradients = run_step(stage, nets, batch, generator)
    assert torch.isfinite(result.loss)
    assert gradients
    assert all(value.ndim == 0 for value in result.metrics.values())
    for picture in result.pictures().values():
        assert picture.shape[-2] == picture.shape[-1] >= 64


@pytest.mark.parametrize("stage", STAGES)
def test_a_step_runs_where_no_values_exist(stage, stored, monkeypatch):
    """On the device `meta` every mixture of devices and every read of a value is an error."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # knows no such device
    batch = {k: v.to("meta") for k, v in stored(kind_of(stage), 2).items()}
    result, _ = run_step(stage, networks().to("meta"), batch, torch.Generator().manual_seed(0))
    assert {v.device.type for v in (result.loss, *result.metrics.values())} == {"meta"}


def test_the_guards_catch_what_they_are_for():
    with NoFactoryWithoutDevice():
        with pytest.raises(AssertionError, match="zeros"):
            torch.zeros(1)
        torch.zeros(1, device="cpu")
    with NoReads(), pytest.raises(AssertionError, match="wait"):
        float(torch.ones(1))


@pytest.mark.gpu
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("stage", STAGES)
def test_cuda_agrees_with_the_cpu(stage, bf16, stored):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    nets, batch = networks(), stored(kind_of(stage), 4)
    expected, _ = run_step(stage, copy.deepcopy(nets), batch, torch.Generator().manual_seed(0))
    on_gpu = {k: v.cuda() for k, v in batch.items()}
    actual, gradients = run_step(stage, nets.cuda(), on_gpu, torch.Generator().manual_seed(0), bf16)
    assert all(g.is_cuda and torch.isfinite(g).all() for g in gradients)
    tolerance = 0.05 if bf16 else 2e-3
    assert actual.loss.item() == pytest.approx(expected.loss.item(), rel=tolerance)
    for name, value in expected.metrics.items():
        assert actual.metrics[name].item() == pytest.approx(value.item(), rel=3 * tolerance, abs=3e-3), name


@pytest.mark.gpu
def test_a_run_on_cuda_is_repeatable_and_resumes(config, tmp_path):
    from portrait_anim.training.journal import read_metrics
    from portrait_anim.training.run import train

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    asked = iter([False])
    train(config(tmp_path / "parts", "warp", steps=3, device="cuda"), should_stop=lambda: next(asked, True))
    train(config(tmp_path / "parts", "warp", steps=3, device="cuda"))
    train(config(tmp_path / "whole", "warp", steps=3, device="cuda"))
    losses = [[row["loss"] for row in read_metrics(tmp_path / name)] for name in ("parts", "whole")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)  # scatter_add adds in any order on CUDA
