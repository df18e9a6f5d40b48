"""Which widget does what: the events of steps 1 and 2, and when the button may be pressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from portrait_anim.weights import samples_dir
from portrait_anim_demo import wording
from portrait_anim_demo.consent_wiring import connect_consent
from portrait_anim_demo.feedback import FACE_LANE, QUIET, plainly
from portrait_anim_demo.handlers import Handlers
from portrait_anim_demo.looking import Look
from portrait_anim_demo.render_wiring import connect_rendering
from portrait_anim_demo.widgets import CameoWidgets, InputWidgets, OptionWidgets, ResultWidgets

SAMPLE_NAME = "Sample actor"
SAMPLE_STATEMENT = "The sample portrait of this program: rendered by its own code from a person who does not exist."
NAMED_FACES = [("The largest", "largest"), ("The leftmost", "left"), ("The rightmost", "right")]


def connect(
    page: Any,
    handlers: Handlers,
    portrait: InputWidgets,
    clip: InputWidgets,
    cameo: CameoWidgets,
    options: OptionWidgets,
    result: ResultWidgets,
) -> None:
    """Connect all widgets of the page.

    Args:
        page: The open `gradio.Blocks`.
        handlers: What the widgets do.
        portrait: Card 1.
        clip: Card 2.
        cameo: Card 3.
        options: Card 4.
        result: Card 5.
    """
    _connect_input(portrait, handlers.portrait, "portrait.jpg")
    _connect_input(clip, handlers.clip, "driving.mp4")
    portrait.sample.click(
        lambda name, statement: (name or SAMPLE_NAME, statement or SAMPLE_STATEMENT),
        [cameo.fictional_name, cameo.statement],
        [cameo.fictional_name, cameo.statement],
        **QUIET,
    )
    refresh = connect_consent(page, handlers, portrait, cameo)
    connect_rendering(page, handlers, portrait, clip, cameo, options, result, refresh)
    needed = [portrait.usable, clip.usable, cameo.cameo, cameo.grant_choice]
    gr.on(
        [page.load, *(widget.change for widget in needed)],
        readiness,
        needed,
        [options.generate, options.hint],
        **QUIET,
    )


def readiness(portrait: bool, clip: bool, cameo: str | None, permission: str | None) -> tuple[Any, str]:
    """Say whether a video can be asked for, and what is still missing.

    This only guides; whether a render is allowed is decided by the consent gate when it is asked.
    """
    missing = [
        what
        for what, there in (
            ("a portrait", portrait),
            ("a driving clip", clip),
            ("a cameo", cameo),
            ("a permission", permission or not cameo),
        )
        if not there
    ]
    hint = wording.note(f"Still needed: {', '.join(missing)}." if missing else "", "wait")
    return gr.update(interactive=not missing), hint


def _connect_input(card: InputWidgets, look: Callable[[str | None, str | None], Look | None], sample: str) -> None:
    """Show the face whenever another file or another face is chosen."""
    outputs = [card.view, card.message, card.face, card.usable]

    def new_file(path: str | None) -> tuple[Any, ...]:
        return _shown(look(path, None), None)

    def other_face(path: str | None, face: str | None) -> tuple[Any, ...]:
        return _shown(look(path, face), face)

    card.source.change(plainly(new_file), card.source, outputs, show_progress_on=card.message, **FACE_LANE)
    card.face.input(
        plainly(other_face), [card.source, card.face], outputs, show_progress_on=card.message, **FACE_LANE
    )
    card.sample.click(
        plainly(lambda: str(samples_dir() / sample)), None, card.source, **QUIET
    )


def _shown(look: Look | None, face: str | None) -> tuple[Any, ...]:
    """What a look changes on the page: picture, sentence, choice of faces, usable or not."""
    if look is None:
        nothing = gr.update(choices=[], value=None, visible=False)
        return gr.update(value=None, visible=False), wording.note("Nothing chosen yet."), nothing, False
    several = look.faces > 1
    choices = [*NAMED_FACES, *((f"Number {n} from the left", str(n)) for n in range(look.faces))] if several else []
    return (
        gr.update(value=look.picture, visible=look.picture is not None),
        wording.note(look.message, "good" if look.usable else "bad"),
        gr.update(choices=choices, value=face if several else None, visible=several),
        look.usable,
    )
