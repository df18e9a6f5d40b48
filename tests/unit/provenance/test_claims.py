from __future__ import annotations

import dataclasses
import json
from datetime import datetime

import pytest

from portrait_anim.provenance.claims import (
    CONSENT_LABEL,
    DIGITAL_SOURCE_TYPE,
    ConsentPart,
    ManifestClaims,
    PermitProof,
    render_id,
)
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
        ("watermark", -1),
        ("watermark", 2**48),
        ("watermark", "12"),
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


def test_render_id_is_the_beginning_of_the_permit() -> None:
    assert render_id("per_0123456789abcdef") == 0x0123456789AB
    for other in ("per_0123456789ABCDEF", "per_0123", "0123456789abcdef", "permit-03", "per_0123456789abcdef0"):
        assert render_id(other) is None


def test_watermark_is_bound_and_ingredients_have_no_content(claims: ManifestClaims) -> None:
    definition = to_definition(dataclasses.replace(claims, watermark=0xABC), container_sha256="12" * 32)
    data = {item["label"]: item["data"] for item in definition["assertions"]}
    assert data["c2pa.soft-binding"] == {
        "alg": "org.portrait-anim.watermark.1",
        "blocks": [{"scope": {}, "value": "000000000abc"}],
    }
    actions = data["c2pa.actions.v2"]["actions"]
    assert [action["action"] for action in actions] == ["c2pa.created", "c2pa.edited", "c2pa.watermarked.bound"]
    assert actions[0]["parameters"] == {"ingredientIds": ["source-portrait", "source-driver"]}
    assert [item["instance_id"] for item in definition["ingredients"]] == ["sha256:" + "cd" * 32, "sha256:" + "ef" * 32]
    assert all(
        set(item) == {"title", "format", "instance_id", "relationship", "label"} for item in definition["ingredients"]
    )
    assert "c2pa.soft-binding" not in str(to_definition(claims, container_sha256=None))


def test_film_places_its_shots_and_binds_each_mark(claims: ManifestClaims) -> None:
    parts = tuple(
        ConsentPart(
            cameo_id="c", cameo_kind="real", grant_id="g", permit_id=f"p{n}", watermark=n, start_ms=1000 * n,
            end_ms=1000 * n + 1000, permit_signature="ab" * 64,
        )
        for n in range(2)
    )  # fmt: skip
    definition = to_definition(dataclasses.replace(claims, parts=parts), container_sha256=None)
    data = {item["label"]: item["data"] for item in definition["assertions"]}
    assert data["c2pa.soft-binding"]["blocks"][1] == {
        "scope": {"timespan": {"start": 1000, "end": 2000}},
        "value": "000000000001",
    }
    kinds = [action["action"] for action in data["c2pa.actions.v2"]["actions"]]
    assert kinds == ["c2pa.created", "c2pa.placed", "c2pa.placed", "c2pa.edited", "c2pa.watermarked.bound"]
    assert {item["relationship"] for item in definition["ingredients"]} == {"componentOf"}
    assert data[CONSENT_LABEL]["parts"][0]["permit_signature"] == "ab" * 64


@pytest.mark.parametrize(
    ("field", "value"),
    [("signature", "ab"), ("operator_key", "x"), ("store_id", "a b"), ("max_ms", -1), ("grant_signature", "")],
)
def test_permit_proof_holds_hexadecimals_only(field: str, value: object) -> None:
    proof = PermitProof(
        store_id="ab" * 16, portrait_sha256="cd" * 32, issued="2026-01-01T00:00:00.000000+00:00",
        expires="2026-01-01T12:00:00.000000+00:00", max_ms=1000, profile="lite", label_size="small",
        signature="ab" * 64, operator_key="ef" * 32,
    )  # fmt: skip
    with pytest.raises(ValueError, match="expected"):
        dataclasses.replace(proof, **{field: value})
