"""Choosing a model on the page: what it brings, what it makes meaningless, and missing weights said before a render."""

import pytest

from portrait_anim import weights
from portrait_anim.models.xportrait2.convert import convert
from portrait_anim.pipelines.xportrait2_options import PRESETS
from portrait_anim.types import ALL_REGIONS

pytest.importorskip("gradio", reason="the demo extra is not installed")
choice = pytest.importorskip("portrait_anim_demo.profile_choice", reason="the demo is not installed")
orders = pytest.importorskip("portrait_anim_demo.orders")

WIDGETS = {
    "motion": "relative", "expression_gain": 1.0, "pose_gain": 1.0, "regions": list(ALL_REGIONS),
    "size_px": 512, "num_steps": 10, "seed": 1, "smoothing": 0.3, "crop_only": False, "face": None,
    "driving_face": None,
}  # fmt: skip


@pytest.fixture
def user_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "user_weights_dir", lambda: tmp_path / "weights")
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def test_without_weights_the_page_names_the_commands(user_weights):
    note, *_ = choice.choose_profile("xportrait2")
    assert "weights fetch xportrait2" in note
    assert "weights convert xportrait2" in note


def test_with_weights_it_says_how_long_it_takes_and_notices_a_lost_file(user_weights, tiny_downloads, tiny_modules):
    folder = convert(tiny_downloads, user_weights, modules=tiny_modules)
    assert weights.installed("xportrait2")
    note, *_ = choice.choose_profile("xportrait2")
    assert "weights fetch" not in note
    assert "hours" in note
    (folder / "vae" / "config.json").unlink()
    assert not weights.installed("xportrait2")


def test_each_model_brings_its_size_and_steps_and_locks_what_it_does_not_know(user_weights):
    _, preset, size, steps, *others = choice.choose_profile("xportrait2")
    assert preset["visible"]
    assert (size["value"], steps["value"]) == (512, 35)
    assert 768 in [side for _, side in size["choices"]]
    assert steps["maximum"] >= 35
    assert not any(update["interactive"] for update in others)
    note, preset, size, steps, *others = choice.choose_profile("lite")
    assert (note, preset["visible"]) == ("", False)
    assert (size["value"], steps["value"]) == (256, 2)
    assert all(update["interactive"] for update in others)
    assert choice.choose_preset("fast")["value"] == PRESETS["fast"].num_steps


def test_the_preset_reaches_the_options_of_its_model_only():
    fast = orders.make_options(**WIDGETS, profile="xportrait2", preset="fast")
    assert fast.sampling == PRESETS["fast"]
    assert fast.num_steps == 10
    assert orders.make_options(**WIDGETS, profile="lite", preset="fast").sampling is None
