"""Options that several commands share, each defined once, and the choices of one animation as command line options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from portrait_anim.pipelines.options import AnimationOptions, preset_options
from portrait_anim.pipelines.xportrait2_options import Precision, SamplingOptions
from portrait_anim.types import ALL_REGIONS, Region

HOME_VARIABLE: Final = "PORTRAIT_ANIM_HOME"
OPERATOR: Final = "operator"

DEFAULTS: Final = AnimationOptions()
"""Where every default of the command line comes from."""

SAMPLING_FIELDS: Final = ("solver", "guidance", "guided", "cache_every", "overlap", "head_placement", "decoder")
"""Fields of `SamplingOptions` that the command line knows."""

_RATE: Final = re.compile(r"\d{1,6}(?:\.\d{1,6}|/\d{1,6})?")
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def default_home() -> Path:
    """Return the folder of cameos, grants, ledger and keys that is used when none is named."""
    import platformdirs

    return platformdirs.user_data_path("portrait_anim")


def parse_rate(text: str) -> Fraction:
    """Read a frame rate such as `25`, `29.97` or `30000/1001`.

    Raises:
        typer.BadParameter: If it is none, or not above 0 and at most 240.
    """
    try:
        rate = Fraction(text.strip()) if _RATE.fullmatch(text.strip()) else Fraction(0)
    except ZeroDivisionError:
        rate = Fraction(0)
    if not 0 < rate <= 240:
        raise typer.BadParameter(f"expected a frame rate above 0 and up to 240, such as 25 or 30000/1001; got {text!r}")
    return rate


def parse_regions(text: str) -> tuple[Region, ...]:
    """Read a list of face regions such as `mouth,eyes`.

    Raises:
        typer.BadParameter: If a region is unknown or none is given.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in ALL_REGIONS]
    if unknown or not names:
        raise typer.BadParameter(f"expected regions among {', '.join(ALL_REGIONS)}; got {text!r}")
    return tuple(region for region in ALL_REGIONS if region in names)


