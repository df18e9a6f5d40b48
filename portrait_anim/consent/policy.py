"""The rule: request, cameo, grants and use so far give a decision. Pure; what is not allowed is denied."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from portrait_anim.consent.matching import MatchPolicy, matches
from portrait_anim.consent.records import (
    ANY,
    Cameo,
    Decision,
    DecisionReason,
    Grant,
    RenderRequest,
    Usage,
    duration_ms,
    utc,
)

# Checks of one grant in the order they are made; among several grants the one that passes most is reported.
_ORDER: tuple[DecisionReason, ...] = (
    "wrong_grantee",
    "revoked",
    "expired",
    "wrong_purpose",
    "wrong_context",
    "not_acknowledged",
    "too_long",
    "used_up",
    "allowed",
)

_Check = tuple[DecisionReason, bool, str]  # what is refused, whether it passes, the sentence for the person who asks


def decide(
    request: RenderRequest,
    cameo: Cameo | None,
    grants: Iterable[Grant],
    now: datetime,
    used: Mapping[str, Usage],
    *,
    match: MatchPolicy | None = None,
    protected: Sequence[Cameo] = (),
    denylisted: bool = False,
    acknowledged: Collection[str] = (),
) -> Decision:
    """Decide whether one render may start.

    A grant opens a cameo for its owner only (`level` `"owner"`), for one named person (`"person"`) or for everyone in
    this deployment (`"everyone"`). Whoever is not the owner must have confirmed what the owner forbids.

    Args:
        request: What is asked.
        cameo: The cameo asked for, or `None` when there is none with that id.
        grants: Grants of that cameo; grants of others are ignored.
        now: Current time, timezone-aware.
        used: Use so far by grant id; a grant that is not in it is unused.
        match: How alike the portrait must be to the enrolled person.
        protected: Enrolled real people whose faces a fictional cameo must not show.
        denylisted: Whether the portrait shows somebody on the operator's denylist.
        acknowledged: Ids of the grants whose forbidden content the asking person confirmed to have read.

    Returns:
        The decision; never an exception for a refusal.

    Raises:
        ValueError: If `now` has no timezone.
    """
    now = utc(now)
    match = match or MatchPolicy()
    if cameo is None or cameo.id != request.cameo_id:
        return _deny("no_cameo", f"there is no cameo {request.cameo_id}; `cameo list` shows the enrolled ones")
    if cameo.status != "active":
        return _deny("deleted", f"the owner deleted cameo {cameo.id}; it cannot be used any more")
    mismatch = _portrait_mismatch(request, cameo, match, protected)
    if mismatch:
        return _deny("portrait_mismatch", mismatch)
    if denylisted:
        return _deny(
            "denylisted",
            "the portrait shows, or cannot be told from, somebody who asked never to be animated here; use another",
        )
    return _best_of(request, cameo, grants, now, used, acknowledged)


def _best_of(
    request: RenderRequest,
    cameo: Cameo,
    grants: Iterable[Grant],
    now: datetime,
    used: Mapping[str, Usage],
    acknowledged: Collection[str],
) -> Decision:
    """Return the first grant that allows, else the refusal of the one that came nearest."""
    nearest: Decision | None = None
    for grant in grants:
        if grant.cameo_id != cameo.id:
            continue
        decision = _judge(
            request, cameo, grant, now, used=used.get(grant.id, Usage()), acknowledged=grant.id in acknowledged
        )
        if decision.allowed:
            return decision
        if nearest is None or _ORDER.index(decision.reason) > _ORDER.index(nearest.reason):
            nearest = decision
    if nearest is None:
        return _deny("no_grant", f"the owner of cameo {cameo.id} granted nothing; ask for a grant (`cameo grant`)")
    return nearest


def _portrait_mismatch(
    request: RenderRequest, cameo: Cameo, match: MatchPolicy, protected: Sequence[Cameo]
) -> str | None:
    """Say why the portrait is not the cameo's person, or `None` when it is."""
    face = request.portrait_embedding
    if face is None:
        return f"no face could be measured on the portrait; use a clear photo of the person of cameo {cameo.id}"
    # Also on the enrolled picture itself: it may show two faces, of which one was enrolled.
    alike = matches(face, cameo.proven_faces, match)
    if alike is None:
        return (
            f"the portrait was measured with {face.backend}, cameo {cameo.id} was enrolled with another "
            "face model; enrol again with this face model"
        )
    if not alike:
        return f"the portrait does not show the person of cameo {cameo.id}; use a portrait of that person"
    if cameo.kind == "fictional":
        for person in protected:
            if person.kind != "real" or person.status != "active" or person.id == cameo.id:
                continue
            if matches(face, person.embeddings, match) is not False:
                return (
                    f"fictional cameo {cameo.id} shows, or cannot be told from, an enrolled real person; "
                    "only that person can allow it"
                )
    return None


