"""Certificates of the local authority and of the key that signs files.

The profile is the one C2PA asks for: X.509 v3, EC P-256, key usage digitalSignature, extended key usage
emailProtection, and names that tell installations apart without saying whose they are.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE: Final = timedelta(days=50 * 365)
SIGNER_LIFE: Final = timedelta(days=20 * 365)

_CLOCK_SLACK: Final = timedelta(days=1)
_ORGANIZATION: Final = "portrait_anim installation"


def new_authority(now: datetime) -> bytes:
    """PEM of a new authority: private key, then self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"portrait_anim authority {_fingerprint(key.public_key())}")
    certificate = (
        _builder(name, name, key.public_key(), now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return private_pem(key) + certificate_pem(certificate).encode("ascii")


def new_signer(authority_key: ec.EllipticCurvePrivateKey, authority: x509.Certificate, now: datetime) -> bytes:
    """PEM of a new signer: private key, its certificate, the authority's certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    life = min(SIGNER_LIFE, authority.not_valid_after_utc - now)
    name = _name(f"portrait_anim signer {_fingerprint(authority_key.public_key())}")
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(name, authority.subject, key.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return private_pem(key) + (certificate_pem(certificate) + certificate_pem(authority)).encode("ascii")


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    """The part that every certificate has; starts a day early so that clocks may differ a little."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SLACK)
        .not_valid_after(now + life)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Key usage of an authority, or of a signer of files."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(subject: str) -> x509.Name:
    """Distinguished name without personal data."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, subject),
        ]
    )


def common_name(certificate: x509.Certificate) -> str:
    """Common name of the subject."""
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """Eight hexadecimal digits that tell installations apart."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:8]


def certificate_pem(certificate: x509.Certificate) -> str:
    """PEM text of a certificate."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PEM of a private key."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
