"""Pages through which a person enrols from a phone: a link that opens once, two plain forms, an explained result."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, TypeVar

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import HTMLResponse
from starlette.datastructures import FormData, UploadFile

from portrait_anim import challenge_page
from portrait_anim.consent.challenges import LIFETIME
from portrait_anim.consent.links import EnrolmentLink, open_link
from portrait_anim.consent.records import Challenge
from portrait_anim.errors import (
    ConsentDenied,
    FaceTooSmall,
    InputError,
    LivenessFailed,
    MediaError,
    MultipleFaces,
    NoFaceFound,
)
from portrait_anim.service import enrolling
from portrait_anim.service.access import refuse_if_late
from portrait_anim.service.context import CurrentService, Service, address_of
from portrait_anim.service.failures import Refused
from portrait_anim.service.forms import form_holds, form_token
from portrait_anim.service.pages import page

router = APIRouter(prefix="/enrol", tags=["enrolment"], default_response_class=HTMLResponse)

_MAX_WAITING: Final = 4
_T = TypeVar("_T")

# The first line that fits is shown, so a narrower kind stands above a wider one.
_PROBLEMS: Final[tuple[tuple[type[InputError], str], ...]] = (
    (FaceTooSmall, "Your face is too small in this {what}. Come closer to the camera."),
    (MultipleFaces, "There are several faces in this {what}. Only yours should be in the picture."),
    (NoFaceFound, "No face was found in this {what}. Your whole face should be in the picture, in good light."),
    (MediaError, "This file cannot be read as a {what}. Take a new one, or choose another file."),
)
_NO_DOT: Final = (
    "Here a dot has to be followed with the eyes, and this browser cannot show it while it records. Open the link in "
    "another browser, with scripts and the camera allowed."
)
_REFUSALS: Final = {
    "no_challenge": "This video belongs to another link or to an older page. Please start again.",
    "challenge_used": "This challenge was answered already. Please start again with new movements.",
    "challenge_expired": "The ten minutes were over. Please start again with new movements.",
    "no_link": "Somebody enrolled through this link in the meantime. Ask the operator for a new one.",
    "denylisted": "This face was entered as never to be animated here. If it is yours and you want to enrol, ask the "
    "operator.",
}

LinkToken = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{43}$")]


class _Queue:
    """One video is checked at a time; a few may wait, more are turned away rather than exhaust the machine."""

    def __init__(self) -> None:
        self._limiter: anyio.CapacityLimiter | None = None
        self._inside = 0

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do some work in a thread, when it is its turn."""
        self._limiter = self._limiter or anyio.CapacityLimiter(1)
        if self._inside >= 1 + _MAX_WAITING:
            raise Refused(503, "busy", "too many people are enrolling now; try again in a few minutes")
        self._inside += 1
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._limiter)
        finally:
            self._inside -= 1


def opened(request: Request, service: CurrentService, link: LinkToken) -> EnrolmentLink:
    """Return the link of a request, before its body is read.

    Raises:
        ConsentDenied: If it does not open.
        Refused: 429 when this address tries too many links.
    """
    try:
        return open_link(service.store, link, service.now())
    except ConsentDenied:
        refuse_if_late(service.by_failure.wait_s(address_of(request)))
        raise


OpenLink = Annotated[EnrolmentLink, Depends(opened)]


def _multipart(*files: str) -> dict[str, Any]:
    """Describe a form for OpenAPI; the body itself is read only after the link was checked."""
    fields = {name: {"type": "string", "format": "binary"} for name in files}
    schema = {"type": "object", "properties": {**fields, "form_token": {"type": "string"}}, "required": ["form_token"]}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@router.get("/{link}")
def welcome(service: CurrentService, link: LinkToken, found: OpenLink) -> HTMLResponse:
    """Explain what enrolling is, and ask for a photo."""
    return _welcome(service, link, found)


