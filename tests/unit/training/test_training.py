"""Whole runs on tiny random shards: stages follow each other, stop, resume, repeat, and end as a usable pipeline."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from portrait_anim import weights
from portrait_anim.errors import InputError, StateDictMismatch, WeightsCorrupt
from portrait_anim.pipelines.portrait import PortraitAnimationPipeline
from portrait_anim.training import checkpoint
from portrait_anim.training.export import replace_tensors
from portrait_anim.training.journal import read_metrics
from portrait_anim.training.networks import LiteNetworks, load_pipeline_weights
from portrait_anim.training.run import plan, train

NAMES = ["motion", "warp", "denoise", "temporal", "distill"]


def numbers(run):
    """What a run wrote, without what a clock decides."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run)]


def stop_after(steps):
    """A wish to stop that comes true when it was asked `steps` times."""
    asked = iter([False] * steps)
    return lambda: next(asked, True)


@pytest.mark.slow
def test_all_stages_end_as_a_pipeline(config, tmp_path):
    run = tmp_path / "run"
    outcome = train(config(run), export_to=tmp_path / "weights")
    assert outcome.finished
    trained = [row for row in read_metrics(run) if not row.get("held_out")]
    assert [row["stage"] for row in trained] == [name for name in NAMES for _ in range(2)]
    assert all(np.isfinite(row["loss"]) for row in trained)
    assert all(json.loads((run / f"summary_{name}.json").read_text())["done"] for name in NAMES)
    for file in (tmp_path / "weights").rglob("*.safetensors"):
        assert file.stat().st_size < 15e6
    pipeline = PortraitAnimationPipeline.from_pretrained(weights.require("lite", tmp_path / "weights"))
    assert next(pipeline.denoiser.parameters()).dtype == torch.float32
    again = tmp_path / "again"
    pipeline.save_pretrained(again)
    written = json.loads((tmp_path / "weights/lite/model_index.json").read_text())
    assert written == json.loads((again / "model_index.json").read_text())


def test_a_stage_starts_from_the_averages_before_it(config, tmp_path):
    train(config(tmp_path, "warp", steps=1))
    warp = checkpoint.load(tmp_path / "warp").tensors
    train(config(tmp_path, "denoise", steps=1))
    denoise = checkpoint.load(tmp_path / "denoise").tensors
    assert [row["stage"] for row in read_metrics(tmp_path) if not row.get("held_out")] == ["warp", "denoise"]
    for key, value in warp.items():
        if key.startswith("averaged.") and not key.startswith("averaged.denoiser"):
            torch.testing.assert_close(denoise[key], value, rtol=0, atol=0)
    assert any(not torch.equal(warp[k], v) for k, v in denoise.items() if k.startswith("averaged.denoiser"))


@pytest.mark.parametrize("stage", ["motion", "distill"])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(config, tmp_path, stage):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(config(whole, stage, steps=3))
    outcome = train(config(parts, stage, steps=3), should_stop=stop_after(1))
    assert not outcome.finished
    assert checkpoint.facts(parts / stage)["step"] == 1
    assert train(config(parts, stage, steps=3)).finished
    assert numbers(parts) == numbers(whole)
    expected, actual = (checkpoint.load(run / stage).tensors for run in (whole, parts))
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[k], actual[k]) for k in expected)


