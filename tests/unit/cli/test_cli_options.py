from __future__ import annotations

import dataclasses
import inspect
from datetime import datetime, timedelta, timezone
from fractions import Fraction

import pytest
import typer

from portrait_anim.cli.animate import animate
from portrait_anim.cli.options import SAMPLING_FIELDS, animation_options, parse_expiry, parse_rate, parse_regions
from portrait_anim.pipelines.options import AnimationOptions

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
RENAMED = {"size_px": "size", "num_steps": "steps"}


def test_animate_offers_every_option_with_the_default_of_the_dataclass() -> None:
    parameters = inspect.signature(animate).parameters
    assert all(not parameters[name].default for name in SAMPLING_FIELDS)  # not given: the preset decides
    for field in dataclasses.fields(AnimationOptions):
        if field.name == "sampling":
            continue
        parameter = parameters[RENAMED.get(field.name, field.name)]
        # None stands for "not given", which animation_options leaves to the dataclass.
        assert parameter.default in (field.default, None), field.name


def test_what_is_not_given_keeps_its_default() -> None:
    assert animation_options(regions=None, seed=7) == AnimationOptions(seed=7)


def test_a_value_out_of_range_is_a_usage_error_that_names_the_option() -> None:
    with pytest.raises(typer.BadParameter, match="num_steps"):
        animation_options(num_steps=0)


@pytest.mark.parametrize(
    ("text", "rate"), [("25", 25), ("29.97", Fraction(2997, 100)), (" 30000/1001 ", Fraction(30000, 1001))]
)
def test_frame_rates_are_exact(text: str, rate: Fraction) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0", "-25", "1/0", "241", "nan", "1e9", "", "25fps", "9" * 5000])
def test_other_frame_rates_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_rate(text)


def test_regions_come_in_their_own_order_and_once() -> None:
    assert parse_regions("eyes, MOUTH,eyes") == ("mouth", "eyes")


@pytest.mark.parametrize("text", ["", ",", "nose", "mouth,nose"])
def test_unknown_regions_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="brows"):
        parse_regions(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", NOW + timedelta(seconds=90)),
        ("12h", NOW + timedelta(hours=12)),
        ("1.5d", NOW + timedelta(hours=36)),
        ("2W", NOW + timedelta(weeks=2)),
        ("2030-02-01", datetime(2030, 2, 1, tzinfo=timezone.utc)),
        ("2030-02-01T10:00:00+02:00", datetime(2030, 2, 1, 8, tzinfo=timezone.utc)),
        ("2030-02-01T10:00:00Z", datetime(2030, 2, 1, 10, tzinfo=timezone.utc)),
    ],
)
def test_expiries(text: str, moment: datetime) -> None:
    assert parse_expiry(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "soon", "30", "-3d", "99999999999w", "2030-02-31"])
def test_other_expiries_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_expiry(text, NOW)
