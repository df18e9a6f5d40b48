"""Routes without a token: the pages, whether the service is up, and the signed list of withdrawn renders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from portrait_anim.consent.withdrawal import signed_list
from portrait_anim.service.context import CurrentService
from portrait_anim.service.failures import not_found
from portrait_anim.service.wire import Health

router = APIRouter(tags=["public"])

_HERE: Final = Path(__file__).parent
_STATIC: Final = {"style.css": "text/css", "record.js": "text/javascript", "manage.js": "text/javascript"}
_PAGES: Final = Environment(
    loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def page(template: str, /, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page; every value is escaped.

    Args:
        template: File of the template.
        status: HTTP status.
        **values: What the template shows.
    """
    return HTMLResponse(_PAGES.get_template(template).render(**values), status)


@router.get("/", response_class=HTMLResponse)
def manage_page() -> HTMLResponse:
    """Show the page on which owners manage their cameos; it holds nothing before a key is given."""
    return page("manage.html")


@router.get("/static/{name}", response_class=Response)
def static_file(name: str) -> Response:
    """Give a style sheet or script of the pages."""
    if name not in _STATIC:
        raise not_found()
    return Response((_HERE / "static" / name).read_bytes(), media_type=_STATIC[name])


@router.get("/health")
def health(service: CurrentService) -> Health:
    """Say whether the service can read its store."""
    with service.store.read():
        return Health()


@router.get("/withdrawals")
def withdrawals(service: CurrentService) -> dict[str, Any]:
    """Publish the signed list of withdrawn renders: permit ids and times, no person."""
    return signed_list(service.store, service.now())
