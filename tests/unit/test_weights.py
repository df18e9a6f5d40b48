from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portrait_anim import weights
from portrait_anim.errors import InputError, WeightsCorrupt, WeightsMissing
from portrait_anim.weights import WeightEntry, WeightFile, build_manifest, read_manifest, require, verify

NAMES = ("lite/denoiser/model.safetensors", "lite/config.json", "other/big.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode() * 1000)
    entries = [
        WeightEntry(file=name, licence="Apache-2.0", source="recipe", profile=name.split("/")[0]) for name in NAMES
    ]
    build_manifest(tmp_path, entries)
    return tmp_path


def test_build_measures_and_writes(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert [line.file for line in manifest.files] == sorted(NAMES)
    assert manifest.profiles == ("lite", "other")
    for line in manifest.files:
        content = (folder / line.file).read_bytes()
        assert (line.sha256, line.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    keys = set(json.loads((folder / "manifest.json").read_text())["files"][0])
    assert keys == {"file", "sha256", "bytes", "licence", "source", "profile"}
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["manifest.json"]


def test_write_then_read_is_identity(folder: Path) -> None:
    manifest = read_manifest(folder)
    weights.write_manifest(folder, reversed(manifest.files))
    assert read_manifest(folder) == manifest


def test_require_gives_the_profile_folder(folder: Path) -> None:
    assert require("lite", folder) == folder / "lite"
    assert [status.state for status in verify("lite", folder)] == ["ok", "ok"]
    assert len(verify(dir=folder)) == 3


def test_missing_file(folder: Path) -> None:
    (folder / NAMES[0]).unlink()
    assert [status.state for status in verify("lite", folder)] == ["ok", "missing"]
    with pytest.raises(WeightsMissing, match="reinstall") as caught:
        require("lite", folder)
    assert caught.value.files == (NAMES[0],)
    assert require("other", folder) == folder / "other"


def test_one_flipped_bit(folder: Path) -> None:
    path = folder / NAMES[0]
    data = bytearray(path.read_bytes())
    data[1234] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsCorrupt, match="reinstall") as caught:
        require("lite", folder)
    assert caught.value.expected == hashlib.sha256(NAMES[0].encode() * 1000).hexdigest()
    assert caught.value.actual == hashlib.sha256(bytes(data)).hexdigest()


def test_profile_without_files(folder: Path) -> None:
    with pytest.raises(WeightsMissing, match="lite, other"):
        require("nonesuch", folder)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing) as caught:
        read_manifest(tmp_path / "nowhere")
    assert caught.value.files == ("manifest.json",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"files": 3}',
        '{"files": [3]}',
        '{"files": [{"file": "a"}]}',
        '{"files": [{"file":"../a","sha256":"' + "0" * 64 + '","bytes":1,"licence":"x","source":"y","profile":"z"}]}',
        '{"files": [{"file":"a","sha256":"zz","bytes":1,"licence":"x","source":"y","profile":"z"}]}',
        "[" * 100_000,
    ],
)
def test_unreadable_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(WeightsCorrupt, match="unreadable"):
        read_manifest(tmp_path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_any_bytes_as_manifest_give_a_typed_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(WeightsCorrupt):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "c:\\x", "a\\b", ""])
def test_paths_stay_below_the_folder(name: str) -> None:
    with pytest.raises(ValueError, match="below the weights folder"):
        WeightEntry(file=name, licence="", source="", profile="lite")


def test_a_file_is_listed_once(folder: Path) -> None:
    line = read_manifest(folder).files[0]
    with pytest.raises(ValueError, match="once"):
        weights.write_manifest(folder, [line, line])


def test_build_names_what_is_missing(tmp_path: Path) -> None:
    entry = WeightEntry(file="lite/x", licence="", source="", profile="lite")
    with pytest.raises(WeightsMissing, match="lite/x"):
        build_manifest(tmp_path, [entry])
    assert list(tmp_path.iterdir()) == []


def test_locations_in_a_source_tree() -> None:
    root = Path(weights.__file__).parents[1]
    if (root / "pyproject.toml").exists():
        assert weights.weights_dir() == root / "weights"


def test_installed_folders_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "portrait_anim"
    package.mkdir()
    monkeypatch.setattr(weights, "__file__", str(package / "weights.py"))
    assert weights.weights_dir() == tmp_path / "weights"
    with pytest.raises(InputError, match="reinstall"):
        weights.samples_dir()
    for name in ("_weights", "_samples"):
        (package / name).mkdir()
    assert weights.weights_dir() == package / "_weights"
    assert weights.samples_dir() == package / "_samples"


def test_weight_file_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="0 bytes"):
        WeightFile(file="a", licence="", source="", profile="", sha256="0" * 64, bytes=-1)
