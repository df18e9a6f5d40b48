"""The layout of the lower half of the page: options, progress and result."""

from __future__ import annotations

from typing import Any

import gradio as gr

from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.types import ALL_REGIONS
from portrait_anim_demo import wording
from portrait_anim_demo.cards import heading
from portrait_anim_demo.widgets import OptionWidgets, ResultWidgets


def option_card() -> OptionWidgets:
    """Step 4: choices, and the buttons that start and stop."""
    default = AnimationOptions()
    with gr.Column(elem_classes="card"):
        heading(4, "Options")
        profile, preset = _model_row()
        profile_note = gr.HTML(elem_id="profile-note")
        with gr.Row():
            motion = gr.Radio(
                [("Relative: add the driver's movement", "relative"), ("Absolute: copy the driver's pose", "absolute")],
                value=default.motion,
                label="Motion",
                elem_id="motion",
            )
            regions = gr.CheckboxGroup(list(ALL_REGIONS), value=list(default.regions), label="Parts that follow")
        with gr.Row():
            expression_gain = gr.Slider(0, 3, default.expression_gain, step=0.05, label="Expression gain")
            pose_gain = gr.Slider(0, 2, default.pose_gain, step=0.05, label="Head movement gain")
        with gr.Row():
            audio = gr.Radio(
                [("Of the driving clip", "driver"), ("None", "none"), ("From a file", "file")],
                value="driver",
                label="Sound",
                min_width=280,
            )
            compare = gr.Checkbox(
                False,
                label="Show portrait and driver beside the result",
                info="For comparing; all three in one video.",
                min_width=280,
            )
        audio_file = gr.File(label="Sound file", file_types=["audio", "video"], visible=False, height=120)
        with gr.Accordion("Quality, seed, and part of the clip", open=False):
            more = _further_options(default)
        with gr.Row():
            generate = gr.Button("Generate", variant="primary", size="lg", interactive=False, elem_id="generate")
            cancel = gr.Button("Cancel", variant="stop", size="lg", interactive=False, elem_id="cancel")
        hint = gr.HTML(elem_id="hint")
    return OptionWidgets(
        profile=profile,
        profile_note=profile_note,
        preset=preset,
        motion=motion,
        expression_gain=expression_gain,
        pose_gain=pose_gain,
        regions=regions,
        audio=audio,
        audio_file=audio_file,
        compare=compare,
        generate=generate,
        cancel=cancel,
        hint=hint,
        **more,
    )


def _model_row() -> tuple[Any, Any]:
    with gr.Row():
        profile = gr.Radio(
            [("Lite: part of this program", "lite"), ("X-Portrait 2: large, weights to be fetched", "xportrait2")],
            value="lite",
            label="Model",
            elem_id="profile",
        )
        preset = gr.Dropdown(
            [("As published", "exact"), ("Fast", "fast"), ("Streamed, for long clips", "stream")],
            value="exact",
            label="Way to denoise",
            visible=False,
            elem_id="preset",
        )
    return profile, preset


def _further_options(default: AnimationOptions) -> dict[str, Any]:
    with gr.Row():
        size_px = gr.Dropdown(
            [(f"{side} px", side) for side in (256, 384, 512)], value=default.size_px, label="Size of the face"
        )
        num_steps = gr.Slider(1, 16, default.num_steps, step=1, label="Denoising steps", elem_id="steps")
        smoothing = gr.Slider(0, 1, default.smoothing, step=0.05, label="Smoothing over time")
    with gr.Row():
        seed = gr.Number(default.seed, label="Seed: same seed, same video", precision=0, minimum=0, min_width=140)
        start_s = gr.Number(0, label="Start [s]", minimum=0, min_width=110, elem_id="start")
        end_s = gr.Number(None, label="End [s], empty for all", minimum=0, min_width=110, elem_id="end")
        crop_only = gr.Checkbox(
            default.crop_only, label="Only the square face", info="Leave the rest of the portrait out.", min_width=160
        )
    return {
        "size_px": size_px,
        "num_steps": num_steps,
        "smoothing": smoothing,
        "seed": seed,
        "start_s": start_s,
        "end_s": end_s,
        "crop_only": crop_only,
    }


def result_card() -> ResultWidgets:
    """Step 5: progress, then the video with everything known about it."""
    with gr.Column(elem_classes="card"):
        heading(5, "Result")
        status = gr.HTML(wording.note("The finished video appears here."), elem_id="status")
        preview = gr.Image(
            label="Newest frame",
            interactive=False,
            visible=False,
            height=256,
            format="jpeg",
            buttons=[],
            elem_id="preview",
        )
        with gr.Row(visible=False) as finished:
            with gr.Column(min_width=300, scale=3):
                video = gr.Video(label="Video", interactive=False, elem_id="result", buttons=[])
                download = gr.DownloadButton("Download the video", elem_id="download")
                sheet = gr.Image(
                    label="Contact sheet", interactive=False, format="png", elem_id="sheet", buttons=["fullscreen"]
                )
            with gr.Column(min_width=300, scale=2):
                gr.HTML("<h3>Verification</h3>")
                findings = gr.HTML(elem_id="findings")
                gr.HTML("<h3>Consent record</h3>")
                record = gr.HTML(elem_id="record")
    return ResultWidgets(
        status=status,
        preview=preview,
        finished=finished,
        video=video,
        download=download,
        findings=findings,
        record=record,
        sheet=sheet,
    )
