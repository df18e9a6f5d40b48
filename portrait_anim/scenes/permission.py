"""Whether the owners of all roles allow a scene: asked before any work starts, so that no half film is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from portrait_anim.consent.denylist import is_denied
from portrait_anim.consent.grants import list_grants
from portrait_anim.consent.judging import judge
from portrait_anim.consent.ledger import Ledger
from portrait_anim.consent.people_search import shows_real_person
from portrait_anim.consent.records import Decision, RenderRequest, Usage, duration_ms
from portrait_anim.consent.rows import find_cameo
from portrait_anim.consent.store import ConsentStore
from portrait_anim.consent.withdrawal import is_withdrawn
from portrait_anim.enrolment import MeasuredPortrait, measure_portrait
from portrait_anim.errors import ConsentDenied
from portrait_anim.scenes.planner import PlannedShot, ScenePlan


def check_grants(
    plan: ScenePlan,
    store: ConsentStore,
    *,
    shots: Sequence[PlannedShot],
    grantee: str,
    profile: str,
    now: datetime,
) -> None:
    """Check that the owner of every role allows all its shots together. Nothing is reserved or recorded.

    Args:
        plan: The plan.
        store: The open consent store.
        shots: The shots that will be rendered; finished ones are not asked for again.
        grantee: Who renders.
        profile: Model profile.
        now: Current time, timezone-aware.

    Raises:
        ConsentDenied: If any shot would be refused; the message names every role refused and why.
        InputError: If a portrait shows no usable face.
    """
    faces = {(shot.portrait, shot.portrait_frame, shot.options.face): shot for shot in shots}
    measured = {
        key: measure_portrait(shot.portrait, frame_number=shot.portrait_frame, face=shot.options.face)
        for key, shot in faces.items()
    }
    requests = [
        _request(shot, measured[shot.portrait, shot.portrait_frame, shot.options.face], plan, grantee, profile)
        for shot in shots
    ]
    refusals: dict[str, Decision] = {}
    for shot, decision in zip(shots, _decisions(requests, store, now), strict=True):
        if not decision.allowed:
            refusals.setdefault(shot.role, decision)
    if refusals:
        first = next(iter(refusals.values()))
        listed = "; ".join(f"role {role!r}: {decision.explanation}" for role, decision in refusals.items())
        raise ConsentDenied(
            f"expected grants for all roles, got refusals before any work: {listed}",
            reason=first.reason,
            grant_id=first.grant_id,
        )


def _decisions(requests: Sequence[RenderRequest], store: ConsentStore, now: datetime) -> Iterator[Decision]:
    """Decide about several requests in a row as the gate will, each as if the ones before had been used."""
    ahead: dict[str, Usage] = {}
    with store.read() as connection:
        for request in requests:
            decision = judge(connection, store, request, now, None, ahead).decision
            if decision.allowed and decision.grant_id is not None:
                asked = Usage(renders=1, milliseconds=duration_ms(request.duration_s))
                ahead[decision.grant_id] = ahead.get(decision.grant_id, Usage()) + asked
            yield decision


def _request(
    shot: PlannedShot, portrait: MeasuredPortrait, plan: ScenePlan, grantee: str, profile: str
) -> RenderRequest:
    return RenderRequest(
        cameo_id=shot.cameo,
        portrait_digest=portrait.digest,
        portrait_embedding=portrait.embedding,
        grantee=grantee,
        purpose=plan.purpose,
        context=plan.context,
        duration_s=shot.duration_s,
        profile=profile,
    )


def why_withdrawn(store: ConsentStore, cameo_id: str, grant_id: str, now: datetime) -> str:
    """Say why a finished shot may no longer be used.

    Args:
        store: The open consent store.
        cameo_id: Whose likeness it shows.
        grant_id: The grant it was rendered under.
        now: Current time, timezone-aware.

    Returns:
        One word: `"deleted"`, `"denylisted"`, `"matches_real_person"`, `"revoked"` or `"expired"`; empty when the grant
        still stands.
    """
    with store.read() as connection:
        cameo = find_cameo(connection, store, cameo_id)
        if cameo is None or cameo.status != "active":
            return "deleted"
        if is_denied(connection, store, cameo):
            return "denylisted"
        if cameo.kind == "fictional" and shows_real_person(connection, store, cameo):
            return "matches_real_person"
    grant = next((grant for grant in list_grants(store, cameo_id) if grant.id == grant_id), None)
    if grant is None or grant.revoked_at is not None:
        return "revoked"
    return "" if now < grant.expires else "expired"


def was_rendered(store: ConsentStore, permit_id: str, grant_id: str, digest: str) -> bool:
    """Say whether the ledger knows a file as the result of a permit, and its owner did not withdraw it.

    Args:
        store: The open consent store.
        permit_id: The permit.
        grant_id: Its grant.
        digest: sha256 of the file, hexadecimal.
    """
    rows = Ledger(store).rows(grant_id=grant_id, kind="rendered")
    made = any(row.permit_id == permit_id and row.payload.get("output_digest") == digest for row in rows)
    return made and not is_withdrawn(store, permit_id)
