"""Routes of people who were allowed something, and of every account about itself."""

from __future__ import annotations

from fastapi import APIRouter

from portrait_anim.consent.acknowledgements import acknowledge, was_acknowledged
from portrait_anim.consent.grants import grants_for
from portrait_anim.consent.policy import is_for
from portrait_anim.consent.records import Grant
from portrait_anim.consent.registry import get_cameo
from portrait_anim.consent.service_records import Account
from portrait_anim.consent.usage import charged
from portrait_anim.service.access import Anyone, GrantId, Person, names_of, received_grant
from portrait_anim.service.context import CurrentService, Service
from portrait_anim.service.wire import AccountShown, Acknowledged, GrantShown

router = APIRouter(tags=["grantee"])


@router.get("/me")
def show_me(account: Anyone) -> AccountShown:
    """Show whose token this is."""
    return AccountShown.of(account)


@router.get("/grants")
def list_received(service: CurrentService, account: Person) -> list[GrantShown]:
    """List what others allow the caller, ended permissions included."""
    return [_shown(service, account, grant) for grant in grants_for(service.store, *names_of(account))]


@router.get("/grants/{grant_id}")
def show_received(service: CurrentService, account: Person, grant_id: GrantId) -> GrantShown:
    """Show one permission that the caller was given, with what is forbidden."""
    return _shown(service, account, received_grant(service, account, grant_id))


@router.post("/grants/{grant_id}/acknowledge")
def confirm_reading(service: CurrentService, account: Person, grant_id: GrantId) -> Acknowledged:
    """Confirm to have read what the owner forbids."""
    grant = received_grant(service, account, grant_id)
    row = acknowledge(service.store, grant.id, grantee=_called(service, account, grant), now=service.now())
    return Acknowledged(grant_id=grant.id, ledger_row=row.seq)


def _called(service: Service, account: Account, grant: Grant) -> str:
    """Return the one of the caller's names that a grant is for."""
    cameo = get_cameo(service.store, grant.cameo_id)
    return next(name for name in names_of(account) if is_for(grant, name, cameo))


def _shown(service: Service, account: Account, grant: Grant) -> GrantShown:
    with service.store.read() as connection:
        used = charged(connection, service.store, grant.id)
    read = was_acknowledged(service.store, grant, _called(service, account, grant))
    return GrantShown.of(grant, used, service.now(), acknowledged=read)
