"""The layout of the upper half of the page: what goes in, whose it is, and what is allowed."""

from __future__ import annotations

from typing import Any

import gradio as gr

from portrait_anim_demo import wording
from portrait_anim_demo.widgets import CameoWidgets, InputWidgets


def heading(number: int, text: str) -> None:
    """The numbered title of a card."""
    gr.HTML(f'<h2><span class="number">{number}</span>{text}</h2>')


def portrait_card() -> InputWidgets:
    """Step 1: the picture to animate."""
    with gr.Column(elem_classes="card", min_width=300):
        heading(1, "Portrait")
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
        heading(2, "Driving clip")
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


def cameo_card(*, sound: bool) -> CameoWidgets:
    """Step 3: whose likeness it is, and what its owner allows.

    Args:
        sound: Whether challenge videos are recorded with sound, in which spoken digits are heard.
    """
    with gr.Column(elem_classes="card"):
        heading(3, "Whose face, and with which permission")
        with gr.Tabs(selected="enrolled") as tabs:
            with gr.Tab("Enrolled", id="enrolled"):
                cameo = gr.Dropdown(label="Cameo", choices=[], value=None, elem_id="cameo")
                about = gr.HTML(elem_id="cameo-about")
            fictional = _fictional_tab()
            real = _real_tab(sound=sound)
        permission = _permission_part()
    return CameoWidgets(tabs=tabs, cameo=cameo, about=about, **fictional, **real, **permission)


def _fictional_tab() -> dict[str, Any]:
    with gr.Tab("Add fictional", id="fictional"):
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


def _real_tab(*, sound: bool) -> dict[str, Any]:
    with gr.Tab("Add real", id="real"):
        gr.HTML(
            "<p>The person shown in step 1 proves to be here: a random sequence of movements, recorded now, by the "
            "same face. Each sequence is for this one portrait and can be answered once, within ten minutes.</p>"
        )
        with gr.Row():
            name = gr.Textbox(label="Name", max_length=100, scale=3, elem_id="real-name")
            issue = gr.Button("Issue a challenge", scale=1, min_width=170, elem_id="issue")
        adult = gr.Checkbox(label="I am this person, and I am of age (18 or older).", value=False, elem_id="adult")
        steps = gr.HTML(elem_id="challenge")
        # Shown and hidden as a whole: an update of the widget itself would undo the line about `preprocess`.
        with gr.Column(visible=False) as recorder:
            video = gr.Video(
                label="Challenge video",
                sources=["webcam", "upload"],
                include_audio=sound,
                buttons=[],
                elem_id="challenge-video",
            )
            # The file as it came: Gradio would encode it anew, for which it needs ffmpeg.
            video.preprocess = _uploaded_path
            verify = gr.Button("Verify and enrol", variant="primary", elem_id="verify-challenge")
        results = gr.HTML(elem_id="challenge-results")
    return {
        "real_name": name,
        "adult": adult,
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
