"""`verify` with everything that this installation knows: signatures, marks, published files, and consent.

Joins `provenance.verify`, which knows files, with the consent store, which knows permissions. Reads only: a home folder
that does not exist is not made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, select

from portrait_anim.consent import schema
from portrait_anim.consent.backends import DATABASE_FILE, URL_FILE
from portrait_anim.consent.keys import signature_holds
from portrait_anim.consent.ledger import recorded
from portrait_anim.consent.records import LedgerRow
from portrait_anim.consent.rows import find_cameo, find_grants
from portrait_anim.consent.standing import PermitFacts
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.errors import Cancelled, MediaError
from portrait_anim.home import default_home
from portrait_anim.provenance.facts import ConsentState, RenderFacts
from portrait_anim.provenance.verify import MARK_BUDGET_S, VerificationReport
from portrait_anim.provenance.verify import verify as verify_file
from portrait_anim.types import PathLike, Progress, ProgressCallback

__all__ = ["LedgerFacts", "VerificationReport", "list_files", "verify", "verify_all"]

_SHORTEST_PREFIX: Final = len("per_") + 12


class LedgerFacts:
    """Answers of one consent store; see `provenance.facts.FactsSource`.

    Args:
        store: The open store.
    """

    def __init__(self, store: ConsentStore) -> None:
        self._store = store

    def find(self, permit_prefix: str) -> RenderFacts | None:
        """Find a render by its permit, or the beginning of it.

        Args:
            permit_prefix: At least `per_` and 12 hexadecimal digits.

        Returns:
            What the ledger says, or `None` when there is no such permit here, or more than one.

        Raises:
            ConsentError: If the store cannot be read or was tampered with.
        """
        if len(permit_prefix) < _SHORTEST_PREFIX:
            return None
        table = schema.ledger
        query = select(table.c.permit_id).where(
            table.c.kind == "authorised",
            # A range, not LIKE: it uses the index, and the digits of strangers are no pattern.
            table.c.permit_id >= permit_prefix,
            table.c.permit_id < permit_prefix + "g",
        )
        with self._store.read() as connection:
            permits = list(connection.execute(query.limit(2)).scalars())
            row = recorded(connection, "authorised", permit_id=permits[0]) if len(permits) == 1 else None
            return None if row is None else self._facts(connection, row)

    def proof_holds(self, consent: Mapping[str, Any]) -> bool | None:
        """Check the operator's signature of a permit.

        Args:
            consent: The consent assertion of a manifest, whatever is in it.

        Returns:
            Whether it holds and is this operator's; `None` when the assertion carries none.
        """
        proof = consent.get("permit")
        if not isinstance(proof, dict):
            return None
        try:
            permit = PermitFacts(
                id=str(consent["permit_id"]),
                grant_id=str(consent["grant_id"]),
                cameo_id=str(consent["cameo_id"]),
                cameo_kind=str(consent["cameo_kind"]),
                portrait_digest=str(proof["portrait_sha256"]),
                issued=datetime.fromisoformat(proof["issued"]),
                expires=datetime.fromisoformat(proof["expires"]),
                max_ms=int(proof["max_ms"]),
                profile=str(proof["profile"]),
                label_size=str(proof["label_size"]),
            )
            key, signature = bytes.fromhex(proof["operator_key"]), bytes.fromhex(proof["signature"])
            message = permit.message(str(proof["store_id"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            return False
        return key == self._store.keys.public_key and signature_holds(key, message, signature)

    def _facts(self, connection: Connection, row: LedgerRow) -> RenderFacts:
        permit_id, cameo_id, grant_id = str(row.permit_id), str(row.cameo_id), str(row.grant_id)
        rendered = recorded(connection, "rendered", permit_id=permit_id)
        cameo = find_cameo(connection, self._store, cameo_id)
        return RenderFacts(
            permit_id=permit_id,
            cameo_id=cameo_id,
            cameo_kind="" if cameo is None else cameo.kind,
            grant_id=grant_id,
            authorised=row.time,
            rendered=None if rendered is None else rendered.time,
            consent=self._consent(connection, permit_id, cameo_id, grant_id),
        )

    def _consent(self, connection: Connection, permit_id: str, cameo_id: str, grant_id: str) -> ConsentState:
        if recorded(connection, "withdrawn", permit_id=permit_id):
            return "withdrawn"
        if recorded(connection, "aborted", permit_id=permit_id):
            return "unfinished"
        cameo = find_cameo(connection, self._store, cameo_id)
        if cameo is None or cameo.status != "active":
            return "deleted"
        grants = find_grants(connection, self._store, grant_id=grant_id)
        return "revoked" if not grants or grants[0].revoked_at is not None else "standing"


def verify(
    path: PathLike, *, home: PathLike | None = None, anchors: str = "", mark_budget_s: float = MARK_BUDGET_S
) -> VerificationReport:
    """Say everything that is known about a file of anyone.

    Args:
        path: Any file.
        home: Home folder of the installation that is asked; `None` is `default_home()`. It need not exist.
        anchors: More trusted certificates, PEM.
        mark_budget_s: Longest time to search the picture for the invisible watermark [s]; 0 does not look. Files that
            lost their manifest are found by it.

    Returns:
        Report in plain words.

    Raises:
        MediaError: If there is no such file, or it cannot be opened.
        ConsentError: If the consent store is there and cannot be read.
        ProvenanceError: If keys, settings or index in the home folder are not usable.
    """
    ((_, report),) = verify_all([path], home=home, anchors=anchors, mark_budget_s=mark_budget_s)
    return report


def verify_all(
    paths: Iterable[PathLike],
    *,
    home: PathLike | None = None,
    anchors: str = "",
    mark_budget_s: float = MARK_BUDGET_S,
    on_progress: ProgressCallback | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Iterator[tuple[Path, VerificationReport]]:
    """Verify many files, one after the other.

    Args:
        paths: The files.
        home: See `verify`.
        anchors: See `verify`.
        mark_budget_s: See `verify`.
        on_progress: Told about the files done, stage `"verify"`.
        cancel: Asked before every file; return true to stop.

    Yields:
        Each file and its report. A file that cannot be opened among several is reported as unsigned, with the reason.

    Raises:
        MediaError: If the only file cannot be opened.
        ConsentError: If the consent store is there and cannot be read.
        ProvenanceError: If keys, settings or index in the home folder are not usable.
        Cancelled: If `cancel` returned true.
    """
    files = [Path(path) for path in paths]
    folder = Path(home) if home is not None else default_home()
    with ExitStack() as stack:
        facts = None
        if any((folder / name).exists() for name in (DATABASE_FILE, URL_FILE)):  # opening would make a store
            facts = LedgerFacts(stack.enter_context(open_store(folder)))
        for done, file in enumerate(files):
            if cancel and cancel():
                raise Cancelled(f"stopped as asked; {done} of {len(files)} files were verified")
            if on_progress:
                on_progress(Progress(stage="verify", done=done, total=len(files)))
            try:
                report = verify_file(file, home=folder, anchors=anchors, mark_budget_s=mark_budget_s, facts=facts)
            except MediaError as error:
                if len(files) == 1:
                    raise
                report = VerificationReport(state="unsigned", trusted=False, findings=(str(error),), ok=False)
            yield file, report
        if on_progress:
            on_progress(Progress(stage="verify", done=len(files), total=len(files)))


def list_files(path: PathLike) -> list[Path]:
    """The files that a path stands for.

    Args:
        path: A file, or a folder.

    Returns:
        The file itself, or every file in the folder and below, sorted, without hidden ones and links.

    Raises:
        MediaError: If a folder cannot be read or holds no file.
    """
    folder = Path(path)
    if not folder.is_dir():
        return [folder]
    try:
        found = sorted(
            item
            for item in folder.rglob("*")
            if item.is_file()
            and not item.is_symlink()
            and not any(part.startswith(".") for part in item.relative_to(folder).parts)
        )
    except OSError as error:
        raise MediaError(f"expected a readable folder, got {folder}: {error.strerror or error}") from error
    if not found:
        raise MediaError(f"expected files in {folder}, got an empty folder; name a file or another folder")
    return found
