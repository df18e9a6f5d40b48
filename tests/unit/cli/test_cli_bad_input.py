from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from portrait_anim.cli import app
from portrait_anim.media.image import read_image, write_image
from portrait_anim.media.writer import VideoWriter
from portrait_anim.weights import samples_dir

PORTRAIT, CLIP = samples_dir() / "portrait.jpg", samples_dir() / "driving.mp4"


def run(*words: object) -> tuple[int, str, Any]:
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert "Traceback" not in result.output
    return result.exit_code, result.stderr, json.loads(result.stdout) if result.stdout.strip() else None


def make(folder: Path, name: str) -> Path:
    path = folder / name
    if name == "empty.png":
        path.write_bytes(b"")
    elif name == "text.png":
        path.write_text("This is no picture.")
    elif name == "cut.jpg":
        path.write_bytes(PORTRAIT.read_bytes()[:2000])
    elif name == "flat.png":
        Image.new("RGB", (8000, 8000), (90, 120, 90)).save(path)
    elif name == "dot.png":
        write_image(path, np.zeros((1, 1, 3), np.uint8))
    elif name == "small.png":
        write_image(path, np.asarray(Image.fromarray(read_image(PORTRAIT)).resize((96, 96))))
    elif name == "two.png":
        write_image(path, np.concatenate([read_image(PORTRAIT), read_image(samples_dir() / "portrait_b.jpg")], axis=1))
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def animate(
    portrait: Path, clip: Path, home: Path, out: Path, *words: object, cameo: str = "cam_0"
) -> tuple[int, str, Any]:
    return run("animate", portrait, clip, "--cameo", cameo, "--home", home, "-o", out / "film.mp4", *words)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("absent.png", "MediaError"),
        ("empty.png", "MediaError"),
        ("text.png", "MediaError"),
        ("cut.jpg", "MediaError"),
        ("flat.png", "NoFaceFound"),
        ("dot.png", "NoFaceFound"),
        ("small.png", "FaceTooSmall"),
        ("two.png", "MultipleFaces"),
    ],
)
def test_a_portrait_that_cannot_be_used(tmp_path: Path, home: Path, out: Path, name: str, error: str) -> None:
    code, text, facts = animate(make(tmp_path, name), CLIP, home, out)
    assert (code, facts["error"]["type"]) == (1, error)
    assert text.strip()
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("name", ["absent.png", "empty.png", "text.png"])
def test_a_driving_clip_that_cannot_be_used(tmp_path: Path, home: Path, out: Path, name: str) -> None:
    code, _, facts = animate(PORTRAIT, make(tmp_path, name), home, out)
    assert (code, facts["error"]["type"]) == (1, "MediaError")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [("--steps", 0), ("--size", 100), ("--pose-gain", "nan"), ("--regions", "nose"), ("--fps", 0), ("--frame", -1)],
)
def test_options_out_of_range_are_usage_errors(home: Path, out: Path, words: tuple[object, ...]) -> None:
    assert animate(PORTRAIT, CLIP, home, out, *words)[0] == 2


@pytest.mark.parametrize("words", [("--start", 3, "--end", 2), ("--start", -1)])
def test_a_part_of_the_clip_that_does_not_exist(home: Path, out: Path, words: tuple[object, ...]) -> None:
    assert animate(PORTRAIT, CLIP, home, out, *words)[0] == 1


def test_without_a_cameo_nothing_is_rendered(home: Path, out: Path) -> None:
    code, text, facts = animate(PORTRAIT, CLIP, home, out)
    assert (code, facts["error"]["reason"]) == (3, "no_cameo")
    assert "Refused" in text
    assert list(out.iterdir()) == []
    assert [row["kind"] for row in run("ledger", "show", "--home", home)[2]] == ["refused"]


def test_another_persons_portrait_is_refused(home: Path, out: Path) -> None:
    other = samples_dir() / "portrait_b.jpg"
    cameo = run("cameo", "enroll-fictional", PORTRAIT, "--statement", "Rendered.", "--home", home)[2]["id"]
    code, _, facts = animate(other, CLIP, home, out, cameo=cameo)
    assert (code, facts["error"]["reason"]) == (3, "portrait_mismatch")
    code, _, facts = animate(PORTRAIT, CLIP, home, out, cameo=cameo)
    assert (code, facts["error"]["reason"]) == (3, "no_grant")


@pytest.mark.parametrize("target", ["film.avi", "absent/film.mp4", "."])
def test_outputs_that_cannot_be_written(home: Path, out: Path, target: str) -> None:
    code, _, facts = run("animate", PORTRAIT, CLIP, "--cameo", "cam_0", "--home", home, "-o", out / target)
    assert (code, facts["error"]["type"]) == (1, "MediaError")


def test_verify_ends_with_4_on_any_doubt(tmp_path: Path, home: Path) -> None:
    with VideoWriter(tmp_path / "plain.mp4", fps=Fraction(25), size=(64, 64)) as video:
        video.write(np.zeros((64, 64, 3), np.uint8))
    code, text, reports = run("verify", tmp_path / "plain.mp4", PORTRAIT, "--home", home, "--patience", "0.5")
    assert code == 4
    assert [report["state"] for report in reports] == ["unsigned", "unsigned"]
    assert "never signed" in text
    assert run("verify", tmp_path / "absent.mp4", "--home", home)[0] == 1


def test_motion_is_not_extracted_from_motion_or_nonsense(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.safetensors"
    nonsense.write_bytes(b"nonsense")
    code, _, facts = run("motion", "extract", nonsense, "-o", tmp_path / "out.safetensors")
    assert (code, facts["error"]["type"]) == (1, "InputError")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("pairs", [("anna",), ("=cam_1",), ("anna=",), ("anna=cam_1", "anna=cam_2")])
def test_a_cast_of_another_form_is_a_usage_error(tmp_path: Path, pairs: tuple[str, ...]) -> None:
    words = [word for pair in pairs for word in ("--cast", pair)]
    assert run("scene", "check", samples_dir() / "scene.yaml", "--home", tmp_path, *words)[0] == 2


def test_a_script_with_a_mistake_names_its_line(tmp_path: Path) -> None:
    script = tmp_path / "scene.yaml"
    script.write_text("roles:\n  anna: {portrait: a.jpg}\nshots:\n  - {id: a, role: ben, driving: d.mp4}\n")
    code, _, facts = run("scene", "check", script, "--home", tmp_path)
    assert code == 1
    assert (facts["error"]["line"], facts["error"]["column"]) == (4, 19)
