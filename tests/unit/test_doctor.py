from __future__ import annotations

from pathlib import Path

import pytest

from portrait_anim.doctor import DoctorReport, DoctorRow, diagnose
from portrait_anim.weights import WeightEntry, build_manifest


def _row(report: DoctorReport, name: str) -> DoctorRow:
    return next(row for row in report.rows if row.name.startswith(name))


@pytest.fixture
def weights_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    (folder / "lite").mkdir(parents=True)
    (folder / "lite" / "a.safetensors").write_bytes(b"abc")
    entry = WeightEntry(file="lite/a.safetensors", licence="Apache-2.0", source="test", profile="lite")
    build_manifest(folder, [entry])
    return folder


def test_working_installation_has_nothing_missing(tmp_path: Path, weights_folder: Path) -> None:
    report = diagnose(tmp_path / "home", weights_folder)
    assert report.ok, [row for row in report.rows if row.state == "missing"]
    assert not (tmp_path / "home").exists()
    for name in ("Python", "PyTorch", "GPU", "ONNX", "Video codecs", "Face", "Identity", "Signing", "Disk", "Weights"):
        assert _row(report, name).found
    assert "libx264" in _row(report, "Video codecs").found
    assert "checksums hold" in _row(report, "Weights").found


def test_every_row_that_is_not_ok_has_a_remedy(tmp_path: Path) -> None:
    report = diagnose(tmp_path, tmp_path / "nowhere")
    assert not report.ok
    assert _row(report, "Weights").state == "missing"
    assert all(row.remedy for row in report.rows if row.state != "ok")
    assert not any(row.remedy for row in report.rows if row.state == "ok")


def test_damaged_weights_are_named(tmp_path: Path, weights_folder: Path) -> None:
    (weights_folder / "lite" / "a.safetensors").write_bytes(b"abd")
    row = _row(diagnose(tmp_path, weights_folder), "Weights (lite)")
    assert (row.state, row.found) == ("missing", "lite/a.safetensors corrupt")


def test_exposed_keys_are_a_warning(tmp_path: Path, weights_folder: Path) -> None:
    key = tmp_path / "keys" / "c2pa-signer.pem"
    key.parent.mkdir()
    key.write_text("secret")
    key.chmod(0o644)
    assert _row(diagnose(tmp_path, weights_folder), "Signing keys").state == "warning"
    key.chmod(0o600)
    assert _row(diagnose(tmp_path, weights_folder), "Signing keys").state == "ok"


def test_arcface_pack_without_package_is_a_warning(tmp_path: Path, weights_folder: Path) -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("insightface")
        pytest.skip("insightface is installed here")
    except PackageNotFoundError:
        pass
    pack = tmp_path / "models" / "buffalo_l"
    pack.mkdir(parents=True)
    (pack / "w600k_r50.onnx").write_bytes(b"x")
    row = _row(diagnose(tmp_path, weights_folder), "Identity (arcface)")
    assert row.state == "warning"
    assert "arcface" in row.remedy


def test_broken_library_is_a_finding(tmp_path: Path, weights_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "dlib", None)  # what an installation without dlib looks like
    report = diagnose(tmp_path, weights_folder)
    row = _row(report, "Identity (dlib)")
    assert row.state == "missing"
    assert row.remedy
    assert not report.ok
