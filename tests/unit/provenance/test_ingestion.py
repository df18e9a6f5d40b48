from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest

from portrait_anim.errors import ConsentDenied, SourceRefused
from portrait_anim.media.image import read_image, write_image
from portrait_anim.provenance.claims import ConsentPart, ManifestClaims
from portrait_anim.provenance.ingestion import check_source, inspect_source
from portrait_anim.provenance.keys import load_identity
from portrait_anim.provenance.manifest import sign_file
from portrait_anim.provenance.settings import IngestionSettings
from portrait_anim.provenance.watermark import Watermarker

PORTRAIT = Path(__file__).parents[3] / "demo" / "samples" / "portrait.jpg"
STRICT = IngestionSettings()


def nobody(_: str) -> str | None:
    return None


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.png"
    # Too small to be searched for a watermark, which would take its time.
    write_image(path, np.ascontiguousarray(read_image(PORTRAIT)[::12, ::12]))
    return path


def state(path: Path, source: Path, home: Path, label: str, entries: dict[str, Any]) -> Path:
    """Sign a picture of a stranger's camera with a statement about its use."""
    identity = load_identity(home, now=datetime.now(timezone.utc))
    info = c2pa.C2paSignerInfo("es256", identity.chain_pem.encode(), identity.key_pem.encode(), None)
    action = {
        "action": "c2pa.created",
        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture",
    }
    definition = {
        "claim_generator_info": [{"name": "camera", "version": "1"}],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
            {"label": label, "data": {"entries": entries}},
        ],
    }
    with (
        c2pa.Signer.from_info(info) as signer,
        c2pa.Context.from_dict({}) as context,
        c2pa.Builder(definition, context=context) as builder,
    ):
        builder.sign_file(source, path, signer)
    return path


def test_clean_and_missing_sources_pass(small: Path, tmp_path: Path) -> None:
    check_source(small, cameo_id="cam_1", policy=STRICT, owner_of=nobody)
    check_source(tmp_path / "absent.mp4", cameo_id="cam_1", policy=STRICT, owner_of=nobody)
    (tmp_path / "text.mp4").write_text("no video")
    check_source(tmp_path / "text.mp4", cameo_id="cam_1", policy=STRICT, owner_of=nobody)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("cawg.training-mining", "cawg.ai_inference"),
        ("c2pa.training-mining", "c2pa.ai_inference"),
        ("cawg.training-mining", "org.example.animate"),
    ],
)
@pytest.mark.parametrize("use", ["notAllowed", "constrained"])
def test_do_not_animate(small: Path, tmp_path: Path, home: Path, label: str, name: str, use: str) -> None:
    path = state(tmp_path / "stated.png", small, home, label, {name: {"use": use}})
    with pytest.raises(SourceRefused, match="whose maker states") as refused:
        check_source(path, cameo_id="cam_1", policy=STRICT, owner_of=nobody)
    assert refused.value.reason == "do_not_animate"
    assert isinstance(refused.value, ConsentDenied)
    check_source(path, cameo_id="cam_1", policy=IngestionSettings(do_not_animate="allow"), owner_of=nobody)


def test_do_not_train_is_for_the_operator_to_decide(small: Path, tmp_path: Path, home: Path) -> None:
    entries = {"cawg.ai_generative_training": {"use": "notAllowed"}, "cawg.ai_inference": {"use": "allowed"}}
    path = state(tmp_path / "stated.png", small, home, "cawg.training-mining", entries)
    check_source(path, cameo_id="cam_1", policy=STRICT, owner_of=nobody)
    with pytest.raises(SourceRefused, match="ai_generative_training") as refused:
        check_source(path, cameo_id="cam_1", policy=IngestionSettings(do_not_train="refuse"), owner_of=nobody)
    assert refused.value.reason == "do_not_train"


def test_hostile_statements_do_not_crash(small: Path, tmp_path: Path, home: Path) -> None:
    entries = {"cawg.ai_inference": "notAllowed", "x": {"use": ["notAllowed"]}, "": {"use": "notAllowed"}}
    path = state(tmp_path / "stated.png", small, home, "cawg.training-mining", entries)
    check_source(path, cameo_id="cam_1", policy=STRICT, owner_of=nobody)


def test_manifest_that_names_another_cameo(small: Path, tmp_path: Path, home: Path, claims: ManifestClaims) -> None:
    path = tmp_path / "render.png"
    sign_file(small, path, claims=claims, home=home)
    check_source(path, cameo_id=claims.cameo_id, policy=STRICT, owner_of=nobody)
    with pytest.raises(SourceRefused, match="cameo-01") as refused:
        check_source(path, cameo_id="cam_other", policy=STRICT, owner_of=nobody)
    assert (refused.value.reason, refused.value.source) == ("foreign_mark", "render.png")
    check_source(path, cameo_id="cam_other", policy=IngestionSettings(foreign_mark="allow"), owner_of=nobody)


def test_everybody_in_a_film_counts(small: Path, tmp_path: Path, home: Path, claims: ManifestClaims) -> None:
    parts = tuple(
        ConsentPart(cameo_id=name, cameo_kind="real", grant_id="g", permit_id="p") for name in ("cameo-01", "cam_b")
    )
    path = tmp_path / "film.png"
    sign_file(small, path, claims=dataclasses.replace(claims, parts=parts), home=home)
    with pytest.raises(SourceRefused, match="cam_b"):
        check_source(path, cameo_id="cameo-01", policy=STRICT, owner_of=nobody)


def test_watermark_alone_is_enough(tmp_path: Path) -> None:
    image = read_image(PORTRAIT)
    path = tmp_path / "marked.png"
    write_image(path, Watermarker(0xABCDEF012345, (image.shape[1], image.shape[0])).mark(image))
    assert inspect_source(path).watermark == 0xABCDEF012345
    asked: list[str] = []

    def owner_of(prefix: str) -> str | None:
        asked.append(prefix)
        return "cam_1"

    check_source(path, cameo_id="cam_1", policy=STRICT, owner_of=owner_of)
    assert asked == ["per_abcdef012345"]
    with pytest.raises(SourceRefused, match="cam_1"):
        check_source(path, cameo_id="cam_2", policy=STRICT, owner_of=owner_of)
    with pytest.raises(SourceRefused, match="another installation"):
        check_source(path, cameo_id="cam_1", policy=STRICT, owner_of=nobody)
    check_source(path, cameo_id="cam_2", policy=IngestionSettings(foreign_mark="allow"), owner_of=nobody)


def test_a_manifest_that_names_the_right_cameo_does_not_hide_the_mark(
    tmp_path: Path, home: Path, claims: ManifestClaims
) -> None:
    image = read_image(PORTRAIT)
    write_image(tmp_path / "marked.png", Watermarker(0xABC, (image.shape[1], image.shape[0])).mark(image))
    sign_file(tmp_path / "marked.png", tmp_path / "signed.png", claims=claims, home=home)
    with pytest.raises(SourceRefused, match="cam_victim"):
        check_source(tmp_path / "signed.png", cameo_id=claims.cameo_id, policy=STRICT, owner_of=lambda _: "cam_victim")


def test_a_file_that_changed_is_looked_at_again(
    small: Path, tmp_path: Path, signed: Callable[[str], Path], home: Path, claims: ManifestClaims
) -> None:
    path = tmp_path / "file.png"
    path.write_bytes(small.read_bytes())
    assert inspect_source(path).cameo_ids == ()
    sign_file(small, path, claims=claims, home=home)
    assert inspect_source(path).cameo_ids == ("cameo-01",)
