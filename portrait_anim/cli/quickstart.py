"""`portrait-anim quickstart`: the whole way once, with the samples that come with the program."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from portrait_anim.cli.animate import show_result
from portrait_anim.cli.console import plain, progress_bars, say
from portrait_anim.cli.guard import EXIT_PROVENANCE, GuardedTyper
from portrait_anim.cli.options import OPERATOR, Home, Json
from portrait_anim.errors import MediaError

if TYPE_CHECKING:
    from portrait_anim.consent.records import Cameo, Grant
    from portrait_anim.consent.store import ConsentStore
    from portrait_anim.studio import RenderResult
    from portrait_anim.types import ProgressCallback

ACTOR: Final = "Sample actor"
STATEMENT: Final = "A synthetic face made by the authors of portrait_anim; this person does not exist."
PURPOSE: Final = "demonstration"
CONTEXT: Final = "animate"
_LIFETIME: Final = timedelta(days=365)
_MAX_RENDERS: Final = 1000
_MAX_SECONDS: Final = 36_000.0
_LEAST_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Quickstart:
    """What a first run left.

    Attributes:
        result: The finished video and what `verify` says about it.
        record: File with the consent behind it: cameo, grant and ledger entries.
    """

    result: RenderResult
    record: Path


def quickstart(
    home: Home,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    as_json: Json = False,
) -> None:
    """Enrol the sample actor as fictional, grant, animate the sample portrait, verify: all of it, once."""
    with progress_bars() as on_progress:
        done = run_quickstart(home, out, on_progress=on_progress)
    show_result(done.result, as_json=as_json)
    say("")
    say(f"Video:          {done.result.path.resolve()}", style="bold")
    say(f"Consent record: {done.record.resolve()}", style="bold")
    verified = done.result.verification.ok
    say(f"Verification:   {'verified, no doubt' if verified else 'NOT verified'}", style="bold")
    if not verified:
        raise typer.Exit(EXIT_PROVENANCE)


def run_quickstart(home: Path, out: Path, *, on_progress: ProgressCallback | None = None) -> Quickstart:
    """Go the whole way with the samples; running it again reuses cameo and grant and replaces the video.

    Args:
        home: Folder of consent store and keys.
        out: Folder for the results; made when missing.
        on_progress: Told about progress.

    Returns:
        The finished video and the consent record.

    Raises:
        PortraitAnimError: If any step fails.
    """
    from portrait_anim import studio
    from portrait_anim.consent.store import open_store
    from portrait_anim.weights import samples_dir

    samples = samples_dir()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"expected a folder for the results at {out}, got: {error.strerror}; name another") from error
    with open_store(home) as store:
        cameo = _sample_cameo(store, samples / "portrait.jpg", _now())
        grant = _sample_grant(store, cameo.id, _now())
    result = studio.animate(
        samples / "portrait.jpg", samples / "driving.mp4", cameo=cameo.id, output=out / "sample.mp4", home=home,
        grantee=OPERATOR, purpose=PURPOSE, context=CONTEXT, sheet=out / "sample-sheet.png", on_progress=on_progress,
    )  # fmt: skip
    record = out / "sample-consent.json"
    with open_store(home) as store:
        _write_record(store, record, cameo, grant, result)
    return Quickstart(result=result, record=record)


def _sample_cameo(store: ConsentStore, portrait: Path, now: datetime) -> Cameo:
    """Return the cameo of the sample portrait, enrolled now if it was not before."""
    from portrait_anim.consent.registry import list_cameos
    from portrait_anim.enrolment import enroll_fictional_from_file
    from portrait_anim.inputs import read_portrait
    from portrait_anim.media.image import pixel_digest

    digest = pixel_digest(read_portrait(portrait))
    for cameo in list_cameos(store):
        if cameo.kind == "fictional" and cameo.portrait_digest == digest:
            return cameo
    return enroll_fictional_from_file(store, portrait=portrait, name=ACTOR, statement=STATEMENT, now=now)


def _sample_grant(store: ConsentStore, cameo_id: str, now: datetime) -> Grant:
    """Return a grant that is good for at least one more minute, given now if there is none."""
    from portrait_anim.consent.grants import grant, list_grants
    from portrait_anim.consent.ledger import usage

    for known in list_grants(store, cameo_id):
        with store.read() as connection:
            used = usage(connection, known.id)
        if (
            known.revoked_at is None
            and now + timedelta(hours=1) < known.expires
            and (known.grantee, known.purpose) == (OPERATOR, PURPOSE)
            and CONTEXT in known.allowed_contexts
            and used.renders < known.max_renders
            and used.milliseconds / 1000 + _LEAST_SECONDS <= known.max_seconds
        ):
            return known
    return grant(
        store, cameo_id, grantee=OPERATOR, purpose=PURPOSE, allowed_contexts=[CONTEXT], expires=now + _LIFETIME,
        max_renders=_MAX_RENDERS, max_seconds=_MAX_SECONDS, now=now,
    )  # fmt: skip


def _write_record(store: ConsentStore, path: Path, cameo: Cameo, grant: Grant, result: RenderResult) -> None:
    """Write down the consent behind a video: who was enrolled, what was allowed, what the ledger says."""
    from portrait_anim.consent.ledger import Ledger
    from portrait_anim.media.writer import atomic_path

    ledger = Ledger(store)
    rows = [row for row in ledger.rows(cameo_id=cameo.id) if row.permit_id in (None, result.permit_id)]
    content = {
        "video": result.path.name,
        "sha256": result.sha256,
        "cameo": cameo,
        "grant": grant,
        "permit_id": result.permit_id,
        "ledger": {"rows_checked": ledger.verify(), "entries": rows},
        "verification": result.verification,
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(plain(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _now() -> datetime:
    return datetime.now(timezone.utc)


def register(app: GuardedTyper) -> None:
    """Add the command to the application."""
    app.command("quickstart")(quickstart)
