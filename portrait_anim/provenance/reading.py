"""Read and validate what a signed file says (C2PA, through `c2pa-python`); manifests kept elsewhere are not fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import c2pa

from portrait_anim.errors import ManifestInvalid
from portrait_anim.provenance.claims import ACTIONS_LABEL, CONSENT_LABEL, DISCLOSURE_LABEL, SOFT_BINDING_LABEL
from portrait_anim.provenance.containers import holds_remains, media_type

ValidationState = Literal["Trusted", "Valid", "Invalid"]

OFFLINE: Final[Mapping[str, Any]] = {"remote_manifest_fetch": False, "ocsp_fetch": False}
"""Settings of the C2PA library that keep it off the network."""

_USAGE_LABELS: Final = ("c2pa.training-mining", "cawg.training-mining")


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestReport:
    """What the active manifest of a file holds, as the C2PA library reads it.

    Everything but `state` and `failures` is only as true as `state` says.

    Attributes:
        state: `"Trusted"` (unaltered, signer known), `"Valid"` (unaltered) or `"Invalid"`.
        failures: Codes of the checks that failed, for example `"assertion.bmffHash.mismatch"`.
        signer: Common name in the signer's certificate, may be empty.
        organization: Organisation in the signer's certificate, may be empty.
        generator: Program that wrote the manifest, with its version.
        source_types: IPTC digital source types named by the actions.
        created: Time of the `c2pa.created` action as written, or empty.
        disclosure: The `c2pa.ai-disclosure` assertion, empty when absent.
        consent: The consent assertion of this project, empty when absent.
        soft_bindings: Algorithm and value of each soft binding: what marks the file says that it carries.
        usage: Uses that the maker does not allow, by entry of a training-and-mining assertion: `"notAllowed"` or
            `"constrained"`.
        time_stamp: `"none"`, `"valid"` (made for this signature; by whom is not judged) or `"broken"`.
        json: The whole manifest store as JSON text.
    """

    state: ValidationState
    failures: tuple[str, ...]
    signer: str
    organization: str
    generator: str
    source_types: tuple[str, ...]
    created: str
    disclosure: Mapping[str, Any] = field(default_factory=dict)
    consent: Mapping[str, Any] = field(default_factory=dict)
    soft_bindings: tuple[tuple[str, str], ...] = ()
    usage: Mapping[str, str] = field(default_factory=dict)
    time_stamp: Literal["none", "valid", "broken"] = "none"
    json: str = field(default="", repr=False)


def read_manifest(path: Path, *, anchors: str = "") -> ManifestReport | None:
    """Read and validate the manifest of any file.

    Args:
        path: Any readable file.
        anchors: Certificates that are trusted, PEM (see `keys.trust_anchors`); empty trusts nobody.

    Returns:
        Report on the active manifest, or `None` when the file carries none.

    Raises:
        ManifestInvalid: If there are traces of a manifest that cannot be read, or it is kept elsewhere.
        OSError: If the file itself cannot be read.
    """
    settings: dict[str, Any] = {"verify": {**OFFLINE, "verify_trust": True}}
    if anchors:
        settings["trust"] = {"trust_anchors": anchors}
    text: str | None = None
    with path.open("rb") as file, _reading_errors(path), c2pa.Context.from_dict(settings) as context:
        reader = c2pa.Reader.try_create(media_type(path), file, context=context)
        if reader is not None:
            with reader:
                text = reader.json()
    if text is not None:
        return _report(text)
    if holds_remains(path):
        raise ManifestInvalid(
            f"expected a whole manifest or none in {path.name}, got the remains of one; "
            "the file was altered, ask its maker for the original"
        )
    return None


def _report(text: str) -> ManifestReport:
    """Pick what matters out of the library's JSON; tolerant of everything a stranger may have written."""
    try:
        store = _mapping(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"expected a manifest as JSON, got something unreadable ({error})") from error
    active = _mapping(_mapping(store.get("manifests")).get(_text(store.get("active_manifest"))))
    items = [_mapping(item) for item in _list(active.get("assertions"))]
    assertions = {_text(item.get("label")): _mapping(item.get("data")) for item in items}
    actions = [_mapping(action) for action in _list(assertions.get(ACTIONS_LABEL, {}).get("actions"))]
    generator = _mapping(next(iter(_list(active.get("claim_generator_info"))), None))
    signature = _mapping(active.get("signature_info"))
    results = _mapping(_mapping(store.get("validation_results")).get("activeManifest"))
    state = store.get("validation_state")
    return ManifestReport(
        state=state if state in ("Trusted", "Valid") else "Invalid",
        failures=tuple(_text(_mapping(item).get("code")) for item in _list(results.get("failure"))),
        signer=_text(signature.get("common_name")),
        organization=_text(signature.get("issuer")),
        generator=f"{_text(generator.get('name'))} {_text(generator.get('version'))}".strip(),
        source_types=tuple(_text(a["digitalSourceType"]) for a in actions if "digitalSourceType" in a),
        created=next((_text(a.get("when")) for a in actions if a.get("action") == "c2pa.created"), ""),
        disclosure=assertions.get(DISCLOSURE_LABEL, {}),
        consent=assertions.get(CONSENT_LABEL, {}),
        soft_bindings=_soft_bindings(assertions.get(SOFT_BINDING_LABEL, {})),
        usage=_usage(assertions),
        time_stamp=_time_stamp(results),
        json=text,
    )


def _time_stamp(results: Mapping[str, Any]) -> Literal["none", "valid", "broken"]:
    """What became of a time stamp, which the library only mentions when it does not hold."""
    codes = {
        _text(_mapping(item).get("code"))
        for kind in ("success", "informational", "failure")
        for item in _list(results.get(kind))
    }
    if not any(code.startswith("timeStamp.") for code in codes):
        return "none"
    return "valid" if "timeStamp.validated" in codes else "broken"


def _soft_bindings(data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    blocks = [_mapping(block) for block in _list(data.get("blocks"))]
    return tuple((_text(data.get("alg")), _text(block.get("value"))) for block in blocks)


def _usage(assertions: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Uses that are not plainly allowed, from C2PA's assertion of old and from CAWG's."""
    usage: dict[str, str] = {}
    for label in _USAGE_LABELS:
        for name, entry in _mapping(assertions.get(label, {}).get("entries")).items():
            word = _text(_mapping(entry).get("use"))
            if word in ("notAllowed", "constrained"):
                usage[name] = word
    return usage


def _mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    """The value if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


@contextmanager
def _reading_errors(path: Path) -> Iterator[None]:
    """Map errors of the C2PA library to ManifestInvalid, unless they only say that there is no manifest."""
    try:
        yield
    except c2pa.C2paError as error:
        if str(error).startswith("Remote"):
            raise ManifestInvalid(
                f"expected the manifest inside {path.name}, got a link to one kept elsewhere, which was not "
                "fetched; ask its maker for a file that carries its manifest"
            ) from error
        if holds_remains(path):
            raise ManifestInvalid(
                f"expected a readable manifest in {path.name}, got: {error}; the file was altered or cut "
                "short, ask its maker for the original"
            ) from error
