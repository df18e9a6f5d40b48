"""Permission for an evaluation: portraits are enrolled as fictional on a recorded statement and granted for it.

There is no way around the gate: what somebody enrolled as a real person is only rendered under a grant that this person
gave, and a face that the store knows as a real person's cannot be declared fictional.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from portrait_anim.consent.grants import grant, list_grants
from portrait_anim.consent.ledger import usage
from portrait_anim.consent.records import Cameo
from portrait_anim.consent.registry import list_cameos
from portrait_anim.consent.store import ConsentStore
from portrait_anim.enrolment import enroll_fictional_from_file
from portrait_anim.inputs import read_portrait
from portrait_anim.media.image import pixel_digest

PURPOSE: Final = "evaluation"
CONTEXT: Final = "evaluation"
_LIFETIME: Final = timedelta(days=30)
_SPARE: Final = 4  # grants allow so many times the work at hand, so that a run can be repeated


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """A portrait that may be asked for.

    Attributes:
        cameo_id: Its cameo.
        kind: `"fictional"` (declared for an evaluation or before) or `"real"` (enrolled by the person).
        new: Whether it was enrolled now.
        digest: sha256 of the decoded portrait, hexadecimal.
    """

    cameo_id: str
    kind: Literal["fictional", "real"]
    new: bool
    digest: str


def declare(
    store: ConsentStore,
    portrait: Path,
    *,
    name: str,
    statement: str,
    grantee: str,
    face: str | None,
    renders: int,
    seconds: float,
    now: datetime,
) -> Declared:
    """Enrol a portrait as fictional unless it is enrolled, and grant what the evaluation needs.

    Nothing is granted on behalf of a real person; whether her own grants suffice is for the gate to say.

    Args:
        store: The open consent store.
        portrait: Picture, or a video whose first frame is taken.
        name: What to call the cameo.
        statement: Why there is nobody to ask.
        grantee: Who renders.
        face: Which face, when there are several.
        renders: Number of renders to come.
        seconds: Length of video to come [s].
        now: Current time, timezone-aware.

    Returns:
        The cameo.

    Raises:
        InputError: If the picture cannot be used.
        ConsentDenied: If the face is an enrolled real person's.
    """
    digest = pixel_digest(read_portrait(portrait))
    cameo = next((known for known in list_cameos(store) if known.portrait_digest == digest), None)
    new = cameo is None
    if cameo is None:
        cameo = enroll_fictional_from_file(store, portrait=portrait, name=name, statement=statement, now=now, face=face)
    if cameo.kind == "fictional" and not _is_granted(store, cameo, grantee, renders, seconds, now):
        grant(
            store, cameo.id, grantee=grantee, purpose=PURPOSE, allowed_contexts=[CONTEXT], expires=now + _LIFETIME,
            max_renders=_SPARE * renders, max_seconds=_SPARE * seconds, now=now,
        )  # fmt: skip
    return Declared(cameo_id=cameo.id, kind=cameo.kind, new=new, digest=digest)


def _is_granted(store: ConsentStore, cameo: Cameo, grantee: str, renders: int, seconds: float, now: datetime) -> bool:
    """Whether one grant still covers all the work at hand."""
    for known in list_grants(store, cameo.id):
        with store.read() as connection:
            used = usage(connection, known.id)
        if (
            known.revoked_at is None
            and now + timedelta(days=1) < known.expires
            and (known.grantee, known.purpose) == (grantee, PURPOSE)
            and CONTEXT in known.allowed_contexts
            and used.renders + renders <= known.max_renders
            and used.milliseconds / 1000 + seconds <= known.max_seconds
        ):
            return True
    return False
