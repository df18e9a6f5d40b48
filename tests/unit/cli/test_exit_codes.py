from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from portrait_anim import errors
from portrait_anim.cli.guard import GuardedTyper, exit_code

CASES = [
    (errors.InputError("expected a"), 1),
    (errors.MediaError("expected a"), 1),
    (errors.NoFaceFound("expected a"), 1),
    (errors.NotAHumanFace("expected a"), 1),
    (errors.MultipleFaces("expected a", count=2), 1),
    (errors.FaceTooSmall("expected a", size_px=3, minimum_px=64), 1),
    (errors.SceneScriptError("expected a", line=3, column=4), 1),
    (errors.ConsentError("expected a"), 3),
    (errors.ConsentDenied("expected a", reason="revoked", grant_id="gra_1"), 3),
    (errors.SourceRefused("expected a", reason="foreign_mark", source="a.mp4"), 3),
    (errors.LivenessFailed("expected a", failures=["no"]), 3),
    (errors.LedgerTampered("expected a", row=3), 4),
    (errors.DeliveryFailed("expected a"), 3),
    (errors.ProvenanceError("expected a"), 4),
    (errors.SigningError("expected a"), 4),
    (errors.WatermarkNotFound("expected a"), 4),
    (errors.ManifestInvalid("expected a"), 4),
    (errors.ModelError("expected a"), 1),
    (errors.WeightsMissing("expected a", files=["x"]), 5),
    (errors.WeightsCorrupt("expected a", expected="1", actual="2"), 5),
    (errors.ProfileUnavailable("expected a"), 1),
    (errors.StateDictMismatch("expected a"), 1),
    (errors.ExecutionError("expected a"), 1),
    (errors.ShotFailed("expected a", shot_id="s"), 1),
    (errors.NotEnoughMemory("expected a", needed=2, available=1), 1),
    (errors.Cancelled("expected a"), 130),
    (errors.PortraitAnimError("expected a"), 1),
    (KeyboardInterrupt(), 130),
    (ValueError("own bug"), 1),
]


def app_that_raises(error: BaseException) -> GuardedTyper:
    app = GuardedTyper()

    @app.callback()
    def root(debug: bool = False) -> None:
        pass

    @app.command("work")
    def work(as_json: bool = typer.Option(False, "--json")) -> None:
        raise error

    return app


def every_error() -> set[type[BaseException]]:
    found, waiting = set(), [errors.PortraitAnimError]
    while waiting:
        kind = waiting.pop()
        found.add(kind)
        waiting += kind.__subclasses__()
    return {kind for kind in found if kind.__module__ == errors.__name__}


def test_every_error_of_the_tree_has_a_case() -> None:
    assert every_error() == {type(error) for error, _ in CASES if isinstance(error, errors.PortraitAnimError)}


@pytest.mark.parametrize(("error", "code"), CASES, ids=lambda value: type(value).__name__)
def test_each_error_ends_with_its_code_and_no_traceback(error: BaseException, code: int) -> None:
    result = CliRunner().invoke(app_that_raises(error), ["work"])
    assert exit_code(error) == result.exit_code == code
    assert "Traceback" not in result.output
    assert result.stdout == ""
    told = error.failures if isinstance(error, errors.LivenessFailed) else [str(error) or "interrupted"]
    assert all(sentence in result.stderr for sentence in told)


def test_debug_adds_the_traceback() -> None:
    result = CliRunner().invoke(app_that_raises(ValueError("own bug")), ["--debug", "work"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_json_carries_the_facts_of_the_error() -> None:
    error = errors.ConsentDenied("expected a grant", reason="revoked", grant_id="gra_1")
    result = CliRunner().invoke(app_that_raises(error), ["work", "--json"])
    assert json.loads(result.stdout) == {
        "error": {
            "type": "ConsentDenied",
            "message": "expected a grant",
            "exit_code": 3,
            "reason": "revoked",
            "grant_id": "gra_1",
        }
    }


def test_usage_errors_stay_usage_errors() -> None:
    assert CliRunner().invoke(app_that_raises(typer.BadParameter("no")), ["work"]).exit_code == 2
    assert CliRunner().invoke(app_that_raises(ValueError()), ["work", "--unknown"]).exit_code == 2
    assert CliRunner().invoke(app_that_raises(typer.Exit(7)), ["work"]).exit_code == 7
