"""Plain records of the consent gate: who enrolled, what was granted, what is asked, what was decided.

Records are values: frozen, validated when made, without any connection to the store. All times are
timezone-aware and kept in UTC; a naive time is refused because nobody can say when it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Literal

from portrait_anim.types import Float64Array, IdentityEmbedding

CameoKind = Literal["real", "fictional"]
CameoStatus = Literal["active", "deleted"]
ChallengeAction = Literal[
    "turn_left",
    "turn_right",
    "look_up",
    "look_down",
    "tilt",
    "blink_twice",
    "open_mouth",
    "smile",
    "raise_brows",
    "follow_dot",
]
CodePolicy = Literal["required", "optional", "off"]
GrantLevel = Literal["owner", "person", "everyone"]
LabelSize = Literal["small", "medium", "large"]
DecisionReason = Literal[
    "allowed",
    "no_cameo",
    "deleted",
    "portrait_mismatch",
    "no_grant",
    "expired",
    "revoked",
    "wrong_grantee",
    "wrong_purpose",
    "wrong_context",
    "not_acknowledged",
    "too_long",
    "used_up",
    "denylisted",
    "tampered",
]
LedgerKind = Literal[
    "enrolled",
    "enrolled_fictional",
    "enrolment_refused",
    "deleted",
    "granted",
    "revoked",
    "acknowledged",
    "authorised",
    "refused",
    "rendered",
    "aborted",
    "draft",
    "withdrawn",
    "erased",
    "exported",
    "denied_added",
    "denied_removed",
    "account_added",
    "account_disabled",
    "keys_rotated",
    "note",
]

ANY = "any"
"""Word that a grant uses, on purpose, to allow every purpose or every context."""

MAX_NAME_LENGTH = 100
MAX_TEXT_LENGTH = 2000


def utc(moment: datetime) -> datetime:
    """Return the same moment in UTC.

    Args:
        moment: Timezone-aware time.

    Returns:
        The moment with `timezone.utc`.

    Raises:
        ValueError: If `moment` has no timezone.
    """
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(
            f"expected a time with a timezone, got the naive {moment.isoformat()}; use datetime.now(timezone.utc)"
        )
    return moment.astimezone(timezone.utc)


def clean_text(value: str, what: str, *, maximum: int = MAX_NAME_LENGTH, empty: bool = False) -> str:
    """Return `value` without outer blanks after checking that it is a printable line of text.

    Args:
        value: Text as the user gave it.
        what: Name of the field, for the message.
        maximum: Longest accepted length [characters].
        empty: Whether an empty text is accepted.

    Returns:
        The stripped text.

    Raises:
        ValueError: If the text is empty, too long, or holds control characters.
    """
    stripped = value.strip()
    if not stripped and not empty:
        raise ValueError(f"expected a {what}, got an empty text; say what it is")
    if len(stripped) > maximum:
        raise ValueError(f"expected a {what} of at most {maximum} characters, got {len(stripped)}; shorten it")
    if not all(character.isprintable() for character in stripped):
        raise ValueError(f"expected a {what} of printable characters on one line, got {stripped!r}; retype it")
    return stripped


def duration_ms(duration_s: float) -> int:
    """Return a length in whole milliseconds, rounded up so that nothing is used for free.

    Raises:
        ValueError: If the length is not a finite positive number.
    """
    if not math.isfinite(duration_s) or duration_s <= 0:
        raise ValueError(f"expected a positive length in seconds, got {duration_s}; give the length of the video")
    return math.ceil(duration_s * 1000 - 1e-6)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cameo:
    """The registered likeness of one person, or of a figure that does not exist.

    Attributes:
        id: Identifier, `cam_` and 16 hexadecimal digits.
        name: What the owner calls it; empty after deletion.
        kind: `"real"` (a living person passed the challenge) or `"fictional"` (stated by the operator).
        portrait_digest: sha256 of the decoded enrolled portrait, hexadecimal; empty after deletion.
        portrait_embeddings: Who is on the enrolled portrait.
        video_embeddings: Who is in the challenge video, the mean over its frames; empty for fictional figures.
        created: When it was enrolled [UTC].
        status: `"active"` or `"deleted"`.
        statement: The operator's statement why a fictional figure has no one to ask; empty for real people.
        deleted_at: When it was deleted [UTC], or `None`.
        owner_account: Account of the person who manages it, or `""`.
    """

    id: str
    name: str = field(repr=False)
    kind: CameoKind
    portrait_digest: str
    portrait_embeddings: tuple[IdentityEmbedding, ...] = field(repr=False, compare=False)
    created: datetime
    video_embeddings: tuple[IdentityEmbedding, ...] = field(default=(), repr=False, compare=False)
    status: CameoStatus = "active"
    statement: str = ""
    deleted_at: datetime | None = None
    owner_account: str = ""

    @property
    def embeddings(self) -> tuple[IdentityEmbedding, ...]:
        """Every face that is known of it, for searches; in no order that means anything."""
        return self.portrait_embeddings + self.video_embeddings

    @property
    def proven_faces(self) -> tuple[IdentityEmbedding, ...]:
        """Whom a portrait must show: of real people the face in the challenge video, which no retouched photo sways."""
        return self.video_embeddings if self.kind == "real" else self.portrait_embeddings


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """One permission of the owner: for whom, for what, how much, until when.

    Attributes:
        id: Identifier, `gra_` and 16 hexadecimal digits.
        cameo_id: The cameo it opens.
        grantee: Who may render.
        purpose: What for; `"any"` allows every purpose.
        allowed_contexts: Where it may appear; holding `"any"` allows every context; empty allows none.
        created: First moment it holds [UTC].
        expires: First moment at which it no longer holds [UTC].
        max_renders: Number of renders in all.
        max_seconds: Length of video in all [s].
        commercial: Whether commercial use is allowed.
        revoked_at: When the owner ended it [UTC], or `None`.
        level: `"owner"` (only the owner), `"person"` (the grantee) or `"everyone"` (in this deployment).
        forbidden: What may not be made, in the owner's words; shown to the grantee.
        label_size: Smallest visible label.
    """

    id: str
    cameo_id: str
    grantee: str
    purpose: str
    allowed_contexts: tuple[str, ...]
    created: datetime
    expires: datetime
    max_renders: int
    max_seconds: float
    commercial: bool = False
    revoked_at: datetime | None = None
    level: GrantLevel = "person"
    forbidden: str = ""
    label_size: LabelSize = "small"


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderRequest:
    """One render that somebody asks for.

    Attributes:
        cameo_id: The cameo to animate.
        portrait_digest: sha256 of the decoded portrait that will be animated, hexadecimal.
        portrait_embedding: Who is on that portrait, or `None` when no face could be measured.
        grantee: Who asks.
        purpose: What for.
        context: Where it will appear, such as `"animate"` or `"scene:opening"`.
        duration_s: Length of the video to make [s].
        profile: Model profile, such as `"lite"`.
        commercial: Whether the use is commercial.
    """

    cameo_id: str
    portrait_digest: str
    portrait_embedding: IdentityEmbedding | None = field(repr=False)
    grantee: str
    purpose: str
    context: str
    duration_s: float
    profile: str
    commercial: bool = False

    def __post_init__(self) -> None:
        duration_ms(self.duration_s)
        clean_text(self.cameo_id, "cameo id")
        clean_text(self.portrait_digest, "portrait digest")
        clean_text(self.grantee, "grantee", empty=True)
        clean_text(self.purpose, "purpose", empty=True)
        clean_text(self.context, "context", empty=True)
        clean_text(self.profile, "profile")


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """How much of a grant is spent, open permits included.

    Attributes:
        renders: Number of renders.
        milliseconds: Length of video [ms].
    """

    renders: int = 0
    milliseconds: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(renders=self.renders + other.renders, milliseconds=self.milliseconds + other.milliseconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the policy says about one request.

    Attributes:
        allowed: Whether the render may start.
        reason: `"allowed"`, or why not, as one word.
        grant_id: The grant that allows it, or the one that came nearest; `None` when there is none.
        explanation: The same in a sentence that says what to do next.
    """

    allowed: bool
    reason: DecisionReason
    grant_id: str | None
    explanation: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Challenge:
    """A prompted sequence of movements that one person performs once, soon.

    Attributes:
        id: Identifier, `cha_` and 16 hexadecimal digits.
        name: Name under which the cameo will be enrolled.
        nonce: Random value that makes two challenges with the same actions different, hexadecimal.
        actions: What to do, in this order; left and right are the subject's own.
        issued: When it was made [UTC].
        expires: First moment at which it can no longer be answered [UTC].
        portrait_digest: sha256 of the one portrait it is for, hexadecimal, or `""`.
        purpose: What the cameo will be enrolled for, or `""`.
        code: Six digits to say aloud, or `""`.
        code_policy: Whether the spoken code must be heard.
        dot_path: JSON of the way of the dot to follow, or `""`.
        adult_declared: Whether the person declared to be of age.
        link_token_digest: sha256 of the token of a one-time enrolment link, hexadecimal, or `""`.
    """

    id: str
    name: str = field(repr=False)
    nonce: str
    actions: tuple[ChallengeAction, ...]
    issued: datetime
    expires: datetime
    portrait_digest: str = ""
    purpose: str = ""
    code: str = ""
    code_policy: CodePolicy = "off"
    dot_path: str = ""
    adult_declared: bool = False
    link_token_digest: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LivenessFrame:
    """What was measured in one frame of a challenge video.

    Attributes:
        time_s: Presentation time [s].
        landmarks: `(478, 2)` float64 face landmarks [px].
        depth: `(478,)` float64 relative depth in units of image width, smaller is nearer.
        embedding: Who it is, on sampled frames; `None` on the others.
        image_size: Width and height of the frame [px].
        num_faces: How many faces were found in the frame.
    """

    time_s: float
    landmarks: Float64Array = field(repr=False)
    depth: Float64Array = field(repr=False)
    embedding: IdentityEmbedding | None = field(repr=False)
    image_size: tuple[int, int]
    num_faces: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerRow:
    """One entry of the ledger.

    Attributes:
        seq: Position, from 1.
        time: When it happened [UTC].
        kind: What happened.
        cameo_id: Cameo concerned, or `None`.
        grant_id: Grant concerned, or `None`.
        permit_id: Permit concerned, or `None`.
        challenge_id: Challenge concerned, or `None`.
        charge_renders: Renders added to the grant's use; negative when given back.
        charge_ms: Length added to the grant's use [ms]; negative when given back.
        payload: Further facts; ids, digests and numbers, nothing personal.
        previous: Digest of the row before, hexadecimal.
        digest: sha256 of this row and `previous`, hexadecimal.
    """

    seq: int
    time: datetime
    kind: str
    cameo_id: str | None
    grant_id: str | None
    permit_id: str | None
    challenge_id: str | None
    charge_renders: int
    charge_ms: int
    payload: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    previous: str
    digest: str
