"""What a file says about its own making: the statements that go into the manifest.

Nothing here can name a person. Every field is an identifier, a checksum or a number, and the constructor
refuses anything else, so a name or a path cannot slip into a file that will be published.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, Final, Literal, TypeAlias

CameoKind: TypeAlias = Literal["real", "fictional"]

CONSENT_LABEL: Final = "org.portrait-anim.consent"
DISCLOSURE_LABEL: Final = "c2pa.ai-disclosure"
ACTIONS_LABEL: Final = "c2pa.actions.v2"
DIGITAL_SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
SOFTWARE_NAME: Final = "portrait_anim"

_SCHEMA: Final = 1
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_:.+-]{1,128}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LARGEST_SEED: Final = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsentPart:
    """The permission behind one part of a film that was joined from several renders.

    Attributes:
        cameo_id: The likeness that is seen.
        cameo_kind: `"real"` or `"fictional"`.
        grant_id: The owner's permission that was used.
        permit_id: The authorisation of this part.

    Raises:
        ValueError: If a field is not of its form.
    """

    cameo_id: str
    cameo_kind: CameoKind
    grant_id: str
    permit_id: str

    def __post_init__(self) -> None:
        for field in ("cameo_id", "grant_id", "permit_id"):
            _check(field, getattr(self, field), _IDENTIFIER, "1 to 128 letters, digits or any of _ : . + -")
        if self.cameo_kind not in ("real", "fictional"):
            raise ValueError(f"expected cameo_kind 'real' or 'fictional', got {self.cameo_kind!r}")


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


def to_definition(claims: ManifestClaims, *, container_sha256: str | None) -> dict[str, Any]:
    """The manifest definition that the C2PA builder turns into a signed manifest.

    Args:
        claims: Statements to make.
        container_sha256: Checksum of the container parts that the C2PA hash leaves open
            (see `envelope.container_digest`), or `None` where there are none.

    Returns:
        JSON-ready definition: generator, `c2pa.created` with the IPTC source type, AI disclosure, consent.
    """
    agent = {"name": SOFTWARE_NAME, "version": claims.software_version}
    created = {
        "action": "c2pa.created",
        "when": claims.created.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "digitalSourceType": DIGITAL_SOURCE_TYPE,
        "softwareAgent": agent,
    }
    disclosure = {
        "modelType": "c2pa.types.model",
        "modelName": f"{SOFTWARE_NAME} {claims.profile}",
        "humanOversightLevel": "prompt_guided",
    }
    return {
        "claim_generator_info": [agent],
        "assertions": [
            {"label": ACTIONS_LABEL, "data": {"actions": [created]}, "created": True},
            {"label": DISCLOSURE_LABEL, "data": disclosure, "created": True},
            {"label": CONSENT_LABEL, "data": _consent(claims, container_sha256), "created": True},
        ],
    }


def _consent(claims: ManifestClaims, container_sha256: str | None) -> dict[str, Any]:
    """The consent assertion; absent values are left out."""
    data = {
        "schema": _SCHEMA,
        "cameo_id": claims.cameo_id,
        "cameo_kind": claims.cameo_kind,
        "grant_id": claims.grant_id,
        "permit_id": claims.permit_id,
        "ledger_row": claims.ledger_row,
        "profile": claims.profile,
        "seed": claims.seed,
        "portrait_sha256": claims.portrait_sha256,
        "driver_sha256": claims.driver_sha256,
        "container_sha256": container_sha256,
        "parts": [asdict(part) for part in claims.parts] or None,
    }
    return {key: value for key, value in data.items() if value is not None}


def _check(field: str, value: object, pattern: re.Pattern[str], form: str) -> None:
    """Raise ValueError unless `value` is a string that is wholly of the pattern."""
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise ValueError(f"expected {field} as {form}, got {value!r}; names and paths do not belong there")
