from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portrait_anim.errors import SceneScriptError
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.scenes.script import read_script
from portrait_anim.weights import samples_dir

SCRIPT = """\
title: Two
fps: 30000/1001
defaults: {steps: 4, motion: absolute}
roles:
  anna: {portrait: a.jpg, face: left}
  ben:
    portrait: b.jpg
    cameo: 1e5
shots:
  - id: one
    role: anna
    driving: d.mp4
    in: 1:02.5
    out: 1:30
    regions: mouth, eyes
    steps: 3
  - {id: two, role: ben, driving: m.safetensors, audio: none}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "scene.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_script_is_read(tmp_path: Path) -> None:
    script = read_script(written(tmp_path, SCRIPT))
    first, second = script.scene.shots
    assert script.scene.fps == Fraction(30000, 1001)
    assert (first.start_s, first.end_s) == (62.5, 90.0)
    assert script.scene.roles["ben"].cameo == "1e5"
    assert script.resolve(first.driving) == tmp_path / "d.mp4"
    assert script.options(first) == AnimationOptions(
        num_steps=3, motion="absolute", regions=("mouth", "eyes"), face="left"
    )
    assert script.options(second) == AnimationOptions(num_steps=4, motion="absolute")


def test_the_sample_script_is_valid() -> None:
    script = read_script(samples_dir() / "scene.yaml")
    assert len(script.scene.shots) == 3
    assert len(script.scene.roles) == 2


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "words"),
    [
        ("role: anna", "role: anne", 11, 11, "anna, ben"),
        ("steps: 3", "steps: 400", 16, 12, "from 1 to 50"),
        ("steps: 3", "stepz: 3", 16, 5, "'stepz'"),
        ("steps: 3", "steps: many", 16, 12, "integer"),
        ("out: 1:30", "out: 3", 14, 10, "out after in"),
        ("in: 1:02.5", "in: early", 13, 9, "2.5"),
        ("    driving: d.mp4\n", "", 10, 5, "driving"),
        ("title: Two", "title: [a", 2, 4, "valid YAML"),
        ("  ben:\n", "  anna:\n", 6, 3, "'anna' again"),
        ("fps: 30000/1001", "fps: 1/0", 2, 6, "frame rate"),
        ("fps: 30000/1001", "size: 101x100", 2, 7, "even"),
        ("id: two", "id: one", 17, 10, "'one' again"),
        ("cameo: 1e5", "cameo:", 8, 11, "--cast"),
        ("regions: mouth, eyes", "regions: nose", 15, 14, "mouth"),
        ("{portrait: a.jpg, face: left}", "[a, b]", 5, 9, "Role"),
        ("title: Two", "? [a]\n: b", 1, 3, "name before the colon"),
        ("title: Two", "title: &a [*a]", 1, 8, "nested"),
        ("title: Two", "title: " + "[" * 3000, 1, 1, "nested"),
        ("title: Two", "title: \x07", 1, 1, "U+0007"),
        (SCRIPT, "", 1, 1, "empty"),
        (SCRIPT, "- 1", 1, 1, "dictionary"),
        (SCRIPT, "roles: {a: {portrait: x}}\nshots: []\n", 2, 8, "at least 1"),
    ],
)
def test_a_mistake_is_pointed_at(tmp_path: Path, old: str, new: str, line: int, column: int, words: str) -> None:
    with pytest.raises(SceneScriptError, match=words.replace("+", r"\+")) as caught:
        read_script(written(tmp_path, SCRIPT.replace(old, new)))
    assert (caught.value.line, caught.value.column) == (line, column)
    assert f"scene.yaml, line {line}, column {column}: " in str(caught.value)


def test_files_that_are_no_script(tmp_path: Path) -> None:
    binary, large = tmp_path / "binary.yaml", tmp_path / "large.yaml"
    binary.write_bytes(b"\xff\xd8\xff")
    large.write_bytes(b"#" * 1_000_001)
    for path in (binary, large, tmp_path, tmp_path / "absent.yaml"):
        with pytest.raises(SceneScriptError) as caught:
            read_script(path)
        assert caught.value.line is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, len(SCRIPT)), length=st.integers(0, 12), text=st.text(max_size=6))
def test_no_damage_crashes_the_reader(tmp_path: Path, start: int, length: int, text: str) -> None:
    damaged = SCRIPT[:start] + text + SCRIPT[start + length :]
    path = tmp_path / "damaged.yaml"
    path.write_bytes(damaged.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(SceneScriptError):
        read_script(path)
