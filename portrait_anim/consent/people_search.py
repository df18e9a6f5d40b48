"""1:N search: who among all enrolled people a face may be."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select

from portrait_anim.consent import schema
from portrait_anim.consent.face_gallery import FaceGroup, FaceMatch
from portrait_anim.consent.matching import MatchPolicy, matches
from portrait_anim.consent.records import Cameo, CameoKind
from portrait_anim.consent.rows import find_cameo
from portrait_anim.consent.store import ConsentStore
from portrait_anim.types import IdentityEmbedding

__all__ = ["FaceMatch", "nearest_people", "protected_people", "shows_real_person"]

_SAME_PICTURE = select(schema.cameos.c.id).where(
    schema.cameos.c.portrait_digest == bindparam("digest"),
    schema.cameos.c.kind == "real",
    schema.cameos.c.status == "active",
)


def nearest_people(
    connection: Connection,
    store: ConsentStore,
    face: IdentityEmbedding,
    *,
    kinds: Sequence[CameoKind] = ("real",),
    limit: int = 5,
    match: MatchPolicy | None = None,
) -> list[FaceMatch]:
    """Find the active cameos whose face is nearest to one.

    Args:
        connection: Open connection.
        store: The store of the connection.
        face: The face looked for.
        kinds: Kinds of cameos to look among.
        limit: How many at most.
        match: When given, only those that it calls the same person.

    Returns:
        Nearest first, one per cameo. Cameos without a template of the face's backend cannot be compared and are
        not among them: `protected_people` is the question to ask before trust.

    Raises:
        LedgerTampered: If a row was changed outside the program.
        ValueError: If the face is not a finite vector other than zero, or its backend is unknown.
    """
    groups: list[FaceGroup] = list(kinds)
    within = None if match is None else match.limit(face.backend)
    return store.faces.nearest(connection, store, face, groups=groups, limit=limit, within=within)


def protected_people(
    connection: Connection,
    store: ConsentStore,
    face: IdentityEmbedding | None,
    portrait_digest: str,
    match: MatchPolicy | None = None,
) -> list[Cameo]:
    """Return the enrolled real people who stand against calling a face fictional or unknown.

    Deciding against these few gives the same answer as deciding against everybody: the nearest person within
    the limit, those enrolled with the very picture, and somebody who cannot be compared, if there is one.

    Args:
        connection: Open connection.
        store: The store of the connection.
        face: The face, or `None` when none could be measured: then it cannot be compared with anybody.
        portrait_digest: sha256 of the decoded portrait, hexadecimal.
        match: How alike faces must be to count as one person.

    Returns:
        Active real cameos; empty when nobody stands against it.

    Raises:
        LedgerTampered: If a row was changed outside the program.
        ValueError: If the face is not a finite vector other than zero, or its backend is unknown.
    """
    match = match or MatchPolicy()
    same_picture = connection.execute(_SAME_PICTURE, {"digest": portrait_digest}).scalars() if portrait_digest else ()
    ids = dict.fromkeys(same_picture)
    if face is None:
        against = store.faces.anybody(connection, store, "real")
    else:
        within = match.limit(face.backend)
        found, against = store.faces.standing_against(connection, store, face, group="real", within=within)
        if found is not None:
            ids[found.id] = None
    if against is not None:
        ids[against] = None
    people = (find_cameo(connection, store, one) for one in ids)
    return [person for person in people if person is not None and person.status == "active"]


def shows_real_person(
    connection: Connection,
    store: ConsentStore,
    cameo: Cameo,
    match: MatchPolicy | None = None,
    *,
    face: IdentityEmbedding | None = None,
    portrait_digest: str = "",
) -> bool:
    """Say whether a figure shows, or cannot be told from, a real person who enrolled in the meantime.

    Args:
        connection: Open connection.
        store: The store of the connection.
        cameo: The figure.
        match: How alike faces must be to count as one person.
        face: The face on the photo that is rendered, or `None` for those that were enrolled.
        portrait_digest: sha256 of that photo, hexadecimal; `""` for the one that was enrolled.

    Raises:
        LedgerTampered: If a row was changed outside the program.
    """
    match = match or MatchPolicy()
    return any(
        matches(one, person.embeddings, match) is not False
        for one in (cameo.embeddings if face is None else (face,))
        for person in protected_people(connection, store, one, portrait_digest or cameo.portrait_digest, match)
    )
