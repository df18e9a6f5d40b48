"""The route of remote workers: whether a permit still holds, asked before each window of a render."""

from __future__ import annotations

from typing import get_args

from fastapi import APIRouter

from portrait_anim.consent.records import LabelSize
from portrait_anim.consent.standing import check_permit
from portrait_anim.service.access import PermitId, Worker
from portrait_anim.service.context import CurrentService
from portrait_anim.service.wire import Holds

router = APIRouter(tags=["worker"])


@router.post("/permits/{permit_id}/check")
def check(service: CurrentService, _: Worker, permit_id: PermitId) -> Holds:
    """Answer 200 only if the permit holds now; on any other answer stop and destroy what was made."""
    facts = check_permit(service.store, permit_id, service.now())
    label = next(size for size in get_args(LabelSize) if size == facts.label_size)
    return Holds(permit_id=facts.id, label_size=label, expires=facts.expires)
