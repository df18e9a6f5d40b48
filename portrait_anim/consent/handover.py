"""Who enrols through a link gets the cameo: the link closes and the owner's account is made in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection

from portrait_anim.consent.accounts import add_account, free_name, token_digest
from portrait_anim.consent.links import close_link
from portrait_anim.consent.records import Cameo
from portrait_anim.consent.store import ConsentStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Handover:
    """What is needed to give a new cameo to the person who enrolled through a link.

    Attributes:
        link_token: Token of the link, the last part of its address.
        owner_token: Token of the account that will own the cameo, from `accounts.draw_token`.
    """

    link_token: str = field(repr=False)
    owner_token: str = field(repr=False)

    @property
    def link_digest(self) -> str:
        """What challenges that were issued through the link carry."""
        return token_digest(self.link_token)


def hand_over(connection: Connection, store: ConsentStore, cameo: Cameo, handover: Handover, now: datetime) -> Cameo:
    """Close the link of a person who enrols, make the owner's account, and give it the cameo.

    Args:
        connection: Connection from `store.write()`, of the transaction that enrols.
        store: The store of the connection.
        cameo: The new cameo, not written yet.
        handover: Link and token.
        now: Current time [UTC].

    Returns:
        The cameo with its owner.

    Raises:
        ConsentDenied: If the link is not open any more: then nobody may be enrolled through it.
    """
    close_link(connection, store, handover.link_token, now)
    name = free_name(connection, store, cameo.name)
    account = add_account(connection, store, name=name, role="owner", token=handover.owner_token, now=now)
    return replace(cameo, owner_account=account.id)
