"""The operator's signing key, and how secrets are kept in files.

The key lives in `home/keys`, readable by its owner only. It proves that a record, a permit or the head of the
ledger was written by this installation. The keys that encrypt personal values are in `vault.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
import tempfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portrait_anim.errors import ConsentError

SIGNING_KEY_FILE = "operator.ed25519"
_REMEMBERED = 4096
"""How many signatures that held are remembered; each takes about 100 bytes."""


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
    """Signs for one installation; never shows its secret.

    Attributes:
        public_key: 32 raw bytes of the Ed25519 public key.
    """

    __slots__ = ("_checked", "_lookup_key", "_public", "_signing", "public_key")

    def __init__(self, signing: Ed25519PrivateKey) -> None:
        self._signing = signing
        self._public = signing.public_key()
        self._lookup_key = HKDF(SHA256(), length=32, salt=None, info=b"portrait-anim lookup").derive(
            signing.private_bytes_raw()
        )
        self._checked: OrderedDict[bytes, None] = OrderedDict()
        self.public_key = self._public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def __repr__(self) -> str:
        return f"OperatorKeys(public_key={self.public_key.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("expected keys to stay in their process, got an attempt to pickle them; open the store there")

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of `message`."""
        signature = self._signing.sign(message)
        self._remember(hashlib.sha256(signature + message).digest())
        return signature

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Say whether `signature` was made by this key over `message`.

        Remembers digests of what held, because the gate reads the same few rows again and again.
        """
        try:
            known = hashlib.sha256(signature + message).digest()
            if known in self._checked:
                return True
            self._public.verify(signature, message)
        except (InvalidSignature, ValueError, TypeError):
            return False
        self._remember(known)
        return True

    def lookup(self, purpose: str, text: str) -> str:
        """Return the digest under which a secret text is found again; without the key nobody can make or guess it.

        Args:
            purpose: What kind of text it is; the same text has other digests for other purposes.
            text: The text.

        Returns:
            HMAC-SHA256 under a key derived from the signing key, hexadecimal.
        """
        return hmac.new(self._lookup_key, canonical([purpose, text]), "sha256").hexdigest()

    def _remember(self, known: bytes) -> None:
        self._checked[known] = None
        while len(self._checked) > _REMEMBERED:
            with suppress(KeyError):  # another thread was faster
                self._checked.popitem(last=False)


def load_keys(folder: Path) -> OperatorKeys:
    """Read the signing key.

    Args:
        folder: Folder of the key files.

    Returns:
        The key.

    Raises:
        ConsentError: If it is missing, malformed, or readable by other users.
    """
    signing_bytes = read_secret(folder / SIGNING_KEY_FILE)
    try:
        signing = serialization.load_pem_private_key(signing_bytes, password=None)
    except (ValueError, TypeError) as error:
        raise malformed_key(folder / SIGNING_KEY_FILE, "a PEM Ed25519 private key") from error
    if not isinstance(signing, Ed25519PrivateKey):
        raise malformed_key(folder / SIGNING_KEY_FILE, "a PEM Ed25519 private key")
    return OperatorKeys(signing)


def load_or_create_keys(folder: Path) -> OperatorKeys:
    """Read the signing key, making it if it does not exist yet.

    Args:
        folder: Folder of the key files; created with access for its owner only.

    Returns:
        The key.

    Raises:
        ConsentError: If it is malformed, readable by other users, or cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / SIGNING_KEY_FILE).exists():
            pem = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            write_secret(folder / SIGNING_KEY_FILE, pem)
    except OSError as error:
        raise ConsentError(
            f"expected a folder for keys that can be written, got {error} for {folder}; "
            "choose another home or correct its permissions"
        ) from error
    return load_keys(folder)


def write_secret(path: Path, content: bytes) -> None:
    """Write a new 0600 file in one step; a file that another process made meanwhile is left as it is.

    Args:
        path: The file to make.
        content: What it holds.

    Raises:
        OSError: If it cannot be written.
    """
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


def read_secret(path: Path) -> bytes:
    """Read a file that only its owner may read.

    Raises:
        ConsentError: If it is missing or readable by others.
    """
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


def malformed_key(path: Path, expected: str) -> ConsentError:
    """Return the error for a key file that holds something else.

    Args:
        path: The file.
        expected: What it should hold.
    """
    return ConsentError(f"expected {expected} in {path}, got something else; restore the key from a backup")
