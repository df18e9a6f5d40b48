"""The scripts that measure the `xportrait2` profile, at a size that a test can afford."""

import contextlib
import io
import json

import pytest
import torch

from portrait_anim.evaluation import xportrait2_benchmark as benchmark
from portrait_anim.evaluation import xportrait2_curve as curve
from portrait_anim.evaluation import xportrait2_memory as memory
from portrait_anim.evaluation.xportrait2_gpu import Budget, RenderSetting, report
from portrait_anim.pipelines.xportrait2_options import SamplingOptions


@pytest.fixture(scope="module")
def whole():
    """The command as it is meant for a GPU, on the CPU with tiny networks."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = benchmark.main(
            ["--gpu", "--trial", "--device=cpu", "--dtype=float32", "--size=128", "--frames=2", "--steps=2"]
        )
    assert code == 0
    return json.loads(out.getvalue())


@pytest.mark.slow
def test_whole_renders_are_compared(whole):
    lines = {line["name"]: line for line in whole["renders"]}
    assert {"published order", "exact", "fast", "fast, streamed"} < set(lines)
    assert whole["left_out"] == {}
    assert lines["exact"]["tflop"] < lines["published order"]["tflop"]
    assert lines["fast"]["tflop"] < lines["exact"]["tflop"]
    assert all(line["frames_per_s"] > 0 and line["first_frame_s"] > 0 for line in lines.values())
    ratio = lines["exact"]["frames_per_s"] / lines["published order"]["frames_per_s"]
    assert whole["exact_over_published"] == pytest.approx(ratio)
    overlapped = lines["fast, streamed, decoding beside denoising"]
    assert overlapped["tflop"] == lines["fast, streamed"]["tflop"]


def test_what_there_is_no_time_for_is_left_out_and_named(tiny_modules):
    setting = RenderSetting(size_px=128, frames=1, steps=2, device="cpu", dtype=torch.float32, budget_s=0)
    result = report(setting, tiny_modules, matrix_side=64)
    assert result["renders"] == []
    assert result["exact_over_published"] is None
    assert "published order" in result["left_out"]


def test_time_runs_out():
    now = [0.0]
    budget = Budget(10, clock=lambda: now[0])
    assert budget.allows("a", 9)
    now[0] = 8.0
    assert not budget.allows("b", 3)
    assert budget.left_out == {"b": "takes about 3 s or more, 2 s were left"}


@pytest.mark.parametrize("network", ["denoising_unet", "vae"])
def test_the_memory_forecast_is_what_tensors_take(network):
    line = memory.compare(network, size_px=128, frames=2, dtype=torch.float16, measured=False)
    assert line.counted_mib == pytest.approx(line.forecast_mib, rel=0.2)


def test_counting_sees_tensors_come_and_go():
    def work():
        one = torch.empty(1000, device="meta")
        two = one + 1
        del one
        return two * 2

    assert memory.count(work) == 2 * 4000


def test_cost_of_sampling_counts_rows_and_blocks():
    costs = {(1, 0): 1.0, (2, 0): 2.0, (1, 3): 0.5, (2, 3): 1.0}
    options = SamplingOptions(num_steps=4, guided=(0.0, 0.5), cache_every=2)
    assert curve.sampling_cost(options, costs) == pytest.approx((2 + 1 + 1 + 0.5) * 1.2)


def test_the_curve_begins_with_exact_mode_and_errors_are_those_of_the_options(monkeypatch):
    few = {name: curve.OPTIONS[name] for name in list(curve.OPTIONS)[:1]}
    few["two steps"] = SamplingOptions(num_steps=2)
    monkeypatch.setattr(curve, "OPTIONS", few)
    points = curve.measure(frames=1, costs={(1, 0): 1.0, (2, 0): 2.0})
    assert points[0].rms == (0.0, 0.0)
    assert points[0].ssim == pytest.approx((1.0, 1.0))
    assert min(points[1].rms) > 1e-3
    assert max(points[1].ssim) < 1
    assert curve.table(points).count("\n") == 4
