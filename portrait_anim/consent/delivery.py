"""Carrying one message to its reader: by e-mail (SMTP) or to a signed webhook.

Webhooks follow the Standard Webhooks convention with an asymmetric signature (`v1a`, Ed25519): nothing secret has to
be shared, the reader needs the operator's public key. A webhook address is chosen by a person, so it must not become
a way into the operator's own network: the address is resolved once, checked, and that address is connected to.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import smtplib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from portrait_anim.consent.keys import signature_holds
from portrait_anim.consent.records import clean_text, utc
from portrait_anim.errors import DeliveryFailed

TIMEOUT_S = 10.0
SIGNATURE_TOLERANCE_S = 300.0
"""Oldest and newest accepted time stamp of a webhook, from now [s]."""

_MAX_URL_LENGTH = 2000
_READ_BYTES = 1024

MailSecurity = Literal["starttls", "tls", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MailServer:
    """Where e-mail is handed in.

    Attributes:
        host: Name of the SMTP server.
        port: Its port.
        sender: Address that messages come from.
        security: `"starttls"`, `"tls"` from the first byte, or `"none"` (only for a server on this machine).
        user: Account on the server; empty for none.
        password: Its password.
    """

    host: str
    port: int
    sender: str
    security: MailSecurity = "starttls"
    user: str = ""
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        clean_text(self.host, "host of the mail server")
        check_address(self.sender)
        if not 1 <= self.port <= 65535:
            raise ValueError(f"expected a port from 1 to 65535, got {self.port}")
        if self.security not in ("starttls", "tls", "none"):
            raise ValueError(f"expected starttls, tls or none, got {self.security!r}")
        if self.user and self.security == "none" and not _is_loopback(self.host):
            raise ValueError("expected an encrypted connection for a password, got security none; use starttls or tls")


def check_address(address: str) -> str:
    """Return an e-mail address after checking that it is one plain address, without a name or a list.

    Raises:
        ValueError: If it is not.
    """
    cleaned = clean_text(address, "e-mail address", maximum=254)
    local, at, domain = cleaned.rpartition("@")
    if not (at and local and domain) or any(sign in cleaned for sign in ' ,;:<>()[]\\"') or domain.startswith("."):
        raise ValueError(f"expected one e-mail address such as ada@example.org, got {address!r}")
    return cleaned


def check_webhook(url: str, *, allow_private: bool = False) -> SplitResult:
    """Return the parts of a webhook address after checking its form; names are resolved only when it is called.

    Args:
        url: `https://host/path`; plain `http` only where private addresses are allowed.
        allow_private: Whether the operator lets webhooks reach this machine and its network.

    Raises:
        ValueError: If it cannot be called by this policy.
    """
    parts = urlsplit(clean_text(url, "webhook address", maximum=_MAX_URL_LENGTH))
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"expected a webhook address that starts with {schemes[0]}://, got {url!r}")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("expected a webhook address without user name, password or fragment; leave them out")
    try:
        _ = parts.port
        literal = ipaddress.ip_address(parts.hostname)
    except ValueError as error:
        if "port" in str(error).lower():
            raise ValueError(f"expected a port from 1 to 65535 in {url!r}") from error
        return parts
    if not allow_private and not _is_public(literal):
        raise ValueError(f"expected a public webhook address, got {parts.hostname}; ask the operator to allow it")
    return parts


def send_mail(server: MailServer, *, to: str, subject: str, text: str, now: datetime) -> None:
    """Hand one plain-text message to the mail server.

    Args:
        server: Where to hand it in.
        to: The reader's address.
        subject: One line.
        text: The message.
        now: Current time, timezone-aware.

    Raises:
        DeliveryFailed: If the server cannot be reached or does not accept it.
        ValueError: If address or subject are not one line.
    """
    message = EmailMessage()
    message["From"], message["To"] = server.sender, check_address(to)
    message["Subject"], message["Date"] = clean_text(subject, "subject", maximum=200), format_datetime(utc(now))
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    try:
        context = ssl.create_default_context()
        connection = (
            smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=context)
            if server.security == "tls"
            else smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
        )
        with connection:
            if server.security == "starttls":
                connection.starttls(context=context)
            if server.user:
                connection.login(server.user, server.password)
            connection.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise DeliveryFailed(f"expected the mail server to accept a message, got {type(error).__name__}") from error


def send_webhook(
    url: str, body: bytes, *, message_id: str, sign: Callable[[bytes], bytes], now: datetime, allow_private: bool
) -> None:
    """Post one signed JSON message; anything but a 2xx answer is a failure, redirects included.

    Args:
        url: Where to.
        body: JSON.
        message_id: Same for every try of one message, so that the reader can drop repeats.
        sign: Makes the operator's Ed25519 signature.
        now: Current time, timezone-aware.
        allow_private: Whether the operator lets webhooks reach this machine and its network.

    Raises:
        DeliveryFailed: If it was not accepted, or the address leads into the operator's network.
    """
    stamp = str(int(utc(now).timestamp()))
    signature = base64.b64encode(sign(webhook_content(message_id, stamp, body))).decode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "portrait-anim",
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1a,{signature}",
    }
    try:
        parts = check_webhook(url, allow_private=allow_private)
        headers["Host"] = parts.netloc
        connection = _connect(parts, allow_private)
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", path, body=body, headers=headers)
            answer = connection.getresponse()
            answer.read(_READ_BYTES)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DeliveryFailed(f"expected the webhook to accept a message, got {type(error).__name__}") from error
    if not 200 <= answer.status < 300:
        raise DeliveryFailed(f"expected a 2xx answer of the webhook, got {answer.status}")


def webhook_content(message_id: str, timestamp: str, body: bytes) -> bytes:
    """Return what is signed about a webhook call: id, time stamp and body, joined by full stops."""
    return f"{message_id}.{timestamp}.".encode() + body


def webhook_holds(
    public_key: bytes, body: bytes, *, message_id: str, timestamp: str, signature: str, now: datetime
) -> bool:
    """Say whether a received webhook call is genuine and fresh; for readers.

    Args:
        public_key: The operator's 32 raw bytes.
        body: Body as received.
        message_id: Header `webhook-id`.
        timestamp: Header `webhook-timestamp`.
        signature: Header `webhook-signature`.
        now: Current time, timezone-aware.
    """
    try:
        age_s = abs(utc(now).timestamp() - int(timestamp))
        made = [base64.b64decode(part[4:], validate=True) for part in signature.split(" ") if part.startswith("v1a,")]
    except ValueError:
        return False
    content = webhook_content(message_id, timestamp, body)
    return age_s <= SIGNATURE_TOLERANCE_S and any(signature_holds(public_key, content, one) for one in made)


def _connect(parts: SplitResult, allow_private: bool) -> http.client.HTTPConnection:
    """Open a connection to an address that was checked, not to whatever the name means a moment later."""
    host = str(parts.hostname)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not found or not (allow_private or all(_is_public(ipaddress.ip_address(item[4][0])) for item in found)):
        raise DeliveryFailed("expected a public webhook address, got one in a private network")
    channel: socket.socket = socket.create_connection((str(found[0][4][0]), port), timeout=TIMEOUT_S)
    if parts.scheme == "https":
        try:
            channel = ssl.create_default_context().wrap_socket(channel, server_hostname=host)
        except BaseException:
            channel.close()
            raise
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    connection.sock, connection.auto_open = channel, 0  # never connected again by name
    return connection


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    return address.is_global and not address.is_multicast


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
