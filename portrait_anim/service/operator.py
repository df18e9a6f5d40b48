"""Routes of the operator: accounts, enrolment links, the state of the ledger. None of them opens a cameo."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from portrait_anim.consent import accounts, links
from portrait_anim.consent.ledger import verify
from portrait_anim.consent.service_records import Account
from portrait_anim.service.access import AccountId, Operator
from portrait_anim.service.context import CurrentService
from portrait_anim.service.wire import AccountShown, LedgerState, LinkShown, NewAccount, NewLink, NewToken

router = APIRouter(tags=["operator"])


@router.get("/accounts")
def list_accounts(service: CurrentService, _: Operator, disabled: bool = False) -> list[AccountShown]:
    """List the accounts."""
    return [AccountShown.of(one) for one in accounts.list_accounts(service.store, disabled=disabled)]


@router.post("/accounts", status_code=201)
def create_account(service: CurrentService, _: Operator, wanted: NewAccount) -> NewToken:
    """Make an account; its token is shown only in this answer."""
    account, token = accounts.create_account(
        service.store, name=wanted.name, role=wanted.role, now=service.now(), lifetime=timedelta(days=wanted.days)
    )
    return _with_token(account, token)


@router.post("/accounts/{account_id}/token")
def renew_token(
    service: CurrentService,
    _: Operator,
    account_id: AccountId,
    days: Annotated[int, Query(ge=1, le=3650)] = 365,
) -> NewToken:
    """Give an account a new token; the former one is worthless at once."""
    account, token = accounts.renew_token(
        service.store, account_id, now=service.now(), lifetime=timedelta(days=days)
    )
    return _with_token(account, token)


@router.post("/accounts/{account_id}/disable")
def disable_account(service: CurrentService, _: Operator, account_id: AccountId) -> AccountShown:
    """Disable an account for good."""
    return AccountShown.of(accounts.disable_account(service.store, account_id, service.now()))


@router.post("/links", status_code=201)
def create_link(service: CurrentService, _: Operator, wanted: NewLink) -> LinkShown:
    """Make a one-time link through which a person enrols from a phone."""
    link, token = links.create_link(
        service.store, name=wanted.name, now=service.now(), lifetime=timedelta(hours=wanted.hours)
    )
    return LinkShown(path=f"/enrol/{token}", expires=link.expires)


@router.get("/ledger")
def check_ledger(service: CurrentService, _: Operator) -> LedgerState:
    """Check the whole ledger."""
    return LedgerState(rows=verify(service.store))


def _with_token(account: Account, token: str) -> NewToken:
    return NewToken(account=AccountShown.of(account), token=token, expires=accounts.token_expiry(token))
