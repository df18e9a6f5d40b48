"""What the widgets of the page do: their values go into the public API, plain values come back.

Nothing here decides about consent or makes a video by itself; both are asked of `portrait_anim`, which refuses
what is not allowed. Errors are those of `portrait_anim.errors`; the page shows their message.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from portrait_anim.consent.grants import grant, list_grants, revoke
from portrait_anim.consent.ledger import usage
from portrait_anim.consent.records import Cameo, Challenge, CodePolicy, Grant, Usage
from portrait_anim.consent.registry import get_cameo, list_cameos
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.enrolment import enroll_fictional_from_file, enroll_from_files, issue_challenge_for
from portrait_anim.errors import Cancelled, InputError
from portrait_anim.types import Progress, ProgressCallback
from portrait_anim_demo.looking import Look, look_at_clip, look_at_portrait
from portrait_anim_demo.orders import CONTEXT, OPERATOR, Renders, plain_values, utc_now


class Handlers:
    """The actions behind the page; one object per running demo.

    Args:
        home: Folder of consent store and keys; results go into its `renders` folder.
        clock: Current time, timezone-aware; tests inject it.
        random: Source of the challenges; the operating system's when `None`.
        code_policy: Whether six spoken digits must be heard in challenge videos.
        dot: Whether challenges ask to follow a dot.
    """

    def __init__(
        self,
        home: Path,
        *,
        clock: Callable[[], datetime] = utc_now,
        random: Random | None = None,
        code_policy: CodePolicy = "optional",
        dot: bool = True,
    ) -> None:
        self.home, self.code_policy, self.dot = home, code_policy, dot
        self.renders = Renders(home, clock=clock)
        self._clock, self._random = clock, random
        self._closing = threading.Event()
        home.mkdir(parents=True, exist_ok=True)

    # -- what was chosen ------------------------------------------------------------------------------------

    def portrait(self, path: str | None, face: str | None = None) -> Look | None:
        """Look at a portrait; `None` when there is none."""
        return look_at_portrait(Path(path), face) if path else None

    def clip(self, path: str | None, face: str | None = None) -> Look | None:
        """Look at a driving clip; `None` when there is none."""
        return look_at_clip(Path(path), face) if path else None

    # -- cameos ---------------------------------------------------------------------------------------------

    def cameos(self) -> list[Cameo]:
        """Enrolled cameos, newest first."""
        with self._store() as store:
            return list_cameos(store)[::-1]

    def cameo(self, cameo_id: str) -> Cameo:
        """One enrolled cameo."""
        with self._store() as store:
            return get_cameo(store, cameo_id)

    def enrol_fictional(self, portrait: str | None, face: str | None, name: str, statement: str) -> Cameo:
        """Enrol a figure that does not exist, on the operator's statement.

        Args:
            portrait: Its picture.
            face: Which face on it.
            name: What to call it.
            statement: Why there is nobody to ask.

        Returns:
            The new cameo; nothing is granted by it.

        Raises:
            InputError: If something is missing or cannot be used.
            ConsentDenied: If the face is that of an enrolled real person.
        """
        picture = _given(portrait, "a portrait (step 1)")
        with plain_values(), self._store() as store:
            return enroll_fictional_from_file(
                store, portrait=picture, name=name, statement=statement, now=self._clock(), face=face
            )

    def challenge(self, name: str, portrait: str | None, face: str | None = None, *, adult: bool = False) -> Challenge:
        """Issue a challenge to a living person, good for one portrait.

        Args:
            name: Name of the person.
            portrait: Photo of the person, which will be enrolled.
            face: Which face on it.
            adult: Whether the person declared to be of age.

        Raises:
            InputError: If something is missing or cannot be used.
            ConsentDenied: If the person did not declare to be of age.
        """
        picture = _given(portrait, "a portrait of the person (step 1)")
        with plain_values(), self._store() as store:
            return issue_challenge_for(
                store,
                portrait=picture,
                face=face,
                name=name,
                adult_declared=adult,
                now=self._clock(),
                random=self._random,
                code_policy=self.code_policy,
                dot=self.dot,
            )

    def enrol_real(
        self,
        challenge: Challenge | None,
        portrait: str | None,
        face: str | None,
        video: str | None,
        on_progress: ProgressCallback | None = None,
    ) -> Cameo:
        """Enrol the person who answers a challenge.

        Args:
            challenge: The challenge issued on this page.
            portrait: Photo of the person.
            face: Which face on it.
            video: The recorded answer.
            on_progress: Told about progress.

        Returns:
            The new cameo; nothing is granted by it.

        Raises:
            InputError: If something is missing or cannot be used.
            ConsentDenied: If the challenge is expired or was answered before.
            LivenessFailed: If the video does not answer it; `failures` says why.
            Cancelled: If the demo ends meanwhile.
        """
        if challenge is None:
            raise InputError("expected an issued challenge, got none; press “Issue a challenge” first")
        picture = _given(portrait, "a portrait of the person (step 1)")
        answer = _given(video, "a recorded or uploaded challenge video")

        def report(progress: Progress) -> None:
            if self._closing.is_set():
                raise Cancelled("stopped because the demo ends; the challenge can still be answered")
            if on_progress:
                on_progress(progress)

        with plain_values(), self._store() as store:
            return enroll_from_files(
                store,
                challenge_id=challenge.id,
                portrait=picture,
                video=answer,
                now=self._clock(),
                face=face,
                on_progress=report,
            )

    # -- permissions ----------------------------------------------------------------------------------------

    def grants(self, cameo_id: str) -> list[tuple[Grant, Usage]]:
        """All grants of a cameo with their use, oldest first."""
        with self._store() as store:
            grants = list_grants(store, cameo_id)
            with store.read() as connection:
                return [(one, usage(connection, one.id)) for one in grants]

    def grant(
        self, cameo_id: str | None, *, purpose: str, max_seconds: float | None, max_renders: float | None, hours: float
    ) -> Grant:
        """Allow whoever sits at this machine to render with a cameo.

        Args:
            cameo_id: The cameo.
            purpose: What for.
            max_seconds: Length of video in all [s].
            max_renders: Number of videos in all.
            hours: How long it holds [h].

        Returns:
            The grant.

        Raises:
            InputError: If a limit is missing or makes no sense.
            ConsentDenied: If there is no such cameo.
        """
        if not cameo_id:
            raise InputError("expected a cameo, got none; choose or enrol one first")
        now = self._clock()
        with plain_values(), self._store() as store:
            return grant(
                store,
                cameo_id,
                grantee=OPERATOR,
                purpose=purpose,
                allowed_contexts=[CONTEXT],
                expires=now + timedelta(hours=hours),
                max_renders=int(max_renders or 0),
                max_seconds=float(max_seconds or 0),
                now=now,
            )

    def revoke(self, grant_id: str | None) -> Grant:
        """End a grant at once, also for a render that is running.

        Raises:
            InputError: If none was chosen.
            ConsentDenied: If there is no such grant.
        """
        if not grant_id:
            raise InputError("expected a permission to revoke, got none; choose one from the list")
        with self._store() as store:
            return revoke(store, grant_id, self._clock())

    def purpose(self, cameo_id: str, grant_id: str | None) -> str:
        """What a render under a grant may state as its purpose; empty without one, which the gate refuses."""
        return next((one.purpose for one, _ in self.grants(cameo_id) if one.id == grant_id), "")

    def now(self) -> datetime:
        """Current time."""
        return self._clock()

    def close(self) -> None:
        """Stop whatever is under way, as when the demo ends."""
        self._closing.set()
        self.renders.cancel_all()

    def _store(self) -> ConsentStore:
        return open_store(self.home)


def _given(path: str | None, what: str) -> Path:
    if not path:
        raise InputError(f"expected {what}, got none; choose one first")
    return Path(path)
