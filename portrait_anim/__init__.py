"""One photo plus a driving clip becomes an expressive video, with the subject's verified consent.

The names below are all that most programs need; each is loaded on first use, so importing the package is quick and
does not import torch. Everything else lives in the modules, from `portrait_anim.types` up to `portrait_anim.scenes`.

Example:
    >>> import portrait_anim
    >>> result = portrait_anim.animate("portrait.png", "clip.mp4", cameo="cam_...", output="out.mp4")
    >>> portrait_anim.verify(result.path).ok
    True
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from portrait_anim.consent.store import open_store
    from portrait_anim.enrolment import enroll_fictional_from_file, enroll_from_files
    from portrait_anim.errors import ConsentDenied, PortraitAnimError
    from portrait_anim.pipelines.options import AnimationOptions
    from portrait_anim.pipelines.portrait import PortraitAnimationPipeline
    from portrait_anim.scenes.renderer import render_scene
    from portrait_anim.studio import RenderResult, animate, load_pipeline
    from portrait_anim.types import Progress
    from portrait_anim.verification import VerificationReport, verify

__all__ = [
    "AnimationOptions",
    "ConsentDenied",
    "PortraitAnimError",
    "PortraitAnimationPipeline",
    "Progress",
    "RenderResult",
    "VerificationReport",
    "__version__",
    "animate",
    "enroll_fictional_from_file",
    "enroll_from_files",
    "load_pipeline",
    "open_store",
    "render_scene",
    "verify",
]

try:
    __version__ = importlib.metadata.version("portrait-anim")
except importlib.metadata.PackageNotFoundError:
    # Run from a source tree that was never installed.
    __version__ = "0.0.0+source"

_HOMES: Final = {
    "AnimationOptions": "portrait_anim.pipelines.options",
    "ConsentDenied": "portrait_anim.errors",
    "PortraitAnimError": "portrait_anim.errors",
    "PortraitAnimationPipeline": "portrait_anim.pipelines.portrait",
    "Progress": "portrait_anim.types",
    "RenderResult": "portrait_anim.studio",
    "VerificationReport": "portrait_anim.provenance.verify",
    "animate": "portrait_anim.studio",
    "enroll_fictional_from_file": "portrait_anim.enrolment",
    "enroll_from_files": "portrait_anim.enrolment",
    "load_pipeline": "portrait_anim.studio",
    "open_store": "portrait_anim.consent.store",
    "render_scene": "portrait_anim.scenes.renderer",
    "verify": "portrait_anim.verification",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
