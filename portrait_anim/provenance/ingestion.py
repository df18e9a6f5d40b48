"""The rule for what goes in: a picture or clip that carries somebody else's mark is not animated.

Looked at are the manifest (its statements on use by AI, and the cameo that it names, whoever signed it) and the
invisible watermark, for a moment only: a mark that was not damaged is found in a fifth of a second, and a damaged one
is left to `verify`. What follows from a mark is the operator's policy (`settings.IngestionSettings`).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from portrait_anim.errors import ManifestInvalid, MediaError, SourceRefused
from portrait_anim.provenance.definition import watermark_text
from portrait_anim.provenance.manifest import read_manifest
from portrait_anim.provenance.settings import IngestionSettings
from portrait_anim.provenance.watermark import read_file

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.5
"""Longest time spent on the watermark of one source [s]."""

_FRAMES: Final = 1  # of a clip; a mark that was not damaged is in every one
_CACHED: Final = 256
_ANIMATING: Final = ("ai_inference", "animate", "animation")
_TRAINING: Final = ("ai_generative_training", "ai_training", "data_mining")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceMarks:
    """What marks a source carries.

    Attributes:
        usage: Uses that its maker does not allow freely, by their last word (`"ai_inference"`): `"notAllowed"` or
            `"constrained"`.
        cameo_ids: Cameos that its manifest says it shows.
        watermark: The 48-bit number of its watermark, or `None`.
    """

    usage: tuple[tuple[str, str], ...] = ()
    cameo_ids: tuple[str, ...] = ()
    watermark: int | None = None


def inspect_source(path: Path) -> SourceMarks:
    """Look for marks in a portrait or clip.

    Args:
        path: Picture, video or motion file.

    Returns:
        What was found; the same file is looked at once per process.

    Raises:
        OSError: If the file is not there.
    """
    facts = path.stat()
    return _inspect(path.resolve(), facts.st_size, facts.st_mtime_ns)


def check_source(
    path: Path, *, cameo_id: str, policy: IngestionSettings, owner_of: Callable[[str], str | None]
) -> None:
    """Refuse a source whose marks forbid its use.

    Args:
        path: Portrait or driving clip; one that is not there is left to the reader, which says so.
        cameo_id: Cameo that is asked for.
        policy: What the operator allows.
        owner_of: Gives the cameo of a render by the beginning of its permit's id, `None` when it is not from here.

    Raises:
        SourceRefused: If it carries another cameo's mark, or its maker does not allow the use.
    """
    try:
        marks = inspect_source(path)
    except OSError:
        return
    _check_usage(path, marks, policy)
    if policy.foreign_mark == "allow":
        return
    others = {name for name in marks.cameo_ids if name != cameo_id}
    if marks.watermark is not None:
        owner = owner_of(f"per_{watermark_text(marks.watermark)}")
        if owner != cameo_id:
            others.add(owner or "a cameo of another installation")
    if others:
        raise SourceRefused(
            f"expected a source without marks of others, got {path.name}, which shows {', '.join(sorted(others)[:3])} "
            f"and not {cameo_id}; use material that is yours, or ask that owner",
            reason="foreign_mark",
            source=path.name,
        )


def _check_usage(path: Path, marks: SourceMarks, policy: IngestionSettings) -> None:
    rules = (("do_not_animate", policy.do_not_animate, _ANIMATING), ("do_not_train", policy.do_not_train, _TRAINING))
    for reason, decision, names in rules:
        forbidden = [f"{name}: {word}" for name, word in marks.usage if name in names]
        if not forbidden:
            continue
        if decision == "refuse":
            raise SourceRefused(
                f"expected a source that may be used, got {path.name}, whose maker states {', '.join(forbidden)}; "
                "ask its maker, or use other material",
                reason=reason,
                source=path.name,
            )
        logger.info("%s states %s; allowed by the operator's policy", path.name, ", ".join(forbidden))


@functools.lru_cache(maxsize=_CACHED)
def _inspect(path: Path, size: int, modified_ns: int) -> SourceMarks:
    """Marks of one version of a file; size and time are there to tell versions apart."""
    usage: dict[str, str] = {}
    cameos: list[str] = []
    try:
        manifest = read_manifest(path)
    except ManifestInvalid:
        manifest = None
    if manifest is not None:
        usage = {name.rpartition(".")[2]: word for name, word in manifest.usage.items()}
        cameos = _cameos(dict(manifest.consent))
    # The mark is looked for in any case: anybody can sign a manifest that names another cameo.
    return SourceMarks(usage=tuple(sorted(usage.items())), cameo_ids=tuple(cameos), watermark=_watermark(path))


def _cameos(consent: dict[str, Any]) -> list[str]:
    parts = consent.get("parts")
    statements = [consent, *(parts if isinstance(parts, list) else [])]
    named = [item.get("cameo_id") for item in statements if isinstance(item, dict)]
    return sorted({name for name in named if isinstance(name, str) and name})


def _watermark(path: Path) -> int | None:
    try:
        reading = read_file(path, budget_s=LOOK_S, max_frames=_FRAMES)
    except MediaError:  # a motion file, or something that the reader will complain about
        return None
    return None if reading is None else reading.render_id