def parse_expiry(text: str, now: datetime) -> datetime:
    """Read when something ends: a span such as `30d`, or a date or time in ISO 8601 (UTC unless it says otherwise).

    Args:
        text: What the user wrote.
        now: Current time, timezone-aware.

    Raises:
        typer.BadParameter: If it is neither.
    """
    span = _SPAN.fullmatch(text.strip().lower())
    try:
        if span is not None:
            return now + timedelta(seconds=float(span[1]) * _UNITS_S[span[2]])
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"expected a span such as 30d, or a date such as 2030-01-31; got {text!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn the library's `ValueError` about a value the user typed into a usage error.

    Raises:
        typer.BadParameter: With the library's message.
    """
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def animation_options(*, profile: str = "lite", preset: str | None = None, **choices: Any) -> AnimationOptions:
    """Build the options of one animation; a value out of range is a usage error that names the option.

    Args:
        profile: Profile whose defaults of size and steps hold.
        preset: Named way to denoise; only `xportrait2` has some.
        choices: Fields of `AnimationOptions`, and of `SamplingOptions` for that profile; `None` means the default.

    Raises:
        typer.BadParameter: If a value is out of range, or the profile does not know an option.
        ProfileUnavailable: If there is no such profile.
    """
    given = {name: value for name, value in choices.items() if value is not None}
    sampling = {name: given.pop(name) for name in SAMPLING_FIELDS if name in given}
    if profile == "xportrait2":
        from portrait_anim.models.profiles import get_profile

        with usage_errors():
            start = preset_options(preset or "exact")  # type: ignore[arg-type]
            if sampling or preset:
                given["sampling"] = replace(start.sampling or SamplingOptions(), **sampling)
            given = {"num_steps": start.num_steps, "size_px": get_profile(profile).default_size_px, **given}
            return AnimationOptions(**given)
    if sampling or preset:
        unknown = ", ".join(["preset"] * bool(preset) + list(sampling))
        raise typer.BadParameter(f"expected {unknown} only with the profile xportrait2; got the profile {profile}")
    with usage_errors():
        return AnimationOptions(**given)


def parse_part(text: str) -> tuple[float, float]:
    """Read a part of the steps such as `0-0.5`.

    Raises:
        typer.BadParameter: If it is none.
    """
    match = re.fullmatch(r"(\d*\.?\d+)\s*-\s*(\d*\.?\d+)", text.strip())
    if match is None:
        raise typer.BadParameter(f"expected a part of the steps such as 0-0.5, got {text!r}")
    return float(match[1]), float(match[2])


def now_utc() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(timezone.utc)


CameoId = Annotated[str, typer.Argument(metavar="CAMEO", help="Cameo id, such as cam_0123456789abcdef.")]
GrantId = Annotated[str, typer.Argument(metavar="GRANT", help="Grant id, such as gra_0123456789abcdef.")]
Home = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar=HOME_VARIABLE,
        default_factory=default_home,
        show_default="the user's data folder",
        help="Folder of cameos, grants, ledger and keys.",
        rich_help_panel="General",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Write the result as JSON to standard output.", rich_help_panel="General")
]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write.", show_default=False)]
Rate = Annotated[
    Fraction | None,
    typer.Option(
        "--fps", parser=parse_rate, metavar="RATE", help="Frame rate of the result.", show_default="the driver's"
    ),
]
Regions = Annotated[
    Any,
    typer.Option(
        "--regions", parser=parse_regions, metavar="LIST", help="Parts that follow the driver, with commas.",
        show_default=",".join(DEFAULTS.regions),
    ),
]
Grantee = Annotated[str, typer.Option(help="Who renders, as named in the grant.", rich_help_panel="Consent")]
Purpose = Annotated[str, typer.Option(help="What for, as named in the grant.", rich_help_panel="Consent")]
Face = Annotated[
    str | None,
    typer.Option(
        metavar="largest|left|right|N", help="Which face, when there are several.", show_default="the only one"
    ),
]
_XPORTRAIT2: Final = "Profile xportrait2"
PresetName = Annotated[
    str | None,
    typer.Option("--preset", metavar="exact|fast|stream", help="As published; fewer and cheaper steps; any length in "
                 "the same memory.", show_default="exact", rich_help_panel=_XPORTRAIT2),
]  # fmt: skip
SolverName = Annotated[
    str | None,
    typer.Option("--solver", metavar="ddim|dpm++|unipc", help="What makes the denoising steps.",
                 show_default="the preset's", rich_help_panel=_XPORTRAIT2),
]  # fmt: skip
Guidance = Annotated[
    float | None,
    typer.Option("--guidance", help="Weight of portrait and motion; 1 is half the work.", show_default="2.5",
                 rich_help_panel=_XPORTRAIT2),
]  # fmt: skip
Guided = Annotated[
    Any,
    typer.Option("--guided", parser=parse_part, metavar="FROM-TO", help="Part of the steps with guidance, such as "
                 "0-0.5.", show_default="the preset's", rich_help_panel=_XPORTRAIT2),
]  # fmt: skip
CacheEvery = Annotated[
    int | None,
    typer.Option("--cache-every", help="Compute the inner network only in every such step.",
                 show_default="the preset's", rich_help_panel=_XPORTRAIT2),
]  # fmt: skip
Overlap = Annotated[
    bool,
    typer.Option("--overlap", help="With the preset stream: denoise a window while the one before is decoded; takes "
                 "the memory of both.", show_default=False, rich_help_panel=_XPORTRAIT2),
]  # fmt: skip
HeadPlacement = Annotated[
    bool,
    typer.Option("--head-placement", help="Let the head move and grow as the driver's does in its picture.",
                 show_default=False, rich_help_panel=_XPORTRAIT2),
]  # fmt: skip
DecoderName = Annotated[
    str | None,
    typer.Option("--decoder", metavar="full|tiny", help="tiny: drafts, needs the optional preview decoder.",
                 show_default="full", rich_help_panel=_XPORTRAIT2),
]  # fmt: skip
PrecisionName = Annotated[
    Precision | None,
    typer.Option("--precision", help="What networks compute in.", show_default="float32, on a GPU float16",
                 rich_help_panel=_XPORTRAIT2),
]  # fmt: skip
SecondDevice = Annotated[
    str | None,
    typer.Option("--second-device", metavar="DEVICE", help="Another device, which shares the denoising.",
                 show_default=False, rich_help_panel=_XPORTRAIT2),
]  # fmt: skip
Offload = Annotated[
    bool,
    typer.Option("--offload", help="Keep networks in main memory, each on the device for its work only.",
                 show_default=False, rich_help_panel=_XPORTRAIT2),
]  # fmt: skip
Device = Annotated[str, typer.Option("--device", metavar="cpu|cuda|cuda:N", help="Where networks work.")]
