"""From a picture that was computed to a file that may be shown: label, invisible mark, signature, index.

Whatever the program writes with a face of a cameo in it goes through here, pictures too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from portrait_anim import __version__
from portrait_anim.consent import permit as gate
from portrait_anim.consent import schema
from portrait_anim.consent.ledger import recorded, time_text
from portrait_anim.consent.records import Cameo, duration_ms
from portrait_anim.consent.registry import delete_cameo
from portrait_anim.consent.store import ConsentStore
from portrait_anim.consent.withdrawal import withdraw_all
from portrait_anim.errors import SigningError
from portrait_anim.provenance.claims import ManifestClaims, PermitProof, render_id
from portrait_anim.provenance.fingerprint import INDEX_RATE_HZ, fingerprint, fingerprint_image
from portrait_anim.provenance.index import PublishedFile, RenderIndex
from portrait_anim.provenance.ingestion import check_source
from portrait_anim.provenance.label import Labeller
from portrait_anim.provenance.label_path import Box
from portrait_anim.provenance.label_pill import larger
from portrait_anim.provenance.manifest import read_manifest, sign_file
from portrait_anim.provenance.settings import LabelSettings, load_settings
from portrait_anim.provenance.verify import VerificationReport, verify
from portrait_anim.provenance.watermark import Watermarker
from portrait_anim.types import UInt8Array
from portrait_anim.weights import file_sha256

if TYPE_CHECKING:
    from portrait_anim.consent.permit import RenderPermit

_SIGNATURE_HEX: Final = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A signed file that is ready to be moved into place.

    Attributes:
        path: The file.
        sha256: Its checksum.
        report: What `verify` says about it; always without doubt.
        entry: Its entry for the index of published files.
    """

    path: Path
    sha256: str
    report: VerificationReport
    entry: PublishedFile


class FrameMarker:
    """Puts label and invisible mark of one render on pictures of one size.

    Args:
        size: Width and height of the pictures [px].
        permit: Permit of the render, whose id the mark carries and whose grant says how large the label is.
        label: The operator's settings of the label.
        keep_clear: Zones that the label passes quickly, see `label.face_zones`.
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        permit: RenderPermit,
        label: LabelSettings,
        keep_clear: Sequence[Box] = (),
    ) -> None:
        self.labeller = Labeller(
            size,
            language=label.language,
            label_size=larger(label.smallest, permit.label_size),
            keep_clear=keep_clear,
        )
        self._watermarker = Watermarker(mark_of(permit), size)

    def mark(self, image: UInt8Array, time_s: float) -> UInt8Array:
        """Label and mark a picture.

        Args:
            image: `(H, W, 3)` uint8 sRGB; not modified.
            time_s: Its time from the start of the clip [s].

        Returns:
            The picture as it may be shown.
        """
        return self._watermarker.mark(self.labeller.draw(image, time_s))

    def mark_only(self, image: UInt8Array) -> UInt8Array:
        """Mark a picture whose parts are labelled already, such as a contact sheet.

        Args:
            image: `(H, W, 3)` uint8 sRGB; not modified.
        """
        return self._watermarker.mark(image)


def mark_of(permit: RenderPermit) -> int:
    """The 48-bit number that the watermark of a permit's render carries."""
    number = render_id(permit.id)
    if number is None:
        raise SigningError(f"expected a permit id that a watermark can carry, got {permit.id}; ask for a new permit")
    return number


def make_claims(
    store: ConsentStore,
    permit: RenderPermit,
    *,
    seed: int,
    portrait_sha256: str,
    driver_sha256: str | None,
    now: datetime,
) -> ManifestClaims:
    """What a file rendered with a permit states about itself.

    Args:
        store: The open store that gave the permit.
        permit: The permit.
        seed: Seed of the render.
        portrait_sha256: Checksum of the decoded portrait.
        driver_sha256: Checksum of the driving file.
        now: Present time.

    Raises:
        ConsentDenied: If the store did not give the permit.
    """
    with store.read() as connection:
        row = gate.issued_row(connection, store, permit)
        grants = schema.grants
        grant = connection.execute(select(grants.c.signature).where(grants.c.id == permit.grant_id)).scalar()
    return ManifestClaims(
        cameo_id=permit.cameo_id,
        cameo_kind=permit.cameo_kind,
        grant_id=permit.grant_id,
        permit_id=permit.id,
        ledger_row=row.digest,
        profile=permit.profile,
        seed=seed,
        created=now,
        software_version=__version__,
        portrait_sha256=portrait_sha256,
        driver_sha256=driver_sha256,
        permit=PermitProof(
            store_id=permit.store_id,
            portrait_sha256=permit.portrait_digest,
            issued=time_text(permit.issued),
            expires=time_text(permit.expires),
            max_ms=duration_ms(permit.max_seconds),
            profile=permit.profile,
            label_size=permit.label_size,
            signature=permit.signature.hex(),
            operator_key=permit.public_key.hex(),
            grant_signature=_hex_signature(grant),
        ),
        watermark=mark_of(permit),
    )


