"""The installation's own certificate authority and signing key, created on first use.

In `home/keys`, `c2pa-authority.pem` holds the authority (private key and certificate), `c2pa-signer.pem` the
key that signs files, its certificate and the authority's. Both are readable by their owner only. Signed files
have no time stamp of a third party, so they verify only as long as the signer's certificate lives: it lasts
decades, and is replaced while it still has years to run.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from portrait_anim.errors import SigningError
from portrait_anim.provenance.certificates import (
    certificate_pem,
    common_name,
    new_authority,
    new_signer,
    private_pem,
)

AUTHORITY_FILE: Final = "c2pa-authority.pem"
SIGNER_FILE: Final = "c2pa-signer.pem"
RENEWAL_MARGIN: Final = timedelta(days=10 * 365)


@dataclass(frozen=True, kw_only=True, slots=True)
class SigningIdentity:
    """What is needed to sign a file.

    Attributes:
        chain_pem: Signer's certificate, then the authority's, PEM.
        key_pem: Signer's private key (EC P-256, PKCS 8), PEM; never shown in a repr.
        name: Common name of the signer, which holds no personal data.
        expires: When the signer's certificate ends [UTC].
    """

    chain_pem: str
    key_pem: str = field(repr=False)
    name: str
    expires: datetime


def load_identity(home: Path, *, now: datetime) -> SigningIdentity:
    """The installation's signing identity, created or renewed where needed.

    Safe to call from several processes at once: all of them end up with one authority.

    Args:
        home: The installation's home folder.
        now: Present time, with a time zone.

    Returns:
        Identity whose certificate has at least ten more years to run.

    Raises:
        SigningError: If the keys cannot be created or read, or the authority itself is about to expire.
    """
    keys = home / "keys"
    with _key_errors(keys):
        keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority_path = keys / AUTHORITY_FILE
        if not authority_path.exists():
            _publish(authority_path, new_authority(now), replace=False)
        authority_key, (authority, *_) = _parse(authority_path)
        if authority.not_valid_after_utc - now < RENEWAL_MARGIN:
            raise SigningError(
                f"expected an authority valid {RENEWAL_MARGIN.days // 365} more years, got one that ends on "
                f"{authority.not_valid_after_utc:%Y-%m-%d}; rename {authority_path} to "
                "c2pa-authority-old.pem: a new one is created, and files signed before stay trusted"
            )
        signer_path = keys / SIGNER_FILE
        if not _is_current(signer_path, authority, now):
            _publish(signer_path, new_signer(authority_key, authority, now), replace=True)
        key, chain = _parse(signer_path)
    return SigningIdentity(
        chain_pem="".join(certificate_pem(certificate) for certificate in chain),
        key_pem=private_pem(key).decode("ascii"),
        name=common_name(chain[0]),
        expires=chain[0].not_valid_after_utc,
    )


def trust_anchors(home: Path) -> str:
    """Certificates of the installation's authorities; reads only, creates nothing.

    The result is public: give it to whoever should be able to trust files of this installation.

    Args:
        home: The installation's home folder.

    Returns:
        PEM text, empty when the installation has never signed anything.

    Raises:
        SigningError: If an authority file is there but cannot be read.
    """
    keys = home / "keys"
    with _key_errors(keys):
        paths = sorted(keys.glob("c2pa-authority*.pem"))
        certificates = [x509.load_pem_x509_certificates(path.read_bytes())[0] for path in paths]
    return "".join(certificate_pem(certificate) for certificate in certificates)


@contextmanager
def _key_errors(keys: Path) -> Iterator[None]:
    """Map what the file system and `cryptography` raise to SigningError."""
    try:
        yield
    except OSError as error:
        raise SigningError(
            f"expected to keep signing keys in {keys}, got: {error.strerror or error}; "
            "make that folder readable and writable for you, or choose another home folder"
        ) from error
    except (ValueError, TypeError, IndexError) as error:
        raise SigningError(
            f"expected PEM keys and certificates in {keys}, got something unreadable ({error}); restore the "
            "folder from a backup, or move its c2pa-*.pem files away to start anew (files signed before will "
            "no longer be trusted)"
        ) from error


def _is_current(path: Path, authority: x509.Certificate, now: datetime) -> bool:
    """Whether the signer on disk belongs to this authority and lasts long enough."""
    try:
        key, chain = _parse(path)
    except (FileNotFoundError, ValueError, TypeError, IndexError):
        return False  # a signer can always be made again, unlike the authority
    return (
        len(chain) == 2
        and chain[1] == authority
        and chain[0].public_key() == key.public_key()
        and chain[0].not_valid_before_utc <= now
        and chain[0].not_valid_after_utc - now >= RENEWAL_MARGIN
    )


def _parse(path: Path) -> tuple[ec.EllipticCurvePrivateKey, list[x509.Certificate]]:
    """Private key and certificates of one file."""
    data = path.read_bytes()
    key = serialization.load_pem_private_key(data, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"the key in {path.name} is not an elliptic-curve key")
    return key, x509.load_pem_x509_certificates(data)


def _publish(target: Path, data: bytes, *, replace: bool) -> None:
    """Put a complete file of mode 0600 in place; without `replace`, the first of several processes wins."""
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, target)
            return
        try:
            os.link(temporary, target)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            if not target.exists():
                os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)
