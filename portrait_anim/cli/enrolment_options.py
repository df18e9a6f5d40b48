"""What an operator demands of people who enrol, as command line options of every way in."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portrait_anim.cli.options import usage_errors

if TYPE_CHECKING:
    from portrait_anim.consent.evidence import AgeCheck, EnrolmentPolicy
    from portrait_anim.observation import PassiveLiveness

_PANEL = "Demands on enrolling"
AgeCheckName = Annotated[
    str | None,
    typer.Option(
        "--age-check", metavar="MODULE:FUNCTION", help="Your own check of age, which must not refuse.",
        show_default="the person's declaration", rich_help_panel=_PANEL,
    ),
]  # fmt: skip
LivenessFolder = Annotated[
    Path | None,
    typer.Option(
        "--liveness", metavar="FOLDER", help="InsightFace's folder with its liveness add-on, then required.",
        show_default="none", rich_help_panel=_PANEL,
    ),
]  # fmt: skip
SameFace = Annotated[
    str,
    typer.Option(
        "--same-face", metavar="refuse|flag", help="A face that is enrolled under another name.",
        rich_help_panel=_PANEL,
    ),
]  # fmt: skip
KeepVideoDays = Annotated[
    float, typer.Option(min=0, help="How long the challenge video is kept, encrypted.", rich_help_panel=_PANEL)
]


def enrolment_demands(
    *, age_check: str | None, liveness: Path | None, same_face: str, keep_video_days: float
) -> tuple[EnrolmentPolicy, PassiveLiveness | None]:
    """Build what the options say.

    Args:
        age_check: Module and function of the deployment's own check of age, see `consent.evidence.AgeCheck`.
        liveness: InsightFace's folder.
        same_face: `"refuse"` or `"flag"`.
        keep_video_days: How long the video is kept [days].

    Returns:
        The policy, and the liveness network if one was named.

    Raises:
        typer.BadParameter: If a value makes no sense or the check cannot be loaded.
        ModelError: If the liveness network cannot be loaded.
    """
    from portrait_anim.consent.evidence import EnrolmentPolicy
    from portrait_anim.face.passive_liveness import InsightFaceLiveness

    with usage_errors():
        policy = EnrolmentPolicy(
            keep_video_days=keep_video_days,
            same_face=same_face,  # type: ignore[arg-type]
            passive_liveness="when_installed" if liveness is None else "required",
            age_check=None if age_check is None else _loaded(age_check),
        )
    return policy, None if liveness is None else InsightFaceLiveness(liveness)


def _loaded(name: str) -> AgeCheck:
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError, TypeError) as error:  # TypeError: a relative name
        raise typer.BadParameter(f"expected --age-check MODULE:FUNCTION that can be imported, got {error}") from error
    if not callable(found):
        raise typer.BadParameter(f"expected a function for --age-check, got {type(found).__name__} {name}")
    check: AgeCheck = found
    return check
