"""How errors become answers: one shape, nothing about other people, nothing about the machine."""

from __future__ import annotations

import logging
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from portrait_anim.errors import ConsentDenied, ConsentError, InputError, LedgerTampered
from portrait_anim.service.pages import page

logger = logging.getLogger(__name__)

# Reasons of the gate that are not "you may not": what is not there, and what cannot be done as things stand.
_MISSING: Final = frozenset({"no_cameo", "no_grant", "no_use", "no_permit", "no_account", "no_link", "no_challenge"})
_CONFLICTS: Final = frozenset({"name_taken", "disabled", "too_many_attempts", "challenge_used", "challenge_expired"})

# What people who open a link are told, in place of words for programs.
_WORDS: Final = {
    "no_link": "This link was used already, or it is too old.",
    "too_many_attempts": "This link was tried too often.",
    "too_often": "Too many tries at once. Please wait a minute.",
    "invalid": "This is not an address of this service.",
    "busy": "Too many people are enrolling now. Please try again in a few minutes.",
}


class Refused(Exception):
    """A request that the service itself turns down.

    Attributes:
        status: HTTP status.
        reason: One word.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, reason: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.headers = status, reason, headers


def not_found() -> Refused:
    """Return the one answer for what does not exist and for what belongs to somebody else."""
    return Refused(404, "not_found", "expected the id of something that you can see, got another")


def answer(status: int, reason: str, message: str, **more: object) -> JSONResponse:
    """Return an error in the one shape that all errors have."""
    return JSONResponse({"error": {"reason": reason, "message": message, **more}}, status)


def _shaped(request: Request, status: int, reason: str, message: str, **more: object) -> Response:
    """Return an error as a page where a person looks at pages, else as JSON."""
    if request.url.path.startswith("/enrol/"):
        return page("closed.html", status=status, message=_WORDS.get(reason, message))
    return answer(status, reason, message, **more)


def install(app: FastAPI) -> None:
    """Register how every error is answered."""

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> Response:
        made = _shaped(request, error.status, error.reason, str(error))
        made.headers.update(error.headers or {})
        return made

    @app.exception_handler(ConsentDenied)
    def denied(request: Request, error: ConsentDenied) -> Response:
        status = 404 if error.reason in _MISSING else 409 if error.reason in _CONFLICTS else 403
        return _shaped(request, status, error.reason, str(error), grant_id=error.grant_id)

    @app.exception_handler(ConsentError)
    def unsure(request: Request, error: ConsentError) -> Response:
        # What cannot be established is not allowed; details are for the operator's log, not for the caller.
        logger.error("request failed closed: %s: %s", type(error).__name__, error)
        reason = "tampered" if isinstance(error, LedgerTampered) else "unavailable"
        message = "The consent records cannot be used now; nothing is allowed. Tell the operator."
        return _shaped(request, 503, reason, message)

    @app.exception_handler(ValueError)
    def senseless(request: Request, error: ValueError) -> Response:
        return _shaped(request, 422, "invalid", str(error)[:500])

    @app.exception_handler(InputError)
    def unusable(request: Request, error: InputError) -> Response:
        return _shaped(request, 422, "invalid", str(error)[:500])

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        # What was sent is not repeated: it may hold a secret.
        problems = [{"where": [str(part) for part in one["loc"]], "problem": one["msg"]} for one in error.errors()]
        return _shaped(request, 422, "invalid", "expected a well-formed request; see problems", problems=problems[:20])

    @app.exception_handler(HTTPException)
    def plain(request: Request, error: HTTPException) -> Response:
        made = _shaped(request, error.status_code, "http", str(error.detail)[:200])
        made.headers.update(error.headers or {})
        return made

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> Response:
        logger.error("unexpected %s", type(error).__name__)
        return _shaped(request, 500, "failed", "The service failed; nothing was allowed.")
