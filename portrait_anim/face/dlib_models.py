"""Where the dlib networks lie that come with the package `face_recognition_models`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from portrait_anim.errors import WeightsMissing

_PACKAGE = "face_recognition_models"


def model_path(file: str) -> Path:
    """Locate a network without importing the package (its own import needs the removed `pkg_resources`).

    Args:
        file: Name of the `.dat` file.

    Returns:
        Path of the existing file.

    Raises:
        WeightsMissing: If the package or the file is not there.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / "models" / file
        if path.is_file():
            return path
    raise WeightsMissing(
        f"expected {file} in the installed package {_PACKAGE}, got nothing; "
        f"install it with `pip install {_PACKAGE}==0.3.0`",
        files=[file],
    )
