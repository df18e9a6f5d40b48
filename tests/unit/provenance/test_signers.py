from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from portrait_anim.errors import SigningError
from portrait_anim.provenance.certificates import new_authority, new_signer
from portrait_anim.provenance.claims import ManifestClaims
from portrait_anim.provenance.manifest import check_signing, sign_file
from portrait_anim.provenance.settings import SETTINGS_FILE
from portrait_anim.provenance.verify import verify

NOW = datetime.now(timezone.utc)
Signed = Callable[[str], Path]


def write_identity(folder: Path) -> bytes:
    """An operator's chain and key, from an authority that has nothing to do with the installation's."""
    authority = new_authority(NOW)
    authority_key = serialization.load_pem_private_key(authority, password=None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    signer = new_signer(authority_key, x509.load_pem_x509_certificate(authority), NOW)
    key, rest = signer.split(b"-----BEGIN CERTIFICATE", 1)
    (folder / "chain.pem").write_bytes(b"-----BEGIN CERTIFICATE" + rest)
    (folder / "key.pem").write_bytes(key)
    return key


@pytest.fixture
def plain(signed: Signed) -> Path:
    signed("png")
    return signed("png").with_name("plain.png")


@pytest.fixture
def key_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that signs with a key of its own, as a client of a key service would."""
    (tmp_path / "key_service_client.py").write_text(
        "from pathlib import Path\n"
        "from cryptography.hazmat.primitives import hashes, serialization\n"
        "from cryptography.hazmat.primitives.asymmetric import ec\n"
        "def sign(data):\n"
        "    key = serialization.load_pem_private_key((Path(__file__).parent / 'key.pem').read_bytes(), None)\n"
        "    return key.sign(data, ec.ECDSA(hashes.SHA256()))\n"
        "def broken(data):\n"
        "    raise ConnectionError('the vault is closed')\n"
        "def mute(data):\n"
        "    return None\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("key_service_client", None)


def configure(home: Path, text: str) -> None:
    home.mkdir(exist_ok=True)
    (home / SETTINGS_FILE).write_text(text)


def test_operators_certificate_signs_and_is_trusted_here_only(
    plain: Path, claims: ManifestClaims, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    configure(home, "signing: {certificate_chain: chain.pem, private_key: key.pem}")
    write_identity(home)
    sign_file(plain, tmp_path / "out.png", claims=claims, home=home)
    report = verify(tmp_path / "out.png", home=home)
    assert report.ok, report.findings
    check_signing(home)
    assert not (home / "keys").exists()  # no authority of its own was made
    stranger = verify(tmp_path / "out.png", home=tmp_path / "other")
    assert (stranger.state, stranger.trusted) == ("valid", False)
    configure(tmp_path / "other", "signing: {trusted: [../home/chain.pem]}")
    assert verify(tmp_path / "out.png", home=tmp_path / "other").trusted


def test_key_service_signs(plain: Path, claims: ManifestClaims, tmp_path: Path, key_service: Path) -> None:
    home = tmp_path / "home"
    configure(home, "signing: {certificate_chain: chain.pem, callback: 'key_service_client:sign'}")
    key = write_identity(home)
    (key_service / "key.pem").write_bytes(key)
    (home / "key.pem").unlink()
    sign_file(plain, tmp_path / "out.png", claims=claims, home=home)
    assert verify(tmp_path / "out.png", home=home).ok


@pytest.mark.parametrize(
    ("entry", "message"),
    [("broken", "the vault is closed"), ("mute", "NoneType"), ("number", "a function"), ("absent", "absent")],
)
def test_failing_key_service_is_named(
    plain: Path, claims: ManifestClaims, tmp_path: Path, key_service: Path, entry: str, message: str
) -> None:
    home = tmp_path / "home"
    configure(home, f"signing: {{certificate_chain: chain.pem, callback: 'key_service_client:{entry}'}}")
    write_identity(home)
    with pytest.raises(SigningError, match=message):
        check_signing(home)
    with pytest.raises(SigningError, match=message):
        sign_file(plain, tmp_path / "out.png", claims=claims, home=home)
    assert not (tmp_path / "out.png").exists()


def test_wrong_files_are_named(plain: Path, claims: ManifestClaims, tmp_path: Path) -> None:
    home = tmp_path / "home"
    configure(home, "signing: {certificate_chain: chain.pem, private_key: key.pem}")
    with pytest.raises(SigningError, match=r"chain\.pem"):
        sign_file(plain, tmp_path / "out.png", claims=claims, home=home)
    key = write_identity(home)
    (home / "key.pem").write_text("nothing")
    with pytest.raises(SigningError, match="PRIVATE KEY"):
        sign_file(plain, tmp_path / "out.png", claims=claims, home=home)
    locked = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    (home / "key.pem").write_bytes(locked)
    with pytest.raises(SigningError, match="without a password"):
        sign_file(plain, tmp_path / "out.png", claims=claims, home=home)
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (home / "key.pem").write_bytes(other)
    with pytest.raises(SigningError):
        sign_file(plain, tmp_path / "out.png", claims=claims, home=home)
    assert not (tmp_path / "out.png").exists()


def test_time_stamp_server_that_does_not_answer(plain: Path, claims: ManifestClaims, tmp_path: Path) -> None:
    home = tmp_path / "home"
    configure(home, "signing: {time_stamp_url: 'http://127.0.0.1:9/'}")
    with pytest.raises(SigningError):
        sign_file(plain, tmp_path / "out.png", claims=claims, home=home)
    with pytest.raises(SigningError, match="trial"):
        check_signing(home)
    assert not (tmp_path / "out.png").exists()


def test_own_authority_is_made_in_time(tmp_path: Path) -> None:
    check_signing(tmp_path / "home")
    assert (tmp_path / "home" / "keys" / "c2pa-signer.pem").exists()


def test_self_made_key_with_a_chain_of_another_curve(plain: Path, claims: ManifestClaims, tmp_path: Path) -> None:
    home = tmp_path / "home"
    configure(home, "signing: {certificate_chain: chain.pem, private_key: key.pem, algorithm: es384}")
    write_identity(home)
    with pytest.raises(SigningError):
        sign_file(plain, tmp_path / "out.png", claims=claims, home=home)
