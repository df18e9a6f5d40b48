"""From a request to a decision inside a transaction, and how a refusal is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from portrait_anim.consent.acknowledgements import acknowledged_grants, grantee_digest
from portrait_anim.consent.denylist import is_denied
from portrait_anim.consent.inbox import record_use
from portrait_anim.consent.ledger import append_row
from portrait_anim.consent.matching import MatchPolicy
from portrait_anim.consent.people_search import protected_people
from portrait_anim.consent.policy import decide
from portrait_anim.consent.records import Cameo, Decision, Grant, LedgerRow, RenderRequest, Usage, duration_ms
from portrait_anim.consent.rows import find_cameo, find_grants
from portrait_anim.consent.store import ConsentStore
from portrait_anim.consent.usage import charged
from portrait_anim.errors import LedgerTampered


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """A decision with the records it was made from, so that they are not read again.

    Attributes:
        decision: What the policy says.
        cameo: The cameo asked for, or `None`.
        grant: The grant that the decision names, or `None`.
        so_far: The use of that grant, or `None`.
    """

    decision: Decision
    cameo: Cameo | None
    grant: Grant | None
    so_far: Usage | None = None


def judge(
    connection: Connection,
    store: ConsentStore,
    request: RenderRequest,
    now: datetime,
    match: MatchPolicy | None,
    ahead: Mapping[str, Usage] | None = None,
) -> Judgement:
    """Read what a decision needs and decide; records that were tampered with allow nothing.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        request: What is asked.
        now: Current time [UTC].
        match: How alike the portrait must be to the enrolled person.
        ahead: Use by grant id that will have been made before this request, though nothing of it is recorded yet.
    """
    ahead = ahead or {}
    try:
        cameo = find_cameo(connection, store, request.cameo_id)
        grants = find_grants(connection, store, cameo_id=request.cameo_id)
        used = {grant.id: charged(connection, store, grant.id) + ahead.get(grant.id, Usage()) for grant in grants}
        fictional = cameo is not None and cameo.kind == "fictional"
        face, picture = request.portrait_embedding, request.portrait_digest
        protected = protected_people(connection, store, face, picture, match) if fictional else []
        denylisted = cameo is not None and is_denied(connection, store, cameo, match, face=face)
    except LedgerTampered as error:
        decision = Decision(allowed=False, reason="tampered", grant_id=None, explanation=str(error))
        return Judgement(decision=decision, cameo=None, grant=None)
    acknowledged = acknowledged_grants(connection, store, grants, request.grantee)
    decision = decide(
        request, cameo, grants, now, used, match=match, protected=protected, denylisted=denylisted,
        acknowledged=acknowledged,
    )  # fmt: skip
    chosen = next((grant for grant in grants if grant.id == decision.grant_id), None)
    so_far = None if chosen is None else used[chosen.id]
    return Judgement(decision=decision, cameo=cameo, grant=chosen, so_far=so_far)


def asked_of(store: ConsentStore, request: RenderRequest) -> dict[str, object]:
    """Return the ledger's view of a request: who asked only as a digest that this store can recompute."""
    return {
        "portrait_digest": request.portrait_digest,
        "grantee_digest": grantee_digest(store, request.grantee),
        "purpose": request.purpose,
        "context": request.context,
        "commercial": request.commercial,
        "duration_ms": duration_ms(request.duration_s),
        "profile": request.profile,
    }


def record_refusal(
    connection: Connection,
    store: ConsentStore,
    request: RenderRequest,
    asked: Mapping[str, object],
    decision: Decision,
    now: datetime,
    *,
    reason: str = "",
) -> LedgerRow:
    """Write a refusal to the ledger and into the owner's inbox.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        request: What was asked.
        asked: The ledger's view of it, from `asked_of`.
        decision: What the policy said.
        now: Current time [UTC].
        reason: Another reason than the decision's.

    Returns:
        The ledger row.
    """
    reason = reason or decision.reason
    row = append_row(
        connection, store, "refused", now=now, cameo_id=request.cameo_id, grant_id=decision.grant_id,
        payload={**asked, "reason": reason},
    )  # fmt: skip
    # A cameo that was tampered with has no owner who could be told; the ledger has the attempt.
    with suppress(LedgerTampered):
        record_use(
            connection, store, "refused", cameo_id=request.cameo_id, grantee=request.grantee, purpose=request.purpose,
            context=request.context, now=now, reason=reason,
        )  # fmt: skip
    return row
