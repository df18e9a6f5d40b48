"""How much one caller may send: requests per minute, and bytes per request."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MOST_CALLERS = 10_000


class RateLimiter:
    """Token buckets by key, in this process's memory.

    Args:
        per_minute: Requests that are given back per minute.
        burst: Requests that may come at once.
        clock: Monotonic time [s].

    Raises:
        ValueError: If a limit is not positive.
    """

    def __init__(self, *, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        if per_minute <= 0 or burst < 1:
            raise ValueError(f"expected positive limits, got {per_minute} per minute and a burst of {burst}")
        self._per_s, self._burst, self._clock = per_minute / 60.0, float(burst), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, key: str) -> float:
        """Take one request from a caller's bucket.

        Args:
            key: Who calls.

        Returns:
            0 when it may go on, otherwise how long to wait [s]; a refused request takes nothing.
        """
        now = self._clock()
        with self._lock:
            left, since = self._buckets.pop(key, (self._burst, now))
            left = min(self._burst, left + max(0.0, now - since) * self._per_s)
            allowed = left >= 1.0
            self._buckets[key] = (left - 1.0 if allowed else left, now)
            # The longest unseen callers have full buckets again: forgetting them changes nothing but memory.
            while len(self._buckets) > _MOST_CALLERS:
                self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - left) / self._per_s


class BodyLimit:
    """ASGI layer that ends a request whose body is larger than its path allows, while it arrives.

    Args:
        app: The application inside.
        limit_of: Largest body by path [bytes].
    """

    def __init__(self, app: ASGIApp, limit_of: Callable[[str], int]) -> None:
        self._app, self._limit_of = app, limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit, seen, started = self._limit_of(scope["path"]), 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise BodyTooLarge(limit)
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            declared = next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)
        except ValueError:
            declared = limit + 1
        try:
            if declared > limit:
                raise BodyTooLarge(limit)
            await self._app(scope, counted, watched)
        except BodyTooLarge:
            if started:
                raise
            await _refuse(send, limit)


class BodyTooLarge(BaseException):
    """The body went over the limit; not an `Exception`, so that no handler in between answers in its place."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"body larger than {limit} bytes")


async def _refuse(send: Send, limit: int) -> None:
    body = b'{"error":{"reason":"too_large","message":"expected at most %d bytes; send less"}}' % limit
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
