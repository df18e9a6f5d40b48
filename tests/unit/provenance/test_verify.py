from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import c2pa
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portrait_anim.errors import MediaError, SigningError
from portrait_anim.provenance.claims import DIGITAL_SOURCE_TYPE, ManifestClaims
from portrait_anim.provenance.keys import load_identity, trust_anchors
from portrait_anim.provenance.manifest import sign_file
from portrait_anim.provenance.verify import verify

ENDINGS = ("mp4", "png", "jpg", "webp")
Signed = Callable[[str], Path]


@pytest.mark.parametrize("ending", ENDINGS)
def test_signed_file_is_ok(signed: Signed, home: Path, ending: str) -> None:
    report = verify(signed(ending), home=home)
    assert (report.state, report.trusted, report.ok) == ("valid", True, True), report.findings
    text = "\n".join(report.findings)
    for fact in ("Unaltered", "portrait_anim signer", "AI-generated", "cameo-01", "grant-02", "permit-03"):
        assert fact in text
    assert report.claims["consent"]["ledger_row"] == "ab" * 32
    json.dumps(dict(report.claims))


def test_real_cameo_is_told_apart(tmp_path: Path, signed: Signed, home: Path, claims: ManifestClaims) -> None:
    import dataclasses

    real = dataclasses.replace(claims, cameo_kind="real")
    sign_file(signed("png"), tmp_path / "real.png", claims=real, home=home)
    assert any("real person" in finding for finding in verify(tmp_path / "real.png", home=home).findings)


