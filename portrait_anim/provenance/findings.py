"""Plain sentences about what was found in and about a file. What strangers wrote never reaches a terminal raw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from portrait_anim.provenance.claims import CONSENT_LABEL
from portrait_anim.provenance.facts import ConsentState, RenderFacts
from portrait_anim.provenance.manifest import ManifestReport

_LONGEST_TEXT: Final = 200
_MOST_PARTS: Final = 4
_AI_SOURCE_TYPES: Final = (
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "algorithmicMedia",
)
_CONSENT: Final[Mapping[ConsentState, str]] = {
    "standing": "Consent stands: the owner has not taken the permission back.",
    "revoked": "Consent was revoked: the owner ended the grant since; do not show the file, destroy it.",
    "withdrawn": "Consent was withdrawn: this file is on the revocation list; do not show it, destroy it.",
    "deleted": "Consent ended: the owner deleted the cameo since; do not show the file, destroy it.",
    "unfinished": "The ledger says that this render was stopped: no file of it should exist; destroy it.",
}


def signer_sentence(manifest: ManifestReport, *, trusted: bool, anchored: bool, altered: bool) -> str:
    """Who signed, and whether that means anything.

    Args:
        manifest: What the file holds.
        trusted: Whether signer and content can be believed.
        anchored: Whether there was a certificate to compare with.
        altered: Whether the file was changed after signing.
    """
    who = f'"{manifest.signer or "nameless"}" ({manifest.organization or "no organisation"})'
    if altered:
        return f"The manifest names the signer {who}; after an alteration nothing it states can be relied on."
    if trusted:
        return f"Signed by {who}, a trusted installation."
    if not anchored:
        return f"Signed by {who}; not trusted, because no trusted certificate was given to compare with."
    return f"Signed by {who}; not trusted: this is not the installation that is trusted here."


def disclosure_sentence(manifest: ManifestReport) -> str:
    """What the file admits about its origin.

    Args:
        manifest: What the file holds.
    """
    if any(uri.rpartition("/")[2] in _AI_SOURCE_TYPES for uri in manifest.source_types):
        maker = f" by {manifest.generator}" if manifest.generator else ""
        return f"Declared as AI-generated{maker}" + (f", {manifest.created}." if manifest.created else ".")
    return "Not declared as AI-generated."


def consent_sentences(consent: Mapping[str, Any], missing: list[str]) -> list[str]:
    """Whose likeness, by which permission.

    Args:
        consent: The consent assertion, whatever is in it.
        missing: Fields that it lacks.
    """
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


def plain(text: str) -> str:
    """One printable line: what strangers wrote must not reach a terminal as control characters.

    Args:
        text: Anything.
    """
    line = "".join(character if character.isprintable() else "?" for character in text)
    return line if len(line) <= _LONGEST_TEXT else line[: _LONGEST_TEXT - 1] + "…"


def render_sentences(facts: RenderFacts) -> list[str]:
    """What the ledger says about a render.

    Args:
        facts: What was found there.
    """
    when = (facts.rendered or facts.authorised).strftime("%Y-%m-%d %H:%M UTC")
    kind = {"real": " (a real person)", "fictional": " (nobody real)"}.get(facts.cameo_kind, "")
    return [
        f"In the ledger: permit {facts.permit_id} for cameo {facts.cameo_id}{kind}, {when}.",
        _CONSENT[facts.consent],
    ]
