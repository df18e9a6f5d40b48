"""Routes of owners: their cameos, what they allow, what was made, and ending all of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response
from starlette.background import BackgroundTask

from portrait_anim import publishing
from portrait_anim.consent import grants as giving
from portrait_anim.consent import inbox, notify, withdrawal
from portrait_anim.consent.accounts import cameos_of
from portrait_anim.consent.export import export_cameo
from portrait_anim.consent.records import Grant
from portrait_anim.consent.usage import charged
from portrait_anim.service.access import (
    CameoId,
    GrantId,
    PermitId,
    Person,
    UseId,
    owned_cameo,
    owned_grant,
    owned_use,
)
from portrait_anim.service.context import CurrentService, Service
from portrait_anim.service.failures import not_found
from portrait_anim.service.wire import (
    CameoShown,
    ContactShown,
    Deleted,
    GrantShown,
    NewGrant,
    Reason,
    UseShown,
    WithdrawalShown,
)

router = APIRouter(tags=["owner"])


@router.get("/cameos")
def list_cameos(service: CurrentService, account: Person) -> list[CameoShown]:
    """List the caller's cameos."""
    mine = cameos_of(service.store, account.id)
    if account.role == "operator":
        mine += cameos_of(service.store, "")
    return [CameoShown.of(cameo) for cameo in mine]


@router.get("/cameos/{cameo_id}")
def show_cameo(service: CurrentService, account: Person, cameo_id: CameoId) -> CameoShown:
    """Show one cameo of the caller."""
    return CameoShown.of(owned_cameo(service, account, cameo_id))


@router.delete("/cameos/{cameo_id}")
def erase_cameo(
    service: CurrentService, account: Person, cameo_id: CameoId, withdraw_renders: bool = False
) -> Deleted:
    """Erase a cameo for good; its grants end, running renders stop."""
    owned_cameo(service, account, cameo_id)
    gone, taken = publishing.erase_cameo(service.store, cameo_id, now=service.now(), withdraw_renders=withdraw_renders)
    assert gone.deleted_at is not None
    return Deleted(id=gone.id, deleted_at=gone.deleted_at, withdrawn=taken)


@router.get("/cameos/{cameo_id}/export", response_class=FileResponse)
def export(service: CurrentService, account: Person, cameo_id: CameoId) -> FileResponse:
    """Give the caller a copy of everything that is kept about them."""
    owned_cameo(service, account, cameo_id)
    folder = tempfile.TemporaryDirectory(dir=service.incoming, prefix="export-")
    try:
        path = export_cameo(service.store, cameo_id, Path(folder.name) / "export.zip", now=service.now())
    except BaseException:
        folder.cleanup()
        raise
    return FileResponse(
        path, media_type="application/zip", filename=f"{cameo_id}.zip", background=BackgroundTask(folder.cleanup)
    )


@router.get("/cameos/{cameo_id}/grants")
def list_grants(service: CurrentService, account: Person, cameo_id: CameoId) -> list[GrantShown]:
    """List what the caller allowed, newest first."""
    owned_cameo(service, account, cameo_id)
    return [_shown(service, grant) for grant in reversed(giving.list_grants(service.store, cameo_id))]


@router.post("/cameos/{cameo_id}/grants", status_code=201)
def give_grant(service: CurrentService, account: Person, cameo_id: CameoId, wanted: NewGrant) -> GrantShown:
    """Allow a use, within limits."""
    owned_cameo(service, account, cameo_id)
    made = giving.grant(
        service.store, cameo_id, grantee=wanted.grantee, purpose=wanted.purpose,
        allowed_contexts=wanted.allowed_contexts, expires=wanted.expires, max_renders=wanted.max_renders,
        max_seconds=wanted.max_seconds, now=service.now(), commercial=wanted.commercial, level=wanted.level,
        forbidden="\n".join(wanted.forbidden), label_size=wanted.label_size,
    )  # fmt: skip
    return _shown(service, made)


@router.post("/grants/{grant_id}/revoke")
def revoke_grant(service: CurrentService, account: Person, grant_id: GrantId) -> GrantShown:
    """End a permission at once, also for renders that are running."""
    owned_grant(service, account, grant_id)
    return _shown(service, giving.revoke(service.store, grant_id, service.now()))


@router.get("/cameos/{cameo_id}/uses")
def list_uses(
    service: CurrentService,
    account: Person,
    cameo_id: CameoId,
    unread: bool = False,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[UseShown]:
    """List every use of a cameo, newest first: renders, drafts and refused attempts."""
    owned_cameo(service, account, cameo_id)
    return [UseShown.of(use) for use in inbox.list_uses(service.store, cameo_id, unread=unread, limit=limit)]


@router.post("/uses/{use_id}/read")
def read_use(service: CurrentService, account: Person, use_id: UseId) -> UseShown:
    """Note that the caller saw an entry."""
    owned_use(service, account, use_id)
    return UseShown.of(inbox.mark_read(service.store, use_id, service.now()))


@router.get("/uses/{use_id}/thumbnail", response_class=Response)
def show_thumbnail(service: CurrentService, account: Person, use_id: UseId) -> Response:
    """Show a small picture of what was made."""
    use = owned_use(service, account, use_id)
    if use.thumbnail is None:
        raise not_found()
    return Response(use.thumbnail, media_type="image/png")


@router.post("/permits/{permit_id}/withdraw")
def withdraw_render(service: CurrentService, account: Person, permit_id: PermitId, why: Reason) -> WithdrawalShown:
    """Take a render back: its file is destroyed where it lies here, its id goes on the published list."""
    uses = inbox.uses_of_permit(service.store, permit_id)
    if not uses:
        raise not_found()
    owned_use(service, account, uses[0].id)
    made = withdrawal.withdraw(service.store, permit_id, service.now(), reason=why.reason)
    return WithdrawalShown(permit_id=permit_id, time=made.time, file_deleted=made.file_deleted)


@router.get("/cameos/{cameo_id}/contact")
def show_contact(service: CurrentService, account: Person, cameo_id: CameoId) -> ContactShown:
    """Show where the caller is told about uses."""
    owned_cameo(service, account, cameo_id)
    kept = notify.get_contact(service.store, cameo_id)
    return ContactShown(email=kept.email, webhook=kept.webhook)


@router.put("/cameos/{cameo_id}/contact")
def choose_contact(
    service: CurrentService, account: Person, cameo_id: CameoId, wanted: ContactShown
) -> ContactShown:
    """Choose where the caller is told about uses."""
    owned_cameo(service, account, cameo_id)
    kept = notify.set_contact(
        service.store, cameo_id, notify.Contact(email=wanted.email, webhook=wanted.webhook)
    )
    return ContactShown(email=kept.email, webhook=kept.webhook)


def _shown(service: Service, grant: Grant) -> GrantShown:
    with service.store.read() as connection:
        used = charged(connection, service.store, grant.id)
    return GrantShown.of(grant, used, service.now())
