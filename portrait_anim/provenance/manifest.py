"""Sign a finished file (C2PA, through `c2pa-python`).

Signing comes last: any change after it, even of the sound, breaks the signature. Nothing here uses the network unless
the operator's settings name a time stamp server or a key service.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import c2pa
from PIL import Image

from portrait_anim.errors import SigningError
from portrait_anim.media.atomic import atomic_path
from portrait_anim.provenance.claims import ACTIONS_LABEL, DIGITAL_SOURCE_TYPE, ManifestClaims
from portrait_anim.provenance.containers import container_digest, media_type
from portrait_anim.provenance.definition import to_definition
from portrait_anim.provenance.keys import load_identity
from portrait_anim.provenance.reading import OFFLINE, ManifestReport, read_manifest
from portrait_anim.provenance.settings import load_settings
from portrait_anim.provenance.signers import open_signer

__all__ = ["ManifestReport", "check_signing", "read_manifest", "sign_file"]

_WORK_MEMORY_MB: Final = 8  # a longer file is worked on beside memory, so that length costs none


def sign_file(src: Path, dst: Path, *, claims: ManifestClaims, home: Path) -> None:
    """Write a signed copy of a finished file.

    Args:
        src: Finished MP4, PNG, JPEG or WebP file.
        dst: Where the signed file goes; replaced in one step, may be `src` itself.
        claims: What the manifest states.
        home: The installation's home folder, which holds the operator's settings (`settings.load_settings`) and
            holds, or receives, the signing keys.

    Raises:
        SigningError: If the file cannot be read or signed; `dst` is then as it was before.
        ProvenanceError: If the operator's settings are not usable.
        MediaError: If `dst` may not be written.
    """
    signing = load_settings(home).signing
    with _signing_errors(src):
        kind = media_type(src)
        if kind is None:
            raise SigningError(
                f"expected an MP4, PNG, JPEG or WebP file to sign, got {src.name}, which is none of them"
            )
        definition = to_definition(claims, container_sha256=container_digest(src))
        settings: dict[str, Any] = {
            "verify": dict(OFFLINE),
            "builder": {"thumbnail": {"enabled": False}},
            "core": {"backing_store_memory_threshold_in_mb": _WORK_MEMORY_MB},
        }
        with (
            atomic_path(dst) as temporary,
            src.open("rb") as source,
            temporary.open("w+b") as target,
            open_signer(home, signing, now=datetime.now(timezone.utc)) as signer,
            c2pa.Context.from_dict(settings) as context,
            c2pa.Builder(definition, context=context) as builder,
        ):
            builder.sign(signer, kind, source, target)


def check_signing(home: Path) -> None:
    """Find out before a long render whether its file could be signed at the end.

    With a certificate, key service or time stamp server of the operator's, a picture of a few pixels is signed in
    memory; with the installation's own authority, the keys are read, or made.

    Args:
        home: The installation's home folder.

    Raises:
        SigningError: If nothing could be signed.
        ProvenanceError: If the operator's settings are not usable.
    """
    signing, now = load_settings(home).signing, datetime.now(timezone.utc)
    if signing.certificate_chain is None and signing.time_stamp_url is None:
        load_identity(home, now=now)
        return
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    picture.seek(0)
    created = {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE_TYPE}
    definition = {"assertions": [{"label": ACTIONS_LABEL, "data": {"actions": [created]}, "created": True}]}
    with (
        _signing_errors(Path("a trial picture")),
        open_signer(home, signing, now=now) as signer,
        c2pa.Context.from_dict({"verify": dict(OFFLINE)}) as context,
        c2pa.Builder(definition, context=context) as builder,
    ):
        builder.sign(signer, "image/png", picture, io.BytesIO())


@contextmanager
def _signing_errors(path: Path) -> Iterator[None]:
    """Map errors of the C2PA library and of the file system to SigningError."""
    try:
        yield
    except (c2pa.C2paError, OSError) as error:
        raise SigningError(
            f"expected to sign {path.name}, got: {error}; check that the file is complete, that the keys can "
            "be read and that the disk is not full"
        ) from error
