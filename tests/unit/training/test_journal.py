"""Metrics, curves, shards and recipes: the small parts of a run."""

import json

import pytest
import torch

from portrait_anim.errors import InputError
from portrait_anim.training.curves import plot, smooth
from portrait_anim.training.journal import Journal, read_metrics, summarise, write_sheet
from portrait_anim.training.loop import clip
from portrait_anim.training.recipes import RECIPES, StageConfig, get_recipe, with_stage_limits
from portrait_anim.training.shards import ShardDataset


def test_metrics_are_written_when_they_are_read(tmp_path):
    journal = Journal(run=tmp_path, stage="warp")
    for step in (1, 2):
        journal.add({"step": step}, {"loss": torch.tensor(float(step)), "epe": torch.tensor(3.0)})
    assert read_metrics(tmp_path) == []
    assert journal.flush() == {"loss": 1.5, "epe": 3.0}
    assert journal.flush() == {}
    assert [row["loss"] for row in read_metrics(tmp_path)] == [1.0, 2.0]
    summary = summarise(tmp_path, "warp", {"done": True})
    assert (summary["first"]["loss"], summary["last"]["loss"]) == (1.0, 2.0)
    assert json.loads((tmp_path / "summary_warp.json").read_text()) == summary


def test_a_process_that_does_not_write_is_silent(tmp_path):
    journal = Journal(run=tmp_path, stage="warp", writes=False)
    journal.add({"step": 1}, {"loss": torch.tensor(1.0)})
    assert journal.flush() == {"loss": 1.0}
    assert list(tmp_path.iterdir()) == []


def test_only_rows_behind_the_step_are_dropped(tmp_path):
    for stage in ("motion", "warp"):
        Journal(run=tmp_path, stage=stage).write([{"step": step} for step in (0, 1, 2)])
    Journal(run=tmp_path, stage="warp").rewind(1)
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1, 2, 0, 1]
    Journal(run=tmp_path, stage="warp").rewind(0)
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1, 2]


def test_smoothing_keeps_a_constant_and_follows_a_jump():
    assert smooth([2.0] * 10) == pytest.approx([2.0] * 10)
    late = smooth([0.0] * 50 + [1.0] * 50)
    assert late[49] == 0
    assert late[-1] > 0.95


def test_curves_show_raw_and_held_out(tmp_path):
    Journal(run=tmp_path, stage="warp").write(
        [{"step": k, "loss": 1.0 / (k + 1)} for k in range(20)]
        + [{"step": k, "loss": 0.5, "held_out": True} for k in (0, 19)]
    )
    assert plot(tmp_path).stat().st_size > 5000
    with pytest.raises(InputError, match="train first"):
        plot(tmp_path / "absent")


def test_a_sheet_has_a_row_per_sample_and_a_column_per_picture(tmp_path):
    from PIL import Image

    write_sheet(tmp_path / "sheet.png", {"colour": torch.rand(3, 3, 8, 8), "mask": torch.rand(3, 1, 8, 8)}, rows=2)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (16, 16)


def test_gradients_are_bounded_and_never_poison_the_weights():
    large = [torch.full((4,), 30.0), torch.full((2, 2), -40.0)]
    assert clip(large, max_norm=5.0) == 1
    assert torch.stack([g.norm() for g in large]).norm().item() == pytest.approx(5.0, rel=1e-4)
    small = [torch.tensor([0.5, -0.5])]
    assert clip(small) == 1
    assert small[0].tolist() == [0.5, -0.5]
    broken = [torch.tensor([1.0, float("nan")]), torch.tensor([float("inf")])]
    assert clip(broken) == 0
    assert [g.tolist() for g in broken] == [[0.0, 0.0], [0.0]]


def test_shards_are_shuffled_in_whole_groups_and_resume(shards):
    pairs = ShardDataset(shards, "pairs-*", group=2)
    rows = {float(row.sum()): k for k, row in enumerate(pairs.batch(torch.arange(len(pairs)).numpy())["expr_src"])}
    stream = pairs.batches(4, seed=3)
    batches = [next(stream)["expr_src"] for _ in range(5)]
    for batch in batches:
        numbers = [rows[float(row.sum())] for row in batch]
        assert [k + 1 for k in numbers[::2]] == numbers[1::2]
        assert all(k % 2 == 0 for k in numbers[::2])
    assert torch.equal(next(pairs.batches(4, seed=3, start=4))["expr_src"], batches[4])
    halves = [next(pairs.batches(2, seed=3, rank=rank, world=2))["expr_src"] for rank in (0, 1)]
    assert torch.equal(torch.cat(halves), batches[0])
    with pytest.raises(ValueError, match="multiple of 2"):
        next(pairs.batches(3, seed=0))
    with pytest.raises(InputError, match="render more"):
        next(pairs.batches(1000, seed=0))


def test_no_shards_is_an_error(tmp_path):
    with pytest.raises(InputError, match="found none"):
        ShardDataset(tmp_path)


def test_recipes_can_be_limited_and_keep_whole_groups():
    limited = with_stage_limits(get_recipe("gpu"), num_steps=7, batch_size=3)
    assert {stage.stage: stage.batch_size for stage in limited.stages}["temporal"] == 2
    assert {stage.num_steps for stage in limited.stages} == {7}
    assert with_stage_limits(get_recipe("gpu"), num_steps=None, batch_size=None) == get_recipe("gpu")
    assert all(get_recipe(name).stages for name in RECIPES)
    with pytest.raises(InputError, match="cpu_warp"):
        get_recipe("huge")
    with pytest.raises(InputError, match="expected a stage among"):
        StageConfig(stage="nothing")
    with pytest.raises(ValueError, match="multiple of 2"):
        StageConfig(stage="temporal", batch_size=3)
