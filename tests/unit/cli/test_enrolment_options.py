from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from portrait_anim.cli import app
from portrait_anim.cli.enrolment_options import enrolment_demands
from portrait_anim.errors import ModelError

DEFAULTS = {"age_check": None, "liveness": None, "same_face": "refuse", "keep_video_days": 30.0}


def test_by_default_nothing_more_is_demanded_than_by_the_library() -> None:
    policy, network = enrolment_demands(**DEFAULTS)
    assert (policy.age_check, policy.passive_liveness, network) == (None, "when_installed", None)


def test_the_deployments_own_check_of_age_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "house_rules.py").write_text("def adult(**asked):\n    return 'show your papers'\n")
    monkeypatch.syspath_prepend(tmp_path)
    policy, _ = enrolment_demands(**{**DEFAULTS, "age_check": "house_rules:adult", "same_face": "flag"})
    assert policy.age_check is not None
    assert policy.age_check(challenge=None, portrait=tmp_path, video=tmp_path) == "show your papers"
    assert policy.same_face == "flag"


@pytest.mark.parametrize(
    "wrong",
    [
        {"age_check": "no_such_module:adult"}, {"age_check": "json:no_such_function"}, {"age_check": "json"},
        {"age_check": ".json:load"},
        {"age_check": "json:__name__"}, {"same_face": "ignore"}, {"keep_video_days": float("nan")},
        {"keep_video_days": 1e9},
    ],
)  # fmt: skip
def test_demands_that_make_no_sense_are_usage_errors(wrong: dict[str, object]) -> None:
    with pytest.raises(typer.BadParameter, match="expected"):
        enrolment_demands(**{**DEFAULTS, **wrong})


def test_a_liveness_network_that_is_not_there_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        enrolment_demands(**{**DEFAULTS, "liveness": tmp_path})
    served = CliRunner().invoke(app, ["serve-consent", "--home", str(tmp_path / "home"), "--liveness", str(tmp_path)])
    assert served.exit_code != 0
    assert not (tmp_path / "home").exists()
