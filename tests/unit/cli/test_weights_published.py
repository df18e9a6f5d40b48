"""`weights fetch` and `weights convert` of a profile whose weights are not shipped."""

import pytest
from typer.testing import CliRunner

from portrait_anim import weights
from portrait_anim.cli import app
from portrait_anim.cli.guard import EXIT_FAILURE, EXIT_USAGE, EXIT_WEIGHTS


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "user_weights_dir", lambda: tmp_path / "user" / "weights")
    return lambda *arguments, **settings: CliRunner().invoke(app, ["weights", *arguments], **settings)


def test_licences_are_shown_and_must_be_accepted(run, tmp_path):
    result = run("fetch", "xportrait2", "--into", str(tmp_path / "files"), input="n\n")
    assert result.exit_code == EXIT_WEIGHTS
    assert "CC BY-NC 4.0" in result.stderr
    assert "stable-video-diffusion" in result.stderr
    assert not (tmp_path / "files").exists()


def test_conversion_says_which_file_goes_where(run, tmp_path):
    folder = tmp_path / "files"
    result = run("convert", "xportrait2", "--downloads", str(folder))
    assert result.exit_code == EXIT_WEIGHTS
    for name in ("xnemo_temporal_module.pth", "stable-video-diffusion-img2vid-xt", "drive.google.com"):
        assert name in result.stderr
    assert run("convert", "xportrait2").exit_code == EXIT_WEIGHTS


def test_a_damaged_file_is_refused(run, tmp_path, tiny_downloads):
    (tiny_downloads / "xnemo_motion_encoder.pth").write_bytes(b"<html>quota exceeded</html>")
    result = run("convert", "xportrait2", "--downloads", str(tiny_downloads))
    assert result.exit_code == EXIT_FAILURE
    assert "xnemo_motion_encoder.pth" in result.stderr
    assert "download it again" in result.stderr


def test_verifying_what_is_not_installed_names_the_remedy(run):
    result = run("verify", "--profile", "xportrait2")
    assert result.exit_code == EXIT_WEIGHTS
    assert "weights fetch" in result.stderr


def test_only_profiles_with_published_files_can_be_fetched(run):
    assert run("fetch", "lite").exit_code == EXIT_USAGE
