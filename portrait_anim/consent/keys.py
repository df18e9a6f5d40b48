"""The operator's keys: one signs what the gate records, one hides what faces look like.

Both live in `home/keys`, readable by their owner only. The signing key proves that a record, a permit or the
head of the ledger was written by this installation; the template key encrypts biometric templates at rest
(AES- GCM).
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portrait_anim.errors import ConsentError, LedgerTampered

SIGNING_KEY_FILE = "operator.ed25519"
TEMPLATE_KEY_FILE = "template.key"
_NONCE_BYTES = 12
_TEMPLATE_KEY_BYTES = 32


def canonical(value: Mapping[str, object] | Sequence[object]) -> bytes:
    """Return the one JSON spelling of a value: sorted keys, no blanks, UTF-8, no NaN.

    Args:
        value: Strings, integers, floats, booleans, `None`, and lists or mappings of these.

    Returns:
        The bytes that are hashed or signed.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def signature_holds(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether an Ed25519 signature is the key's signature of the message.

    Args:
        public_key: 32 raw bytes.
        message: What was signed.
        signature: 64 bytes.

    Returns:
        `True` only if it holds; malformed keys or signatures give `False`.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


class OperatorKeys:
    """Signs and encrypts for one installation; never shows its secrets.

    Attributes:
        public_key: 32 raw bytes of the Ed25519 public key.
    """

    __slots__ = ("_signing", "_template", "public_key")

    def __init__(self, *, signing: Ed25519PrivateKey, template: bytes) -> None:
        self._signing = signing
        self._template = AESGCM(template)
        self.public_key = signing.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def __repr__(self) -> str:
        return f"OperatorKeys(public_key={self.public_key.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("expected keys to stay in their process, got an attempt to pickle them; open the store there")

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of `message`."""
        return self._signing.sign(message)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Say whether `signature` was made by this key over `message`."""
        return signature_holds(self.public_key, message, signature)

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Encrypt `plain` so that it can be opened only for the same purpose.

        Args:
            plain: What to hide.
            purpose: What it is and whom it belongs to; authenticated, not stored.

        Returns:
            Random nonce followed by the AES-GCM ciphertext.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._template.encrypt(nonce, plain, purpose.encode())

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """Decrypt what `seal` made.

        Args:
            sealed: Nonce and ciphertext.
            purpose: The purpose given to `seal`.

        Returns:
            The plain bytes.

        Raises:
            LedgerTampered: If the bytes were changed, moved to another record, or sealed with another key.
        """
        try:
            return self._template.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], purpose.encode())
        except (InvalidTag, ValueError) as error:
            raise LedgerTampered(
                f"expected an intact encrypted template, got one that does not open for {purpose}; "
                "it was changed outside the program or the key file was replaced: restore both from a backup"
            ) from error


def load_keys(folder: Path) -> OperatorKeys:
    """Read both keys.

    Args:
        folder: Folder of the key files.

    Returns:
        The keys.

    Raises:
        ConsentError: If a key is missing, malformed, or readable by other users.
    """
    signing_bytes = _read_secret(folder / SIGNING_KEY_FILE)
    template = _read_secret(folder / TEMPLATE_KEY_FILE)
    try:
        signing = serialization.load_pem_private_key(signing_bytes, password=None)
    except (ValueError, TypeError) as error:
        raise _malformed(folder / SIGNING_KEY_FILE, "a PEM Ed25519 private key") from error
    if not isinstance(signing, Ed25519PrivateKey):
        raise _malformed(folder / SIGNING_KEY_FILE, "a PEM Ed25519 private key")
    if len(template) != _TEMPLATE_KEY_BYTES:
        raise _malformed(folder / TEMPLATE_KEY_FILE, f"{_TEMPLATE_KEY_BYTES} bytes")
    return OperatorKeys(signing=signing, template=template)


def load_or_create_keys(folder: Path) -> OperatorKeys:
    """Read both keys, making those that do not exist yet.

    Args:
        folder: Folder of the key files; created with access for its owner only.

    Returns:
        The keys.

    Raises:
        ConsentError: If a key is malformed, readable by other users, or cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / SIGNING_KEY_FILE).exists():
            pem = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            _write_secret(folder / SIGNING_KEY_FILE, pem)
        if not (folder / TEMPLATE_KEY_FILE).exists():
            _write_secret(folder / TEMPLATE_KEY_FILE, secrets.token_bytes(_TEMPLATE_KEY_BYTES))
    except OSError as error:
        raise ConsentError(
            f"expected a folder for keys that can be written, got {error} for {folder}; "
            "choose another home or correct its permissions"
        ) from error
    return load_keys(folder)


def _write_secret(path: Path, content: bytes) -> None:
    """Write a new 0600 file in one step; a file that another process made meanwhile is left as it is."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp creates with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _read_secret(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
                raise ConsentError(
                    f"expected {path} to be readable by its owner only, got mode {stat.S_IMODE(mode):04o}; "
                    f"run: chmod 600 {path}"
                )
            return file.read()
    except OSError as error:
        raise ConsentError(
            f"expected the operator's key {path}, got {error}; restore the key from a backup "
            "(without it existing consent records cannot be trusted), or start with a new home"
        ) from error


def _malformed(path: Path, expected: str) -> ConsentError:
    return ConsentError(f"expected {expected} in {path}, got something else; restore the key from a backup")
