"""Say in plain words what is known about a file: who signed it, whether it was altered, what was allowed."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from portrait_anim.errors import ManifestInvalid, MediaError
from portrait_anim.provenance.claims import DIGITAL_SOURCE_TYPE, WATERMARK_ALGORITHM
from portrait_anim.provenance.containers import container_digest
from portrait_anim.provenance.definition import watermark_text
from portrait_anim.provenance.envelope import envelope_problem
from portrait_anim.provenance.facts import FactsSource, RenderFacts
from portrait_anim.provenance.findings import (
    consent_sentences,
    disclosure_sentence,
    plain,
    render_sentences,
    signer_sentence,
)
from portrait_anim.provenance.manifest import ManifestReport, read_manifest
from portrait_anim.provenance.recovery import Mark, Recovery, recover, search_mark
from portrait_anim.provenance.settings import load_settings
from portrait_anim.provenance.signers import all_anchors

__all__ = ["MARK_BUDGET_S", "Mark", "Recovery", "VerificationReport", "verify"]

MARK_BUDGET_S: Final = 20.0
"""Time that is enough to search one file for the watermark [s]; a file that has it intact takes a fifth of a second."""

_REQUIRED: Final = ("cameo_id", "cameo_kind", "grant_id", "permit_id", "ledger_row", "profile", "seed")
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
        trusted: Whether the signer is this installation, or one that it trusts.
        findings: Plain sentences, most important first.
        claims: What the manifest states, ready for JSON, empty without one; believe it only when `trusted`.
        ok: No doubt at all: valid, trusted, with complete consent and AI statements, and consent that stands as far
            as was asked.
        mark: The invisible watermark, or `None` when none was found or looked for.
        render: What the ledger says about the render, or `None` when it is not known here.
        recovery: The published file that this one comes from, when its own manifest is gone or broken.
        only_mark: Whether nothing but the watermark is left of where the file comes from.
    """

    state: Literal["valid", "invalid", "unsigned"]
    trusted: bool
    findings: tuple[str, ...]
    claims: Mapping[str, Any] = field(default_factory=dict)
    ok: bool
    mark: Mark | None = None
    render: RenderFacts | None = None
    recovery: Recovery | None = None
    only_mark: bool = False


def verify(
    path: Path | str,
    *,
    home: Path | None = None,
    anchors: str = "",
    mark_budget_s: float = 0.0,
    facts: FactsSource | None = None,
) -> VerificationReport:
    """Establish what a file says about its making, and whether that can be believed.

    Works on any file of anyone, whatever it contains. Reads only; needs no network.

    Args:
        path: File to look at.
        home: Home folder of the installation whose signatures are trusted and whose index of published files is
            searched for one that lost its manifest.
        anchors: More trusted certificates, PEM, for example `keys.trust_anchors` of another installation.
        mark_budget_s: Time to search the picture for the watermark [s]; 0 does not look, and does not ask the index for
            files that lost their manifest.
        facts: Knows which permits were given and which still stand.

    Returns:
        Report in plain words.

    Raises:
        MediaError: If there is no such file, or it cannot be opened.
        SigningError: If the authority in `home` cannot be read.
        ProvenanceError: If settings or index in `home` are not usable.
    """
    path = Path(path)
    trust = ("" if home is None else all_anchors(home, load_settings(home).signing)) + anchors
    try:
        _require_regular(path)
        report = _verify_manifest(path, trust)
    except OSError as error:
        raise MediaError(
            f"expected a readable file, got {path.name}: {error.strerror or error}; check the path and its permissions"
        ) from error
    if mark_budget_s > 0:
        report = _with_mark(report, path, home, mark_budget_s)
    return report if facts is None else _with_facts(report, facts)


def _verify_manifest(path: Path, trust: str) -> VerificationReport:
    """What the file's own manifest says."""
    try:
        manifest = read_manifest(path, anchors=trust)
    except ManifestInvalid as error:
        return VerificationReport(state="invalid", trusted=False, findings=(plain(str(error)),), ok=False)
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
    if manifest.time_stamp == "broken":
        found.append("Altered: the time stamp beside the signature was changed.")
    if container_digest(path) != manifest.consent.get("container_sha256"):
        found.append("Altered: the file's header was changed after signing.")
    return found


