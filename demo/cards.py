"""The layout of the page, card by card."""

from __future__ import annotations

from typing import Any

import gradio as gr

from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.types import ALL_REGIONS
from portrait_anim_demo import wording
from portrait_anim_demo.widgets import (
    CameoWidgets,
    InputWidgets,
    OptionWidgets,
    ResultWidgets,
)


def _heading(number: int, text: str) -> None:
    gr.HTML(f'<h2><span class="number">{number}</span>{text}</h2>')


def portrait_card() -> InputWidgets:
    """Step 1: the picture to animate."""
    with gr.Column(elem_classes="card", min_width=300):
        _heading(1, "Portrait")
        source = gr.Image(
            label="Portrait",
            sources=["upload", "clipboard"],
            type="filepath",
            image_mode=None,
            height=300,
            elem_id="portrait",
            buttons=[],
        )
        # Gradio would decode the picture and fail in its own words on what is none; the library does better.
        source.preprocess = _uploaded_path
        sample = gr.Button("Use the sample portrait", size="sm", elem_id="sample-portrait")
        return _found("portrait", source, sample, "Add a photo in which one face looks towards the camera.")


def _uploaded_path(payload: Any) -> str | None:
    """The file as it was uploaded, unopened."""
    return None if payload is None else payload.path


def clip_card() -> InputWidgets:
    """Step 2: the clip that moves it."""
    with gr.Column(elem_classes="card", min_width=300):
        _heading(2, "Driving clip")
        source = gr.Video(
            label="Driving clip",
            sources=["upload", "webcam"],
            include_audio=True,
            elem_id="clip",
            buttons=[],
        )
        sample = gr.Button("Use the sample clip", size="sm", elem_id="sample-clip")
        return _found("clip", source, sample, "Add or record a clip of a face; its movement drives the portrait.")


def _found(name: str, source: Any, sample: Any, hint: str) -> InputWidgets:
    """The lower half of an input card: which face was found."""
    message = gr.HTML(wording.note(hint), elem_id=f"{name}-note")
    view = gr.Image(
        label="Face found",
        interactive=False,
        visible=False,
        height=220,
        format="jpeg",
        buttons=[],
        elem_id=f"{name}-face",
    )
    face = gr.Dropdown(label="Which face", choices=[], value=None, visible=False, elem_id=f"{name}-choice")
    return InputWidgets(source=source, sample=sample, view=view, message=message, face=face, usable=gr.State(False))


def cameo_card() -> CameoWidgets:
    """Step 3: whose likeness it is, and what its owner allows."""
    with gr.Column(elem_classes="card"):
        _heading(3, "Whose face, and with which permission")
        with gr.Tabs(selected="enrolled") as tabs:
            with gr.Tab("Enrolled", id="enrolled"):
                cameo = gr.Dropdown(label="Cameo", choices=[], value=None, elem_id="cameo")
                about = gr.HTML(elem_id="cameo-about")
            fictional = _fictional_tab()
            real = _real_tab()
        permission = _permission_part()
    return CameoWidgets(tabs=tabs, cameo=cameo, about=about, **fictional, **real, **permission)


def _fictional_tab() -> dict[str, Any]:
    with gr.Tab("New: fictional", id="fictional"):
        gr.HTML(
            "<p>For painted, rendered or invented faces. You sign the statement; it is kept in the ledger, and "
            "every video says that it shows nobody real. Refused when the face is an enrolled real person's.</p>"
        )
        name = gr.Textbox(label="Name", max_length=100, elem_id="fictional-name")
        statement = gr.Textbox(
            label="Statement: why is there nobody to ask?",
            placeholder="For example: I painted this face from imagination.",
            lines=2,
            max_length=2000,
            elem_id="statement",
        )
        enrol = gr.Button("Enrol the portrait of step 1 as fictional", variant="primary", elem_id="enrol-fictional")
    return {"fictional_name": name, "statement": statement, "enrol_fictional": enrol}


def _real_tab() -> dict[str, Any]:
    with gr.Tab("New: real person", id="real"):
        gr.HTML(
            "<p>The person shown in step 1 proves to be here: a random sequence of movements, recorded now, by the "
            "same face. Each sequence can be answered once, within ten minutes.</p>"
        )
        with gr.Row():
            name = gr.Textbox(label="Name", max_length=100, scale=3, elem_id="real-name")
            issue = gr.Button("Issue a challenge", scale=1, min_width=170, elem_id="issue")
        steps = gr.HTML(elem_id="challenge")
        # Shown and hidden as a whole: an update of the widget itself would undo the line about `preprocess`.
        with gr.Column(visible=False) as recorder:
            video = gr.Video(
                label="Challenge video",
                sources=["webcam", "upload"],
                include_audio=False,
                buttons=[],
                elem_id="challenge-video",
            )
            # Nobody's voice is asked for. Gradio would also re-encode what was uploaded, for which it needs ffmpeg.
            video.preprocess = _uploaded_path
            verify = gr.Button("Verify and enrol", variant="primary", elem_id="verify-challenge")
        results = gr.HTML(elem_id="challenge-results")
    return {
        "real_name": name,
        "issue": issue,
        "steps": steps,
        "recorder": recorder,
        "challenge_video": video,
        "verify": verify,
        "results": results,
        "challenge": gr.State(None),
    }


def _permission_part() -> dict[str, Any]:
    with gr.Column(visible=False, elem_id="permission") as group:
        gr.HTML("<h3>Permission</h3>")
        grants = gr.HTML(elem_id="grants")
        with gr.Row(visible=False) as use_row:
            grant_choice = gr.Dropdown(label="Permission to use", choices=[], scale=3, elem_id="grant-choice")
            revoke = gr.Button("Revoke it", variant="stop", scale=1, min_width=130, elem_id="revoke")
        with gr.Accordion("Grant a new permission", open=True, elem_id="new-grant") as new_grant:
            purpose = gr.Textbox(label="Purpose", placeholder="What are the videos for?", elem_id="purpose")
            with gr.Row():
                seconds = gr.Number(label="Length in all [s]", value=60, minimum=1, min_width=120, elem_id="seconds")
                renders = gr.Number(label="Videos", value=10, minimum=1, precision=0, min_width=120)
                hours = gr.Dropdown(
                    label="Holds for",
                    choices=[("1 hour", 1.0), ("1 day", 24.0), ("1 week", 168.0), ("30 days", 720.0)],
                    value=24.0,
                    min_width=120,
                )
            give = gr.Button("Grant this permission", variant="primary", elem_id="grant")
    return {
        "permission": group,
        "grants": grants,
        "use_row": use_row,
        "grant_choice": grant_choice,
        "revoke": revoke,
        "new_grant": new_grant,
        "purpose": purpose,
        "seconds": seconds,
        "renders": renders,
        "hours": hours,
        "give": give,
    }


def option_card() -> OptionWidgets:
    """Step 4: choices, and the buttons that start and stop."""
    default = AnimationOptions()
    with gr.Column(elem_classes="card"):
        _heading(4, "Options")
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
        _heading(5, "Result")
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
