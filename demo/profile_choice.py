"""The choice of the model: what it brings with it, what it makes meaningless, and whether its weights are there."""

from __future__ import annotations

from typing import Any, Final

import gradio as gr

from portrait_anim import weights
from portrait_anim.loading import default_options
from portrait_anim.pipelines.options import AnimationOptions, preset_options
from portrait_anim_demo import wording
from portrait_anim_demo.feedback import QUIET
from portrait_anim_demo.widgets import OptionWidgets

ONLY_LITE: Final = ("motion", "expression_gain", "pose_gain", "regions", "smoothing")
SIZES_PX: Final = {"lite": (256, 384, 512), "xportrait2": (256, 512, 768)}
MAX_STEPS: Final = {"lite": 16, "xportrait2": 50}


def connect_profile(options: OptionWidgets) -> None:
    """Let the choice of model and preset change the other options."""
    changed = [getattr(options, name) for name in ("profile_note", "preset", "size_px", "num_steps", *ONLY_LITE)]
    options.profile.change(choose_profile, options.profile, changed, **QUIET)
    options.preset.input(choose_preset, options.preset, options.num_steps, **QUIET)


def choose_profile(profile: str) -> tuple[Any, ...]:
    """Updates of the note, the preset, size, steps, and of each option that only the lite model knows."""
    default, plain = default_options(profile), AnimationOptions()
    sizes = [(f"{side} px", side) for side in SIZES_PX[profile]]
    lite = profile == "lite"
    return (
        wording.profile_text(profile, installed=weights.installed(profile)),
        gr.update(visible=not lite, value="exact"),
        gr.update(choices=sizes, value=default.size_px),
        gr.update(maximum=MAX_STEPS[profile], value=default.num_steps),
        *(gr.update(interactive=lite, value=_plain_value(plain, name)) for name in ONLY_LITE),
    )


def choose_preset(preset: str) -> Any:
    """Update of the steps."""
    return gr.update(value=preset_options(preset).num_steps)  # type: ignore[arg-type]


def _plain_value(options: AnimationOptions, name: str) -> Any:
    value = getattr(options, name)
    return list(value) if isinstance(value, tuple) else value
