"""Say in plain words what is known about a file: who signed it, whether it was altered, what was allowed."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from portrait_anim.errors import ManifestInvalid, MediaError
from portrait_anim.provenance.claims import CONSENT_LABEL, DIGITAL_SOURCE_TYPE
from portrait_anim.provenance.containers import container_digest
from portrait_anim.provenance.envelope import envelope_problem
from portrait_anim.provenance.keys import trust_anchors
from portrait_anim.provenance.manifest import ManifestReport, read_manifest

_LONGEST_TEXT: Final = 200
_MOST_PARTS: Final = 4
_REQUIRED: Final = ("cameo_id", "cameo_kind", "grant_id", "permit_id", "ledger_row", "profile", "seed")
_AI_SOURCE_TYPES: Final = (
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "algorithmicMedia",
)
_UNTRUSTED: Final = "signingCredential.untrusted"
_FAILURES: Final[Mapping[str, str]] = {
    "assertion.bmffHash.mismatch": "Altered: picture or sound were changed after signing.",
    "assertion.dataHash.mismatch": "Altered: the picture was changed after signing.",
    "assertion.boxesHash.mismatch": "Altered: the picture was changed after signing.",
    "assertion.hashedURI.mismatch": "Altered: a statement in the manifest was changed after signing.",
    "assertion.missing": "Altered: a statement was removed from the manifest.",
    "claimSignature.mismatch": "Altered: the signature does not belong to this manifest.",
    "claimSignature.missing": "Altered: the signature was removed.",
    "claimSignature.outsideValidity": "The signer's certificate is not valid at the present date.",
    "signingCredential.invalid": "The signer's certificate does not meet the C2PA profile.",
    "signingCredential.expired": "The signer's certificate has expired.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class VerificationReport:
    """What could be established about one file.

    Attributes:
        state: `"valid"` (signed and unaltered), `"invalid"` (altered or unreadable manifest) or `"unsigned"`.
        trusted: Whether the signer is this installation.
        findings: Plain sentences, most important first.
        claims: What the manifest states, ready for JSON, empty without one; believe it only when `trusted`.
        ok: No doubt at all: valid, trusted, and with complete consent and AI statements.
    """

    state: Literal["valid", "invalid", "unsigned"]
    trusted: bool
    findings: tuple[str, ...]
    claims: Mapping[str, Any] = field(default_factory=dict)
    ok: bool


def verify(path: Path | str, *, home: Path | None = None, anchors: str = "") -> VerificationReport:
    """Establish what a file says about its making, and whether that can be believed.

    Works on any file of anyone, whatever it contains. Reads only; needs no network.

    Args:
        path: File to look at.
        home: Home folder of the installation whose signatures are trusted.
        anchors: More trusted certificates, PEM, for example `keys.trust_anchors` of another installation.

    Returns:
        Report in plain words.

    Raises:
        MediaError: If there is no such file, or it cannot be opened.
        SigningError: If the authority in `home` cannot be read.
    """
    path = Path(path)
    trust = (trust_anchors(home) if home is not None else "") + anchors
    try:
        _require_regular(path)
        try:
            manifest = read_manifest(path, anchors=trust)
        except ManifestInvalid as error:
            return VerificationReport(state="invalid", trusted=False, findings=(_plain(str(error)),), ok=False)
        if manifest is None:
            return VerificationReport(
                state="unsigned",
                trusted=False,
                findings=("No manifest: the file was never signed, or re-encoding stripped it.",),
                ok=False,
            )
        failures = [code for code in manifest.failures if code != _UNTRUSTED]
        problems = [_FAILURES.get(code, f"A check failed: {code}.") for code in failures]
        if not problems and manifest.state == "Invalid":
            problems.append("The manifest does not hold.")
        if not problems and manifest.consent:
            problems += _overlooked(path, manifest)
    except OSError as error:
        raise MediaError(
            f"expected a readable file, got {path.name}: {error.strerror or error}; check the path and its permissions"
        ) from error
    return _judge(manifest, list(dict.fromkeys(problems)), anchored=bool(trust))


def _require_regular(path: Path) -> None:
    """Refuse folders, pipes and devices before anything waits on them."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise MediaError(f"expected a file to verify, got {path.name}, which is a folder or a device; name a file")


