"""Keep what native libraries write to standard error out of the progress bars.

mediapipe greets with a dozen lines for every detector that is made, and offers no switch for it. Only lines known to be
harmless are dropped; everything else is passed on.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_HARMLESS: Final = re.compile(
    rb"INFO: Created TensorFlow Lite XNNPACK delegate"
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|[IW]\d{4} .* (inference_feedback_manager|landmark_projection_calculator|gl_context(_egl)?)\.cc:"
)
_PATIENCE_S: Final = 1.0


@contextmanager
def without_noise() -> Iterator[None]:
    """Filter standard error of the process for as long as the block runs; Python's own messages go past the filter."""
    try:
        terminal = os.dup(2)
    except OSError:
        # Started without a standard error: nothing to filter.
        yield
        return
    read_end, write_end = os.pipe()
    sys.stderr.flush()
    os.dup2(write_end, 2)
    os.close(write_end)
    before, sys.stderr = sys.stderr, os.fdopen(
        os.dup(terminal), "w", buffering=1, encoding="utf-8", errors="backslashreplace"
    )
    filtering = threading.Thread(target=_pass_on, args=(read_end, terminal), daemon=True)
    filtering.start()
    try:
        yield
    finally:
        ours, sys.stderr = sys.stderr, before
        ours.close()
        # Closes the writing end of the pipe, so that the thread comes to its end.
        os.dup2(terminal, 2)
        filtering.join(_PATIENCE_S)


def _pass_on(source: int, target: int) -> None:
    """Copy lines from one descriptor to another, but for the harmless ones."""
    with os.fdopen(source, "rb") as lines:
        for line in lines:
            if not _HARMLESS.match(line):
                os.write(target, line)
