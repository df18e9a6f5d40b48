"""A deployment's regular work: send what is due, erase what is over, destroy what was withdrawn, seal the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from portrait_anim.consent.checkpoints import add_checkpoint
from portrait_anim.consent.ledger import checked_head
from portrait_anim.consent.notify import DeliveryReport, deliver_due
from portrait_anim.consent.records import utc
from portrait_anim.consent.retention import RetentionReport, erase_due
from portrait_anim.consent.store import ConsentStore
from portrait_anim.consent.withdrawal import destroy_withdrawn


@dataclass(frozen=True, kw_only=True, slots=True)
class MaintenanceReport:
    """What one round of maintenance did.

    Attributes:
        deliveries: Notifications.
        retention: What was erased.
        destroyed: Files of withdrawn renders.
        checkpoint: Ledger row up to which the ledger is sealed; 0 for an empty ledger.
    """

    deliveries: DeliveryReport
    retention: RetentionReport
    destroyed: int
    checkpoint: int


def maintain(store: ConsentStore, now: datetime) -> MaintenanceReport:
    """Do one round of regular work; call it every minute or so, from one process or several.

    Args:
        store: The open store.
        now: Current time, timezone-aware.

    Returns:
        What was done.

    Raises:
        ConsentError: If the store cannot be read or written, or was tampered with.
    """
    now = utc(now)
    destroyed = destroy_withdrawn(store, now)
    retention = erase_due(store, now)
    deliveries = deliver_due(store, now)
    return MaintenanceReport(
        deliveries=deliveries, retention=retention, destroyed=destroyed, checkpoint=seal_ledger(store, now)
    )


def seal_ledger(store: ConsentStore, now: datetime) -> int:
    """Sign the present state of the ledger: rows up to here cannot be changed unseen, even with the head replaced.

    Args:
        store: The open store.
        now: Current time, timezone-aware.

    Returns:
        The row up to which it is sealed; 0 for an empty ledger, which needs no seal.

    Raises:
        LedgerTampered: If the end of the chain does not hold.
    """
    with store.write() as connection:
        seq, digest = checked_head(connection, store)
        if seq:
            add_checkpoint(connection, store, seq, digest, now)
    return seq
