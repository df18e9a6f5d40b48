from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from portrait_anim.cli import app
from portrait_anim.weights import samples_dir

pytestmark = pytest.mark.slow


def run(*words: object) -> tuple[int, Any]:
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert result.exit_code in (0, 3, 4), result.output
    return result.exit_code, json.loads(result.stdout)


def test_the_quickstart_ends_with_a_verified_video_and_its_record(tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    assert run("quickstart", "--home", home, "--out", out)[0] == 0
    record = json.loads((out / "sample-consent.json").read_text())
    assert record["cameo"]["kind"] == "fictional"
    assert record["verification"]["ok"]
    assert [row["kind"] for row in record["ledger"]["entries"]][-1] == "rendered"
    assert run("verify", out / "sample.mp4", out / "sample-sheet.png", "--home", home)[0] == 0
    assert run("ledger", "verify", "--home", home)[0] == 0


def test_motion_can_be_kept_and_used_without_the_clip(tmp_path: Path) -> None:
    home, portrait, motion = tmp_path / "home", samples_dir() / "portrait.jpg", tmp_path / "m.safetensors"
    extracted = run("motion", "extract", samples_dir() / "driving.mp4", "-o", motion, "--end", 0.4)[1]
    assert extracted["num_frames"] == 10
    cameo = run("cameo", "enroll-fictional", portrait, "--statement", "Rendered.", "--home", home)[1]["id"]
    limits = ["--expires", "1h", "--purpose", "any", "--max-renders", 1, "--max-seconds", 5]
    run("cameo", "grant", cameo, *limits, "--home", home)
    common = ["--cameo", cameo, "--home", home, "--size", 128, "--steps", 1]
    code, result = run("animate", portrait, motion, *common, "-o", tmp_path / "film.mp4", "--seed", 3)
    assert (code, result["num_frames"], result["seed"]) == (0, 10, 3)
    code, refused = run("animate", portrait, motion, *common, "-o", tmp_path / "again.mp4")
    assert (code, refused["error"]["reason"]) == (3, "used_up")
    assert not (tmp_path / "again.mp4").exists()
