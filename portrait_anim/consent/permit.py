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
from datetime import datetime
from typing import Final, NoReturn, final

from sqlalchemy import Connection

from portrait_anim.consent.inbox import record_use
from portrait_anim.consent.judging import Judgement, asked_of, judge, record_refusal
from portrait_anim.consent.keys import signature_holds
from portrait_anim.consent.ledger import append_row, recorded
from portrait_anim.consent.matching import MatchPolicy
from portrait_anim.consent.records import CameoKind, Decision, LabelSize, LedgerRow, RenderRequest, duration_ms, utc
from portrait_anim.consent.shown_faces import ShownFace, keep_shown_face
from portrait_anim.consent.standing import PERMIT_LIFETIME, PermitFacts, recorded_facts, refusal_of
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentDenied

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
        label_size: Smallest visible label that the owner accepts: `"small"`, `"medium"` or `"large"`.
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
        "label_size",
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
    label_size: LabelSize
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


def permit_facts(permit: RenderPermit) -> PermitFacts:
    """Return what a permit says: every field that is signed."""
    return PermitFacts(
        id=permit.id,
        grant_id=permit.grant_id,
        cameo_id=permit.cameo_id,
        cameo_kind=permit.cameo_kind,
        portrait_digest=permit.portrait_digest,
        issued=permit.issued,
        expires=permit.expires,
        max_ms=duration_ms(permit.max_seconds),
        profile=permit.profile,
        label_size=permit.label_size,
    )


def permit_message(permit: RenderPermit) -> bytes:
    """Return what is signed about a permit: every field but the signature and the key."""
    return permit_facts(permit).message(permit.store_id)


def authorise(
    store: ConsentStore, request: RenderRequest, *, now: datetime, match: MatchPolicy | None = None
) -> RenderPermit:
    """Decide about a request, record the decision, and give a permit if it allows.

    Decision, reservation of the grant's use, ledger row and entry in the owner's inbox are one transaction.

    Args:
        store: The open store.
        request: What is asked.
        now: Current time, timezone-aware.
        match: How alike the portrait must be to the enrolled person.

    Returns:
        The permit; its render and its length already count against the grant.

    Raises:
        ConsentDenied: If it is not allowed; the refusal is in the ledger and in the owner's inbox.
        ConsentError: If the store cannot be read or written, or was tampered with.
    """
    now, match = utc(now), match or MatchPolicy()
    permit: RenderPermit | None = None
    with store.write() as connection:
        judgement = judge(connection, store, request, now, match)
        decision = judgement.decision
        asked = asked_of(store, request)
        if decision.allowed:
            permit = _issue(store, request, judgement, now)
            assert request.portrait_embedding is not None  # no decision allows a photo without a measured face
            shown = ShownFace(embedding=request.portrait_embedding, match=match)
            kept = keep_shown_face(connection, store, permit.cameo_id, permit.id, shown)
            append_row(
                connection, store, "authorised", now=now, cameo_id=request.cameo_id, grant_id=permit.grant_id,
                permit_id=permit.id, charge_renders=1, charge_ms=duration_ms(request.duration_s),
                so_far=judgement.so_far,
                payload={
                    **asked,
                    "permit_digest": _digest(permit),
                    "permit": {**recorded_facts(permit_facts(permit), permit.signature), **kept},
                },
            )  # fmt: skip
            record_use(
                connection, store, "draft", cameo_id=request.cameo_id, grantee=request.grantee,
                purpose=request.purpose, context=request.context, now=now, permit_id=permit.id,
                known=judgement.cameo,
            )  # fmt: skip
        else:
            record_refusal(connection, store, request, asked, decision, now)
    if permit is None:
        raise ConsentDenied(
            f"expected a request that the owner allows, got {decision.reason}: {decision.explanation}",
            reason=decision.reason,
            grant_id=decision.grant_id,
        )
    return permit


def refuse(store: ConsentStore, request: RenderRequest, *, reason: str, now: datetime) -> LedgerRow:
    """Record an attempt that ended before the gate could decide, such as a portrait without a face.

    Args:
        store: The open store.
        request: What was asked; `portrait_embedding` is `None` when no face was found.
        reason: Why it ended, as one word such as `"no_face"`; no personal data.
        now: Current time, timezone-aware.

    Returns:
        The ledger row; the owner's inbox has an entry too.

    Raises:
        ConsentError: If the store cannot be written, or was tampered with.
        ValueError: If the reason is not one word.
    """
    if not reason.isidentifier():
        raise ValueError(f"expected a reason as one word, got {reason!r}")
    with store.write() as connection:
        return record_refusal(
            connection,
            store,
            request,
            asked_of(store, request),
            Decision(allowed=False, reason="portrait_mismatch", grant_id=None, explanation=reason),
            utc(now),
            reason=reason,
        )


def still_valid(store: ConsentStore, permit: RenderPermit, now: datetime) -> None:
    """Check during a render, against the store, that the permit still holds.

    Args:
        store: The open store.
        permit: The permit in use.
        now: Current time, timezone-aware.

    Raises:
        ConsentDenied: If the grant was revoked, the cameo deleted, the render withdrawn, the face put on the
            denylist, a person with a figure's face enrolled, or the permit expired, ended or not from here: stop and
            destroy what was made.
        ConsentError: If the store cannot be read.
    """
    now = utc(now)
    with store.read() as connection:
        row = issued_row(connection, store, permit)
        refusal = refusal_of(connection, store, permit_facts(permit), row, now)
    if refusal is not None:
        raise refusal


def _issue(store: ConsentStore, request: RenderRequest, judgement: Judgement, now: datetime) -> RenderPermit:
    cameo, grant = judgement.cameo, judgement.grant
    assert judgement.decision.allowed
    assert cameo is not None
    assert grant is not None
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
        label_size=grant.label_size,
        store_id=store.store_id,
        signature=b"",
        public_key=store.keys.public_key,
    )
    object.__setattr__(permit, "signature", store.keys.sign(permit_message(permit)))
    return permit


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


def _digest(permit: RenderPermit) -> str:
    return hashlib.sha256(permit_message(permit) + permit.signature).hexdigest()


def _forged() -> ConsentDenied:
    return ConsentDenied(
        "expected a permit issued by this consent store, got one that was forged or changed; call authorise()",
        reason="forged_permit",
    )
