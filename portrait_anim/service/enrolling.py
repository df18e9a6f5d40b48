"""From uploaded files to a cameo with an owner: the steps between the enrolment pages and the gate."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Final

from portrait_anim import enrolment
from portrait_anim.consent import accounts, links
from portrait_anim.consent.challenges import issue_challenge
from portrait_anim.consent.handover import Handover
from portrait_anim.consent.records import Cameo, Challenge
from portrait_anim.errors import ConsentDenied
from portrait_anim.service.context import Service

_KEPT: Final = timedelta(minutes=30)
_SUFFIX: Final = ".portrait"


@dataclass(frozen=True, kw_only=True, slots=True)
class Enrolled:
    """A person who just enrolled.

    Attributes:
        cameo: The new cameo.
        token: The owner's token, shown once.
    """

    cameo: Cameo
    token: str = field(repr=False)


def begin(service: Service, link_token: str, portrait: IO[bytes], *, dot: bool) -> Challenge:
    """Look at the portrait, keep it encrypted until the video comes, and issue a challenge.

    Args:
        service: The service.
        link_token: Token of the one-time link.
        portrait: The uploaded picture.
        dot: Whether the page can show a dot to follow.

    Returns:
        The challenge to show; the person declared to be of age.

    Raises:
        ConsentDenied: If the link does not open or was tried too often.
        InputError: If the picture cannot be used.
    """
    now = service.now()
    link = links.open_link(service.store, link_token, now)
    with _file(service, portrait) as path:
        measured = enrolment.measure_portrait(path)
        content = path.read_bytes()
    links.count_attempt(service.store, link_token, now)
    challenge = issue_challenge(
        service.store, name=link.name, portrait_digest=measured.digest, adult_declared=True, now=now, dot=dot,
        code_policy=service.settings.code_policy, link_token_digest=link.digest, random=service.random,
        num_actions=service.settings.num_actions,
    )  # fmt: skip
    sealed = service.store.vault.seal(content, "incoming", challenge.id, link.digest)
    _write_private(service.incoming / f"{challenge.id}{_SUFFIX}", sealed)
    return challenge


def finish(
    service: Service,
    link_token: str,
    challenge_id: str,
    video: IO[bytes],
    *,
    mirrored: bool,
    arrived: datetime,
) -> Enrolled:
    """Check the video that answers a challenge; enrol the person and make the owner's account if it holds.

    Args:
        service: The service.
        link_token: Token of the one-time link.
        challenge_id: The challenge, issued through the same link.
        video: The uploaded video.
        mirrored: Whether the camera saved a mirror image.
        arrived: When the whole upload was here: how long it then waited for its turn is not the person's fault.

    Returns:
        Cameo and token.

    Raises:
        ConsentDenied: If link or challenge do not hold.
        LivenessFailed: If the video does not answer the challenge; `failures` says why.
        InputError: If the video cannot be used.
    """
    link = links.open_link(service.store, link_token, arrived)
    kept = service.incoming / f"{challenge_id}{_SUFFIX}"
    try:
        # Sealed for this link: a challenge that was issued through another one does not open.
        portrait = service.store.vault.open(kept.read_bytes(), "incoming", challenge_id, link.digest)
    except OSError:
        raise ConsentDenied(
            "expected a challenge that was issued through this link, got another; start again", reason="no_challenge"
        ) from None
    token = accounts.draw_token(arrived, service.settings.token_lifetime)
    try:
        with _file(service, video) as video_path, tempfile.TemporaryDirectory(dir=service.incoming) as folder:
            portrait_path = Path(folder) / "portrait"
            _write_private(portrait_path, portrait)
            cameo = enrolment.enroll_from_files(
                service.store, challenge_id=challenge_id, portrait=portrait_path, video=video_path, now=arrived,
                mirrored=mirrored, policy=service.settings.enrolment, liveness=service.settings.liveness,
                handover=Handover(link_token=link_token, owner_token=token),
            )  # fmt: skip
    finally:
        kept.unlink(missing_ok=True)
    return Enrolled(cameo=cameo, token=token)


def sweep(service: Service, now: datetime) -> int:
    """Remove portraits whose video never came, and files that a killed process left; return how many."""
    removed = 0
    oldest = (now - _KEPT).timestamp()
    for path in service.incoming.iterdir():
        if path.lstat().st_mtime < oldest:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
            removed += 1
    return removed


@contextmanager
def _file(service: Service, upload: IO[bytes]) -> Iterator[Path]:
    """Give an upload a name of our own in a private folder, for as long as the block runs."""
    with tempfile.TemporaryDirectory(dir=service.incoming) as folder:
        path = Path(folder) / "upload"
        with path.open("xb") as file:
            shutil.copyfileobj(upload, file)
        yield path


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
