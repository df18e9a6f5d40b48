"""Who a store is: its signed identity, made once, checked on every opening, moved on by migrations."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, delete, insert, inspect, select

from portrait_anim.consent import schema
from portrait_anim.consent.backends import Backend
from portrait_anim.consent.chain import genesis, head_message
from portrait_anim.consent.key_places import FIRST_VERSION, KeyPlace, key_source
from portrait_anim.consent.keys import OperatorKeys, canonical, load_keys, load_or_create_keys
from portrait_anim.consent.vault import Vault
from portrait_anim.errors import ConsentError, LedgerTampered

logger = logging.getLogger(__name__)

VAULT = "vault"
"""Fact that names the active key and where it is kept, such as `2:file`."""

OLDER_KEYS = "older_keys"
"""Fact that names the keys that were not deleted yet, such as `1:file`; absent when there is none."""

_NAMED_KEY = select(schema.meta.c.value).where(schema.meta.c.key == VAULT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What opening a store found out.

    Attributes:
        store_id: Identifier of the store.
        keys: The operator's signing key.
        vault: Encrypts what is personal.
        migrated: Whether an older store was brought to this version.
    """

    store_id: str
    keys: OperatorKeys
    vault: Vault
    migrated: bool = False


def prepare(connection: Connection, backend: Backend, keys_folder: Path, keys_in: KeyPlace) -> Identity:
    """Make the tables of a new store, or check that an existing one belongs to the keys and migrate it.

    Args:
        connection: Connection inside a write transaction.
        backend: Kind of the database.
        keys_folder: Folder of the key files.
        keys_in: Where a new store keeps its encryption key.

    Returns:
        The identity.

    Raises:
        ConsentError: If database and keys do not belong together, or the store is of a newer version.
        LedgerTampered: If the signed identity was altered.
    """
    if not inspect(connection).get_table_names():
        return _initialise(connection, backend, keys_folder, keys_in)
    facts, keys = _checked_facts(connection, keys_folder)
    version = int(facts["schema"])
    if version > schema.SCHEMA_VERSION:
        raise ConsentError(
            f"expected a consent store of version {schema.SCHEMA_VERSION} or older, got {version}; "
            "use the program version that wrote it"
        )
    migrated = version < schema.SCHEMA_VERSION
    if migrated:
        from portrait_anim.consent.migrations import upgrade

        vault = open_vault({VAULT: f"{FIRST_VERSION}:file", **facts}, keys_folder)
        upgrade(connection, version=version, store_id=facts["store_id"], keys=keys, vault=vault)
        write_facts(
            connection, keys, {**facts, "schema": str(schema.SCHEMA_VERSION), VAULT: f"{vault.active}:{vault.place}"}
        )
        logger.info("consent store %s migrated from version %d", facts["store_id"], version)
    else:
        vault = open_vault(facts, keys_folder)
    backend.make_append_only(connection)
    return Identity(store_id=facts["store_id"], keys=keys, vault=vault, migrated=migrated)


def check_vault(connection: Connection, store_id: str, keys: OperatorKeys, vault: Vault, keys_folder: Path) -> None:
    """Make a vault seal with the key that the store names, which another process may have changed.

    Args:
        connection: Connection inside a write transaction.
        store_id: Identifier of the store.
        keys: The operator's signing key.
        vault: The vault to bring up to date.
        keys_folder: Folder of the key files.

    Raises:
        LedgerTampered: If the signed identity was altered.
    """
    named = connection.execute(_NAMED_KEY).scalar_one_or_none()
    if named == f"{vault.active}:{vault.place}":
        return
    facts = signed_facts(connection, keys)
    if facts["store_id"] != store_id:
        raise _altered()
    vault.adopt(open_vault(facts, keys_folder))


def open_vault(facts: Mapping[str, str], keys_folder: Path) -> Vault:
    """Return the vault that the signed facts of a store name.

    Args:
        facts: The facts.
        keys_folder: Folder of the key files.

    Raises:
        ConsentError: If the active key cannot be read.
    """
    ((active, place),) = named_keys(facts[VAULT]).items()
    older = named_keys(facts.get(OLDER_KEYS, ""))
    return Vault(store_id=facts["store_id"], folder=keys_folder, place=place, active=active, older=older)


def named_keys(fact: str) -> dict[int, str]:
    """Return the places of keys by version, from a fact such as `1:file,2:keyring`."""
    pairs = (named.split(":") for named in fact.split(",") if named)
    return {int(version): place for version, place in pairs}


def signed_facts(connection: Connection, keys: OperatorKeys) -> dict[str, str]:
    """Read the identity of a store and check its signature.

    Args:
        connection: Open connection.
        keys: The operator's signing key.

    Raises:
        ConsentError: If another key made the store.
        LedgerTampered: If the identity was altered.
    """
    found: dict[str, str] = {row.key: row.value for row in connection.execute(select(schema.meta))}
    return _verified(found, keys)


def write_facts(connection: Connection, keys: OperatorKeys, facts: Mapping[str, str]) -> None:
    """Sign and write the identity of a store in place of the former one.

    Args:
        connection: Connection inside a write transaction.
        keys: The operator's signing key.
        facts: Everything but the signature.
    """
    signed = {**facts, "signature": keys.sign(canonical(facts)).hex()}
    connection.execute(delete(schema.meta))
    connection.execute(insert(schema.meta), [{"key": key, "value": value} for key, value in signed.items()])


def _checked_facts(connection: Connection, keys_folder: Path) -> tuple[dict[str, str], OperatorKeys]:
    names = inspect(connection).get_table_names()
    found = {row.key: row.value for row in connection.execute(select(schema.meta))} if schema.meta.name in names else {}
    if not found:
        raise LedgerTampered(
            "expected the identity of the store, got none beside existing records; "
            "restore the database from a backup, or choose an empty database"
        )
    keys = load_keys(keys_folder)
    return _verified(found, keys), keys


def _verified(found: dict[str, str], keys: OperatorKeys) -> dict[str, str]:
    try:
        signature = bytes.fromhex(found.pop("signature", ""))
    except ValueError:
        signature = b""
    if found.get("operator") != keys.public_key.hex():
        raise ConsentError(
            "expected the operator's key that made this consent store, got another; "
            "restore the original key file from a backup"
        )
    if not keys.verify(canonical(found), signature):
        raise _altered()
    return found


def _initialise(connection: Connection, backend: Backend, keys_folder: Path, keys_in: KeyPlace) -> Identity:
    keys = load_or_create_keys(keys_folder)
    store_id = secrets.token_hex(16)
    key_source(keys_in, keys_folder, store_id).make(FIRST_VERSION)
    schema.metadata.create_all(connection)
    connection.execute(insert(schema.alembic_version).values(version_num=f"{schema.SCHEMA_VERSION:04d}"))
    facts = {
        "operator": keys.public_key.hex(),
        "schema": str(schema.SCHEMA_VERSION),
        "store_id": store_id,
        VAULT: f"{FIRST_VERSION}:{keys_in}",
    }
    write_facts(connection, keys, facts)
    start = genesis(store_id)
    head = keys.sign(head_message(store_id, 0, start))
    connection.execute(insert(schema.ledger_head).values(id=1, seq=0, digest=start, signature=head))
    backend.make_append_only(connection)
    logger.info("consent store %s made", store_id)
    return Identity(store_id=store_id, keys=keys, vault=open_vault(facts, keys_folder))


def _altered() -> LedgerTampered:
    return LedgerTampered("expected the signed identity of the store, got an altered one; restore a backup")
