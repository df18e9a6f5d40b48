"""portrait_anim.face as a package."""

from __future__ import annotations

import subprocess
import sys

import portrait_anim.face as face


def test_names_are_sorted_and_exist() -> None:
    assert list(face.__all__) == sorted(
        face.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
    assert all(hasattr(face, name) for name in face.__all__)


def test_importing_loads_no_native_library() -> None:
    code = "import sys, portrait_anim.face; print([m for m in ('mediapipe','dlib','cv2','torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
