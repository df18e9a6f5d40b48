from __future__ import annotations

import stat
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta, timezone
from multiprocessing import get_context
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from portrait_anim.errors import SigningError
from portrait_anim.provenance.keys import RENEWAL_MARGIN, SigningIdentity, load_identity, trust_anchors

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)


def _chain(identity: SigningIdentity) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(identity.chain_pem.encode())


def _load(home: Path) -> str:
    return load_identity(home, now=NOW).chain_pem


def test_created_once_and_private(tmp_path: Path) -> None:
    first = load_identity(tmp_path, now=NOW)
    assert load_identity(tmp_path, now=NOW) == first
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["c2pa-authority.pem", "c2pa-signer.pem"]
    if sys.platform != "win32":
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()}
        assert modes == {0o600}
    assert "PRIVATE" not in repr(first)


def test_certificate_profile(tmp_path: Path) -> None:
    leaf, authority = _chain(load_identity(tmp_path, now=NOW))
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    purposes = list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert purposes == [ExtendedKeyUsageOID.EMAIL_PROTECTION]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    leaf.verify_directly_issued_by(authority)


def test_signer_is_renewed_in_time_and_authority_stays(tmp_path: Path) -> None:
    first = load_identity(tmp_path, now=NOW)
    later = first.expires - RENEWAL_MARGIN + timedelta(days=1)
    second = load_identity(tmp_path, now=later)
    assert second.expires - later > RENEWAL_MARGIN
    assert second.key_pem != first.key_pem
    assert _chain(second)[1] == _chain(first)[1]


def test_authority_about_to_expire_is_said(tmp_path: Path) -> None:
    load_identity(tmp_path, now=NOW)
    with pytest.raises(SigningError, match=r"c2pa-authority-old\.pem"):
        load_identity(tmp_path, now=NOW + timedelta(days=45 * 365))
    keys = tmp_path / "keys"
    (keys / "c2pa-authority.pem").rename(keys / "c2pa-authority-old.pem")
    load_identity(tmp_path, now=NOW + timedelta(days=45 * 365))
    assert trust_anchors(tmp_path).count("BEGIN CERTIFICATE") == 2


def test_signer_of_another_authority_is_replaced(tmp_path: Path) -> None:
    load_identity(tmp_path / "a", now=NOW)
    load_identity(tmp_path / "b", now=NOW)
    foreign = (tmp_path / "b" / "keys" / "c2pa-signer.pem").read_bytes()
    (tmp_path / "a" / "keys" / "c2pa-signer.pem").write_bytes(foreign)
    chain = _chain(load_identity(tmp_path / "a", now=NOW))
    assert trust_anchors(tmp_path / "a").encode() in load_identity(tmp_path / "a", now=NOW).chain_pem.encode()
    chain[0].verify_directly_issued_by(chain[1])


@pytest.mark.parametrize("damage", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----\n"])
def test_damaged_files(tmp_path: Path, damage: bytes) -> None:
    first = load_identity(tmp_path, now=NOW)
    (tmp_path / "keys" / "c2pa-signer.pem").write_bytes(damage)
    assert _chain(load_identity(tmp_path, now=NOW))[1] == _chain(first)[1]
    (tmp_path / "keys" / "c2pa-authority.pem").write_bytes(damage)
    with pytest.raises(SigningError, match="backup"):
        load_identity(tmp_path, now=NOW)


def test_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(SigningError, match="expected to keep signing keys"):
        load_identity(tmp_path / "home", now=NOW)


def test_names_hold_no_personal_data(tmp_path: Path) -> None:
    identity = load_identity(tmp_path, now=NOW)
    assert identity.name.startswith("portrait_anim signer ")
    assert len(identity.name.rsplit(" ", 1)[1]) == 8


def test_anchors_hold_no_private_key(tmp_path: Path) -> None:
    assert trust_anchors(tmp_path) == ""
    load_identity(tmp_path, now=NOW)
    anchors = trust_anchors(tmp_path)
    assert anchors.count("BEGIN CERTIFICATE") == 1
    assert "PRIVATE" not in anchors


def test_processes_agree_on_one_identity(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        chains = list(pool.map(_load, [tmp_path] * 8))
    authorities = {chain.split("-----END CERTIFICATE-----")[1] for chain in chains}
    assert len(authorities) == 1
    assert len(list((tmp_path / "keys").iterdir())) == 2
