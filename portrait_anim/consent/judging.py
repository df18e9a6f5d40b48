"""From a request to a decision inside a transaction, and how a refusal is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from sqlalchemy import Connection

from portrait_anim.consent.acknowledgements import acknowledged_grants, grantee_digest
from portrait_anim.consent.inbox import record_use
from portrait_anim.consent.ledger import append_row, usage
from portrait_anim.consent.matching import MatchPolicy
from portrait_anim.consent.policy import decide
from portrait_anim.consent.records import Decision, LedgerRow, RenderRequest, duration_ms
from portrait_anim.consent.rows import all_cameos, find_cameo, find_grants
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import LedgerTampered


def judge(
    connection: Connection,
    store: ConsentStore,
    request: RenderRequest,
    now: datetime,
    match: MatchPolicy | None,
) -> Decision:
    """Read what a decision needs and decide; records that were tampered with allow nothing.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        request: What is asked.
        now: Current time [UTC].
        match: How alike the portrait must be to the enrolled person.
    """
    try:
        cameo = find_cameo(connection, store, request.cameo_id)
        grants = find_grants(connection, store, cameo_id=request.cameo_id)
        fictional = cameo is not None and cameo.kind == "fictional"
        protected = all_cameos(connection, store, "real") if fictional else []
    except LedgerTampered as error:
        return Decision(allowed=False, reason="tampered", grant_id=None, explanation=str(error))
    used = {grant.id: usage(connection, grant.id) for grant in grants}
    acknowledged = acknowledged_grants(connection, store, grants, request.grantee)
    return decide(request, cameo, grants, now, used, match=match, protected=protected, acknowledged=acknowledged)


def asked_of(store: ConsentStore, request: RenderRequest) -> dict[str, object]:
    """Return the ledger's view of a request: who asked only as a digest that this store can recompute."""
    return {
        "portrait_digest": request.portrait_digest,
        "grantee_digest": grantee_digest(store.store_id, request.grantee),
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