def _judge(manifest: ManifestReport, problems: list[str], *, anchored: bool) -> VerificationReport:
    """Put the evidence of a manifest together; every doubt clears `ok`."""
    trusted = manifest.state == "Trusted" and not problems
    missing = [key for key in _REQUIRED if key not in manifest.consent]
    disclosed = DIGITAL_SOURCE_TYPE in manifest.source_types and bool(manifest.disclosure)
    findings = [*problems] if problems else ["Unaltered: the file is exactly as it was signed."]
    findings.append(signer_sentence(manifest, trusted=trusted, anchored=anchored, altered=bool(problems)))
    findings.append(disclosure_sentence(manifest))
    findings.extend(consent_sentences(manifest.consent, missing))
    return VerificationReport(
        state="invalid" if problems else "valid",
        trusted=trusted,
        findings=tuple(plain(finding) for finding in findings),
        claims={
            "signer": plain(manifest.signer),
            "organization": plain(manifest.organization),
            "generator": plain(manifest.generator),
            "created": plain(manifest.created),
            "digital_source_types": [plain(uri) for uri in manifest.source_types],
            "ai_disclosure": dict(manifest.disclosure),
            "soft_bindings": [[plain(algorithm), plain(value)] for algorithm, value in manifest.soft_bindings],
            "consent": dict(manifest.consent),
        },
        ok=trusted and disclosed and not missing,
    )


def _with_mark(report: VerificationReport, path: Path, home: Path | None, budget_s: float) -> VerificationReport:
    """Add the watermark, and for a file that cannot speak for itself the published one that it comes from."""
    mark, sentence = search_mark(path, budget_s=budget_s)
    findings, ok = [*report.findings, sentence], report.ok
    if mark is not None and report.state == "valid":
        named = [value for name, value in report.claims["soft_bindings"] if name == WATERMARK_ALGORITHM]
        if named and watermark_text(mark.render_id) not in named:
            findings.append("The watermark is not the one that the manifest names: picture and manifest do not belong.")
            ok = False
    recovery = None
    if report.state != "valid" and home is not None:
        recovery = recover(path, mark, home)
        if recovery is not None:
            findings.append(recovery.sentence)
        elif mark is None:
            findings.append("Nothing in this installation's index of published files looks like it.")
    return replace(
        report,
        findings=tuple(findings),
        ok=ok,
        mark=mark,
        recovery=recovery,
        only_mark=mark is not None and report.state == "unsigned",
    )


def _with_facts(report: VerificationReport, facts: FactsSource) -> VerificationReport:
    """Add what the ledger says about the render."""
    findings, ok = list(report.findings), report.ok
    permit = _permit_of(report)
    found = None if permit is None else facts.find(permit)
    if found is not None:
        findings += [plain(sentence) for sentence in render_sentences(found)]
        ok = ok and found.consent == "standing"
    elif permit is not None:
        findings.append("This installation's ledger does not know the render: it may be of another installation.")
        ok = False
    if report.state == "valid" and facts.proof_holds(report.claims["consent"]) is False:
        findings.append("The permit in the manifest is not signed by this operator, or was changed.")
        ok = False
    return replace(report, findings=tuple(findings), ok=ok, render=found)


def _permit_of(report: VerificationReport) -> str | None:
    """The permit, or its beginning, from the most reliable source there is: a stranger may sign anything."""
    named = report.claims["consent"].get("permit_id") if report.state == "valid" else None
    stated = named if isinstance(named, str) and named else None
    if report.trusted and stated:
        return stated
    if report.mark is not None:
        return f"per_{watermark_text(report.mark.render_id)}"
    if stated:
        return stated
    return None if report.recovery is None else report.recovery.permit_id


def manifest_of(recovery: Recovery) -> Mapping[str, Any]:
    """The manifest store of the published file that a file comes from.

    Args:
        recovery: What was found.

    Returns:
        The store as the C2PA library spells it in JSON.
    """
    store: Mapping[str, Any] = json.loads(recovery.manifest)
    return store
