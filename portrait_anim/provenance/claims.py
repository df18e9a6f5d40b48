"""What a file says about its own making: the statements that go into the manifest.

Nothing here can name a person. Every field is an identifier, a checksum or a number, and the constructor
refuses anything else, so a name or a path cannot slip into a file that will be published.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

CameoKind: TypeAlias = Literal["real", "fictional"]

CONSENT_LABEL: Final = "org.portrait-anim.consent"
DISCLOSURE_LABEL: Final = "c2pa.ai-disclosure"
ACTIONS_LABEL: Final = "c2pa.actions.v2"
DIGITAL_SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
SOFT_BINDING_LABEL: Final = "c2pa.soft-binding"
SOFTWARE_NAME: Final = "portrait_anim"
WATERMARK_ALGORITHM: Final = "org.portrait-anim.watermark.1"
WATERMARK_BITS: Final = 48

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_:.+-]{1,128}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")
_PERMIT: Final = re.compile(r"per_([0-9a-f]{12})[0-9a-f]{4}")
_LARGEST_SEED: Final = 2**63 - 1


def render_id(permit_id: str) -> int | None:
    """The 48-bit number that the watermark of a render carries.

    Args:
        permit_id: Identifier of its permit, `per_` and 16 hexadecimal digits.

    Returns:
        The first 12 of the digits as a number, or `None` for an identifier of another form.
    """
    found = _PERMIT.fullmatch(permit_id)
    return None if found is None else int(found[1], 16)


@dataclass(frozen=True, kw_only=True, slots=True)
class PermitProof:
    """What anyone needs, beside the other claims, to check the operator's signature of a permit.

    Attributes:
        store_id: Random identifier of the consent store, hexadecimal.
        portrait_sha256: Checksum of the decoded portrait that the permit was given for, 64 hexadecimal digits.
        issued: When the permit was made, ISO 8601 in UTC with microseconds.
        expires: When it ended, likewise.
        max_ms: Longest video [ms].
        profile: Model profile that the permit was asked for.
        label_size: Smallest visible label that the grant asks for.
        signature: Ed25519 signature over the permit, 128 hexadecimal digits.
        operator_key: The operator's raw public key, 64 hexadecimal digits.
        grant_signature: Signature of the grant's record, 128 hexadecimal digits, or `None`.

    Raises:
        ValueError: If a field is not of its form.
    """

    store_id: str
    portrait_sha256: str
    issued: str
    expires: str
    max_ms: int
    profile: str
    label_size: str
    signature: str
    operator_key: str
    grant_signature: str | None = None

    def __post_init__(self) -> None:
        for field in ("store_id", "issued", "expires", "profile", "label_size"):
            _check(field, getattr(self, field), _IDENTIFIER, "1 to 128 letters, digits or any of _ : . + -")
        for field in ("portrait_sha256", "operator_key"):
            _check(field, getattr(self, field), _SHA256, "64 hexadecimal digits")
        _check("signature", self.signature, _SIGNATURE, "128 hexadecimal digits")
        if self.grant_signature is not None:
            _check("grant_signature", self.grant_signature, _SIGNATURE, "128 hexadecimal digits or None")
        if not isinstance(self.max_ms, int) or self.max_ms < 0:
            raise ValueError(f"expected max_ms of 0 or more, got {self.max_ms!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsentPart:
    """The permission behind one part of a film that was joined from several renders.

    Attributes:
        cameo_id: The likeness that is seen.
        cameo_kind: `"real"` or `"fictional"`.
        grant_id: The owner's permission that was used.
        permit_id: The authorisation of this part.
        watermark: The 48-bit number marked in its pictures, or `None`.
        start_ms: Where it begins in the film [ms].
        end_ms: Where it ends in the film [ms].
        permit_signature: The operator's signature over the permit, 128 hexadecimal digits, or `None`.

    Raises:
        ValueError: If a field is not of its form.
    """

    cameo_id: str
    cameo_kind: CameoKind
    grant_id: str
    permit_id: str
    watermark: int | None = None
    start_ms: int = 0
    end_ms: int = 0
    permit_signature: str | None = None

    def __post_init__(self) -> None:
        for field in ("cameo_id", "grant_id", "permit_id"):
            _check(field, getattr(self, field), _IDENTIFIER, "1 to 128 letters, digits or any of _ : . + -")
        if self.cameo_kind not in ("real", "fictional"):
            raise ValueError(f"expected cameo_kind 'real' or 'fictional', got {self.cameo_kind!r}")
        if self.permit_signature is not None:
            _check("permit_signature", self.permit_signature, _SIGNATURE, "128 hexadecimal digits or None")
        _check_watermark(self.watermark)


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestClaims:
    """Everything the program states about one rendered file.

    Attributes:
        cameo_id: The likeness that was animated.
        cameo_kind: `"real"` for a verified person, `"fictional"` for one who does not exist.
        grant_id: The owner's permission that was used.
        permit_id: This one render's authorisation.
        ledger_row: Hash of the ledger row that recorded the permit, 64 hexadecimal digits.
        profile: The model that rendered, for example `"lite"`.
        seed: Random seed of the render, 0 to 2**63 - 1.
        created: When the file was made, with a time zone.
        software_version: Version of this package.
        portrait_sha256: Checksum of the source portrait, 64 hexadecimal digits, or `None`.
        driver_sha256: Checksum of the driving clip, 64 hexadecimal digits, or `None`.
        parts: For a film joined from several renders, the permission behind each, in order; the fields above
            are then those of the first.
        permit: What is needed to check the permit's signature, or `None`.
        watermark: The 48-bit number marked in the pictures, or `None` when they carry none of their own.
        labelled: Whether a visible label was drawn.

    Raises:
        ValueError: If a field is not of its form.
    """

    cameo_id: str
    cameo_kind: CameoKind
    grant_id: str
    permit_id: str
    ledger_row: str
    profile: str
    seed: int
    created: datetime
    software_version: str
    portrait_sha256: str | None = None
    driver_sha256: str | None = None
    parts: tuple[ConsentPart, ...] = ()
    permit: PermitProof | None = None
    watermark: int | None = None
    labelled: bool = True

    def __post_init__(self) -> None:
        for field in ("cameo_id", "grant_id", "permit_id", "profile", "software_version"):
            _check(field, getattr(self, field), _IDENTIFIER, "1 to 128 letters, digits or any of _ : . + -")
        _check("ledger_row", self.ledger_row, _SHA256, "64 hexadecimal digits")
        for field in ("portrait_sha256", "driver_sha256"):
            if getattr(self, field) is not None:
                _check(field, getattr(self, field), _SHA256, "64 hexadecimal digits or None")
        if self.cameo_kind not in ("real", "fictional"):
            raise ValueError(f"expected cameo_kind 'real' or 'fictional', got {self.cameo_kind!r}")
        if not isinstance(self.seed, int) or not 0 <= self.seed <= _LARGEST_SEED:
            raise ValueError(f"expected seed from 0 to 2**63 - 1, got {self.seed!r}")
        if self.created.tzinfo is None:
            raise ValueError("expected created with a time zone, got a naive datetime; use timezone.utc")
        _check_watermark(self.watermark)


def _check(field: str, value: object, pattern: re.Pattern[str], form: str) -> None:
    """Raise ValueError unless `value` is a string that is wholly of the pattern."""
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise ValueError(f"expected {field} as {form}, got {value!r}; names and paths do not belong there")


def _check_watermark(value: int | None) -> None:
    if value is not None and (not isinstance(value, int) or not 0 <= value < 1 << WATERMARK_BITS):
        raise ValueError(f"expected a watermark id of {WATERMARK_BITS} bits or None, got {value!r}")
