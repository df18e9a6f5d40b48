"""Who calls, and what belongs to them. Tokens come as bearer tokens only: there are no cookies to ride on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Path, Request

from portrait_anim.consent.accounts import account_of, token_digest
from portrait_anim.consent.grants import get_grant
from portrait_anim.consent.inbox import get_use
from portrait_anim.consent.policy import is_for
from portrait_anim.consent.records import Cameo, Grant
from portrait_anim.consent.registry import get_cameo
from portrait_anim.consent.service_records import Account, Role, Use
from portrait_anim.errors import ConsentDenied
from portrait_anim.service.context import CurrentService, Service, address_of
from portrait_anim.service.failures import Refused, not_found

CameoId = Annotated[str, Path(pattern=r"^cam_[0-9a-f]{16}$")]
GrantId = Annotated[str, Path(pattern=r"^gra_[0-9a-f]{16}$")]
UseId = Annotated[str, Path(pattern=r"^use_[0-9a-f]{16}$")]
PermitId = Annotated[str, Path(pattern=r"^per_[0-9a-f]{16}$")]
AccountId = Annotated[str, Path(pattern=r"^acc_[0-9a-f]{16}$")]


def caller(request: Request, service: CurrentService) -> Account:
    """Return whose token came with a request.

    Raises:
        Refused: 401 without a token that holds, 429 when this address or this token calls too often.
    """
    address = address_of(request)
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    account = account_of(service.store, token, service.now()) if kind.lower() == "bearer" else None
    if account is None:
        refuse_if_late(service.by_failure.wait_s(address))
        raise Refused(
            401, "no_token", "expected a token that holds, got none", headers={"WWW-Authenticate": "Bearer"}
        )
    refuse_if_late(service.by_token.wait_s(token_digest(token)))
    return account


def refuse_if_late(wait_s: float) -> None:
    """Refuse with 429 if a limiter says to wait."""
    if wait_s > 0:
        seconds = math.ceil(wait_s)
        raise Refused(429, "too_often", f"too many requests; wait {seconds} s", headers={"Retry-After": str(seconds)})


def having(*roles: Role) -> Callable[[Account], Account]:
    """Return a dependency that lets only some roles pass.

    Args:
        *roles: Roles that may call.
    """

    def check(account: Annotated[Account, Depends(caller)]) -> Account:
        if account.role not in roles:
            raise Refused(403, "wrong_role", f"expected an account with the role {' or '.join(roles)}")
        return account

    return check


Anyone = Annotated[Account, Depends(caller)]
Person = Annotated[Account, Depends(having("owner", "grantee", "operator"))]
Operator = Annotated[Account, Depends(having("operator"))]
Worker = Annotated[Account, Depends(having("worker", "operator"))]


def owns(account: Account, cameo: Cameo) -> bool:
    """Say whether a cameo is an account's; the operator stands in for cameos without an owner's account."""
    if cameo.status != "active":
        return False
    return cameo.owner_account == account.id or (account.role == "operator" and not cameo.owner_account)


def owned_cameo(service: Service, account: Account, cameo_id: str) -> Cameo:
    """Return a cameo of the caller.

    Raises:
        Refused: 404 when there is none, or it is somebody else's.
    """
    try:
        cameo = get_cameo(service.store, cameo_id)
    except ConsentDenied:
        raise not_found() from None
    if not owns(account, cameo):
        raise not_found()
    return cameo


def owned_grant(service: Service, account: Account, grant_id: str) -> Grant:
    """Return a grant of one of the caller's cameos.

    Raises:
        Refused: 404 when there is none, or it is of somebody else's cameo.
    """
    try:
        grant = get_grant(service.store, grant_id)
        owned_cameo(service, account, grant.cameo_id)
    except (ConsentDenied, Refused):
        raise not_found() from None
    return grant


def received_grant(service: Service, account: Account, grant_id: str) -> Grant:
    """Return a grant that is for the caller.

    Raises:
        Refused: 404 when there is none, or it is for somebody else.
    """
    try:
        grant = get_grant(service.store, grant_id)
        cameo = get_cameo(service.store, grant.cameo_id)
    except ConsentDenied:
        raise not_found() from None
    if cameo.status != "active" or not any(is_for(grant, name, cameo) for name in names_of(account)):
        raise not_found()
    return grant


def owned_use(service: Service, account: Account, use_id: str) -> Use:
    """Return an inbox entry of one of the caller's cameos.

    Raises:
        Refused: 404 when there is none, or it is somebody else's.
    """
    try:
        use = get_use(service.store, use_id)
        owned_cameo(service, account, use.cameo_id)
    except (ConsentDenied, Refused):
        raise not_found() from None
    return use


def names_of(account: Account) -> tuple[str, str]:
    """Return the names that grants may call an account by: its own, and its id."""
    return (account.name, account.id)
