from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import c2pa
import pytest

from portrait_anim.errors import ManifestInvalid, MediaError, SigningError
from portrait_anim.provenance.claims import ManifestClaims, PermitProof
from portrait_anim.provenance.containers import container_digest, holds_remains, media_type
from portrait_anim.provenance.keys import trust_anchors
from portrait_anim.provenance.manifest import read_manifest, sign_file
from portrait_anim.provenance.verify import verify

ENDINGS = ("mp4", "png", "jpg", "webp")
Signed = Callable[[str], Path]


def _plain(signed: Signed, ending: str) -> Path:
    return signed(ending).with_name(f"plain.{ending}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_round_trip(signed: Signed, claims: ManifestClaims, ending: str) -> None:
    manifest = read_manifest(signed(ending))
    assert manifest is not None
    assert manifest.state == "Valid"
    assert manifest.failures == ("signingCredential.untrusted",)
    assert manifest.generator == "portrait_anim 0.1.0"
    assert manifest.consent["grant_id"] == claims.grant_id
    assert manifest.consent["seed"] == claims.seed
    assert manifest.consent["driver_sha256"] == claims.driver_sha256
    assert manifest.disclosure["modelName"] == "portrait_anim lite"
    assert ("container_sha256" in manifest.consent) == (ending == "mp4")


@pytest.mark.parametrize("ending", ENDINGS)
def test_unsigned_file_has_no_manifest(signed: Signed, ending: str) -> None:
    signed(ending)
    assert read_manifest(_plain(signed, ending)) is None
    assert not holds_remains(_plain(signed, ending))
    assert holds_remains(signed(ending))


def test_largest_seed_survives(signed: Signed, claims: ManifestClaims, home: Path, tmp_path: Path) -> None:
    signed("png")
    largest = dataclasses.replace(claims, seed=2**63 - 1)
    sign_file(_plain(signed, "png"), tmp_path / "out.png", claims=largest, home=home)
    assert verify(tmp_path / "out.png", home=home).claims["consent"]["seed"] == 2**63 - 1


def test_signed_clip_still_plays_the_same(signed: Signed) -> None:
    pictures = []
    for path in (signed("mp4"), _plain(signed, "mp4")):
        with av.open(str(path)) as container:
            pictures.append([frame.to_ndarray(format="rgb24").tobytes() for frame in container.decode(video=0)])
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) == 6


def test_signing_in_place(signed: Signed, claims: ManifestClaims, home: Path, tmp_path: Path) -> None:
    signed("jpg")
    path = tmp_path / "in-place.jpg"
    shutil.copy(_plain(signed, "jpg"), path)
    sign_file(path, path, claims=claims, home=home)
    assert verify(path, home=home).ok
    assert os.listdir(tmp_path) == ["in-place.jpg"]


def test_wrong_ending_does_not_matter(signed: Signed, claims: ManifestClaims, home: Path, tmp_path: Path) -> None:
    signed("mp4")
    odd = tmp_path / "render.part"
    shutil.copy(_plain(signed, "mp4"), odd)
    sign_file(odd, tmp_path / "out.mp4", claims=claims, home=home)
    assert verify(tmp_path / "out.mp4", home=home).ok


