"""Plain records of what surrounds the gate: videos handed in, uses, withdrawals, denied faces, accounts, messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from portrait_anim.types import IdentityEmbedding

UseKind = Literal["authorised", "refused", "rendered", "aborted", "draft", "withdrawn"]
Role = Literal["owner", "grantee", "operator", "worker"]
Channel = Literal["email", "webhook"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChallengeVideo:
    """One video that was handed in for a challenge.

    Attributes:
        id: Identifier, `vid_` and 16 hexadecimal digits.
        challenge_id: The challenge it answered.
        sha256: Digest of the file as handed in, hexadecimal.
        fingerprint: Perceptual fingerprint, or `None`.
        stored_file: Name of the encrypted file in the home folder, or `""` when it is not kept.
        file_key: Key of that file (`video_files`), or `None`.
        received: When it came [UTC].
        erase_after: When it is to be erased [UTC], or `None`.
        erased_at: When it was erased [UTC], or `None`.
    """

    id: str
    challenge_id: str
    sha256: str
    fingerprint: bytes | None = field(default=None, repr=False)
    stored_file: str = ""
    file_key: bytes | None = field(default=None, repr=False)
    received: datetime
    erase_after: datetime | None = None
    erased_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """One entry of an owner's inbox.

    Attributes:
        id: Identifier, `use_` and 16 hexadecimal digits.
        cameo_id: The cameo that was used, or asked for.
        time: When [UTC].
        kind: What happened.
        grantee: By whom.
        purpose: What for.
        context: Where.
        permit_id: Permit concerned, or `""`.
        reason: Why it was refused or ended, or `""`.
        thumbnail: Small JPEG, or `None`.
        read_at: When the owner saw the entry [UTC], or `None`.
    """

    id: str
    cameo_id: str
    time: datetime
    kind: UseKind
    grantee: str = field(repr=False)
    purpose: str
    context: str
    permit_id: str = ""
    reason: str = ""
    thumbnail: bytes | None = field(default=None, repr=False)
    read_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Withdrawal:
    """A finished render that the owner took back.

    Attributes:
        permit_id: Permit of the render.
        cameo_id: The cameo it shows.
        time: When it was withdrawn [UTC].
        reason: Why, or `""`.
        file_deleted: Whether the file was deleted here.
    """

    permit_id: str
    cameo_id: str
    time: datetime
    reason: str = ""
    file_deleted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """A finished file that lies here.

    Attributes:
        permit_id: Permit of the render.
        path: Where the file is.
        sha256: Its digest, hexadecimal.
        time: When it was finished [UTC].
        deleted_at: When it was deleted [UTC], or `None`.
    """

    permit_id: str
    path: str
    sha256: str
    time: datetime
    deleted_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeniedFace:
    """Somebody who opted out without enrolling.

    Attributes:
        id: Identifier, `den_` and 16 hexadecimal digits.
        embeddings: Who it is; empty after removal.
        label: What the operator calls the entry; empty after removal.
        created: When it was added [UTC].
        removed_at: When it was removed [UTC], or `None`.
    """

    id: str
    embeddings: tuple[IdentityEmbedding, ...] = field(repr=False, compare=False)
    label: str = field(repr=False)
    created: datetime
    removed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Somebody who may use the service.

    Attributes:
        id: Identifier, `acc_` and 16 hexadecimal digits.
        name: Name.
        role: What the account may do.
        token_digest: sha256 of its token, hexadecimal.
        created: When it was made [UTC].
        disabled_at: When it was disabled [UTC], or `None`.
    """

    id: str
    name: str = field(repr=False)
    role: Role
    token_digest: str = field(repr=False)
    created: datetime
    disabled_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxItem:
    """One message to an owner that waits to be sent, was sent, or failed for good.

    Attributes:
        id: Identifier, `out_` and 16 hexadecimal digits.
        cameo_id: The cameo it is about.
        channel: How it is sent.
        target: Address.
        body: Content.
        attempts: How often it was tried.
        next_try: When it is tried next [UTC], or `None` when never.
        sent_at: When it was sent [UTC], or `None`.
        failed_at: When it was given up [UTC], or `None`.
    """

    id: str
    cameo_id: str
    channel: Channel
    target: str = field(repr=False)
    body: str = field(repr=False)
    attempts: int = 0
    next_try: datetime | None = None
    sent_at: datetime | None = None
    failed_at: datetime | None = None
