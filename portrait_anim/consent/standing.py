"""Whether a permit that was given still stands: asked before each window of a render, here or on another machine.

A permit stays in its process. Others know it by its id, and what it said is signed in its ledger row, so that a row put
beside the chain opens nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from portrait_anim.consent.denylist import is_denied
from portrait_anim.consent.keys import canonical
from portrait_anim.consent.ledger import recorded, time_text
from portrait_anim.consent.people_search import shows_real_person
from portrait_anim.consent.records import Cameo, LedgerRow, utc
from portrait_anim.consent.rows import find_cameo, find_grants
from portrait_anim.consent.shown_faces import find_shown_face
from portrait_anim.consent.store import ConsentStore
from portrait_anim.consent.withdrawal import was_withdrawn
from portrait_anim.errors import ConsentDenied

PERMIT_LIFETIME: Final = timedelta(hours=12)
_PERMIT: Final = re.compile(r"per_[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PermitFacts:
    """What a permit says.

    Attributes:
        id: Its identifier.
        grant_id: The grant it comes from.
        cameo_id: The cameo it opens.
        cameo_kind: `"real"` or `"fictional"`.
        portrait_digest: sha256 of the portrait, hexadecimal.
        issued: When it was made [UTC].
        expires: First moment at which it no longer holds [UTC].
        max_ms: Longest video [ms].
        profile: Model profile.
        label_size: Smallest visible label.
    """

    id: str
    grant_id: str
    cameo_id: str
    cameo_kind: str
    portrait_digest: str
    issued: datetime
    expires: datetime
    max_ms: int
    profile: str
    label_size: str

    def message(self, store_id: str) -> bytes:
        """Return what the operator signs."""
        return canonical(
            [
                "permit", store_id, self.id, self.grant_id, self.cameo_id, self.cameo_kind, self.portrait_digest,
                time_text(self.issued), time_text(self.expires), self.max_ms, self.profile, self.label_size,
            ]
        )  # fmt: skip


def check_permit(store: ConsentStore, permit_id: str, now: datetime) -> PermitFacts:
    """Check by its id that a permit still holds; for workers on other machines, before each window.

    Args:
        store: The open store.
        permit_id: The permit.
        now: Current time, timezone-aware.

    Returns:
        What the permit says.

    Raises:
        ConsentDenied: If there is no such permit or it no longer holds: stop and destroy what was made.
        ConsentError: If the store cannot be read.
    """
    now = utc(now)
    with store.read() as connection:
        row = recorded(connection, "authorised", permit_id=permit_id) if _PERMIT.fullmatch(permit_id) else None
        facts = None if row is None else _facts(store, row)
        if facts is None:
            raise ConsentDenied(
                f"expected the id of a permit of this store, got {permit_id!r}; stop and call authorise()",
                reason="forged_permit",
            )
        assert row is not None
        refusal = refusal_of(connection, store, facts, row, now)
    if refusal is not None:
        raise refusal
    return facts


def refusal_of(
    connection: Connection, store: ConsentStore, facts: PermitFacts, row: LedgerRow, now: datetime
) -> ConsentDenied | None:
    """Say why a genuine permit no longer holds.

    Args:
        connection: Open connection.
        store: The store of the connection.
        facts: What the permit says, known to be genuine.
        row: The ledger row that gave it.
        now: Current time [UTC].

    Returns:
        The refusal to raise, or `None` when it holds.
    """
    reason, why = "", ""
    if was_withdrawn(connection, facts.id):
        reason, why = "withdrawn", "the owner withdrew this render; stop and destroy what was made"
    elif recorded(connection, "rendered", permit_id=facts.id) or recorded(connection, "aborted", permit_id=facts.id):
        reason, why = "used_up", "it was used already; ask for a new permit"
    else:
        cameo = find_cameo(connection, store, facts.cameo_id)
        grants = find_grants(connection, store, grant_id=facts.grant_id)
        if cameo is None or cameo.status != "active":
            reason, why = "deleted", "the owner deleted the cameo; stop and destroy what was made"
        elif not grants or grants[0].revoked_at is not None:
            reason, why = "revoked", "the owner revoked the grant; stop and destroy what was made"
        elif not facts.issued <= now < facts.expires:
            reason, why = "expired", f"it held until {facts.expires.isoformat()}; ask for a new permit"
        else:
            reason, why = _protected_since(connection, store, facts, row, cameo)
    if not reason:
        return None
    return ConsentDenied(
        f"expected permit {facts.id} to hold, got {reason}: {why}", reason=reason, grant_id=facts.grant_id
    )


def _protected_since(
    connection: Connection, store: ConsentStore, facts: PermitFacts, row: LedgerRow, cameo: Cameo
) -> tuple[str, str]:
    """Say who was protected since the permit was given: reason and sentence, both empty for nobody.

    Asked as when the permit was given: about the face on the photo, by the limits of that time.
    """
    shown = find_shown_face(connection, store, row)
    face, match = (None, None) if shown is None else (shown.embedding, shown.match)
    if is_denied(connection, store, cameo, match, face=face):
        return "denylisted", "the face is protected here since; stop and destroy what was made"
    if cameo.kind == "fictional" and shows_real_person(
        connection, store, cameo, match, face=face, portrait_digest=facts.portrait_digest
    ):
        return "matches_real_person", "the person shown enrolled since; stop and destroy what was made"
    return "", ""


def recorded_facts(facts: PermitFacts, signature: bytes) -> dict[str, object]:
    """Return what the ledger row of a permit keeps, so that the row alone proves it.

    Args:
        facts: What the permit says.
        signature: The operator's signature of it.
    """
    return {
        "cameo_kind": facts.cameo_kind,
        "expires": time_text(facts.expires),
        "label_size": facts.label_size,
        "signature": signature.hex(),
    }


def _facts(store: ConsentStore, row: LedgerRow) -> PermitFacts | None:
    """Read back what a permit said, or `None` when the operator did not sign it."""
    kept = row.payload.get("permit")
    if not isinstance(kept, dict):
        return None
    try:
        facts = PermitFacts(
            id=str(row.permit_id), grant_id=str(row.grant_id), cameo_id=str(row.cameo_id),
            cameo_kind=str(kept["cameo_kind"]), portrait_digest=str(row.payload["portrait_digest"]), issued=row.time,
            expires=datetime.fromisoformat(str(kept["expires"])), max_ms=int(str(row.payload["duration_ms"])),
            profile=str(row.payload["profile"]), label_size=str(kept["label_size"]),
        )  # fmt: skip
        signature = bytes.fromhex(str(kept["signature"]))
    except (KeyError, ValueError):
        return None
    return facts if store.keys.verify(facts.message(store.store_id), signature) else None
