"""Find out where a file comes from when its manifest is gone: by the watermark, else by what it looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from portrait_anim.errors import MediaError
from portrait_anim.provenance.definition import watermark_text
from portrait_anim.provenance.fingerprint import SAME_RENDER, fingerprint
from portrait_anim.provenance.index import PublishedFile, RenderIndex
from portrait_anim.provenance.watermark import read_file

_STRAIGHT_DEG: Final = 0.5
_TRUE_SCALE: Final = 0.02
_MOST_SAMPLES: Final = 1200  # ten minutes: of a film of hours, only the beginning is compared


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """An invisible watermark that was read.

    Attributes:
        render_id: Its 48-bit number.
        permit_prefix: Beginning of the permit's identifier.
        log10_false_positive: Chance that an unmarked file reads like this, as a power of ten.
        mirrored: Whether the picture was mirrored since.
        scale: Size relative to the marked picture, as far as the pattern shows it.
        rotation_deg: Turn since, clockwise [deg].
    """

    render_id: int
    permit_prefix: str
    log10_false_positive: float
    mirrored: bool
    scale: float
    rotation_deg: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """The published file that another one comes from.

    Attributes:
        by: How it was found.
        similarity: How alike they look, 0 to 1; 1 when found by the watermark.
        sha256: Checksum of the file as published.
        permit_id: Permit that it was rendered with.
        created: When it was made, ISO 8601.
        sentence: The same in plain words.
        manifest: Its manifest store as JSON text.
    """

    by: Literal["watermark", "fingerprint"]
    similarity: float
    sha256: str
    permit_id: str
    created: str
    sentence: str
    manifest: str = field(repr=False)


def search_mark(path: Path, *, budget_s: float) -> tuple[Mark | None, str]:
    """Search a file of anyone for the watermark.

    Args:
        path: Any file.
        budget_s: When to give up [s].

    Returns:
        The mark, if there is one, and a sentence about it.
    """
    try:
        reading = read_file(path, budget_s=budget_s)
    except MediaError:
        return None, "No picture or video that could carry a watermark."
    if reading is None:
        return None, "No watermark found: there is none, or it did not survive."
    prefix = f"per_{watermark_text(reading.render_id)}"
    mark = Mark(
        render_id=reading.render_id,
        permit_prefix=prefix,
        log10_false_positive=reading.log10_false_positive,
        mirrored=reading.mirrored,
        scale=reading.scale,
        rotation_deg=reading.rotation_deg,
    )
    changes = _changes(mark)
    return mark, (
        f"Watermark found: render {prefix}, made by portrait_anim"
        + (f"; since then {changes}" if changes else "")
        + f" (chance of error 1 in 10^{-reading.log10_false_positive:.0f})."
    )


def recover(path: Path, mark: Mark | None, home: Path) -> Recovery | None:
    """Find the published file that a file comes from.

    Args:
        path: Any file.
        mark: Its watermark, if one was read.
        home: Home folder with the index of published files.

    Returns:
        The published file, or `None` when it is not known here.

    Raises:
        ProvenanceError: If the index cannot be read.
    """
    index = RenderIndex(home)
    if mark is not None:
        found = index.by_watermark(mark.render_id)
        return None if found is None else _recovery(found, "watermark", 1.0)
    if not index.exists:
        return None
    try:
        alike = index.by_fingerprint(fingerprint(path, most_samples=_MOST_SAMPLES))
    except MediaError:
        return None
    if alike is None:
        return None
    return _recovery(alike.file, "fingerprint", alike.similarity, doubtful=alike.rival >= SAME_RENDER)


def _recovery(
    found: PublishedFile, by: Literal["watermark", "fingerprint"], score: float, *, doubtful: bool = False
) -> Recovery:
    how = "by its watermark" if by == "watermark" else f"by what it looks like, {100 * score:.0f} % alike"
    if doubtful:
        how += "; another render of the same portrait is nearly as alike"
    created = found.created.strftime("%Y-%m-%d %H:%M UTC")
    return Recovery(
        by=by,
        similarity=score,
        sha256=found.sha256,
        permit_id=found.permit_id,
        created=found.created.isoformat(),
        sentence=f"The original is known here ({how}): published {created}, sha256 {found.sha256[:16]}...",
        manifest=found.manifest,
    )


def _changes(mark: Mark) -> str:
    """What happened to the picture since it was marked, as far as the mark shows it."""
    changes = []
    if mark.mirrored:
        changes.append("mirrored")
    if abs(mark.rotation_deg) > _STRAIGHT_DEG:
        changes.append(f"turned by {mark.rotation_deg:.1f} degrees")
    if abs(mark.scale - 1) > _TRUE_SCALE:
        changes.append(f"scaled to {100 * mark.scale:.0f} %")
    return ", ".join(changes)
