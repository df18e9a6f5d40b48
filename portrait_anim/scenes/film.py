"""The film: finished shots joined, signed with everybody's consent, verified, recorded, and only then shown."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from portrait_anim import __version__
from portrait_anim.consent.ledger import Ledger
from portrait_anim.consent.renders import remember_output
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import Cancelled, ConsentDenied
from portrait_anim.media.writer import atomic_path
from portrait_anim.provenance.claims import ConsentPart, ManifestClaims, render_id
from portrait_anim.provenance.label_pill import SIZES, LabelSize
from portrait_anim.provenance.manifest import read_manifest
from portrait_anim.provenance.verify import VerificationReport
from portrait_anim.publishing import check_signed, remember
from portrait_anim.scenes.assemble import Cut, assemble
from portrait_anim.scenes.permission import why_withdrawn
from portrait_anim.scenes.planner import ScenePlan
from portrait_anim.scenes.shelf import FinishedShot, ShotShelf
from portrait_anim.types import Progress, ProgressCallback


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneResult:
    """A finished film.

    Attributes:
        path: The MP4.
        sha256: Its checksum.
        shots: What it was joined from, in order.
        num_frames: Number of pictures.
        duration_s: Its length [s].
        ledger_row: Sequence number of its ledger record.
        verification: What `verify` says about it.
        work: Folder that holds the finished shots.
    """

    path: Path
    sha256: str
    shots: tuple[FinishedShot, ...]
    num_frames: int
    duration_s: float
    ledger_row: int
    verification: VerificationReport
    work: Path


def join_film(
    plan: ScenePlan,
    shots: Sequence[FinishedShot],
    output: Path,
    *,
    store: ConsentStore,
    shelf: ShotShelf,
    profile: str,
    clock: Callable[[], datetime],
    on_progress: ProgressCallback | None = None,
    cancel: Callable[[], bool] | None = None,
) -> SceneResult:
    """Join finished shots into the film; nothing is left when any of it fails.

    Args:
        plan: The plan.
        shots: Its finished shots, in order.
        output: MP4 to write.
        store: The open consent store.
        shelf: Where the shots are.
        profile: Model profile.
        clock: Current time.
        on_progress: Told about the frames, stage `"join"`.
        cancel: Asked before every frame; return true to stop.

    Returns:
        The film and its records.

    Raises:
        ConsentDenied: If a permission was withdrawn since its shot was rendered; that shot is destroyed.
        SigningError: If the film cannot be signed or does not verify.
        Cancelled: If `cancel` returned true.
    """
    cuts = [Cut(path=shelf.video(shot.key), num_frames=shot.length_in(plan.fps)) for shot in shots]
    total = sum(cut.num_frames for cut in cuts)

    def on_frame(done: int) -> None:
        if cancel and cancel():
            raise Cancelled("stopped as asked; finished shots are kept, no film was written")
        if on_progress:
            on_progress(Progress(stage="join", done=done, total=total))

    _check_standing(shots, store, shelf, clock())
    ledger = Ledger(store)
    opened = ledger.append("note", {"event": "scene", "permits": [shot.permit_id for shot in shots]}, clock())
    proofs = [_proof(shelf.video(shot.key)) for shot in shots]
    claims = _claims(plan, shots, proofs, profile, opened.digest, clock())
    with tempfile.TemporaryDirectory(prefix=".film-", dir=shelf.folder) as folder:
        film = Path(folder) / "film.mp4"
        assemble(
            cuts, film, fps=plan.fps, size=plan.size, claims=claims, home=store.home,
            label_size=_label_size(proofs), on_frame=on_frame,
        )  # fmt: skip
        published = check_signed(film, claims=claims, home=store.home)
        _check_standing(shots, store, shelf, clock())
        digest = published.sha256
        facts = {"event": "scene_finished", "scene_row": opened.seq, "output_digest": digest, "num_frames": total}
        row = ledger.append("note", facts, clock())
        remember(store.home, published)
        for permit_id in dict.fromkeys(shot.permit_id for shot in shots):
            remember_output(store, permit_id, output, digest)
        # The folder of shots may be on another disk than the output.
        with atomic_path(output) as temporary:
            shutil.copyfile(film, temporary)
    return SceneResult(
        path=output, sha256=digest, shots=tuple(shots), num_frames=total, duration_s=float(total / plan.fps),
        ledger_row=row.seq, verification=published.report, work=shelf.folder,
    )  # fmt: skip


def _check_standing(shots: Sequence[FinishedShot], store: ConsentStore, shelf: ShotShelf, now: datetime) -> None:
    """Refuse to use a shot whose owner withdrew the permission after it was rendered, and destroy it."""
    for shot in shots:
        reason = why_withdrawn(store, shot.cameo_id, shot.grant_id, now)
        if reason:
            shelf.remove(shot.key)
            raise ConsentDenied(
                f"expected grant {shot.grant_id} of the shot {shot.shot_id!r} to stand, got {reason}; "
                "the shot was destroyed, ask the owner for a new grant",
                reason=reason,
                grant_id=shot.grant_id,
            )


def _proof(video: Path) -> Mapping[str, Any]:
    """What a finished shot's own manifest says about its permit; empty for one that says nothing."""
    manifest = read_manifest(video)
    proof = None if manifest is None else manifest.consent.get("permit")
    return proof if isinstance(proof, dict) else {}


def _label_size(proofs: Sequence[Mapping[str, Any]]) -> LabelSize:
    """The largest label that any of the grants asks for."""
    asked = [proof.get("label_size") for proof in proofs]
    return max((size for size in SIZES if size in asked), key=SIZES.index, default="small")


def _claims(
    plan: ScenePlan,
    shots: Sequence[FinishedShot],
    proofs: Sequence[Mapping[str, Any]],
    profile: str,
    ledger_row: str,
    now: datetime,
) -> ManifestClaims:
    first = shots[0]
    ends = list(itertools.accumulate(shot.length_in(plan.fps) for shot in shots))
    parts = [
        ConsentPart(
            cameo_id=shot.cameo_id, cameo_kind=shot.cameo_kind, grant_id=shot.grant_id, permit_id=shot.permit_id,
            watermark=render_id(shot.permit_id), start_ms=round(start * 1000 / plan.fps),
            end_ms=round(end * 1000 / plan.fps), permit_signature=proof.get("signature"),
        )
        for shot, proof, start, end in zip(shots, proofs, [0, *ends[:-1]], ends, strict=True)
    ]  # fmt: skip
    return ManifestClaims(
        cameo_id=first.cameo_id,
        # One real person among invented ones makes it a film that shows a real person.
        cameo_kind="real" if any(shot.cameo_kind == "real" for shot in shots) else "fictional",
        grant_id=first.grant_id,
        permit_id=first.permit_id,
        ledger_row=ledger_row,
        profile=profile,
        seed=plan.shots[0].options.seed,
        created=now,
        software_version=__version__,
        parts=tuple(parts),
    )
