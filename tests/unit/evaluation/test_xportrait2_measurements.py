"""The scripts that measure the `xportrait2` profile, at a size that a test can afford."""

import json

import pytest
import torch

from portrait_anim.evaluation import xportrait2_curve as curve
from portrait_anim.evaluation.xportrait2_gpu import RenderSetting, report
from portrait_anim.pipelines.xportrait2_options import SamplingOptions


def test_whole_renders_are_compared(tiny_modules):
    setting = RenderSetting(size_px=128, frames=2, steps=2, device="cpu", dtype=torch.float32)
    result = report(setting, tiny_modules, matrix_side=64)
    json.dumps(result)
    lines = {line["name"]: line for line in result["renders"]}
    assert set(lines) == {"published order", "exact", "fast", "fast, streamed"}
    assert lines["exact"]["tflop"] < lines["published order"]["tflop"]
    assert lines["fast"]["tflop"] < lines["exact"]["tflop"]
    assert all(line["frames_per_s"] > 0 for line in lines.values())


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