def test_the_same_seed_gives_the_same_numbers_and_another_one_does_not(config, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(config(tmp_path / name, "warp", steps=1, seed=seed))
    assert numbers(tmp_path / "a") == numbers(tmp_path / "b")
    assert numbers(tmp_path / "a") != numbers(tmp_path / "c")


def test_rows_of_steps_that_were_lost_are_written_once(config, tmp_path):
    train(config(tmp_path, "motion", steps=2), should_stop=stop_after(1))
    with (tmp_path / "metrics.jsonl").open("a") as file:  # a run that died after a step that it had not saved
        file.write(json.dumps({"stage": "motion", "step": 2, "loss": 1e9}) + "\n")
    train(config(tmp_path, "motion", steps=2))
    steps = [row["step"] for row in read_metrics(tmp_path) if not row.get("held_out")]
    assert steps == [1, 2]
    assert max(row["loss"] for row in read_metrics(tmp_path)) < 1e9


def test_a_finished_stage_is_not_repeated_unless_asked(config, tmp_path):
    train(config(tmp_path, "motion", steps=1))
    before = (tmp_path / "motion/index.json").read_text()
    train(config(tmp_path, "motion", steps=1))
    assert (tmp_path / "motion/index.json").read_text() == before
    train(config(tmp_path, "motion", steps=1), resume=False)
    assert len([row for row in read_metrics(tmp_path) if not row.get("held_out")]) == 1


def test_the_clock_ends_a_stage_and_saves(config, tmp_path):
    outcome = train(config(tmp_path, "motion", steps=1000, budget_minutes=1e-6))
    assert outcome.finished
    assert checkpoint.facts(tmp_path / "motion")["done"]


def test_a_call_can_end_before_its_budget(config, tmp_path):
    outcome = train(config(tmp_path, "motion", "warp", steps=1000), stop_after_minutes=0.0)
    assert (outcome.finished, outcome.stage) == (False, "motion")
    assert not checkpoint.facts(tmp_path / "motion")["done"]


def test_held_out_people_are_measured_at_both_ends(config, tmp_path):
    train(config(tmp_path, "warp", steps=2))
    held_out = [row for row in read_metrics(tmp_path) if row.get("held_out")]
    assert [row["step"] for row in held_out] == [0, 2]
    assert held_out[0]["epe"] != held_out[1]["epe"]
    summary = json.loads((tmp_path / "summary_warp.json").read_text())
    assert summary["held_out_last"]["epe"] == held_out[1]["epe"]
    assert (tmp_path / "sheet_warp_held_out.png").exists()


def test_a_damaged_or_foreign_checkpoint_stops_the_run(config, tmp_path):
    train(config(tmp_path, "motion", steps=1))
    checkpoint.save(tmp_path / "warp", {"averaged.nothing": torch.zeros(1)}, {"step": 1, "done": False})
    with pytest.raises(StateDictMismatch, match="networks have changed"):
        train(config(tmp_path, "warp", steps=1))
    shutil.rmtree(tmp_path / "warp")
    piece = next((tmp_path / "motion").glob("save-*.safetensors"))
    piece.write_bytes(piece.read_bytes()[:-1] + b"?")
    with pytest.raises(WeightsCorrupt, match="copy the whole checkpoint"):
        train(config(tmp_path, "denoise", steps=2))


def test_a_run_starts_from_exported_weights(config, tmp_path):
    first = config(tmp_path / "first", "motion", steps=1, finish_share=0.0)
    folder = train(first, export_to=tmp_path / "weights").exported
    old = load_file(folder / "warp_field/diffusion_pytorch_model.safetensors")
    # a network that has grown since: half of this layer is new
    replace_tensors(folder, "warp_field", {"conv_in.weight": old["conv_in.weight"][:16]})
    weights.require("lite", tmp_path / "weights")  # the manifest was renewed
    nets = LiteNetworks()
    assert load_pipeline_weights(nets, folder) == []
    torch.testing.assert_close(nets.warp_field.conv_in.weight[:16], old["conv_in.weight"][:16].float())
    assert nets.warp_field.conv_in.weight[16:].abs().max() == 0
    train(config(tmp_path / "second", "motion", steps=1, initial=folder))
    with pytest.raises(InputError, match="expected the weights of motion_encoder"):
        load_pipeline_weights(nets, tmp_path)


def test_a_run_starts_from_a_checkpoint_of_the_first_format(tmp_path):
    old, new = LiteNetworks(), LiteNetworks()
    torch.save({"averaged": old.state_dict(), "nets": {}, "optimizer": {}, "step": 3}, tmp_path / "motion.pt")
    assert load_pipeline_weights(new, tmp_path / "motion.pt") == []
    for key, value in old.state_dict().items():
        assert torch.equal(new.state_dict()[key], value)
    with pytest.raises(InputError, match=r"\.pt file"):
        load_pipeline_weights(new, tmp_path / "absent.pt")


def test_a_plan_says_what_would_be_done(config, tmp_path):
    train(config(tmp_path, "motion", "warp", steps=1), should_stop=stop_after(1))
    planned = dataclasses.replace(config(tmp_path, "motion", "warp", steps=1), budget_minutes=30.0, finish_share=1.0)
    found = plan(planned)
    assert [stage.state for stage in found] == ["done", "step 0"]
    assert [stage.minutes for stage in found] == [10.0, 10.0]
    written = sum(f.stat().st_size for f in (tmp_path / "motion").glob("*.safetensors"))
    assert found[0].checkpoint_bytes == pytest.approx(written, rel=0.02)
