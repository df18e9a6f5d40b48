"""The events of steps 4 and 5: starting a render, watching it, stopping it, and showing the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from portrait_anim.errors import Cancelled, InputError, PortraitAnimError
from portrait_anim.studio import RenderResult
from portrait_anim_demo import wording
from portrait_anim_demo.feedback import QUIET, Refresh, plainly
from portrait_anim_demo.handlers import Handlers
from portrait_anim_demo.orders import RenderOrder, make_options
from portrait_anim_demo.profile_choice import connect_profile
from portrait_anim_demo.widgets import CameoWidgets, InputWidgets, OptionWidgets, ResultWidgets

ORDER_FIELDS = (
    "motion", "expression_gain", "pose_gain", "regions", "size_px", "num_steps", "seed", "smoothing", "crop_only",
    "audio", "audio_file", "compare", "start_s", "end_s", "profile", "preset",
)  # fmt: skip


def connect_rendering(
    page: Any,
    handlers: Handlers,
    portrait: InputWidgets,
    clip: InputWidgets,
    cameo: CameoWidgets,
    options: OptionWidgets,
    result: ResultWidgets,
    refresh: Refresh,
) -> None:
    """Connect the buttons that start and stop a render.

    Args:
        page: The open `gradio.Blocks`.
        handlers: What the widgets do.
        portrait: Card 1.
        clip: Card 2.
        cameo: Card 3.
        options: Card 4.
        result: Card 5.
        refresh: Shows the permissions anew, since a render uses some of one.
    """
    events = _RenderEvents(handlers, lambda values: _read_order(handlers, values, portrait, clip, cameo, options))
    buttons = [options.generate, options.cancel]
    order = options.generate.click(
        plainly(events.begin),
        {portrait.source, portrait.face, clip.source, clip.face, cameo.cameo, cameo.grant_choice}
        | {getattr(options, name) for name in ORDER_FIELDS},
        [*buttons, result.status, result.preview, result.finished],
        **QUIET,
    )
    work = order.success(
        plainly(events.render),
        None,
        [result.status, result.preview, result.finished, result.video, result.download, result.findings,
         result.record, result.sheet],
        concurrency_id="render",
        concurrency_limit=1,
        **QUIET,
    )  # fmt: skip
    free = work.then(lambda: (gr.update(interactive=True), gr.update(interactive=False)), None, buttons, **QUIET)
    free.then(*refresh, **QUIET)
    options.cancel.click(events.cancel, None, [options.cancel, result.status], queue=False, **QUIET)
    options.audio.change(lambda audio: gr.update(visible=audio == "file"), options.audio, options.audio_file, **QUIET)
    connect_profile(options)
    page.unload(events.leave)


def _read_order(
    handlers: Handlers,
    values: dict[Any, Any],
    portrait: InputWidgets,
    clip: InputWidgets,
    cameo: CameoWidgets,
    options: OptionWidgets,
) -> RenderOrder:
    """Collect the values of all widgets."""
    chosen = {name: values[getattr(options, name)] for name in ORDER_FIELDS}
    source, driving, cameo_id = values[portrait.source], values[clip.source], values[cameo.cameo]
    for what, value in (("a portrait", source), ("a driving clip", driving), ("a cameo", cameo_id)):
        if not value:
            raise InputError(f"expected {what}, got none; choose one first")
    audio, audio_file = chosen.pop("audio"), chosen.pop("audio_file")
    if audio == "file" and not audio_file:
        raise InputError("expected a sound file, got none; add one or choose another sound")
    start_s, end_s, compare = chosen.pop("start_s"), chosen.pop("end_s"), chosen.pop("compare")
    return RenderOrder(
        portrait=source,
        driving=driving,
        cameo_id=cameo_id,
        purpose=handlers.purpose(cameo_id, values[cameo.grant_choice]),
        options=make_options(**chosen, face=values[portrait.face], driving_face=values[clip.face]),
        audio=audio_file if audio == "file" else audio,
        start_s=float(start_s or 0),
        end_s=float(end_s) if end_s else None,
        compare=compare,
        profile=chosen["profile"],
    )


class _RenderEvents:
    """What happens on each event, as updates of widgets."""

    def __init__(self, handlers: Handlers, read_order: Callable[[dict[Any, Any]], RenderOrder]) -> None:
        self._renders, self._handlers, self._read_order = handlers.renders, handlers, read_order

    def begin(self, values: dict[Any, Any], request: gr.Request) -> tuple[Any, ...]:
        """Accept the order and swap the buttons."""
        self._renders.begin(_session(request), self._read_order(values))
        waiting = wording.progress_text("waiting for its turn", 0, None, 0.0)
        hidden = gr.update(visible=False)
        return gr.update(interactive=False), gr.update(interactive=True), waiting, hidden, hidden

    def render(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Show progress and the newest frame, then the result."""
        same, began, stage = gr.skip(), time.monotonic(), ""
        nothing = (same,) * 6
        hidden = gr.update(value=None, visible=False)
        try:
            for step in self._renders.render(_session(request)):
                if isinstance(step, RenderResult):
                    yield self._finished(step)
                    return
                if step.stage != stage:
                    began, stage = time.monotonic(), step.stage
                bar = wording.progress_text(wording.stage_text(stage), step.done, step.total, time.monotonic() - began)
                picture = same if step.preview is None else gr.update(value=step.preview, visible=True)
                yield bar, picture, *nothing
        except Cancelled:
            gr.Info("Cancelled. No file was written.")
            yield wording.note("Cancelled. No file was written.", "wait"), hidden, *nothing
        except PortraitAnimError as error:
            yield wording.note(str(error), "bad"), hidden, *nothing
            raise
        except Exception:
            # A bug of ours: the page must not look as if work went on. Gradio logs the traceback.
            yield wording.note("Stopped by an unexpected error; the demo's log says more.", "bad"), hidden, *nothing
            raise

    def cancel(self, request: gr.Request) -> tuple[Any, Any]:
        """Stop the render before its next frame."""
        if not self._renders.cancel(_session(request)):
            return gr.update(interactive=False), gr.skip()
        return gr.update(interactive=False), wording.progress_text("cancelling", 0, None, 0.0)

    def leave(self, request: gr.Request) -> None:
        """Stop what a closed page had ordered."""
        self._renders.leave(_session(request))

    def _finished(self, result: RenderResult) -> tuple[Any, ...]:
        cameo = self._handlers.cameo(result.cameo_id)
        lost = f" In {result.lost_frames} frames the driver's face was not seen." if result.lost_frames else ""
        seconds = result.num_frames / float(result.fps)
        rate = f"{float(result.fps):.4g} frames per second"
        done = f"Finished: {result.num_frames} frames, {seconds:.1f} s, {rate}.{lost}"
        return (
            wording.note(done, "good"),
            gr.update(value=None, visible=False),
            gr.update(visible=True),
            str(result.path),
            gr.update(value=str(result.path), label=f"Download {result.path.name}"),
            wording.findings_text(result.verification.findings, ok=result.verification.ok),
            wording.record_text(result, cameo),
            str(result.sheet) if result.sheet else None,
        )


def _session(request: gr.Request) -> str:
    return str(request.session_hash)
