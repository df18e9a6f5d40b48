"""What every route of the service works with: the store, the clock, the settings and the limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Annotated, Final, Literal, TypeAlias, get_args

from fastapi import Depends, Request

from portrait_anim.consent.challenges import ACTIONS, NUM_ACTIONS
from portrait_anim.consent.evidence import EnrolmentPolicy
from portrait_anim.consent.records import CodePolicy
from portrait_anim.consent.store import ConsentStore
from portrait_anim.observation import PassiveLiveness
from portrait_anim.service.limits import RateLimiter

MIB: Final = 1 << 20
DotPolicy: TypeAlias = Literal["off", "optional", "required"]
_JSON_BYTES: Final = 64 * 1024
_FORM_BYTES: Final = MIB  # room for field names and boundaries around an uploaded file


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceSettings:
    """How the service behaves.

    Attributes:
        max_video_mb: Largest challenge video [MiB].
        max_portrait_mb: Largest portrait [MiB].
        address_per_minute: Requests per minute from one address.
        token_per_minute: Requests per minute with one token.
        failures_per_minute: Failed sign-ins per minute from one address.
        burst: How many requests may come at once, in each of these.
        enrolment: What is demanded of people who enrol.
        liveness: A passive liveness network, when one is installed.
        token_lifetime: How long new tokens hold.
        code_policy: Whether six spoken digits must be heard in challenge videos.
        dot: Whether challenges ask to follow a dot: never, where the browser can show it while it records, or always,
            which turns away browsers that cannot.
        num_actions: How many movements a challenge asks for, 5 to 9.
    """

    max_video_mb: int = 200
    max_portrait_mb: int = 20
    address_per_minute: float = 240.0
    token_per_minute: float = 120.0
    failures_per_minute: float = 10.0
    burst: int = 60
    enrolment: EnrolmentPolicy = field(default_factory=EnrolmentPolicy)
    liveness: PassiveLiveness | None = None
    token_lifetime: timedelta = timedelta(days=365)
    code_policy: CodePolicy = "optional"
    dot: DotPolicy = "optional"
    num_actions: int = 5

    def __post_init__(self) -> None:
        if self.max_video_mb < 1 or self.max_portrait_mb < 1:
            raise ValueError("expected upload limits of at least 1 MiB; give a larger one")
        if self.code_policy not in get_args(CodePolicy):
            raise ValueError(f"expected a code policy among {get_args(CodePolicy)}, got {self.code_policy!r}")
        if self.dot not in get_args(DotPolicy):
            raise ValueError(f"expected a policy of the dot among {get_args(DotPolicy)}, got {self.dot!r}")
        if not NUM_ACTIONS <= self.num_actions <= len(ACTIONS):
            raise ValueError(f"expected {NUM_ACTIONS} to {len(ACTIONS)} movements, got {self.num_actions}")

    def body_limit(self, path: str) -> int:
        """Return the largest body that a path accepts [bytes]."""
        if path.startswith("/enrol/") and path.endswith("/answer"):
            return self.max_video_mb * MIB + _FORM_BYTES
        if path.startswith("/enrol/") and path.endswith("/start"):
            return self.max_portrait_mb * MIB + _FORM_BYTES
        return _JSON_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """One running service.

    Attributes:
        store: The open consent store.
        settings: How it behaves.
        clock: Current time, timezone-aware.
        by_address: Requests from one address.
        by_token: Requests with one token.
        by_failure: Failed sign-ins from one address.
        random: Source of randomness of challenges; the operating system's when `None`.
    """

    store: ConsentStore
    settings: ServiceSettings
    clock: Callable[[], datetime]
    by_address: RateLimiter
    by_token: RateLimiter
    by_failure: RateLimiter
    random: Random | None = None
    incoming: Path = field(init=False)

    def __post_init__(self) -> None:
        folder = self.store.home / "incoming"
        folder.mkdir(mode=0o700, exist_ok=True)
        object.__setattr__(self, "incoming", folder)

    def now(self) -> datetime:
        """Return the current time."""
        return self.clock()


def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def address_of(request: Request) -> str:
    """Return where a request came from; behind a proxy, what the proxy says if the server was told to trust it."""
    return request.client.host if request.client else "unknown"


CurrentService = Annotated[Service, Depends(service_of)]
