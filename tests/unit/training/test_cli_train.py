"""The command `train`: plan, run, stop by signal, and what it needs to be started on a bare training machine."""

import json
import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from portrait_anim.cli import app
from portrait_anim.cli.train import _stop_requests
from portrait_anim.training.journal import read_metrics


def invoke(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_a_dry_run_says_the_plan_and_writes_nothing(tmp_path):
    result = invoke("gpu", "--run", tmp_path / "run", "--budget-minutes", 24, "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert [stage["stage"] for stage in plan] == ["motion", "warp", "denoise", "temporal", "distill"]
    assert 20 < sum(stage["minutes"] for stage in plan) < 24  # the rest is for calibration and export
    assert all(stage["checkpoint_bytes"] > 50e6 for stage in plan)
    assert not (tmp_path / "run").exists()


def test_a_run_trains_and_draws_its_curves(shards, tmp_path):
    run = tmp_path / "run"
    result = invoke(
        "cpu_warp", "--data", shards, "--run", run, "--steps", 1, "--batch-size", 2, "--plot", "--json"
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["finished"]
    assert [row["step"] for row in read_metrics(run) if not row.get("held_out")] == [1]
    assert (run / "curves.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["huge"], "expected a recipe among gpu"),
        (["cpu_warp"], "or a data pack to render them from"),
        (["cpu_warp", "--device", "tpu"], "device"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number):
    before = signal.getsignal(number)
    with _stop_requests() as should_stop:
        assert not should_stop()
        os.kill(os.getpid(), number)
        assert should_stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


ABSENT = (
    "av", "c2pa", "cv2", "dlib", "gradio", "matplotlib", "mediapipe", "platformdirs", "pydantic", "scipy", "sqlalchemy",
)  # fmt: skip


@pytest.mark.slow
def test_training_needs_no_package_of_media_or_faces():
    """A training machine has torch, diffusers, numpy, typer and rich, and perhaps nothing else of ours."""
    code = (
        "import sys\n"
        f"for name in {ABSENT!r}: sys.modules[name] = None\n"
        "import portrait_anim.cli.train, portrait_anim.cli\n"
        "import portrait_anim.training.run, portrait_anim.training.identity_probe\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
