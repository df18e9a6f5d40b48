"""From claims to the manifest definition that the C2PA builder signs.

Follows the C2PA technical specification 2.2: `c2pa.created` with the digital source type and the ingredients that went
in, `c2pa.placed` for the shots of a film, `c2pa.edited` for the visible label, and `c2pa.watermarked.bound`, which
needs the soft-binding assertion that names the watermark.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timezone
from typing import Any, Final

from portrait_anim.provenance.claims import (
    ACTIONS_LABEL,
    CONSENT_LABEL,
    DIGITAL_SOURCE_TYPE,
    DISCLOSURE_LABEL,
    SOFT_BINDING_LABEL,
    SOFTWARE_NAME,
    WATERMARK_ALGORITHM,
    ManifestClaims,
)

_SCHEMA: Final = 2


def to_definition(claims: ManifestClaims, *, container_sha256: str | None) -> dict[str, Any]:
    """The manifest definition that the C2PA builder turns into a signed manifest.

    Args:
        claims: Statements to make.
        container_sha256: Checksum of the container parts that the C2PA hash leaves open
            (see `containers.container_digest`), or `None` where there are none.

    Returns:
        JSON-ready definition: generator, actions, AI disclosure, consent, soft binding, ingredients.
    """
    agent = {"name": SOFTWARE_NAME, "version": claims.software_version}
    disclosure = {
        "modelType": "c2pa.types.model",
        "modelName": f"{SOFTWARE_NAME} {claims.profile}",
        "humanOversightLevel": "prompt_guided",
    }
    statements = {
        ACTIONS_LABEL: {"actions": _actions(claims, agent)},
        DISCLOSURE_LABEL: disclosure,
        CONSENT_LABEL: _consent(claims, container_sha256),
    }
    blocks = _soft_binding_blocks(claims)
    if blocks:
        statements[SOFT_BINDING_LABEL] = {"alg": WATERMARK_ALGORITHM, "blocks": blocks}
    return {
        "claim_generator_info": [agent],
        "assertions": [{"label": label, "data": data, "created": True} for label, data in statements.items()],
        "ingredients": _ingredients(claims),
    }


def watermark_text(watermark: int) -> str:
    """A watermark's number as the manifest spells it: 12 hexadecimal digits."""
    return f"{watermark:012x}"


def _actions(claims: ManifestClaims, agent: dict[str, str]) -> list[dict[str, Any]]:
    when = claims.created.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    ingredients = [item["label"] for item in _ingredients(claims)]
    created = {
        "action": "c2pa.created",
        "when": when,
        "digitalSourceType": DIGITAL_SOURCE_TYPE,
        "softwareAgent": agent,
    }
    actions: list[dict[str, Any]] = [created]
    if claims.parts:
        actions += [
            {"action": "c2pa.placed", "when": when, "softwareAgent": agent, "parameters": {"ingredientIds": [label]}}
            for label in ingredients
        ]
    elif ingredients:
        created["parameters"] = {"ingredientIds": ingredients}
    if claims.labelled:
        actions.append(
            {
                "action": "c2pa.edited",
                "when": when,
                "softwareAgent": agent,
                "description": "A visible label that says that this was made with AI was drawn into every picture.",
            }
        )
    if _soft_binding_blocks(claims):
        actions.append({"action": "c2pa.watermarked.bound", "when": when, "softwareAgent": agent})
    return actions


def _ingredients(claims: ManifestClaims) -> list[dict[str, Any]]:
    """What went in, by checksum only: no content, no name, no thumbnail."""
    if claims.parts:
        return [
            {
                "title": f"shot {number}",
                "format": "video/mp4",
                "instance_id": f"permit:{part.permit_id}",
                "relationship": "componentOf",
                "label": f"shot-{number}",
            }
            for number, part in enumerate(claims.parts, 1)
        ]
    sources = (("portrait", "image/*", claims.portrait_sha256), ("driver", "video/*", claims.driver_sha256))
    return [
        {
            "title": f"source {name}",
            "format": kind,
            "instance_id": f"sha256:{digest}",
            "relationship": "inputTo",
            "label": f"source-{name}",
        }
        for name, kind, digest in sources
        if digest is not None
    ]


def _soft_binding_blocks(claims: ManifestClaims) -> list[dict[str, Any]]:
    """Which watermark is in which part of the file."""
    if claims.watermark is not None:
        return [{"scope": {}, "value": watermark_text(claims.watermark)}]
    return [
        {
            "scope": {"timespan": {"start": part.start_ms, "end": part.end_ms}},
            "value": watermark_text(part.watermark),
        }
        for part in claims.parts
        if part.watermark is not None
    ]


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
        "permit": None if claims.permit is None else _present(asdict(claims.permit)),
        "parts": [_present(asdict(part)) for part in claims.parts] or None,
    }
    return _present(data)


def _present(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}
