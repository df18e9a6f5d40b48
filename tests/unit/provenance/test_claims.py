from __future__ import annotations

import dataclasses
import json
from datetime import datetime

import pytest

from portrait_anim.provenance.claims import CONSENT_LABEL, DIGITAL_SOURCE_TYPE, ManifestClaims
from portrait_anim.provenance.definition import to_definition


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cameo_id", "Ada Lovelace"),
        ("cameo_id", "a/b"),
        ("cameo_id", "C:\\x"),
        ("cameo_id", "a@b"),
        ("cameo_id", ""),
        ("cameo_id", "x" * 129),
        ("cameo_id", 3),
        ("grant_id", "g\n"),
        ("permit_id", "é"),
        ("profile", "my profile"),
        ("ledger_row", "12"),
        ("ledger_row", "AB" * 32),
        ("portrait_sha256", "x"),
        ("driver_sha256", ""),
        ("cameo_kind", "painted"),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", 1.5),
        ("created", datetime(2026, 1, 1)),
    ],
)
def test_only_identifiers_checksums_and_numbers(claims: ManifestClaims, field: str, value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        dataclasses.replace(claims, **{field: value})


def test_definition_states_what_it_must(claims: ManifestClaims) -> None:
    definition = to_definition(claims, container_sha256=None)
    data = {item["label"]: item["data"] for item in definition["assertions"]}
    action = data["c2pa.actions.v2"]["actions"][0]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"] == DIGITAL_SOURCE_TYPE
    assert action["softwareAgent"] == {"name": "portrait_anim", "version": "0.1.0"}
    assert action["when"] == "2026-11-22T12:00:00Z"
    assert data["c2pa.ai-disclosure"]["humanOversightLevel"] == "prompt_guided"
    consent = data[CONSENT_LABEL]
    assert consent["cameo_kind"] == "fictional"
    assert consent["seed"] == 7
    assert "container_sha256" not in consent
    assert all(item["created"] for item in definition["assertions"])
    json.dumps(definition)
