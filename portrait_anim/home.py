"""Where an installation keeps its consent store, its keys and its index of published files."""

from __future__ import annotations

from pathlib import Path

import platformdirs


def default_home() -> Path:
    """Folder of consent store and keys when none is given."""
    return platformdirs.user_data_path("portrait_anim")
