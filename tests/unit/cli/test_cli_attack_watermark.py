import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from portrait_anim.cli import app
from portrait_anim.media.image import read_image, write_image
from portrait_anim.provenance.watermark import Watermarker

PORTRAIT = Path(__file__).resolve().parents[3] / "demo" / "samples" / "portrait.jpg"


def run(*words, code=0):
    result = CliRunner().invoke(app, ["attack-watermark", *map(str, words), "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if code == 0 else result


@pytest.fixture
def marked(tmp_path):
    write_image(tmp_path / "marked.png", Watermarker(0x123456789ABC, (512, 512)).mark(read_image(PORTRAIT)))
    return tmp_path / "marked.png"


def test_a_picture_without_a_mark_gets_one(tmp_path):
    answer = run(PORTRAIT, "--only", "flip,crop 60", "--report", tmp_path / "report")
    assert [row["attack"] for row in answer["results"]] == ["crop 60 %", "flip"]
    assert all(row["detected"] for row in answer["results"])
    assert answer["visibility"][0]["psnr_db"] >= 42
    assert (tmp_path / "report" / "attacks.json").exists()


def test_pairs_are_kept_and_not_run_again(tmp_path, marked):
    log = tmp_path / "pairs.jsonl"
    first = run(marked, "--pairs", "--only", "grey + flip", "--resume", log)
    assert [(row["first"], row["second"]) for row in first["results"]] == [("grey", "flip")]
    before = log.read_text()
    assert run(marked, "--pairs", "--only", "grey + flip", "--resume", log) == first
    assert log.read_text() == before


def test_results_of_another_picture_are_refused(tmp_path, marked):
    write_image(tmp_path / "other.png", read_image(marked)[:300].copy())
    run(marked, "--only", "flip", "--resume", tmp_path / "log.jsonl")
    result = run(tmp_path / "other.png", "--only", "flip", "--resume", tmp_path / "log.jsonl", code=1)
    assert "name another file" in result.output


def test_an_unknown_attack_is_a_usage_error():
    assert "--only" in run(PORTRAIT, "--only", "nothing like it", code=2).output
    assert "--only" in run(PORTRAIT, "--pairs", "--only", "nothing like it", code=2).output
    assert "--pairs" in run(PORTRAIT, "--pairs", "--compare", code=2).output
