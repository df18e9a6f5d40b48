"""Who signs: the installation's own key, the operator's certificate, or a function that asks an HSM or a KMS."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from portrait_anim.errors import SigningError
from portrait_anim.provenance.certificates import certificate_pem
from portrait_anim.provenance.keys import load_identity, trust_anchors
from portrait_anim.provenance.settings import SigningSettings

SignFunction = Callable[[bytes], bytes]

_ALGORITHMS: Final = {name.lower(): getattr(c2pa.C2paSigningAlg, name) for name in (
    "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "ED25519",
)}  # fmt: skip


_CURVE_BYTES: Final = {"es256": 32, "es384": 48, "es512": 66}


@dataclass(slots=True)
class _Watched:
    """A signing function whose failure is kept: the C2PA library would only say that something went wrong.

    Key services give an ECDSA signature as ASN.1, C2PA wants the two numbers side by side; either is taken.
    """

    function: SignFunction
    algorithm: str
    failure: BaseException | None = field(default=None)

    def __call__(self, data: bytes) -> bytes:
        try:
            signature = self.function(data)
            if not isinstance(signature, bytes) or not signature:
                raise TypeError(f"it returned {type(signature).__name__} instead of the bytes of a signature")
        except BaseException as error:
            self.failure = error
            raise
        return _side_by_side(signature, _CURVE_BYTES.get(self.algorithm, 0))


@contextmanager
def open_signer(home: Path, settings: SigningSettings, *, now: datetime) -> Iterator[Any]:
    """Give the signer that the settings ask for.

    Args:
        home: The installation's home folder, where the own authority lives.
        settings: Who signs.
        now: Present time, with a time zone.

    Yields:
        A `c2pa.Signer`.

    Raises:
        SigningError: If certificate, key or function cannot be used.
    """
    if settings.certificate_chain is None:
        identity = load_identity(home, now=now)
        info = c2pa.C2paSignerInfo("es256", identity.chain_pem.encode(), identity.key_pem.encode(), _url(settings))
        with c2pa.Signer.from_info(info) as signer:
            yield signer
        return
    chain = _read_pem(settings.certificate_chain, "CERTIFICATE")
    if settings.callback is None:
        assert settings.private_key is not None, "the settings check this"
        key = _read_pem(settings.private_key, "PRIVATE KEY")
        with _opening():
            info = c2pa.C2paSignerInfo(settings.algorithm, chain.encode(), key.encode(), _url(settings))
            signer = c2pa.Signer.from_info(info)
        with signer:
            yield signer
        return
    watched = _Watched(_load_function(settings.callback), settings.algorithm)
    with _opening():
        signer = c2pa.Signer.from_callback(watched, _ALGORITHMS[settings.algorithm], chain, settings.time_stamp_url)
    with signer:
        try:
            yield signer
        except c2pa.C2paError as error:
            if watched.failure is None:
                raise
            raise SigningError(
                f"expected a signature from {settings.callback}, got: {watched.failure!r}; check the key service"
            ) from error


def all_anchors(home: Path, settings: SigningSettings) -> str:
    """Certificates that are trusted here: the own authority's, the operator's, and those named as trusted.

    Args:
        home: The installation's home folder; nothing is created in it.
        settings: The operator's settings.

    Returns:
        PEM text, perhaps empty.

    Raises:
        SigningError: If a certificate that should be there cannot be read.
    """
    anchors = [trust_anchors(home)]
    if settings.certificate_chain is not None:
        chain = _certificates(settings.certificate_chain)
        anchors.append(certificate_pem(chain[-1]))  # the root, or the authority just below it
    anchors.extend("".join(certificate_pem(item) for item in _certificates(path)) for path in settings.trusted)
    return "".join(anchors)


def _side_by_side(signature: bytes, half: int) -> bytes:
    """An ECDSA signature as two numbers of `half` bytes; anything else as it is."""
    if not half or len(signature) == 2 * half:
        return signature
    try:
        r, s = decode_dss_signature(signature)
    except ValueError:
        return signature
    return r.to_bytes(half, "big") + s.to_bytes(half, "big")


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read_pem(path, "CERTIFICATE").encode())
    except ValueError as error:
        raise SigningError(f"expected PEM certificates in {path}, got: {error}; export the chain again") from error


def _read_pem(path: Path, kind: str) -> str:
    """Text of a PEM file; the contents never reach a message."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SigningError(f"expected a PEM file at {path}, got: {reason}; correct the path in the settings") from error
    if f"{kind}-----" not in text:
        raise SigningError(f"expected {kind} in {path}, got a file without; name the right PEM file")
    if "ENCRYPTED PRIVATE KEY-----" in text or "Proc-Type: 4,ENCRYPTED" in text:
        raise SigningError(
            f"expected a private key without a password in {path}, got an encrypted one; decrypt it into a file "
            "that only the service can read, or keep it in a key service and give a callback"
        )
    return text


def _load_function(entry: str) -> SignFunction:
    module, _, name = entry.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SigningError(
            f"expected the signing function {entry}, got: {error}; install it beside this package"
        ) from error
    if not callable(function):
        raise SigningError(f"expected a function at {entry}, got {type(function).__name__}; correct the settings")
    return function  # type: ignore[no-any-return]


def _url(settings: SigningSettings) -> bytes | None:
    return None if settings.time_stamp_url is None else settings.time_stamp_url.encode()


@contextmanager
def _opening() -> Iterator[None]:
    try:
        yield
    except c2pa.C2paError as error:
        raise SigningError(
            f"expected certificate and key that C2PA allows, got: {error}; see the certificate profile in "
            "docs/PROVENANCE.md, and that the algorithm fits the key"
        ) from error
