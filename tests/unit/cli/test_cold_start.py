from __future__ import annotations

import subprocess
import sys

import pytest

PROBE = "import sys; {action}; print(sorted({{'torch', 'mediapipe', 'gradio', 'diffusers', 'av'}} & set(sys.modules)))"


@pytest.mark.parametrize(
    "action",
    [
        "import portrait_anim",
        "from portrait_anim import cli",
        "from typer.testing import CliRunner; from portrait_anim.cli import app; "
        "assert CliRunner().invoke(app, ['animate', '--help']).exit_code == 0",
        "from typer.testing import CliRunner; from portrait_anim.cli import app; "
        "assert CliRunner().invoke(app, ['scene', 'render', '--help']).exit_code == 0",
    ],
)
def test_start_loads_nothing_heavy(action: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", PROBE.format(action=action)], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout.strip() == "[]"