def is_for(grant: Grant, grantee: str, cameo: Cameo) -> bool:
    """Say whether a grant opens a cameo for somebody at all, whatever its other limits.

    Args:
        grant: A grant of the cameo.
        grantee: Name of who asks.
        cameo: The cameo; its `owner_account` is the owner.

    Returns:
        `True` for the owner under `"owner"`, the named person under `"person"`, anybody with a name under `"everyone"`.
    """
    if not grantee:
        return False
    if grant.level == "owner":
        return grantee == cameo.owner_account
    return grant.level == "everyone" or (grant.level == "person" and grantee == grant.grantee)


def _judge(
    request: RenderRequest, cameo: Cameo, grant: Grant, now: datetime, *, used: Usage, acknowledged: bool
) -> Decision:
    """Check one grant against the request."""
    checks = (*_checks_of_scope(request, cameo, grant, now, acknowledged), *_checks_of_amount(request, grant, used))
    for reason, passed, explanation in checks:
        if not passed:
            return Decision(allowed=False, reason=reason, grant_id=grant.id, explanation=explanation)
    return Decision(allowed=True, reason="allowed", grant_id=grant.id, explanation=f"grant {grant.id} allows it")


def _checks_of_scope(
    request: RenderRequest, cameo: Cameo, grant: Grant, now: datetime, acknowledged: bool
) -> tuple[_Check, ...]:
    """For whom, when, what for, where, and on which terms."""
    contexts = grant.allowed_contexts
    purpose_fits = bool(grant.purpose) and grant.purpose in (ANY, request.purpose)
    return (
        (
            "wrong_grantee",
            is_for(grant, request.grantee, cameo),
            f"no grant is for {request.grantee!r}; ask the owner for a grant",
        ),
        ("revoked", grant.revoked_at is None, "the owner revoked the grant; ask for a new one"),
        (
            "expired",
            utc(grant.created) <= now < utc(grant.expires),
            f"the grant holds from {grant.created.isoformat()} until {grant.expires.isoformat()}, "
            f"it is {now.isoformat()}; ask for a new one or correct the clock",
        ),
        (
            "wrong_purpose",
            purpose_fits and (grant.commercial or not request.commercial),
            f"the grant is for {_kind_of_use(grant.commercial)} {grant.purpose!r}, asked was "
            f"{_kind_of_use(request.commercial)} {request.purpose!r}; name the granted purpose or ask for "
            "another grant",
        ),
        (
            "wrong_context",
            ANY in contexts or (request.context != "" and request.context in contexts),
            f"the grant allows the contexts {', '.join(contexts) or 'none'}, asked was {request.context!r}; "
            "ask for a grant that includes it",
        ),
        (
            "not_acknowledged",
            not grant.forbidden or acknowledged or grant.level == "owner",
            f"the owner forbids some content and {request.grantee!r} has not confirmed to have read what; "
            f"read it with `grant show {grant.id}`, then run `grant acknowledge {grant.id} --grantee "
            f"{shlex.quote(request.grantee)}`",
        ),
    )


def _checks_of_amount(request: RenderRequest, grant: Grant, used: Usage) -> tuple[_Check, ...]:
    """How long, how often."""
    length_ms, limit_ms = duration_ms(request.duration_s), round(grant.max_seconds * 1000)
    return (
        (
            "too_long",
            length_ms <= limit_ms,
            f"{request.duration_s:g} s were asked, the grant allows {grant.max_seconds:g} s in all; make it shorter",
        ),
        (
            "used_up",
            used.renders + 1 <= grant.max_renders and used.milliseconds + length_ms <= limit_ms,
            f"{used.renders} of {grant.max_renders} renders and {used.milliseconds / 1000:g} of "
            f"{grant.max_seconds:g} s are used; ask for a new grant",
        ),
    )


def _kind_of_use(commercial: bool) -> str:
    return "commercial" if commercial else "non-commercial"


def _deny(reason: DecisionReason, explanation: str) -> Decision:
    return Decision(allowed=False, reason=reason, grant_id=None, explanation=explanation)