@router.post("/{link}/start", openapi_extra=_multipart("portrait"))
async def start(request: Request, service: CurrentService, link: LinkToken, found: OpenLink) -> HTMLResponse:
    """Look at the photo and show what to perform."""
    async with request.form(max_files=1, max_fields=8) as form:
        if not form_holds(service.store, _text(form, "form_token"), "start", found.digest, service.now()):
            return _welcome(service, link, found, "The form was open for too long. Please choose the photo again.", 403)
        if _text(form, "adult") != "yes" or _text(form, "agree") != "yes":
            return _welcome(service, link, found, "Both boxes have to be ticked to go on.", 422)
        upload = form.get("portrait")
        if not isinstance(upload, UploadFile) or not upload.size:
            return _welcome(service, link, found, "Please choose a photo.", 422)
        policy = service.settings.dot
        dot = policy != "off" and _text(form, "dot") == "yes"
        if policy == "required" and not dot:
            return _welcome(service, link, found, _NO_DOT, 422)
        try:
            challenge = await _queue(request).run(partial(enrolling.begin, service, link, upload.file, dot=dot))
        except InputError as error:
            return _welcome(service, link, found, _plain(error, "photo"), 422)
    return _challenge(service, link, found, challenge)


@router.post("/{link}/answer", openapi_extra=_multipart("video"))
async def answer(request: Request, service: CurrentService, link: LinkToken, found: OpenLink) -> HTMLResponse:
    """Check the video and show the result."""
    async with request.form(max_files=1, max_fields=8) as form:
        arrived = service.now()
        challenge_id, upload = _text(form, "challenge_id"), form.get("video")
        subject = f"{found.digest} {challenge_id}"
        if not form_holds(service.store, _text(form, "form_token"), "answer", subject, service.now()):
            return _failed(link, "The form was open for too long, or belongs to another link.", status=403)
        if not isinstance(upload, UploadFile) or not upload.size:
            return _failed(link, "No video came. Please record it again.", status=422)
        mirrored = _text(form, "mirrored") == "yes"
        try:
            work = partial(
                enrolling.finish, service, link, challenge_id, upload.file, mirrored=mirrored, arrived=arrived
            )
            made = await _queue(request).run(work)
        except LivenessFailed as error:
            return _failed(link, "The video did not pass these checks:", error.failures, status=422)
        except InputError as error:
            return _failed(link, _plain(error, "video"), status=422)
        except ConsentDenied as error:
            return _failed(link, _REFUSALS.get(error.reason, str(error)), status=422)
    return page("result.html", cameo_id=made.cameo.id, token=made.token, link=link)


def _welcome(
    service: Service, link: str, found: EnrolmentLink, problem: str = "", status: int = 200
) -> HTMLResponse:
    return page(
        "welcome.html", status=status, name=found.name, link=link, problem=problem,
        form_token=form_token(service.store, "start", found.digest, service.now()),
        video_days=f"{service.settings.enrolment.keep_video_days:g}", max_portrait_mb=service.settings.max_portrait_mb,
        minutes=int(LIFETIME.total_seconds() // 60),
    )  # fmt: skip


def _challenge(service: Service, link: str, found: EnrolmentLink, challenge: Challenge) -> HTMLResponse:
    steps = [{"action": action, "text": challenge_page.step_text(action)} for action in challenge.actions]
    return page(
        "challenge.html", link=link, challenge_id=challenge.id, steps=steps,
        code=challenge.code, code_request=challenge_page.code_request(challenge),
        dot_path=challenge_page.dot_corners(challenge), has_dot=bool(challenge.dot_path),
        dot_required=service.settings.dot == "required",
        expires_iso=challenge.expires.isoformat(), expires_text=f"{challenge.expires:%H:%M}",
        max_video_mb=service.settings.max_video_mb,
        form_token=form_token(service.store, "answer", f"{found.digest} {challenge.id}", service.now()),
    )  # fmt: skip


def _failed(link: str, summary: str, failures: tuple[str, ...] = (), *, status: int) -> HTMLResponse:
    return page("result.html", status=status, cameo_id="", summary=summary, failures=failures, link=link, again=True)


def _plain(error: InputError, what: str) -> str:
    """Say what is wrong with a photo or video in words for the person who took it."""
    for kind, sentence in _PROBLEMS:
        if isinstance(error, kind):
            return sentence.format(what=what)
    return f"This {what} cannot be used: {error}"


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _queue(request: Request) -> _Queue:
    if not hasattr(request.app.state, "enrolment_queue"):
        request.app.state.enrolment_queue = _Queue()
    queue = request.app.state.enrolment_queue
    assert isinstance(queue, _Queue)
    return queue
