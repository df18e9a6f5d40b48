"""Routes without a token: the pages, whether the service is up, and the signed list of withdrawn renders."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from portrait_anim import challenge_page
from portrait_anim.consent.withdrawal import signed_list
from portrait_anim.service.context import CurrentService
from portrait_anim.service.failures import not_found
from portrait_anim.service.pages import HERE, page
from portrait_anim.service.wire import Health

router = APIRouter(tags=["public"])

_STATIC: Final = {
    "style.css": (HERE / "static", "text/css"),
    "record.js": (HERE / "static", "text/javascript"),
    "manage.js": (HERE / "static", "text/javascript"),
    "perform.css": (challenge_page.HERE, "text/css"),
    "perform.js": (challenge_page.HERE, "text/javascript"),
}


@router.get("/", response_class=HTMLResponse)
def manage_page() -> HTMLResponse:
    """Show the page on which owners manage their cameos; it holds nothing before a key is given."""
    return page("manage.html")


@router.get("/static/{name}", response_class=Response)
def static_file(name: str) -> Response:
    """Give a style sheet or script of the pages."""
    if name not in _STATIC:
        raise not_found()
    folder, media_type = _STATIC[name]
    return Response((folder / name).read_bytes(), media_type=media_type)


@router.get("/health")
def health(service: CurrentService) -> Health:
    """Say whether the service can read its store."""
    with service.store.read():
        return Health()


@router.get("/withdrawals")
def withdrawals(service: CurrentService) -> dict[str, Any]:
    """Publish the signed list of withdrawn renders: permit ids and times, no person."""
    return signed_list(service.store, service.now())
