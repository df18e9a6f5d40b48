"""The consent service as one ASGI application."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from functools import partial
from random import Random

import anyio
import anyio.to_thread
from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from portrait_anim import __version__
from portrait_anim.consent.maintenance import maintain
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentError
from portrait_anim.service import enrol, failures, grantee, operator, owner, public, worker
from portrait_anim.service.context import Service, ServiceSettings, address_of
from portrait_anim.service.enrolling import sweep
from portrait_anim.service.failures import answer
from portrait_anim.service.headers import SecurityHeaders
from portrait_anim.service.limits import BodyLimit, RateLimiter
from portrait_anim.service.wire import FailureShown

logger = logging.getLogger(__name__)


def create_app(
    store: ConsentStore,
    *,
    settings: ServiceSettings | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    monotonic: Callable[[], float] = time.monotonic,
    random: Random | None = None,
    maintain_every_s: float | None = None,
) -> FastAPI:
    """Build the service for one store.

    Args:
        store: The open store; it stays open as long as the application is used.
        settings: How the service behaves.
        clock: Current time, timezone-aware.
        monotonic: Time that never goes back, for rate limits [s].
        random: Source of randomness of challenges; the operating system's when `None`.
        maintain_every_s: Do a deployment's regular work this often while serving [s]; `None` leaves it to others.

    Returns:
        The application; its routes are `app.routes`.
    """
    settings = settings or ServiceSettings()
    service = Service(
        store=store,
        settings=settings,
        clock=clock,
        random=random,
        by_address=RateLimiter(per_minute=settings.address_per_minute, burst=settings.burst, clock=monotonic),
        by_token=RateLimiter(per_minute=settings.token_per_minute, burst=settings.burst, clock=monotonic),
        by_failure=RateLimiter(
            per_minute=settings.failures_per_minute, burst=max(1, settings.burst // 6), clock=monotonic
        ),
    )
    app = FastAPI(
        title="portrait_anim consent service",
        version=__version__,
        docs_url=None,  # the interactive pages load scripts from elsewhere
        redoc_url=None,
        responses={status: {"model": FailureShown} for status in (400, 401, 403, 404, 409, 413, 422, 429, 503)},
        lifespan=partial(_lifespan, service=service, every_s=maintain_every_s),
    )
    app.state.service = service
    for room in (public, enrol, owner, grantee, operator, worker):
        app.include_router(room.router)
    failures.install(app)
    app.add_middleware(_AddressLimit, service=service)
    app.add_middleware(BodyLimit, limit_of=settings.body_limit)
    app.add_middleware(SecurityHeaders)
    return app


@asynccontextmanager
async def _lifespan(_: FastAPI, *, service: Service, every_s: float | None) -> AsyncIterator[None]:
    """Do the regular work beside serving, for as long as the service runs."""
    async with anyio.create_task_group() as tasks:
        if every_s is not None:
            tasks.start_soon(_keep_maintained, service, every_s)
        yield
        tasks.cancel_scope.cancel()


async def _keep_maintained(service: Service, every_s: float) -> None:
    while True:
        try:
            await anyio.to_thread.run_sync(maintain, service.store, service.now())
            await anyio.to_thread.run_sync(sweep, service, service.now())
        except (ConsentError, OSError) as error:
            # Requests fail closed on their own; the work is tried again.
            logger.error("maintenance failed: %s: %s", type(error).__name__, error)
        await anyio.sleep(every_s)


class _AddressLimit:
    """ASGI layer that turns away an address that calls too often, before anything is read."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            wait_s = self._service.by_address.wait_s(address_of(Request(scope)))
            if wait_s > 0:
                refused = answer(429, "too_often", f"too many requests; wait {wait_s:.0f} s")
                refused.headers["Retry-After"] = str(int(wait_s) + 1)
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)