@pytest.mark.parametrize("content", [b"", b"text", b"\x1a\x45\xdf\xa3" * 10])
def test_other_types_are_refused(claims: ManifestClaims, home: Path, tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "x.mp4"
    source.write_bytes(content)
    with pytest.raises(SigningError, match="MP4, PNG, JPEG or WebP"):
        sign_file(source, tmp_path / "out.mp4", claims=claims, home=home)
    assert os.listdir(tmp_path) == ["x.mp4"]


def test_broken_source_leaves_the_target_alone(
    signed: Signed, claims: ManifestClaims, home: Path, tmp_path: Path
) -> None:
    signed("png")
    source, target = tmp_path / "cut.png", tmp_path / "out.png"
    source.write_bytes(_plain(signed, "png").read_bytes()[:40])
    target.write_bytes(b"before")
    with pytest.raises(SigningError, match=r"cut\.png"):
        sign_file(source, target, claims=claims, home=home)
    assert target.read_bytes() == b"before"
    assert sorted(os.listdir(tmp_path)) == ["cut.png", "out.png"]


def test_missing_source_and_folder(signed: Signed, claims: ManifestClaims, home: Path, tmp_path: Path) -> None:
    with pytest.raises(SigningError, match="No such file"):
        sign_file(tmp_path / "absent.mp4", tmp_path / "out.mp4", claims=claims, home=home)
    with pytest.raises(MediaError, match="folder"):
        sign_file(signed("png"), tmp_path / "nowhere" / "out.png", claims=claims, home=home)


def test_remains_are_not_called_unsigned(signed: Signed, tmp_path: Path) -> None:
    data = bytearray(signed("mp4").read_bytes())
    place = data.index(b"uuid")
    data[place : place + 4] = b"uuix"
    path = tmp_path / "hidden.mp4"
    path.write_bytes(data)
    with pytest.raises(ManifestInvalid, match="remains"):
        read_manifest(path)


def test_remains_are_found_across_a_chunk_border(tmp_path: Path) -> None:
    marker = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
    for shift in (1, 8, 15, 16):
        (tmp_path / "big").write_bytes(bytes((1 << 20) - shift) + marker + bytes(5))
        assert holds_remains(tmp_path / "big")


def test_neither_paths_nor_file_names_are_written(signed: Signed, home: Path) -> None:
    for ending in ENDINGS:
        data = signed(ending).read_bytes()
        for secret in (str(home), str(signed(ending).parent), f"render.{ending}", f"plain.{ending}"):
            assert secret.encode() not in data


@pytest.mark.parametrize(
    ("ending", "kind"),
    [("mp4", "video/mp4"), ("png", "image/png"), ("jpg", "image/jpeg"), ("webp", "image/webp")],
)
def test_media_type_goes_by_content(signed: Signed, ending: str, kind: str) -> None:
    assert media_type(signed(ending)) == kind
    digest = container_digest(signed(ending))
    assert (digest is not None) == (ending == "mp4")


def full(claims: ManifestClaims) -> ManifestClaims:
    """Claims with everything that a render states."""
    proof = PermitProof(
        store_id="ab" * 16, portrait_sha256="cd" * 32, issued="2026-01-01T00:00:00.000000+00:00",
        expires="2026-01-01T12:00:00.000000+00:00", max_ms=1000, profile="lite", label_size="small",
        signature="ab" * 64, operator_key="ef" * 32, grant_signature="12" * 64,
    )  # fmt: skip
    return dataclasses.replace(claims, watermark=0x0123456789AB, permit=proof)


def state_of(path: Path, anchors: str = "") -> str | None:
    """What the C2PA library itself says."""
    settings: dict[str, object] = {"verify": {"verify_trust": True}}
    if anchors:
        settings["trust"] = {"trust_anchors": anchors}
    try:
        with (
            path.open("rb") as file,
            c2pa.Context.from_dict(settings) as context,
            c2pa.Reader(media_type(path), file, context=context) as reader,
        ):
            return str(json.loads(reader.json())["validation_state"])
    except c2pa.C2paError:
        return None


@pytest.mark.parametrize("ending", ["mp4", "png"])
def test_everything_stated_is_valid_to_the_reader_and_a_flipped_bit_is_not(
    ending: str, signed: Signed, claims: ManifestClaims, home: Path, tmp_path: Path
) -> None:
    signed(ending)
    path = tmp_path / f"full.{ending}"
    sign_file(_plain(signed, ending), path, claims=full(claims), home=home)
    assert state_of(path) == "Valid"
    assert state_of(path, trust_anchors(home)) == "Trusted"
    manifest = read_manifest(path)
    assert manifest is not None
    assert manifest.failures == ("signingCredential.untrusted",)
    assert manifest.soft_bindings == (("org.portrait-anim.watermark.1", "0123456789ab"),)
    assert manifest.consent["permit"]["grant_signature"] == "12" * 64
    whole = path.read_bytes()
    for share in (0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.999):
        data = bytearray(whole)
        data[int(share * len(data))] ^= 1
        path.write_bytes(data)
        assert verify(path, home=home).state == "invalid", share
