"""The permit: without one, nothing is rendered.

Only `authorise` makes permits, and only from an allowing decision that is already in the ledger. A permit is
signed, so changing one of its fields by force makes it worthless; `still_valid` asks the store, which no
forged object passes. Python cannot keep code in the same process from patching this module: the gate protects
people from users of the program, not from whoever rewrites it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NoReturn, final

from sqlalchemy import Connection

from portrait_anim.consent.keys import canonical, signature_holds
from portrait_anim.consent.ledger import append_row, checked_head, recorded, time_text, usage
from portrait_anim.consent.matching import MatchPolicy
from portrait_anim.consent.policy import decide
from portrait_anim.consent.records import CameoKind, Decision, LedgerRow, RenderRequest, duration_ms, utc
from portrait_anim.consent.rows import all_cameos, find_cameo, find_grants
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentDenied, LedgerTampered

PERMIT_LIFETIME = timedelta(hours=12)

_SEAL: Final = object()


@final
class RenderPermit:
    """The authorisation of one render. Made by `authorise`, never directly.

    Attributes:
        id: Identifier, `per_` and 16 hexadecimal digits.
        grant_id: The grant it comes from.
        cameo_id: The cameo it opens.
        cameo_kind: `"real"` or `"fictional"`.
        portrait_digest: sha256 of the one decoded portrait it holds for, hexadecimal.
        issued: When it was made [UTC].
        expires: First moment at which it no longer holds [UTC].
        max_seconds: Longest video [s].
        profile: Model profile it was asked for.
        signature: The operator's Ed25519 signature over all of this.
        public_key: The operator's raw public key.
    """

    __slots__ = (
        "cameo_id",
        "cameo_kind",
        "expires",
        "grant_id",
        "id",
        "issued",
        "max_seconds",
        "portrait_digest",
        "profile",
        "public_key",
        "signature",
        "store_id",
    )

    id: str
    grant_id: str
    cameo_id: str
    cameo_kind: CameoKind
    portrait_digest: str
    issued: datetime
    expires: datetime
    max_seconds: float
    profile: str
    store_id: str
    signature: bytes
    public_key: bytes

    def __init__(self, seal: object = None, /, **fields: object) -> None:
        if seal is not _SEAL:
            raise ConsentDenied(
                "expected a permit from the consent gate, got an attempt to make one; call authorise()",
                reason="forged_permit",
            )
        for name in self.__slots__:
            object.__setattr__(self, name, fields[name])

    def __init_subclass__(cls, **kwargs: object) -> NoReturn:
        raise TypeError("expected RenderPermit itself, got a subclass; permits cannot be extended")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"expected permits to stay as issued, got a change of {name}; call authorise() again")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"expected permits to stay as issued, got a removal of {name}; call authorise() again")

    def __copy__(self) -> NoReturn:
        raise TypeError("expected one permit per render, got an attempt to copy it; call authorise() again")

    def __deepcopy__(self, memo: Mapping[int, object]) -> NoReturn:
        raise TypeError("expected one permit per render, got an attempt to copy it; call authorise() again")

    def __replace__(self, **changes: object) -> NoReturn:
        raise TypeError("expected permits to stay as issued, got an attempt to replace fields; call authorise() again")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("expected a permit to stay in its process, got an attempt to pickle it; call authorise() there")

    def __repr__(self) -> str:
        return f"RenderPermit(id={getattr(self, 'id', '?')!r}, grant_id={getattr(self, 'grant_id', '?')!r})"

    def check(self, portrait_digest: str, now: datetime) -> None:
        """Check that the permit is genuine and holds now for a portrait.

        Args:
            portrait_digest: sha256 of the decoded portrait about to be animated, hexadecimal.
            now: Current time, timezone-aware.

        Raises:
            ConsentDenied: If the permit was forged or changed, is for another portrait, or does not hold now.
        """
        now = utc(now)
        try:
            genuine = signature_holds(self.public_key, permit_message(self), self.signature)
        except (AttributeError, TypeError, ValueError):
            genuine = False
        if not genuine:
            raise _forged()
        if not hmac.compare_digest(portrait_digest.encode(), self.portrait_digest.encode()):
            raise ConsentDenied(
                f"expected the portrait that permit {self.id} was given for, got another picture; ask for a new permit",
                reason="portrait_mismatch",
                grant_id=self.grant_id,
            )
        if not self.issued <= now < self.expires:
            raise ConsentDenied(
                f"expected use between {self.issued.isoformat()} and {self.expires.isoformat()}, "
                f"got {now.isoformat()}; ask for a new permit or correct the clock",
                reason="expired",
                grant_id=self.grant_id,
            )


def permit_message(permit: RenderPermit) -> bytes:
    """Return what is signed about a permit: every field but the signature and the key."""
    return canonical(
        [
            "permit",
            permit.store_id,
            permit.id,
            permit.grant_id,
            permit.cameo_id,
            permit.cameo_kind,
            permit.portrait_digest,
            time_text(permit.issued),
            time_text(permit.expires),
            duration_ms(permit.max_seconds),
            permit.profile,
        ]
    )


def authorise(
    store: ConsentStore, request: RenderRequest, *, now: datetime, match: MatchPolicy | None = None
) -> RenderPermit:
    """Decide about a request, record the decision, and give a permit if it allows.

    Decision, reservation of the grant's use and ledger row are one transaction.

    Args:
        store: The open store.
        request: What is asked.
        now: Current time, timezone-aware.
        match: How alike the portrait must be to the enrolled person.

    Returns:
        The permit; its render and its length already count against the grant.

    Raises:
        ConsentDenied: If it is not allowed; the refusal is in the ledger.
        ConsentError: If the store cannot be read or written, or was tampered with.
    """
    now = utc(now)
    permit: RenderPermit | None = None
    with store.write() as connection:
        checked_head(connection, store)
        decision = _decision(connection, store, request, now, match)
        payload = _asked(store, request)
        if decision.allowed:
            permit = _issue(connection, store, request, decision, now)
            append_row(
                connection,
                store,
                "authorised",
                now=now,
                cameo_id=request.cameo_id,
                grant_id=permit.grant_id,
                permit_id=permit.id,
                charge_renders=1,
                charge_ms=duration_ms(request.duration_s),
                payload={**payload, "permit_digest": _digest(permit)},
            )
        else:
            append_row(
                connection,
                store,
                "refused",
                now=now,
                cameo_id=request.cameo_id,
                grant_id=decision.grant_id,
                payload={**payload, "reason": decision.reason},
            )
    if permit is None:
        raise ConsentDenied(
            f"expected a request that the owner allows, got {decision.reason}: {decision.explanation}",
            reason=decision.reason,
            grant_id=decision.grant_id,
        )
    return permit


def still_valid(store: ConsentStore, permit: RenderPermit, now: datetime) -> None:
    """Check during a render, against the store, that the permit still holds.

    Args:
        store: The open store.
        permit: The permit in use.
        now: Current time, timezone-aware.

    Raises:
        ConsentDenied: If the grant was revoked, the cameo deleted, or the permit expired, ended or not from
            here.
        ConsentError: If the store cannot be read.
    """
    now = utc(now)
    with store.read() as connection:
        issued_row(connection, store, permit)
        refusal = standing_refusal(connection, store, permit, now)
    if refusal is not None:
        raise refusal


def _decision(
    connection: Connection,
    store: ConsentStore,
    request: RenderRequest,
    now: datetime,
    match: MatchPolicy | None,
) -> Decision:
    try:
        cameo = find_cameo(connection, store, request.cameo_id)
        grants = find_grants(connection, store, cameo_id=request.cameo_id)
        fictional = cameo is not None and cameo.kind == "fictional"
        protected = all_cameos(connection, store, "real") if fictional else []
    except LedgerTampered as error:
        return Decision(allowed=False, reason="tampered", grant_id=None, explanation=str(error))
    used = {grant.id: usage(connection, grant.id) for grant in grants}
    return decide(request, cameo, grants, now, used, match=match, protected=protected)


def _issue(
    connection: Connection, store: ConsentStore, request: RenderRequest, decision: Decision, now: datetime
) -> RenderPermit:
    assert decision.allowed
    assert decision.grant_id is not None
    cameo = find_cameo(connection, store, request.cameo_id)
    (grant,) = find_grants(connection, store, grant_id=decision.grant_id)
    assert cameo is not None
    permit = RenderPermit(
        _SEAL,
        id=f"per_{secrets.token_hex(8)}",
        grant_id=grant.id,
        cameo_id=cameo.id,
        cameo_kind=cameo.kind,
        portrait_digest=request.portrait_digest,
        issued=now,
        expires=min(grant.expires, now + PERMIT_LIFETIME),
        max_seconds=duration_ms(request.duration_s) / 1000,
        profile=request.profile,
        store_id=store.store_id,
        signature=b"",
        public_key=store.keys.public_key,
    )
    object.__setattr__(permit, "signature", store.keys.sign(permit_message(permit)))
    return permit


def _asked(store: ConsentStore, request: RenderRequest) -> dict[str, object]:
    """Return the ledger's view of a request: who asked only as a digest that this store can recompute."""
    return {
        "portrait_digest": request.portrait_digest,
        "grantee_digest": hashlib.sha256(canonical(["grantee", store.store_id, request.grantee])).hexdigest(),
        "purpose": request.purpose,
        "context": request.context,
        "commercial": request.commercial,
        "duration_ms": duration_ms(request.duration_s),
        "profile": request.profile,
    }


