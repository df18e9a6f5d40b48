"""The events of step 3: enrolling, and giving and ending permission."""

from __future__ import annotations

from typing import Any

import gradio as gr

from portrait_anim.consent.records import Cameo, Challenge
from portrait_anim.errors import LivenessFailed
from portrait_anim.types import Progress
from portrait_anim_demo import wording
from portrait_anim_demo.feedback import FACE_LANE, QUIET, Refresh, plainly
from portrait_anim_demo.handlers import Handlers
from portrait_anim_demo.orders import OPERATOR
from portrait_anim_demo.widgets import CameoWidgets, InputWidgets


def connect_consent(page: Any, handlers: Handlers, portrait: InputWidgets, card: CameoWidgets) -> Refresh:
    """Connect the consent card.

    Args:
        page: The open `gradio.Blocks`.
        handlers: What the widgets do.
        portrait: Card 1, whose picture is enrolled.
        card: Card 3.

    Returns:
        The event that shows the permissions of the chosen cameo anew.
    """
    events = _ConsentEvents(handlers)
    picture = [portrait.source, portrait.face]
    page.load(plainly(events.cameo_list), None, card.cameo, **QUIET)
    card.enrol_fictional.click(
        plainly(events.enrol_fictional),
        [*picture, card.fictional_name, card.statement],
        [card.cameo, card.tabs],
        show_progress_on=card.cameo,
        **FACE_LANE,
    )
    card.issue.click(
        plainly(events.issue),
        [card.real_name, *picture, card.adult],
        [card.challenge, card.steps, card.challenge_video, card.recorder, card.results],
        show_progress_on=card.steps,
        **FACE_LANE,
    )
    card.verify.click(
        plainly(events.verify),
        [card.challenge, *picture, card.challenge_video],
        [card.cameo, card.results, card.challenge, card.steps, card.recorder],
        show_progress_on=card.results,
        **FACE_LANE,
    )
    permission = [card.about, card.permission, card.grants, card.use_row, card.grant_choice, card.new_grant]
    card.cameo.change(plainly(events.permissions), card.cameo, permission, **QUIET)
    card.give.click(
        plainly(events.grant), [card.cameo, card.purpose, card.seconds, card.renders, card.hours], permission, **QUIET
    )
    card.revoke.click(plainly(events.revoke), [card.cameo, card.grant_choice], permission, **QUIET)
    return plainly(events.permissions), card.cameo, permission


class _ConsentEvents:
    """What happens on each event, as updates of widgets."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers

    def cameo_list(self, chosen: Cameo | None = None) -> Any:
        """The list of enrolled cameos."""
        choices = [(wording.cameo_label(cameo), cameo.id) for cameo in self._handlers.cameos()]
        nobody = "" if choices else "Nobody is enrolled yet; add somebody with the tabs above."
        return gr.update(choices=choices, value=chosen.id if chosen else None, info=nobody)

    def enrol_fictional(self, path: str | None, face: str | None, name: str, statement: str) -> tuple[Any, Any]:
        """Enrol, then show the list with the new cameo chosen."""
        cameo = self._handlers.enrol_fictional(path, face, name, statement)
        gr.Info(f"Enrolled {cameo.name}. Nothing is allowed yet: grant a permission.")
        return self.cameo_list(cameo), gr.update(selected="enrolled")

    def issue(self, name: str, path: str | None, face: str | None, adult: bool) -> tuple[Any, ...]:
        """Show a new challenge and open the recorder."""
        challenge = self._handlers.challenge(name, path, face, adult=adult)
        return challenge, wording.challenge_text(challenge), None, gr.update(visible=True), ""

    def verify(
        self,
        challenge: Challenge | None,
        path: str | None,
        face: str | None,
        video: str | None,
        progress: Any = gr.Progress(),  # noqa: B008 - Gradio recognises it by this default
    ) -> tuple[Any, ...]:
        """Judge the recording and show how every step went; either way the challenge is spent."""

        def on_progress(step: Progress) -> None:
            progress((step.done, step.total), desc="Reading the video", unit="frames")

        try:
            cameo = self._handlers.enrol_real(challenge, path, face, video, on_progress)
        except LivenessFailed as error:
            assert challenge is not None
            gr.Warning("The video does not answer the challenge; see which steps failed.")
            note = wording.note("Not enrolled. Issue a new challenge and record it again.", "bad")
            chosen, failures = gr.skip(), error.failures
        else:
            assert challenge is not None
            note = wording.note(f"Enrolled {cameo.name}. Nothing is allowed yet: grant a permission below.", "good")
            chosen, failures = self.cameo_list(cameo), ()
        return chosen, note + wording.steps_text(challenge, failures), None, "", gr.update(visible=False)

    def permissions(self, cameo_id: str | None) -> tuple[Any, ...]:
        """Show who the cameo is, what was granted, and which permission can be used."""
        if not cameo_id:
            hidden = gr.update(visible=False)
            return "", hidden, "", hidden, gr.update(choices=[], value=None), gr.skip()
        cameo, grants, now = self._handlers.cameo(cameo_id), self._handlers.grants(cameo_id), self._handlers.now()
        usable = [
            grant
            for grant, used in reversed(grants)
            if grant.grantee == OPERATOR and wording.grant_state(grant, used, now) == "active"
        ]
        choice = gr.update(
            choices=[(wording.grant_label(grant), grant.id) for grant in usable], value=usable[0].id if usable else None
        )
        return (
            wording.cameo_text(cameo),
            gr.update(visible=True),
            wording.grants_text(grants, now),
            gr.update(visible=bool(usable)),
            choice,
            gr.update(open=not usable),
        )

    def grant(
        self, cameo_id: str | None, purpose: str, seconds: float | None, renders: float | None, hours: float
    ) -> tuple[Any, ...]:
        """Give a permission and show it."""
        made = self._handlers.grant(
            cameo_id, purpose=purpose, max_seconds=seconds, max_renders=renders, hours=hours
        )
        gr.Info(f"Granted: {wording.grant_label(made)}.")
        return self.permissions(cameo_id)

    def revoke(self, cameo_id: str | None, grant_id: str | None) -> tuple[Any, ...]:
        """End a permission and show that it has ended."""
        self._handlers.revoke(grant_id)
        gr.Info("Revoked. A video that is being made under it stops.")
        return self.permissions(cameo_id)
