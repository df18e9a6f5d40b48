from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, sys
from portrait_anim.cli.noise import without_noise
with without_noise():
    os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\\n")
    os.write(2, b"W0000 00:00:1.2 7 inference_feedback_manager.cc:114] Feedback manager\\n")
    os.write(2, b"E0000 00:00:1.2 7 inference_feedback_manager.cc:9] broken\\n")
    os.write(2, b"terminate called")
    print("from Python", file=sys.stderr)
print("afterwards", file=sys.stderr)
sys.exit(3)
"""


def test_only_harmless_native_lines_are_dropped() -> None:
    shown = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=60)
    assert shown.returncode == 3
    broken = "E0000 00:00:1.2 7 inference_feedback_manager.cc:9] broken"
    kept = {broken, "terminate called", "from Python", "afterwards"}
    assert set(shown.stderr.replace("terminate called", "terminate called\n").split("\n")) == kept | {""}
