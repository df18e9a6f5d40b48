"""InsightFace's liveness add-on as a judge of single frames, for users who have it.

The network (1.5 MB, 80 px RGB) comes from InsightFace's authors, with their licence and their figures. It is loaded
from a folder that the user names, checked against the digest in the installed package, and never downloaded here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from portrait_anim.errors import ModelError, ProfileUnavailable, WeightsCorrupt, WeightsMissing
from portrait_anim.face.identity import five_points
from portrait_anim.types import FaceObservation, PathLike, UInt8Array
from portrait_anim.weights import file_sha256

_ADDON = "liveness"
_FILE = "addons/liveness.onnx"


class InsightFaceLiveness:
    """Tells a face from a picture of one; hand it to `enrolment.enroll_from_files(liveness=...)`.

    Args:
        root: InsightFace's folder, such as `~/.insightface` (expanded by the caller), with `addons/liveness.onnx`.

    Raises:
        ProfileUnavailable: If the package `insightface` 2.1 or later is not installed.
        WeightsMissing: If the file is not in the folder.
        WeightsCorrupt: If it is not the published one.
    """

    def __init__(self, root: PathLike) -> None:
        try:
            from insightface.addons.catalog import ADDON_CATALOG, ensure_addon
            from insightface.addons.liveness import Liveness
        except ImportError as error:
            raise ProfileUnavailable(
                f"expected the package insightface 2.1 or later for passive liveness, got {error}; "
                "install `portrait-anim[arcface]`, or enrol without it"
            ) from error
        path = Path(root) / _FILE
        if not path.is_file():
            raise WeightsMissing(
                f"expected InsightFace's liveness add-on at {path}, got nothing; get it from its authors, "
                "or enrol without it",
                files=[_FILE],
            )
        try:
            ensure_addon(_ADDON, str(root), download=False)
        except RuntimeError as error:
            raise WeightsCorrupt(
                f"expected the published liveness add-on, got another file at {path}; get it again",
                expected=ADDON_CATALOG[_ADDON].sha256,
                actual=file_sha256(path),
            ) from error
        self._network: Any = Liveness(str(path), providers=["CPUExecutionProvider"])

    def __call__(self, image: UInt8Array, face: FaceObservation) -> float | None:
        """Judge one frame.

        Args:
            image: The frame, `(H, W, 3)` uint8 sRGB.
            face: The face in it, with 478 landmarks.

        Returns:
            0 (a picture or a screen) to 1 (alive), or `None` when the face is too near the border.

        Raises:
            ModelError: If the network gives anything else.
        """
        bgr = np.ascontiguousarray(image[:, :, ::-1])
        try:
            score = self._network.predict(bgr, five_points(face))["live_score"]
        except RuntimeError as error:
            raise ModelError(
                f"expected a score of 0 to 1 from the liveness network, got: {error}; get its file again"
            ) from error
        return None if score is None else float(score)
