"""The consent gate: who may animate whom, for what, how much and until when.

Nothing is rendered without a `RenderPermit`; only `authorise` makes one, from a grant of the enrolled owner.
"""

from portrait_anim.consent.acknowledgements import acknowledge
from portrait_anim.consent.challenges import draw_actions, issue_challenge
from portrait_anim.consent.grants import grant, list_grants, revoke
from portrait_anim.consent.ledger import Ledger, verify
from portrait_anim.consent.liveness import INSTRUCTIONS, LivenessLimits, LivenessReport, verify_challenge
from portrait_anim.consent.matching import MatchPolicy
from portrait_anim.consent.permit import RenderPermit, authorise, refuse, still_valid
from portrait_anim.consent.policy import decide
from portrait_anim.consent.records import (
    ANY,
    Cameo,
    Challenge,
    ChallengeAction,
    Decision,
    Grant,
    LedgerRow,
    LivenessFrame,
    RenderRequest,
    Usage,
)
from portrait_anim.consent.registry import (
    delete_cameo,
    enroll,
    enroll_fictional,
    get_cameo,
    get_challenge,
    list_cameos,
)
from portrait_anim.consent.remote import RemoteGate
from portrait_anim.consent.renders import record_abort, record_render, remember_output
from portrait_anim.consent.standing import check_permit
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.consent.withdrawal import is_withdrawn, signed_list, withdraw

__all__ = [
    "ANY",
    "INSTRUCTIONS",
    "Cameo",
    "Challenge",
    "ChallengeAction",
    "ConsentStore",
    "Decision",
    "Grant",
    "Ledger",
    "LedgerRow",
    "LivenessFrame",
    "LivenessLimits",
    "LivenessReport",
    "MatchPolicy",
    "RemoteGate",
    "RenderPermit",
    "RenderRequest",
    "Usage",
    "acknowledge",
    "authorise",
    "check_permit",
    "decide",
    "delete_cameo",
    "draw_actions",
    "enroll",
    "enroll_fictional",
    "get_cameo",
    "get_challenge",
    "grant",
    "is_withdrawn",
    "issue_challenge",
    "list_cameos",
    "list_grants",
    "open_store",
    "record_abort",
    "record_render",
    "refuse",
    "remember_output",
    "revoke",
    "signed_list",
    "still_valid",
    "verify",
    "verify_challenge",
    "withdraw",
]
