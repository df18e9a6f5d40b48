"""Search before trust: whom a new face may be, among everybody enrolled and everybody who asked to be protected."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from sqlalchemy import Connection

from portrait_anim.consent.denylist import find_denied
from portrait_anim.consent.matching import MatchPolicy
from portrait_anim.consent.people_search import nearest_people, protected_people
from portrait_anim.consent.records import Cameo
from portrait_anim.consent.rows import find_cameo
from portrait_anim.consent.store import ConsentStore

Refusal: TypeAlias = tuple[str, str]
"""Reason in a word, and a sentence that names nobody."""

_NEAREST: Final = 20
_DENIED: Final[Refusal] = (
    "denylisted",
    "expected a face that may be enrolled, got one that somebody asked to protect here; "
    "the operator can take the entry off the denylist",
)
_INCOMPARABLE: Final[Refusal] = (
    "not_comparable",
    "expected a face that can be compared with all enrolled and protected people, got one measured with another face "
    "model than some of them; use that face model",
)
_SOMEBODY_ELSE: Final[Refusal] = (
    "matches_other_person",
    "expected somebody who is not enrolled yet, got a face that is enrolled under another name; "
    "use that cameo, or ask the operator",
)
_REAL_PERSON: Final[Refusal] = (
    "matches_real_person",
    "expected a figure that does not exist, got the face of an enrolled real person; "
    "that person enrols with `cameo challenge` and grants the use",
)


def known_faces(
    connection: Connection, store: ConsentStore, cameo: Cameo, match: MatchPolicy, same_face: Literal["refuse", "flag"]
) -> tuple[Refusal | None, list[str]]:
    """Compare a living person with the denylist and with everybody enrolled under another name.

    Args:
        connection: Open connection.
        store: The store of the connection.
        cameo: The new cameo, not written yet.
        match: How alike faces must be to count as one person.
        same_face: Whether another name for an enrolled face is refused.

    Returns:
        Why it is refused, or `None`; and the ids of other cameos of the same face. The denylist always refuses.

    Raises:
        LedgerTampered: If a row was changed outside the program.
    """
    others: dict[str, None] = {}
    for face in cameo.embeddings:
        denied = find_denied(connection, store, face, match)
        if denied is not None:
            return (_DENIED if denied.distance is not None else _INCOMPARABLE), []
        for near in nearest_people(connection, store, face, limit=_NEAREST, match=match):
            known = find_cameo(connection, store, near.id)
            if known is not None and known.name.casefold() != cameo.name.casefold():
                others[near.id] = None
    if same_face == "flag":
        return None, list(others)
    if others:
        return _SOMEBODY_ELSE, list(others)
    unlike = store.faces.incomparable(connection, store, cameo.embeddings[0].backend, "real")
    return (None if unlike is None else _INCOMPARABLE), []


def protected_face(connection: Connection, store: ConsentStore, cameo: Cameo, match: MatchPolicy) -> Refusal | None:
    """Say which rule forbids to call a face fictional.

    Args:
        connection: Open connection.
        store: The store of the connection.
        cameo: The figure, not written yet.
        match: How alike faces must be to count as one person.

    Returns:
        Why it is refused, or `None`.

    Raises:
        LedgerTampered: If a row was changed outside the program.
    """
    face = cameo.embeddings[0]
    people = protected_people(connection, store, face, cameo.portrait_digest, match)
    for person in people:
        comparable = any(known.backend == face.backend for known in person.embeddings)
        if comparable or person.portrait_digest == cameo.portrait_digest:
            return _REAL_PERSON
    if people:
        return _INCOMPARABLE
    denied = find_denied(connection, store, face, match)
    if denied is None:
        return None
    return _DENIED if denied.distance is not None else _INCOMPARABLE