def sign_and_check(
    draft: Path, signed: Path, *, claims: ManifestClaims, home: Path, source: UInt8Array | None = None
) -> Published:
    """Sign a finished file, verify it as a stranger would, and prepare its entry for the index.

    Args:
        draft: Finished MP4 or PNG file, labelled and marked.
        signed: Where the signed file goes.
        claims: What it states.
        home: The installation's home folder.
        source: The portrait as it is framed in the file, `(H, W, 3)` uint8, so that it is not taken for a still of it.

    Returns:
        The signed file; its entry is not in the index yet.

    Raises:
        SigningError: If it cannot be signed, or does not verify.
        ProvenanceError: If the operator's settings are not usable.
    """
    sign_file(draft, signed, claims=claims, home=home)
    return check_signed(signed, claims=claims, home=home, source=source)


def check_signed(signed: Path, *, claims: ManifestClaims, home: Path, source: UInt8Array | None = None) -> Published:
    """Verify a signed file as a stranger would, and prepare its entry for the index.

    Args:
        signed: The signed file.
        claims: What it states.
        home: The installation's home folder.
        source: See `sign_and_check`.

    Returns:
        The file; its entry is not in the index yet.

    Raises:
        SigningError: If it does not verify.
        ProvenanceError: If the operator's settings are not usable.
    """
    report = verify(signed, home=home)
    if not report.ok:
        raise SigningError(
            f"expected the finished file to verify, got: {'; '.join(report.findings)}; with a certificate of your own, "
            "check that its chain ends in the authority (docs/PROVENANCE.md)"
        )
    manifest = read_manifest(signed)
    assert manifest is not None, "it was verified"
    digest = file_sha256(signed)
    entry = PublishedFile(
        sha256=digest,
        watermark=claims.watermark,
        permit_id=claims.permit_id,
        cameo_ids=tuple(dict.fromkeys([claims.cameo_id, *(part.cameo_id for part in claims.parts)])),
        created=claims.created,
        manifest=manifest.json,
        fingerprint=fingerprint(signed, rate_hz=INDEX_RATE_HZ),
        source=None if source is None else fingerprint_image(source),
    )
    return Published(path=signed, sha256=digest, report=report, entry=entry)


def remember(home: Path, *files: Published) -> None:
    """Put published files into the index, so that they are found again without their manifest.

    Args:
        home: The installation's home folder.
        files: What was published.

    Raises:
        ProvenanceError: If the index cannot be written.
    """
    index = RenderIndex(home)
    for file in files:
        index.add(file.entry)


def erase_cameo(
    store: ConsentStore, cameo_id: str, *, now: datetime, withdraw_renders: bool = False
) -> tuple[Cameo, int]:
    """Erase a cameo everywhere: in the consent store, and its files in the index.

    Args:
        store: The open consent store.
        cameo_id: The cameo.
        now: Current time, timezone-aware.
        withdraw_renders: Whether every video made so far is withdrawn first.

    Returns:
        What is left of the cameo, and how many renders were withdrawn.

    Raises:
        ConsentDenied: If there is no such cameo.
        ProvenanceError: If the index cannot be written.
    """
    taken = withdraw_all(store, cameo_id, now) if withdraw_renders else []
    erased = delete_cameo(store, cameo_id, now=now)
    RenderIndex(store.home).forget(cameo_id)
    return erased, len(taken)


def check_sources(store: ConsentStore, paths: Sequence[Path], cameo_id: str) -> None:
    """Refuse portraits and clips that carry somebody else's mark, as the operator's policy says.

    Args:
        store: The open consent store, which knows whose renders are marked.
        paths: The files; those that are not there are left to their reader.
        cameo_id: Cameo that is asked for.

    Raises:
        SourceRefused: If one carries a mark that forbids its use.
        ProvenanceError: If the operator's settings are not usable.
    """
    policy = load_settings(store.home).ingestion

    def owner_of(permit_prefix: str) -> str | None:
        table = schema.ledger
        query = select(table.c.permit_id).where(
            table.c.kind == "authorised", table.c.permit_id >= permit_prefix, table.c.permit_id < permit_prefix + "g"
        )
        with store.read() as connection:
            for permit_id in connection.execute(query.limit(1)).scalars():
                row = recorded(connection, "authorised", permit_id=permit_id)
                return None if row is None else row.cameo_id
        return None

    for path in paths:
        check_source(path, cameo_id=cameo_id, policy=policy, owner_of=owner_of)


def _hex_signature(value: object) -> str | None:
    text = bytes(value).hex() if isinstance(value, (bytes, memoryview)) else ""
    return text if _SIGNATURE_HEX.fullmatch(text) else None