def _overlooked(path: Path, manifest: ManifestReport) -> list[str]:
    """Changes in places that the C2PA hash leaves open but that our writer fills in one known way."""
    found = []
    problem = envelope_problem(path)
    if problem is not None:
        found.append(f"Altered: {problem}.")
    if container_digest(path) != manifest.consent.get("container_sha256"):
        found.append("Altered: the file's header was changed after signing.")
    return found


def _judge(manifest: ManifestReport, problems: list[str], *, anchored: bool) -> VerificationReport:
    """Put the evidence together; every doubt clears `ok`."""
    trusted = manifest.state == "Trusted" and not problems
    missing = [key for key in _REQUIRED if key not in manifest.consent]
    disclosed = DIGITAL_SOURCE_TYPE in manifest.source_types and bool(manifest.disclosure)
    findings = [*problems] if problems else ["Unaltered: the file is exactly as it was signed."]
    findings.append(_signer(manifest, trusted=trusted, anchored=anchored, altered=bool(problems)))
    findings.append(_disclosure(manifest))
    findings.extend(_consent(manifest.consent, missing))
    return VerificationReport(
        state="invalid" if problems else "valid",
        trusted=trusted,
        findings=tuple(_plain(finding) for finding in findings),
        claims={
            "signer": _plain(manifest.signer),
            "organization": _plain(manifest.organization),
            "generator": _plain(manifest.generator),
            "created": _plain(manifest.created),
            "digital_source_types": [_plain(uri) for uri in manifest.source_types],
            "ai_disclosure": dict(manifest.disclosure),
            "consent": dict(manifest.consent),
        },
        ok=trusted and disclosed and not missing,
    )


def _signer(manifest: ManifestReport, *, trusted: bool, anchored: bool, altered: bool) -> str:
    """Who signed, and whether that means anything."""
    who = f'"{manifest.signer or "nameless"}" ({manifest.organization or "no organisation"})'
    if altered:
        return f"The manifest names the signer {who}; after an alteration nothing it states can be relied on."
    if trusted:
        return f"Signed by {who}, a trusted installation."
    if not anchored:
        return f"Signed by {who}; not trusted, because no trusted certificate was given to compare with."
    return f"Signed by {who}; not trusted: this is not the installation that is trusted here."


def _disclosure(manifest: ManifestReport) -> str:
    """What the file admits about its origin."""
    if any(uri.rpartition("/")[2] in _AI_SOURCE_TYPES for uri in manifest.source_types):
        maker = f" by {manifest.generator}" if manifest.generator else ""
        return f"Declared as AI-generated{maker}" + (f", {manifest.created}." if manifest.created else ".")
    return "Not declared as AI-generated."


def _consent(consent: Mapping[str, Any], missing: list[str]) -> list[str]:
    """Whose likeness, by which permission."""
    if not consent:
        return [f"No consent statement ({CONSENT_LABEL}): it is not known whose likeness the file shows."]
    kind = consent.get("cameo_kind")
    who = {
        "real": "a real person who was verified and gave consent",
        "fictional": "somebody who does not exist, by the operator's statement",
    }.get(kind if isinstance(kind, str) else "", "somebody of an unknown kind")
    findings = [
        f"Shows cameo {consent.get('cameo_id')}: {who}.",
        f"Rendered under grant {consent.get('grant_id')} with permit {consent.get('permit_id')}, "
        f"profile {consent.get('profile')}, seed {consent.get('seed')}.",
    ]
    findings.extend(_parts(consent))
    if missing:
        findings.append(f"The consent statement is incomplete: {', '.join(missing)} missing.")
    return findings


def _parts(consent: Mapping[str, Any]) -> list[str]:
    """Who else is seen in a film that was joined from several renders."""
    listed = consent.get("parts")
    parts = [part for part in listed if isinstance(part, dict)] if isinstance(listed, list) else []
    kinds = {str(part.get("cameo_id")): part.get("cameo_kind") for part in parts}
    if not kinds:
        return []
    each = ", ".join(f"{cameo} ({kind})" for cameo, kind in list(kinds.items())[:_MOST_PARTS])
    more = f" and {len(kinds) - _MOST_PARTS} more" if len(kinds) > _MOST_PARTS else ""
    return [f"Joined from {len(parts)} renders, each with its own permit; shows {each}{more}."]


def _plain(text: str) -> str:
    """One printable line: what strangers wrote must not reach a terminal as control characters."""
    line = "".join(character if character.isprintable() else "?" for character in text)
    return line if len(line) <= _LONGEST_TEXT else line[: _LONGEST_TEXT - 1] + "…"