def issued_row(connection: Connection, store: ConsentStore, permit: RenderPermit) -> LedgerRow:
    """Return the ledger row that made a permit.

    Args:
        connection: Open connection.
        store: The store of the connection.
        permit: Any permit.

    Raises:
        ConsentDenied: If this store did not make it, or it was changed since.
    """
    if type(permit) is not RenderPermit:
        raise _forged()
    try:
        genuine = store.keys.verify(permit_message(permit), permit.signature) and permit.store_id == store.store_id
    except (AttributeError, TypeError, ValueError):
        genuine = False
    row = recorded(connection, "authorised", permit_id=permit.id) if genuine else None
    if row is None or row.payload.get("permit_digest") != _digest(permit):
        raise _forged()
    return row


def standing_refusal(
    connection: Connection, store: ConsentStore, permit: RenderPermit, now: datetime
) -> ConsentDenied | None:
    """Say why a genuine permit no longer holds.

    Args:
        connection: Open connection.
        store: The store of the connection.
        permit: A permit that `issued_row` accepted.
        now: Current time [UTC].

    Returns:
        The refusal to raise, or `None` when it holds.
    """
    reason, why = "", ""
    if recorded(connection, "rendered", permit_id=permit.id) or recorded(connection, "aborted", permit_id=permit.id):
        reason, why = "used_up", "it was used already; ask for a new permit"
    else:
        cameo = find_cameo(connection, store, permit.cameo_id)
        grants = find_grants(connection, store, grant_id=permit.grant_id)
        if cameo is None or cameo.status != "active":
            reason, why = "deleted", "the owner deleted the cameo; stop and destroy what was made"
        elif not grants or grants[0].revoked_at is not None:
            reason, why = "revoked", "the owner revoked the grant; stop and destroy what was made"
        elif not permit.issued <= now < permit.expires:
            reason, why = "expired", f"it held until {permit.expires.isoformat()}; ask for a new permit"
    if not reason:
        return None
    return ConsentDenied(
        f"expected permit {permit.id} to hold, got {reason}: {why}", reason=reason, grant_id=permit.grant_id
    )


def _digest(permit: RenderPermit) -> str:
    return hashlib.sha256(permit_message(permit) + permit.signature).hexdigest()


def _forged() -> ConsentDenied:
    return ConsentDenied(
        "expected a permit issued by this consent store, got one that was forged or changed; call authorise()",
        reason="forged_permit",
    )
