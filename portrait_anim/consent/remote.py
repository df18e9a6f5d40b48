"""The gate as a worker on another machine sees it: the consent service is asked before each window of a render."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from typing import Final
from urllib.parse import urlsplit

from portrait_anim.errors import ConsentDenied, ConsentError

TIMEOUT_S: Final = 10.0
_READ_BYTES: Final = 64 * 1024
_PERMIT: Final = re.compile(r"per_[0-9a-f]{16}")


class RemoteGate:
    """Asks a consent service whether permits still hold. Whatever is not a clear yes is a no.

    Args:
        url: Address of the service, such as `https://consent.example.org`; plain `http` only to this machine.
        token: Token of an account with the role `worker`.

    Raises:
        ValueError: If the address cannot be used.
    """

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if not parts.hostname or parts.scheme not in (("https", "http") if local else ("https",)):
            raise ValueError(f"expected the https address of a consent service, got {url!r}")
        self._scheme, self._host, self._port = parts.scheme, parts.hostname, parts.port
        self._path, self._token = parts.path.rstrip("/"), token

    def __repr__(self) -> str:
        return f"RemoteGate({self._scheme}://{self._host})"

    def check(self, permit_id: str) -> None:
        """Return if a permit holds now; call it before each window and destroy what was made when it raises.

        Args:
            permit_id: The permit.

        Raises:
            ConsentDenied: If the service says that it does not hold.
            ConsentError: If the service cannot be asked, or answers anything else.
        """
        if not _PERMIT.fullmatch(permit_id):
            raise ConsentDenied(f"expected the id of a permit, got {permit_id!r}", reason="forged_permit")
        try:
            status, content = self._ask(f"{self._path}/permits/{permit_id}/check")
            facts = json.loads(content)
            error = facts.get("error") or {}
            holds = status == 200 and facts.get("holds") is True and facts.get("permit_id") == permit_id
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as problem:
            raise ConsentError(
                f"expected an answer of the consent service, got {type(problem).__name__}; stop until it can be asked"
            ) from problem
        if holds:
            return
        if status == 403 and error.get("reason"):
            raise ConsentDenied(str(error.get("message")), reason=str(error["reason"]), grant_id=error.get("grant_id"))
        raise ConsentError(f"expected the consent service to say that {permit_id} holds, got status {status}; stop")

    def _ask(self, path: str) -> tuple[int, bytes]:
        connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(
                self._host, self._port, timeout=TIMEOUT_S, context=ssl.create_default_context()
            )
            if self._scheme == "https"
            else http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        )
        try:
            connection.request("POST", path, headers={"Authorization": f"Bearer {self._token}", "Content-Length": "0"})
            answer = connection.getresponse()
            return answer.status, answer.read(_READ_BYTES)
        finally:
            connection.close()
