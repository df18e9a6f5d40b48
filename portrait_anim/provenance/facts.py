"""What the consent store can say about a render, seen from provenance: values and a protocol, no import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

ConsentState = Literal["standing", "revoked", "withdrawn", "deleted", "unfinished"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderFacts:
    """What the ledger knows about one permit.

    Attributes:
        permit_id: The permit.
        cameo_id: Whose likeness.
        cameo_kind: `"real"` or `"fictional"`, or `""` when the cameo is gone.
        grant_id: Under which permission.
        authorised: When the render was allowed [UTC].
        rendered: When the file was finished [UTC], or `None`.
        consent: `"standing"` (nothing was taken back; an expired grant only ends new renders), `"revoked"` (the owner
            ended the grant), `"withdrawn"` (this very file is on the revocation list), `"deleted"` (the owner deleted
            the cameo), or `"unfinished"` (the render was stopped; no file of it should exist).
    """

    permit_id: str
    cameo_id: str
    cameo_kind: str
    grant_id: str
    authorised: datetime
    rendered: datetime | None
    consent: ConsentState


class FactsSource(Protocol):
    """Looks renders up; `portrait_anim.verification` has the one that asks the consent store."""

    def find(self, permit_prefix: str) -> RenderFacts | None:
        """Find a render.

        Args:
            permit_prefix: Identifier of a permit, or the beginning of one.

        Returns:
            What is known, or `None` when there is no such permit here, or more than one.
        """
        ...

    def proof_holds(self, consent: Mapping[str, Any]) -> bool | None:
        """Check the operator's signature of a permit.

        Args:
            consent: The consent assertion of a manifest, whatever is in it.

        Returns:
            Whether it holds and is this operator's; `None` when the assertion carries none.
        """
        ...
