"""Telling owners about uses: where each wants to be told, and an outbox whose messages are tried until they arrive.

A message is queued in the transaction of the event, and sent later by whoever calls `deliver_due`: the gate never waits
for a mail server. Messages name who asked, for what and where, never a picture. What was sent is emptied at once.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from portrait_anim.consent.delivery import MailServer, check_address, check_webhook, send_mail, send_webhook
from portrait_anim.consent.keys import canonical
from portrait_anim.consent.records import utc
from portrait_anim.consent.service_records import Channel, OutboxItem, Use
from portrait_anim.consent.service_rows import find_outbox, find_setting, put_outbox, put_setting
from portrait_anim.consent.signed_rows import time_text
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import DeliveryFailed

MAX_ATTEMPTS: Final = 10
_FIRST_DELAY: Final = timedelta(minutes=1)
_LONGEST_DELAY: Final = timedelta(days=1)
_GROWTH: Final = 4

_OPERATOR: Final = ""  # settings of the installation stand beside those of cameos, under no cameo
_CONTACT, _MAIL_SERVER, _PRIVATE = "contact", "mail_server", "private_webhooks"

_SENTENCES: Final = {
    "draft": "is being rendered",
    "rendered": "was rendered",
    "refused": "was asked for and refused",
    "aborted": "was started and stopped; nothing was kept",
    "withdrawn": "was withdrawn",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Contact:
    """Where an owner wants to be told about uses.

    Attributes:
        email: Address, or empty.
        webhook: Address, or empty.
    """

    email: str = ""
    webhook: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryReport:
    """What one round of deliveries did.

    Attributes:
        sent: Messages that arrived.
        retried: Messages that will be tried again.
        given_up: Messages that were tried `MAX_ATTEMPTS` times and stay in the inbox only.
    """

    sent: int = 0
    retried: int = 0
    given_up: int = 0


def get_contact(store: ConsentStore, cameo_id: str) -> Contact:
    """Return where the owner of a cameo wants to be told."""
    with store.read() as connection:
        return _contact(connection, store, cameo_id)


def set_contact(store: ConsentStore, cameo_id: str, contact: Contact) -> Contact:
    """Choose where the owner of a cameo is told about uses.

    Args:
        store: The open store.
        cameo_id: The cameo.
        contact: Where to; empty fields end that way of telling.

    Returns:
        The contact as kept.

    Raises:
        ValueError: If an address cannot be used.
    """
    with store.write() as connection:
        private = _private_allowed(connection, store)
        kept = Contact(
            email=check_address(contact.email) if contact.email.strip() else "",
            webhook=contact.webhook.strip(),
        )
        if kept.webhook:
            check_webhook(kept.webhook, allow_private=private)
        put_setting(connection, store, cameo_id, _CONTACT, json.dumps(asdict(kept)) if kept != Contact() else "")
    return kept


def set_mail_server(store: ConsentStore, server: MailServer | None) -> None:
    """Choose the mail server of this installation; `None` ends e-mail. Its password is encrypted."""
    with store.write() as connection:
        put_setting(connection, store, _OPERATOR, _MAIL_SERVER, "" if server is None else json.dumps(asdict(server)))


def get_mail_server(store: ConsentStore) -> MailServer | None:
    """Return the mail server of this installation, or `None`."""
    with store.read() as connection:
        return _mail_server(connection, store)


def allow_private_webhooks(store: ConsentStore, allowed: bool) -> None:
    """Say whether webhooks may reach this machine and its private network; they may not by default."""
    with store.write() as connection:
        put_setting(connection, store, _OPERATOR, _PRIVATE, "yes" if allowed else "")


def enqueue(connection: Connection, store: ConsentStore, use: Use, now: datetime) -> int:
    """Queue messages about a use, inside the gate's transaction.

    Args:
        connection: Connection from `store.write()`.
        store: The store of the connection.
        use: What happened.
        now: Current time, timezone-aware.

    Returns:
        Number of messages queued.
    """
    contact = _contact(connection, store, use.cameo_id)
    targets: tuple[tuple[Channel, str], ...] = (("email", contact.email), ("webhook", contact.webhook))
    body = canonical(event(use, now)).decode()
    wanted = [(channel, target) for channel, target in targets if target]
    for channel, target in wanted:
        item = OutboxItem(
            id=f"out_{secrets.token_hex(8)}", cameo_id=use.cameo_id, channel=channel, target=target, body=body,
            next_try=utc(now),
        )  # fmt: skip
        put_outbox(connection, store, item, new=True)
    return len(wanted)


def event(use: Use, now: datetime) -> dict[str, object]:
    """Return what is told about a use: the JSON body of a webhook.

    Args:
        use: What happened.
        now: When it happened, timezone-aware.
    """
    return {
        "type": f"use.{use.kind}",
        "timestamp": time_text(now),
        "data": {
            "use_id": use.id,
            "cameo_id": use.cameo_id,
            "permit_id": use.permit_id,
            "asked": time_text(use.time),
            "grantee": use.grantee,
            "purpose": use.purpose,
            "context": use.context,
            "reason": use.reason,
        },
    }


def deliver_due(store: ConsentStore, now: datetime, *, limit: int = 100) -> DeliveryReport:
    """Send every message that is due. Safe to call from several processes: each message is claimed first.

    Args:
        store: The open store.
        now: Current time, timezone-aware.
        limit: How many messages at most.

    Returns:
        What was done.
    """
    now = utc(now)
    with store.write() as connection:
        server, private = _mail_server(connection, store), _private_allowed(connection, store)
        claimed = []
        for item in find_outbox(connection, store, due_before=now, limit=limit):
            # If this process dies while sending, the message is due again after the usual delay.
            tried = replace(item, attempts=item.attempts + 1, next_try=now + delay(item.attempts))
            put_outbox(connection, store, tried, new=False)
            claimed.append(tried)
    counts = {"sent": 0, "retried": 0, "given_up": 0}
    for item in claimed:
        outcome = _attempt(store, item, server, private, now)
        counts[outcome] += 1
        if outcome == "retried":
            continue
        ended = (
            replace(item, target="", body="", next_try=None, sent_at=now)
            if outcome == "sent"
            else replace(item, target="", body="", next_try=None, failed_at=now)
        )
        with store.write() as connection:
            put_outbox(connection, store, ended, new=False)
    return DeliveryReport(**counts)


def delay(attempts: int) -> timedelta:
    """Return how long to wait after a number of failed attempts: 1, 4, 16 minutes and so on, at most a day."""
    return min(_LONGEST_DELAY, timedelta(seconds=_FIRST_DELAY.total_seconds() * _GROWTH ** min(attempts, 10)))


def _attempt(store: ConsentStore, item: OutboxItem, server: MailServer | None, private: bool, now: datetime) -> str:
    try:
        if item.channel == "webhook":
            send_webhook(
                item.target, item.body.encode(), message_id=item.id, sign=store.keys.sign, now=now,
                allow_private=private,
            )  # fmt: skip
        elif server is None:
            raise DeliveryFailed("expected a mail server, got none; set one with `consent mail-server`")
        else:
            told = json.loads(item.body)
            send_mail(server, to=item.target, subject=_subject(told), text=_text(told), now=now)
    except (DeliveryFailed, ValueError):
        return "given_up" if item.attempts >= MAX_ATTEMPTS else "retried"
    return "sent"


def _subject(told: dict[str, dict[str, str]]) -> str:
    return f"Your cameo {told['data']['cameo_id']} {_SENTENCES[str(told['type']).removeprefix('use.')]}"[:200]


def _text(told: dict[str, dict[str, str]]) -> str:
    data = told["data"]
    lines = [
        f"Your cameo {data['cameo_id']} {_SENTENCES[str(told['type']).removeprefix('use.')]}.",
        "",
        f"By whom:   {data['grantee'] or '(no name given)'}",
        f"What for:  {data['purpose'] or '(nothing stated)'}",
        f"Where:     {data['context']}",
        f"When:      {data['asked']}",
        f"Reason:    {data['reason']}" if data["reason"] else "",
        f"Permit:    {data['permit_id']}" if data["permit_id"] else "",
        "",
        "Your inbox shows every use with a picture. There you can also end permissions and withdraw videos.",
    ]
    return "\n".join(line for line in lines if line is not None) + "\n"


def _contact(connection: Connection, store: ConsentStore, cameo_id: str) -> Contact:
    kept = find_setting(connection, store, cameo_id, _CONTACT)
    return Contact(**json.loads(kept)) if kept else Contact()


def _mail_server(connection: Connection, store: ConsentStore) -> MailServer | None:
    kept = find_setting(connection, store, _OPERATOR, _MAIL_SERVER)
    return MailServer(**json.loads(kept)) if kept else None


def _private_allowed(connection: Connection, store: ConsentStore) -> bool:
    return find_setting(connection, store, _OPERATOR, _PRIVATE) == "yes"
