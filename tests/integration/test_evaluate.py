"""`portrait-anim evaluate` from folders to a report, with the sample actors and the embedded weights."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from portrait_anim.cli import app
from portrait_anim.consent.grants import list_grants
from portrait_anim.consent.registry import list_cameos
from portrait_anim.consent.store import open_store
from portrait_anim.media.image import write_image
from portrait_anim.provenance.verify import verify
from portrait_anim.weights import samples_dir


def _evaluate(folder: Path, *more: str) -> object:
    arguments = [
        "evaluate", "--portraits", str(folder / "portraits"), "--clips", str(folder / "clips"),
        "--out", str(folder / "report"), "--home", str(folder / "home"), "--steps", "1",
        "--seconds", "0.5", *more,
    ]  # fmt: skip
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("portraits", "clips"):
        (tmp_path / name).mkdir()
    shutil.copy(samples_dir() / "portrait.jpg", tmp_path / "portraits" / "actor.jpg")
    shutil.copy(samples_dir() / "driving.mp4", tmp_path / "clips" / "talk.mp4")
    return tmp_path


def test_folders_that_cannot_be_used_are_refused_before_any_work(folder: Path) -> None:
    (folder / "clips" / "talk.mp4").unlink()
    result = _evaluate(folder)
    assert result.exit_code == 1
    assert "driving clips" in result.stderr
    assert not (folder / "report").exists()


@pytest.mark.slow
def test_a_report_is_written_resumed_and_honest_about_what_cannot_be_used(folder: Path) -> None:
    write_image(folder / "portraits" / "wall.png", np.full((256, 256, 3), 120, np.uint8))
    (folder / "clips" / "broken.mp4").write_bytes(b"no clip")
    (folder / "portraits" / "notes.txt").write_text("hello", encoding="utf-8")
    (folder / "groups.csv").write_text("portrait,tone\nactor,light\n", encoding="utf-8")
    result = _evaluate(folder, "--json", "--groups", str(folder / "groups.csv"), "--statement", "Painted by a program.")
    assert result.exit_code == 0, result.stderr
    assert "Painted by a program." in result.stderr

    report = json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))
    pairs = {(pair["portrait"], pair["clip"]): pair for pair in report["pairs"]}
    assert len(pairs) == 4
    assert pairs["actor", "talk"]["status"] == "measured"
    assert "face" in pairs["wall", "talk"]["reason"]
    assert pairs["actor", "broken"]["status"] == "not usable"
    assert report["ignored"] == ["notes.txt"]
    assert report["by_group"]["tone"]["light"]["num_pairs"] == 1
    figures = pairs["actor", "talk"]["figures"]
    assert 0 < figures["identity_mean"] < 0.6
    assert figures["no_face"] == 0
    assert figures["seconds_per_frame"] > 0
    assert json.loads(result.stdout)["report"].endswith("report.html")

    page = (folder / "report" / "report.html").read_text(encoding="utf-8")
    for name in (pairs["actor", "talk"][key] for key in ("video", "sheet", "plot")):
        assert name in page
        assert (folder / "report" / name).stat().st_size > 0
    video = folder / "report" / pairs["actor", "talk"]["video"]
    assert verify(video, home=folder / "home").ok

    with open_store(folder / "home") as store:
        cameos = list_cameos(store)
        assert [(cameo.kind, cameo.statement) for cameo in cameos] == [("fictional", "Painted by a program.")]
        grants = list_grants(store, cameos[0].id)
        assert [grant.purpose for grant in grants] == ["evaluation"]

    before = video.stat().st_mtime_ns
    (folder / "report" / "pairs" / "actor__talk.json").write_text("{}", encoding="utf-8")
    measured_again = _evaluate(folder)
    assert measured_again.exit_code == 0
    assert "0 from an earlier run" in measured_again.stderr
    assert video.stat().st_mtime_ns == before

    again = _evaluate(folder)
    assert again.exit_code == 0
    assert "1 from an earlier run" in again.stderr
    assert video.stat().st_mtime_ns == before
    with open_store(folder / "home") as store:
        assert len(list_cameos(store)) == 1
        assert len(list_grants(store, cameos[0].id)) == 1
