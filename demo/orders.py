"""Orders of videos: what one press of the button asks for, and the renders that are under way."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from portrait_anim.errors import InputError
from portrait_anim.pipelines.options import AnimationOptions, preset_options
from portrait_anim.studio import RenderResult, animate
from portrait_anim.types import Progress, ProgressCallback
from portrait_anim_demo.rendering import CancelCheck, RenderJob

logger = logging.getLogger(__name__)

OPERATOR = "operator"
"""Grantee of permissions given on this page: whoever sits at this machine."""

CONTEXT = "animate"


def utc_now() -> datetime:
    """The current time [UTC]."""
    return datetime.now(timezone.utc)


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderOrder:
    """Everything one press of the button asks for.

    Attributes:
        portrait: Source portrait file.
        driving: Driving clip file.
        cameo_id: Cameo to animate.
        purpose: Purpose that a grant has to cover.
        options: Choices of the animation.
        audio: `"driver"`, `"none"` or a sound file.
        start_s: Where the driving clip begins [s].
        end_s: Where it stops [s]; `None` for its end.
        compare: Whether portrait and driver are shown beside the result.
        profile: Model profile.
    """

    portrait: str
    driving: str
    cameo_id: str
    purpose: str
    options: AnimationOptions
    audio: str = "driver"
    start_s: float = 0.0
    end_s: float | None = None
    compare: bool = False
    profile: str = "lite"


class Renders:
    """The renders under way, one per browser session.

    Args:
        home: Folder of consent store and keys; finished files go into its `renders` folder.
        clock: Current time, timezone-aware.
    """

    def __init__(self, home: Path, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.home = home
        self.folder = home / "renders"
        self._clock = clock
        self._jobs: dict[str, RenderJob[RenderResult]] = {}
        self._lock = threading.Lock()

    def begin(self, session: str, order: RenderOrder) -> None:
        """Accept an order of one browser session, so that it can be cancelled from now on.

        Args:
            session: Key of the browser session.
            order: What to render.

        Raises:
            InputError: If this session's last render is still running.
        """
        stem = f"{self._clock():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        output, sheet = self.folder / f"{stem}.mp4", self.folder / f"{stem}-sheet.png"

        def work(on_progress: ProgressCallback, cancel: CancelCheck) -> RenderResult:
            self.folder.mkdir(parents=True, exist_ok=True)
            return animate(
                order.portrait,
                order.driving,
                cameo=order.cameo_id,
                output=output,
                sheet=sheet,
                home=self.home,
                options=order.options,
                grantee=OPERATOR,
                purpose=order.purpose,
                context=CONTEXT,
                audio=order.audio,
                start_s=order.start_s,
                end_s=order.end_s,
                compare=order.compare,
                profile=order.profile,
                on_progress=on_progress,
                cancel=cancel,
                clock=self._clock,
            )

        with self._lock:
            if session in self._jobs:
                raise InputError("expected one video at a time, got a second; wait for the first or cancel it")
            self._jobs[session] = RenderJob(work)

    def render(self, session: str) -> Iterator[Progress | RenderResult]:
        """Do what `begin` accepted.

        Args:
            session: Key of the browser session.

        Yields:
            Progress from time to time, then the result.

        Raises:
            PortraitAnimError: Whatever `animate` refuses; `Cancelled` after `cancel`.
        """
        job = self._jobs.get(session)
        if job is None:
            raise InputError("expected an accepted order, got none; press “Generate” again")
        try:
            yield from job.run()
            yield job.result
        finally:
            self._forget(session)

    def cancel(self, session: str) -> bool:
        """Stop the render of one browser session; says whether there was one."""
        job = self._jobs.get(session)
        if job is None:
            return False
        logger.info("render of a browser session is being cancelled")
        job.cancel()
        return True

    def leave(self, session: str) -> None:
        """Forget a browser session that was closed; its render stops."""
        job = self._jobs.get(session)
        if self.cancel(session) and job is not None and not job.started:
            self._forget(session)

    def cancel_all(self) -> None:
        """Stop every render, as when the demo ends, and wait until each has cleaned up."""
        for session in list(self._jobs):
            self.cancel(session)
        deadline = time.monotonic() + 30
        while any(job.started for job in list(self._jobs.values())) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _forget(self, session: str) -> None:
        with self._lock:
            self._jobs.pop(session, None)


def make_options(
    *,
    motion: str,
    expression_gain: float,
    pose_gain: float,
    regions: Sequence[str],
    size_px: float,
    num_steps: float,
    seed: float | None,
    smoothing: float,
    crop_only: bool,
    face: str | None,
    driving_face: str | None,
    profile: str = "lite",
    preset: str = "exact",
) -> AnimationOptions:
    """Turn widget values into options.

    Raises:
        InputError: If a value is out of range, naming the range.
    """
    if not regions:
        raise InputError("expected at least one region that follows the driver, got none; tick one")
    with plain_values():
        return AnimationOptions(
            motion=motion,  # type: ignore[arg-type]
            expression_gain=float(expression_gain),
            pose_gain=float(pose_gain),
            regions=tuple(regions),  # type: ignore[arg-type]
            size_px=int(size_px),
            num_steps=int(num_steps),
            seed=int(seed or 0),
            smoothing=float(smoothing),
            crop_only=crop_only,
            face=face,
            driving_face=driving_face,
            sampling=preset_options(preset).sampling if profile == "xportrait2" else None,  # type: ignore[arg-type]
        )


@contextmanager
def plain_values() -> Iterator[None]:
    """Report values that make no sense as the user's input, with the library's own message."""
    try:
        yield
    except ValueError as error:
        raise InputError(str(error)) from error
