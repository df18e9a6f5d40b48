"""Encryption at rest of everything personal: AES-256-GCM with versioned keys.

A sealed value names the version of its key and is bound to its place (store, table, column, row): moved to
another row it does not open. Keys live in the operating system's keyring or in files that only their owner
can read. Nothing here ever puts a key or a plain value into a message, a log line or a `repr`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portrait_anim.consent.key_places import KEY_PLACES, KeyPlace, key_source
from portrait_anim.consent.keys import canonical
from portrait_anim.errors import ConsentError, LedgerTampered

_FORMAT = b"\x02"
_VERSION_BYTES = 4
_NONCE_BYTES = 12
_HEADER_BYTES = len(_FORMAT) + _VERSION_BYTES


class Vault:
    """Seals and opens the values of one store; never shows its keys.

    Args:
        store_id: The store that values are bound to.
        folder: Folder of key files.
        place: Where the active key is kept, `"file"` or `"keyring"`.
        active: Its version.
        older: Places of older keys that may still be needed, by version.

    Raises:
        ConsentError: If the active key cannot be read.

    Attributes:
        store_id: The store that values are bound to.
        active: Version of the key that seals new values.
        place: Where that key is kept.
        older: Places of older keys that may still be needed, by version.
    """

    __slots__ = ("_folder", "_keys", "active", "older", "place", "store_id")

    def __init__(
        self, *, store_id: str, folder: Path, place: str, active: int, older: Mapping[int, str] = MappingProxyType({})
    ) -> None:
        source = key_source(place, folder, store_id)
        self.store_id = store_id
        self.active = active
        self.place: KeyPlace = source.place
        self.older = dict(older)
        self._folder = folder
        self._keys: dict[int, AESGCM] = {active: AESGCM(source.read(active))}

    def __repr__(self) -> str:
        return f"Vault(active={self.active}, place={self.place!r})"

    def __reduce__(self) -> str:
        raise TypeError("expected keys to stay in their process, got an attempt to pickle them; open the store there")

    def adopt(self, other: Vault) -> None:
        """Seal with another vault's key from now on; keys known so far still open older values.

        Args:
            other: A vault of the same store.
        """
        self._keys |= other._keys
        self.active, self.place, self.older = other.active, other.place, other.older

    def seal(self, plain: bytes, *place: str) -> bytes:
        """Encrypt a value for one place, with the active key.

        Args:
            plain: What to hide.
            *place: Table, column and row id; authenticated, not stored.

        Returns:
            Format byte, key version, random nonce, ciphertext with tag.
        """
        header = sealed_prefix(self.active)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return header + nonce + self._key(self.active).encrypt(nonce, plain, self._bound(header, place))

    def open(self, sealed: bytes, *place: str) -> bytes:
        """Decrypt what `seal` made.

        Args:
            sealed: What `seal` returned.
            *place: The place given to `seal`.

        Returns:
            The plain bytes.

        Raises:
            LedgerTampered: If the value was changed, moved, or sealed with another key.
            ConsentError: If its key cannot be read.
        """
        try:
            header, rest = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES:]
            key = self._key(key_version(sealed))
            return key.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], self._bound(header, place))
        except (InvalidTag, ValueError):
            raise LedgerTampered(
                f"expected an intact encrypted value, got one that does not open for {' '.join(place)}; "
                "it was changed outside the program or the key was replaced: restore both from a backup"
            ) from None

    def _bound(self, header: bytes, place: tuple[str, ...]) -> bytes:
        return canonical(["sealed", self.store_id, header.hex(), *place])

    def raw_key(self, version: int) -> bytes:
        """Return the bytes of a key, for the migration of values that were sealed otherwise.

        Raises:
            ConsentError: If it is in none of the places.
        """
        named = self.older.get(version, self.place)
        try:
            return key_source(named, self._folder, self.store_id).read(version)
        except ConsentError:
            if version <= self.active:
                raise
            # Another process has made a newer key, maybe at the other place, and this one did not write since.
            other = next(place for place in KEY_PLACES if place != named)
            return key_source(other, self._folder, self.store_id).read(version)

    def _key(self, version: int) -> AESGCM:
        if version not in self._keys:
            self._keys[version] = AESGCM(self.raw_key(version))
        return self._keys[version]


def sealed_prefix(version: int) -> bytes:
    """Return the bytes that every value sealed with a key begins with."""
    return _FORMAT + version.to_bytes(_VERSION_BYTES, "big")


def key_version(sealed: bytes) -> int:
    """Return the version of the key that sealed a value.

    Raises:
        ValueError: If it is no sealed value.
    """
    if sealed[: len(_FORMAT)] != _FORMAT or len(sealed) < _HEADER_BYTES + _NONCE_BYTES:
        raise ValueError("expected a sealed value, got other bytes; read the column as the program wrote it")
    return int.from_bytes(sealed[len(_FORMAT) : _HEADER_BYTES], "big")
