"""Command line choices of the profile `xportrait2`: presets, single parts, and none of it for other profiles."""

import pytest
import typer

from portrait_anim.cli.options import animation_options, parse_part
from portrait_anim.pipelines.options import AnimationOptions, preset_options
from portrait_anim.pipelines.xportrait2_options import PRESETS


def test_a_preset_brings_its_steps_and_single_parts_change_it():
    plain = animation_options(profile="xportrait2")
    assert (plain.num_steps, plain.size_px, plain.sampling) == (35, 512, None)
    fast = animation_options(profile="xportrait2", preset="fast")
    assert fast == preset_options("fast")
    assert fast.num_steps == PRESETS["fast"].num_steps < 35
    changed = animation_options(
        profile="xportrait2", preset="fast", num_steps=6, solver="unipc", guided=(0.0, 1.0), size_px=768
    )
    assert (changed.num_steps, changed.size_px) == (6, 768)
    assert (changed.sampling.solver, changed.sampling.guided) == ("unipc", (0.0, 1.0))
    assert changed.sampling.cache_every == PRESETS["fast"].cache_every


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"profile": "lite", "preset": "fast"}, "only with the profile xportrait2"),
        ({"profile": "lite", "solver": "ddim"}, "solver"),
        ({"profile": "xportrait2", "preset": "faster"}, "exact, fast, stream"),
        ({"profile": "xportrait2", "solver": "euler"}, "expected a solver"),
        ({"profile": "xportrait2", "cache_every": 0}, "1 or more"),
        ({"profile": "xportrait2", "overlap": True}, "stream=True"),
    ],
)
def test_what_does_not_apply_is_a_usage_error(choices, message):
    with pytest.raises(typer.BadParameter, match=message):
        animation_options(**choices)


def test_lite_is_as_before():
    assert animation_options(profile="lite", seed=3) == AnimationOptions(seed=3)


def test_parts_of_the_steps():
    assert parse_part("0-0.5") == (0.0, 0.5)
    assert parse_part(" .25 - 1 ") == (0.25, 1.0)
    with pytest.raises(typer.BadParameter, match="such as 0-0"):
        parse_part("half")
