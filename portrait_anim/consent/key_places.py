"""Where the keys that encrypt personal values are kept: files of their owner, or the operating system's keyring."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Literal, Protocol, get_args

from portrait_anim.consent.keys import malformed_key, read_secret, write_secret
from portrait_anim.errors import ConsentError

KeyPlace = Literal["file", "keyring"]
KEY_PLACES: tuple[KeyPlace, ...] = get_args(KeyPlace)

FIRST_KEY_FILE = "template.key"
FIRST_VERSION = 1
KEY_BYTES = 32
_SERVICE = "portrait-anim consent store"


class KeySource(Protocol):
    """Where the keys of one store are kept, by version."""

    place: KeyPlace

    def read(self, version: int) -> bytes:
        """Return the 32 bytes of a key.

        Raises:
            ConsentError: If it is missing, malformed, or readable by others.
        """

    def make(self, version: int) -> bytes:
        """Make and keep a new random key, unless this version exists; return it."""

    def forget(self, version: int) -> None:
        """Delete a key; one that does not exist is no error."""


class KeyFiles:
    """Keys in files with mode 0600.

    Args:
        folder: Folder of the files.
    """

    place: KeyPlace = "file"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, version: int) -> bytes:
        """Return a key; see `KeySource`."""
        key = read_secret(self._path(version))
        if len(key) != KEY_BYTES:
            raise malformed_key(self._path(version), f"{KEY_BYTES} bytes")
        return key

    def make(self, version: int) -> bytes:
        """Make a key file, unless it exists; see `KeySource`."""
        if not self._path(version).exists():
            write_secret(self._path(version), secrets.token_bytes(KEY_BYTES))
        return self.read(version)

    def forget(self, version: int) -> None:
        """Overwrite and delete a key file; see `KeySource`."""
        path = self._path(version)
        if path.exists():
            with path.open("r+b") as file:
                file.write(bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()

    def _path(self, version: int) -> Path:
        return self._folder / (FIRST_KEY_FILE if version == FIRST_VERSION else f"template-{version}.key")


class KeyringKeys:
    """Keys in the operating system's keyring (Keychain, Credential Manager, Secret Service).

    Args:
        store_id: The store, part of the name under which the keys are kept.

    Raises:
        ConsentError: If the package `keyring` is not installed.
    """

    place: KeyPlace = "keyring"

    def __init__(self, store_id: str) -> None:
        try:
            import keyring
        except ImportError as error:
            raise ConsentError(
                "expected the package keyring, which holds the key of this store, got none; "
                "run: pip install 'portrait-anim[keyring]'"
            ) from error
        self._keyring = keyring
        self._store_id = store_id

    def read(self, version: int) -> bytes:
        """Return a key; see `KeySource`."""
        found = self._call("read", self._keyring.get_password, self._name(version))
        try:
            key = bytes.fromhex(found or "")
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise ConsentError(
                f"expected key {version} of this consent store in the keyring of the operating system, got none; "
                "unlock the keyring, log in as the user who made the store, or restore the keyring from a backup"
            )
        return key

    def make(self, version: int) -> bytes:
        """Make an entry, unless it exists; see `KeySource`."""
        if self._call("read", self._keyring.get_password, self._name(version)) is None:
            fresh = secrets.token_bytes(KEY_BYTES).hex()
            self._call("write", self._keyring.set_password, self._name(version), fresh)
        return self.read(version)

    def forget(self, version: int) -> None:
        """Delete an entry; see `KeySource`."""
        if self._call("read", self._keyring.get_password, self._name(version)) is not None:
            self._call("delete from", self._keyring.delete_password, self._name(version))

    def _name(self, version: int) -> str:
        return f"{self._store_id} key {version}"

    def _call(self, doing: str, function: object, *arguments: str) -> str | None:
        from keyring.errors import KeyringError

        assert callable(function)
        try:
            return function(_SERVICE, *arguments)  # type: ignore[no-any-return]
        except KeyringError as error:
            raise ConsentError(
                f"expected to {doing} the keyring of the operating system, got {type(error).__name__}; "
                "unlock it, or keep the key in a file (rotate the keys with place=file)"
            ) from None


def key_source(place: str, folder: Path, store_id: str) -> KeySource:
    """Return the keys of a place.

    Args:
        place: `"file"` or `"keyring"`.
        folder: Folder of key files.
        store_id: The store they belong to.

    Raises:
        ConsentError: If the place is unknown or not available.
    """
    if place == "file":
        return KeyFiles(folder)
    if place == "keyring":
        return KeyringKeys(store_id)
    raise ConsentError(f"expected keys in a file or in the keyring, got {place!r}; choose one of the two")