@pytest.mark.parametrize("ending", ENDINGS)
def test_any_flipped_bit_is_found(signed: Signed, home: Path, tmp_path: Path, ending: str) -> None:
    whole = signed(ending).read_bytes()
    rng = np.random.default_rng(5)
    altered = tmp_path / f"altered.{ending}"
    positions = {*rng.integers(0, len(whole), 120).tolist(), *range(0, 60), len(whole) - 1}
    for position in sorted(positions):
        data = bytearray(whole)
        data[position] ^= 1 << int(rng.integers(8))
        altered.write_bytes(data)
        report = verify(altered, home=home)
        assert not report.ok, position
        assert not report.trusted
        assert report.state == "invalid", (position, report.findings)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_byte_is_protected(signed: Signed, home: Path, tmp_path: Path, ending: str) -> None:
    whole = signed(ending).read_bytes()
    altered = tmp_path / f"altered.{ending}"
    missed = []
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 1 << (position * 5 + 1) % 8
        altered.write_bytes(data)
        if verify(altered, home=home).state != "invalid":
            missed.append(position)
    assert missed == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_appended_or_cut_bytes_are_found(signed: Signed, home: Path, tmp_path: Path, ending: str) -> None:
    whole = signed(ending).read_bytes()
    other = tmp_path / f"other.{ending}"
    for data in (whole + b"x", whole + bytes(8) + b"free", whole[:-1], whole[: len(whole) // 2]):
        other.write_bytes(data)
        assert not verify(other, home=home).ok
    other.write_bytes(whole + b"\0\0\0\x09free!")  # a well-formed box that the C2PA hash leaves out
    assert not verify(other, home=home).ok


def test_remuxed_clip_is_unsigned(signed: Signed, home: Path, tmp_path: Path) -> None:
    stripped = tmp_path / "stripped.mp4"
    with av.open(str(signed("mp4"))) as source, av.open(str(stripped), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    report = verify(stripped, home=home)
    assert (report.state, report.trusted, report.ok, dict(report.claims)) == ("unsigned", False, False, {})


def test_other_installation_is_valid_but_not_trusted(
    signed: Signed, home: Path, tmp_path: Path, claims: ManifestClaims
) -> None:
    stranger = tmp_path / "stranger"
    sign_file(signed("png"), tmp_path / "foreign.png", claims=claims, home=stranger)
    report = verify(tmp_path / "foreign.png", home=home)
    assert (report.state, report.trusted, report.ok) == ("valid", False, False)
    assert any("not trusted" in finding for finding in report.findings)
    known = verify(tmp_path / "foreign.png", home=home, anchors=trust_anchors(stranger))
    assert known.ok


def test_without_home_nothing_is_trusted(signed: Signed) -> None:
    report = verify(signed("png"))
    assert (report.state, report.trusted, report.ok) == ("valid", False, False)


def test_verify_creates_nothing(signed: Signed, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    assert not verify(signed("png"), home=empty).ok
    assert not empty.exists()


def _sign_definition(definition: dict[str, object], source: Path, target: Path, home: Path) -> None:
    """Sign anything at all with the installation's key."""
    from datetime import datetime, timezone

    identity = load_identity(home, now=datetime.now(timezone.utc))
    info = c2pa.C2paSignerInfo("es256", identity.chain_pem.encode(), identity.key_pem.encode(), None)
    with (
        c2pa.Signer.from_info(info) as signer,
        c2pa.Context.from_dict({}) as context,
        c2pa.Builder(definition, context=context) as builder,
    ):
        builder.sign_file(source, target, signer)


def test_trusted_signature_without_consent_is_a_doubt(signed: Signed, home: Path, tmp_path: Path) -> None:
    action = {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE_TYPE}
    definition = {
        "claim_generator_info": [{"name": "x\x1b[31m", "version": "1"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    target = tmp_path / "bare.png"
    _sign_definition(definition, signed("png"), target, home)
    report = verify(target, home=home)
    assert (report.state, report.trusted, report.ok) == ("valid", True, False)
    text = "\n".join(report.findings)
    assert "No consent statement" in text
    assert "\x1b" not in text


def test_hostile_consent_statement_does_not_crash(signed: Signed, home: Path, tmp_path: Path) -> None:
    consent = {"cameo_id": {"a": [1]}, "cameo_kind": ["real"], "seed": "\x1b[2J" * 500}
    action = {"action": "c2pa.created", "digitalSourceType": "nonsense"}
    definition = {
        "claim_generator_info": [{"name": "portrait_anim", "version": "1"}],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
            {"label": "org.portrait-anim.consent", "data": consent},
        ],
    }
    target = tmp_path / "hostile.png"
    _sign_definition(definition, signed("png"), target, home)
    report = verify(target, home=home)
    assert not report.ok
    assert all(finding.isprintable() and len(finding) <= 200 for finding in report.findings)


def test_manifest_kept_elsewhere_is_not_fetched(signed: Signed, tmp_path: Path, home: Path) -> None:
    from datetime import datetime, timezone

    identity = load_identity(home, now=datetime.now(timezone.utc))
    info = c2pa.C2paSignerInfo("es256", identity.chain_pem.encode(), identity.key_pem.encode(), None)
    action = {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE_TYPE}
    definition = {
        "claim_generator_info": [{"name": "x", "version": "1"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    target = tmp_path / "remote.jpg"
    with (
        c2pa.Signer.from_info(info) as signer,
        c2pa.Context.from_dict({}) as context,
        c2pa.Builder(definition, context=context) as builder,
    ):
        builder.set_no_embed()
        builder.set_remote_url("http://127.0.0.1:9/manifest")
        plain = signed("jpg").with_name("plain.jpg")
        builder.sign_file(plain, target, signer)
    report = verify(target, home=home)
    assert not report.ok
    assert "elsewhere" in report.findings[0]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.tuples(
            st.sampled_from(
                [
                    b"\0\0\0\x20ftypisom",
                    b"\x89PNG\r\n\x1a\n",
                    b"\xff\xd8\xff\xe0",
                    b"RIFF\xff\xff\xff\xffWEBP",
                    b"GIF89a",
                    b"%PDF-1.7\n",
                    b"ID3\3",
                    b"II*\0",
                    b"<svg xmlns='http://www.w3.org/2000/svg'>",
                ]
            ),
            st.binary(max_size=300),
        ).map(b"".join),
    ),
    ending=st.sampled_from(["mp4", "png", "txt", "", "mkv", "webp", "pdf", "mp3"]),
)
def test_garbage_never_crashes(data: bytes, ending: str, tmp_path: Path, home: Path) -> None:
    path = tmp_path / (f"file.{ending}" if ending else "file")
    path.write_bytes(data)
    report = verify(path, home=home)
    assert not report.ok
    assert report.findings


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ending=st.sampled_from(ENDINGS),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=8)), min_size=1, max_size=5),
    cut=st.floats(0.05, 1.0),
)
def test_damaged_signed_files_never_crash(
    ending: str, edits: list[tuple[float, bytes]], cut: float, signed: Signed, tmp_path: Path, home: Path
) -> None:
    whole = signed(ending).read_bytes()
    data = bytearray(whole)
    for place, patch in edits:
        start = int(place * len(data))
        data[start : start + len(patch)] = patch
    data = data[: max(1, int(cut * len(data)))]
    path = tmp_path / f"damaged.{ending}"
    path.write_bytes(data)
    assert verify(path, home=home).ok == (bytes(data) == whole)


def test_missing_files_and_folders_are_typed_errors(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="No such file"):
        verify(tmp_path / "absent.mp4")
    with pytest.raises(MediaError, match="folder"):
        verify(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MediaError, match="device"):
        verify(tmp_path / "pipe")


def test_damaged_authority_is_a_typed_error(signed: Signed, home: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "home"
    shutil.copytree(home, damaged)
    (damaged / "keys" / "c2pa-authority.pem").write_text("not a key")
    with pytest.raises(SigningError, match="backup"):
        verify(signed("png"), home=damaged)


@pytest.fixture(scope="module")
def hostile(signed: Signed) -> list[bytes]:
    """Real containers, and beginnings that claim to be larger than they are."""
    return [
        *(signed(ending).read_bytes() for ending in ENDINGS),
        b"%PDF-1.7\n" + signed("jpg").read_bytes(),
        signed("png").read_bytes() + signed("mp4").read_bytes(),
        b"RIFF\xff\xff\xff\xffWEBPVP8X\xff\xff\xff\xff",
        b"\0\0\0\1ftypisom" + b"\xff" * 8 + bytes(64),
        b"\x1aE\xdf\xa3" + b"\xff" * 64,
        b"GIF89a\xff\xff\xff\xff" + bytes(64),
        b"\x89PNG\r\n\x1a\n" + b"\xff\xff\xff\xffIHDR" + b"\x7f" * 64,
    ]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.integers(0, 10),
    edits=st.lists(
        st.tuples(
            st.floats(0, 0.999),
            st.sampled_from([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\1", b"\x80"]),
            st.booleans(),
        ),
        max_size=6,
    ),
    cut=st.floats(0.02, 1.0),
    ending=st.sampled_from(["mp4", "png", "jpg", "webp", "webm", "", "txt"]),
)
def test_hostile_containers_never_crash_the_search_for_marks(
    which: int,
    edits: list[tuple[float, bytes, bool]],
    cut: float,
    ending: str,
    hostile: list[bytes],
    tmp_path: Path,
    home: Path,
) -> None:
    data = bytearray(hostile[which])
    for place, patch, inserted in edits:
        start = int(place * min(len(data), 2000))
        data[start : start if inserted else start + len(patch)] = patch
    path = tmp_path / f"hostile.{ending}"
    path.write_bytes(data[: max(1, int(cut * len(data)))])
    report = verify(path, home=home, mark_budget_s=0.05)
    assert report.findings
    assert all(finding.isprintable() for finding in report.findings)


def test_search_for_marks_in_what_is_no_picture(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    report = verify(path, home=home, mark_budget_s=1)
    assert (report.state, report.mark, report.recovery, report.only_mark) == ("unsigned", None, None, False)
    assert any("No picture or video" in finding for finding in report.findings)
