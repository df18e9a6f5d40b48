"""Showing and deleting cameos; enrolling them is in `enrolling`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from portrait_anim.consent.challenges import (
    ACTIONS,
    LIFETIME,
    NUM_ACTIONS,
    draw_actions,
    issue_challenge,
    open_challenge,
)
from portrait_anim.consent.enrolling import enroll, enroll_fictional
from portrait_anim.consent.erasure import erase_traces
from portrait_anim.consent.ledger import append_row
from portrait_anim.consent.records import Cameo, Challenge, utc
from portrait_anim.consent.retention import erase_due_videos
from portrait_anim.consent.rows import all_cameos, find_cameo, find_grants, put_cameo, put_grant
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentDenied

__all__ = [
    "ACTIONS",
    "LIFETIME",
    "NUM_ACTIONS",
    "delete_cameo",
    "draw_actions",
    "enroll",
    "enroll_fictional",
    "get_cameo",
    "get_challenge",
    "issue_challenge",
    "list_cameos",
]


def get_cameo(store: ConsentStore, cameo_id: str) -> Cameo:
    """Return one cameo, also a deleted one.

    Raises:
        ConsentDenied: If there is none with this id.
        LedgerTampered: If it was changed outside the program.
    """
    with store.read() as connection:
        return _known(connection, store, cameo_id)


def list_cameos(store: ConsentStore, *, deleted: bool = False) -> list[Cameo]:
    """Return the cameos, oldest first.

    Args:
        store: The open store.
        deleted: Whether deleted ones are included.
    """
    with store.read() as connection:
        return [cameo for cameo in all_cameos(connection, store) if deleted or cameo.status == "active"]


def get_challenge(store: ConsentStore, challenge_id: str, now: datetime) -> Challenge:
    """Return a challenge that can still be answered.

    Raises:
        ConsentDenied: If it is unknown, expired or already answered.
    """
    with store.read() as connection:
        return open_challenge(connection, store, challenge_id, utc(now))


def delete_cameo(store: ConsentStore, cameo_id: str, *, now: datetime) -> Cameo:
    """Delete a cameo: name, portrait digest and templates are erased, its grants end, the ledger stays.

    Args:
        store: The open store.
        cameo_id: The cameo to delete.
        now: Current time, timezone-aware.

    Returns:
        What is left of it; deleting twice changes nothing.

    Raises:
        ConsentDenied: If there is no such cameo.
    """
    now = utc(now)
    with store.write() as connection:
        cameo = _known(connection, store, cameo_id)
        if cameo.status == "deleted":
            return cameo
        erased = replace(
            cameo, name="", portrait_digest="", portrait_embeddings=(), video_embeddings=(), statement="",
            status="deleted", deleted_at=now,
        )  # fmt: skip
        put_cameo(connection, store, erased, new=False)
        for grant in find_grants(connection, store, cameo_id=cameo_id):
            if grant.revoked_at is None:
                put_grant(connection, store, replace(grant, revoked_at=now), new=False)
                append_row(
                    connection,
                    store,
                    "revoked",
                    now=now,
                    cameo_id=cameo_id,
                    grant_id=grant.id,
                    payload={"by": "deletion"},
                )
        erased_traces = erase_traces(connection, store, cameo, now)
        append_row(
            connection,
            store,
            "deleted",
            now=now,
            cameo_id=cameo_id,
            payload=erased_traces,
        )
    erase_due_videos(store, now)
    store.forget_free_pages()
    return erased


def _known(connection: Connection, store: ConsentStore, cameo_id: str) -> Cameo:
    cameo = find_cameo(connection, store, cameo_id)
    if cameo is None:
        raise ConsentDenied(
            f"expected the id of an enrolled cameo, got {cameo_id!r}; `cameo list` shows them",
            reason="no_cameo",
        )
    return cameo
