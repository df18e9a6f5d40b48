"""What goes over the wire: the JSON of requests and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from portrait_anim.consent.records import MAX_NAME_LENGTH, MAX_TEXT_LENGTH, Cameo, Grant, GrantLevel, LabelSize, Usage
from portrait_anim.consent.service_records import Account, Role, Use

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_NAME_LENGTH)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_TEXT_LENGTH)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(BaseModel):
    """What is wrong: one word, one sentence, and further facts."""

    model_config = ConfigDict(extra="allow")

    reason: str
    message: str


class FailureShown(_Strict):
    """The one shape of every error."""

    error: Problem


class NewGrant(_Strict):
    """A permission to give. Every limit is stated."""

    level: GrantLevel
    grantee: Annotated[str, StringConstraints(max_length=MAX_NAME_LENGTH)] = ""
    purpose: Name
    allowed_contexts: Annotated[list[Name], Field(min_length=1, max_length=50)]
    forbidden: Annotated[list[Line], Field(max_length=50)] = []
    max_renders: Annotated[int, Field(ge=1, le=1_000_000)]
    max_seconds: Annotated[float, Field(gt=0, le=10_000_000)]
    expires: datetime
    commercial: bool = False
    label_size: LabelSize = "medium"


class GrantShown(_Strict):
    """A permission, for its owner or for whom it is for."""

    id: str
    cameo_id: str
    level: GrantLevel
    grantee: str
    purpose: str
    allowed_contexts: list[str]
    forbidden: list[str]
    max_renders: int
    max_seconds: float
    used_renders: int
    used_seconds: float
    created: datetime
    expires: datetime
    commercial: bool
    label_size: LabelSize
    state: Literal["active", "revoked", "expired"]
    acknowledged: bool | None = None

    @classmethod
    def of(cls, grant: Grant, used: Usage, now: datetime, acknowledged: bool | None = None) -> GrantShown:
        """Return what is shown of a grant.

        Args:
            grant: The grant.
            used: What was used of it.
            now: Current time, timezone-aware.
            acknowledged: Whether the caller confirmed what is forbidden; `None` for owners.
        """
        state: Literal["active", "revoked", "expired"] = "active" if now < grant.expires else "expired"
        return cls(
            id=grant.id, cameo_id=grant.cameo_id, level=grant.level, grantee=grant.grantee, purpose=grant.purpose,
            allowed_contexts=list(grant.allowed_contexts), forbidden=grant.forbidden.splitlines(),
            max_renders=grant.max_renders, max_seconds=grant.max_seconds, used_renders=used.renders,
            used_seconds=used.milliseconds / 1000, created=grant.created, expires=grant.expires,
            commercial=grant.commercial, label_size=grant.label_size,
            state="revoked" if grant.revoked_at is not None else state, acknowledged=acknowledged,
        )  # fmt: skip


class CameoShown(_Strict):
    """A cameo, for its owner."""

    id: str
    name: str
    kind: str
    status: str
    created: datetime

    @classmethod
    def of(cls, cameo: Cameo) -> CameoShown:
        """Return what is shown of a cameo."""
        return cls(id=cameo.id, name=cameo.name, kind=cameo.kind, status=cameo.status, created=cameo.created)


class UseShown(_Strict):
    """An inbox entry, for the cameo's owner."""

    id: str
    cameo_id: str
    time: datetime
    kind: str
    grantee: str
    purpose: str
    context: str
    permit_id: str
    reason: str
    has_thumbnail: bool
    read_at: datetime | None

    @classmethod
    def of(cls, use: Use) -> UseShown:
        """Return what is shown of an entry."""
        return cls(
            id=use.id, cameo_id=use.cameo_id, time=use.time, kind=use.kind, grantee=use.grantee, purpose=use.purpose,
            context=use.context, permit_id=use.permit_id, reason=use.reason, has_thumbnail=use.thumbnail is not None,
            read_at=use.read_at,
        )  # fmt: skip


class ContactShown(_Strict):
    """Where an owner is told about uses; empty fields are not used."""

    email: Annotated[str, StringConstraints(max_length=254)] = ""
    webhook: Annotated[str, StringConstraints(max_length=2000)] = ""


class Reason(_Strict):
    """Why, in the caller's words."""

    reason: Annotated[str, StringConstraints(max_length=500)] = ""


class WithdrawalShown(_Strict):
    """A render that was taken back."""

    permit_id: str
    time: datetime
    file_deleted: bool


class Deleted(_Strict):
    """A cameo that is no more."""

    id: str
    deleted_at: datetime
    withdrawn: int


class Acknowledged(_Strict):
    """A confirmation that what is forbidden was read."""

    grant_id: str
    ledger_row: int


class Holds(_Strict):
    """A permit that holds now."""

    permit_id: str
    holds: Literal[True] = True
    label_size: LabelSize
    expires: datetime


class NewAccount(_Strict):
    """An account to make."""

    name: Name
    role: Role
    days: Annotated[int, Field(ge=1, le=3650)] = 365


class AccountShown(_Strict):
    """An account, for the operator or for itself."""

    id: str
    name: str
    role: Role
    created: datetime
    disabled_at: datetime | None

    @classmethod
    def of(cls, account: Account) -> AccountShown:
        """Return what is shown of an account."""
        return cls(
            id=account.id, name=account.name, role=account.role, created=account.created,
            disabled_at=account.disabled_at,
        )  # fmt: skip


class NewToken(_Strict):
    """An account with its token, which is shown only here."""

    account: AccountShown
    token: str
    expires: datetime


class NewLink(_Strict):
    """A link to make."""

    name: Name
    hours: Annotated[int, Field(ge=1, le=720)] = 72


class LinkShown(_Strict):
    """A one-time link, whose address is shown only here."""

    path: str
    expires: datetime


class LedgerState(_Strict):
    """Whether the ledger holds."""

    holds: Literal[True] = True
    rows: int


class Health(_Strict):
    """Whether the service can read its store."""

    status: Literal["ok"] = "ok"
