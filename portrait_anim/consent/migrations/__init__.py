"""Alembic migrations of the consent store, run inside the transaction that opens it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from portrait_anim.consent.keys import OperatorKeys
from portrait_anim.consent.vault import Vault


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealing:
    """What a migration needs to read old rows and to seal and sign new ones.

    Attributes:
        store_id: Identifier of the store.
        keys: The operator's signing key.
        vault: Encrypts what is personal.
    """

    store_id: str
    keys: OperatorKeys
    vault: Vault


def upgrade(connection: Connection, *, version: int, store_id: str, keys: OperatorKeys, vault: Vault) -> None:
    """Bring a store to the newest version; nothing is committed here.

    Args:
        connection: Connection inside a write transaction, after the signed identity was checked.
        version: Version that the signed identity states.
        store_id: Identifier of the store.
        keys: The operator's signing key.
        vault: Encrypts what is personal.

    Raises:
        LedgerTampered: If the ledger of the old store does not hold.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["sealing"] = Sealing(store_id=store_id, keys=keys, vault=vault)
    # The signed identity is what counts; Alembic's own mark is brought into line with it.
    command.stamp(config, f"{version:04d}", purge=True)
    command.upgrade(config, "head")
