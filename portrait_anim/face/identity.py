"""Who someone is: embeddings of two interchangeable networks, and when two of them mean the same person.

Thresholds are in `portrait_anim.likeness` (dlib 0.44). dlib, measured
on 774 synthetic portraits of adults (299,151 pairs of different people) and on 485
frames of 7 real clips full of grimaces (same person, same recording), aligned with our own landmarks:

=========  ==========================  =================================  ==================================
threshold  false accepts, adult pairs  false accepts, portrait and clip   false rejects, single frames; mean of 5
=========  ==========================  =================================  ==================================
0.40       0.03 %                      0.001 %                            18.7 %; 1 %
0.45       0.098 %                     0.03 %                             9.6 %; 0
0.48       0.19 %                      0.08 %                             7.0 %; 0
0.50       0.30 %                      0.17 %                             5.3 %; 0
0.60       3.2 %                       2.7 %                              0; 0
=========  ==========================  =================================  ==================================

So compare the mean of five or more frames (`mean_embedding`), not one frame. Known weaknesses: with children included
false accepts triple (0.33 % at 0.45), the closest pairs are East Asian women, and how far one person drifts between
recordings years apart could not be measured here. Aligning with dlib's own 5- or 68-point predictors rejected more
(10.5 % at 0.45). arcface: 0.53, measured with a MobileFaceNet trained with ArcFace; docs/CONSENT.md has the table.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from portrait_anim.errors import InputError, ProfileUnavailable, WeightsMissing
from portrait_anim.face.dlib_models import model_path
from portrait_anim.face.landmarks import (
    LEFT_EYE_INNER,
    LEFT_EYE_OUTER,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    NOSE_BASE,
    NOSE_TIP,
    RIGHT_EYE_INNER,
    RIGHT_EYE_OUTER,
)
from portrait_anim.likeness import SAME_PERSON
from portrait_anim.types import FaceObservation, Float64Array, IdentityEmbedding, PathLike, UInt8Array

Backend: TypeAlias = Literal["dlib", "arcface"]

_DLIB_CHIP_PX, _DLIB_PADDING = 150, 0.25
# The order in which dlib's five-point model names its points.
_DLIB_POINTS = (RIGHT_EYE_OUTER, RIGHT_EYE_INNER, LEFT_EYE_OUTER, LEFT_EYE_INNER, NOSE_BASE)
_ARCFACE_PACK = "buffalo_l"
_ARCFACE_FILE = "w600k_r50.onnx"


class IdentityEncoder(Protocol):
    """Turns a face into an identity embedding; the same pixels always give the same numbers."""

    @property
    def backend(self) -> Backend:
        """Which network this is."""
        ...

    def embed(self, image: UInt8Array, obs: FaceObservation) -> IdentityEmbedding:
        """Describe who is seen.

        Args:
            image: The frame, `(H, W, 3)` uint8 sRGB.
            obs: The face in it, with 478 landmarks.
        """
        ...


class DlibEncoder:
    """dlib's ResNet (128 numbers, Euclidean distance), which comes with the package.

    Raises:
        WeightsMissing: If the package that carries the network is not installed.
    """

    def __init__(self) -> None:
        import dlib

        self._network: Any = dlib.face_recognition_model_v1(
            str(model_path("dlib_face_recognition_resnet_model_v1.dat"))
        )

    @property
    def backend(self) -> Backend:
        """`"dlib"`."""
        return "dlib"

    def embed(self, image: UInt8Array, obs: FaceObservation) -> IdentityEmbedding:
        """Describe who is seen; about 0.05 s on one core.

        Args:
            image: The frame, `(H, W, 3)` uint8 sRGB.
            obs: The face in it, with 478 landmarks.
        """
        import dlib

        points = [dlib.point(*map(round, obs.landmarks[i] - 0.5)) for i in _DLIB_POINTS]
        box = dlib.rectangle(*(round(float(side)) for side in obs.box))
        chip = dlib.get_face_chip(
            np.ascontiguousarray(image),
            dlib.full_object_detection(box, points),
            size=_DLIB_CHIP_PX,
            padding=_DLIB_PADDING,
        )
        vector = np.array(self._network.compute_face_descriptor(chip), dtype=np.float32)
        return IdentityEmbedding(vector=vector, backend="dlib")


class ArcFaceEncoder:
    """InsightFace's ArcFace (512 numbers, cosine distance), for users who have its non-commercial weights.

    Args:
        model_dir: Folder with `w600k_r50.onnx`, such as an unpacked buffalo_l.

    Raises:
        ProfileUnavailable: If the package `insightface` is not installed.
        WeightsMissing: If the weights are not in `model_dir`. They are never downloaded.
    """

    def __init__(self, model_dir: PathLike | None) -> None:
        if importlib.util.find_spec("insightface") is None:
            raise ProfileUnavailable(
                "expected the package insightface for the arcface backend, got none installed; "
                "install `portrait-anim[arcface]` or choose the dlib backend"
            )
        path = Path(model_dir) / _ARCFACE_FILE if model_dir is not None else None
        if path is None or not path.is_file():
            raise WeightsMissing(
                f"expected {_ARCFACE_FILE} in the model folder, got {model_dir or 'no folder'}; name the folder of "
                f"an unpacked {_ARCFACE_PACK} pack (non-commercial licence) or choose the dlib backend",
                files=[_ARCFACE_FILE],
            )
        from insightface.model_zoo import get_model

        self._network: Any = get_model(str(path), providers=["CPUExecutionProvider"])
        self._network.prepare(ctx_id=-1)

    @property
    def backend(self) -> Backend:
        """`"arcface"`."""
        return "arcface"

    def embed(self, image: UInt8Array, obs: FaceObservation) -> IdentityEmbedding:
        """Describe who is seen.

        Args:
            image: The frame, `(H, W, 3)` uint8 sRGB.
            obs: The face in it, with 478 landmarks.
        """
        from insightface.utils.face_align import norm_crop

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # insightface calls scikit-image in its former way
            chip = norm_crop(np.ascontiguousarray(image[:, :, ::-1]), landmark=five_points(obs), image_size=112)
        vector = np.asarray(self._network.get_feat(chip), dtype=np.float32).ravel()
        return IdentityEmbedding(vector=vector / max(float(np.linalg.norm(vector)), 1e-12), backend="arcface")


def five_points(obs: FaceObservation) -> Float64Array:
    """The five points ArcFace aligns by: eye centres, nose tip, mouth corners, each from the viewer's left.

    Args:
        obs: Face with 478 landmarks.

    Returns:
        `(5, 2)` float64, pixel indices (origin at the centre of the first pixel).
    """
    eyes = [
        obs.landmarks[[LEFT_EYE_OUTER, LEFT_EYE_INNER]].mean(axis=0),
        obs.landmarks[[RIGHT_EYE_OUTER, RIGHT_EYE_INNER]].mean(axis=0),
    ]
    rest = obs.landmarks[[NOSE_TIP, MOUTH_LEFT, MOUTH_RIGHT]]
    return np.asarray(np.vstack([*eyes, rest]) - 0.5, dtype=np.float64)


def load_identity_encoder(
    backend: Literal["auto", "dlib", "arcface"] = "auto", *, model_dir: PathLike | None = None
) -> IdentityEncoder:
    """Load an identity network.

    Args:
        backend: `"auto"` takes arcface when both its package and its weights are there, else dlib.
        model_dir: Folder with ArcFace's weights, such as `~/.insightface/models/buffalo_l` (expanded by the
            caller); never guessed, so that the gate does not depend on what lies in a home folder.

    Returns:
        The encoder.

    Raises:
        ProfileUnavailable: If arcface is asked for and its package is not installed.
        WeightsMissing: If the network's weights are not there.
        ValueError: If `backend` is none of the three.
    """
    if backend == "auto":
        present = model_dir is not None and (Path(model_dir) / _ARCFACE_FILE).is_file()
        backend = "arcface" if present and importlib.util.find_spec("insightface") is not None else "dlib"
    if backend == "arcface":
        return ArcFaceEncoder(model_dir)
    if backend == "dlib":
        return DlibEncoder()
    raise ValueError(f"expected backend auto, dlib or arcface, got {backend!r}")


def distance(a: IdentityEmbedding, b: IdentityEmbedding) -> float:
    """How different two people look: Euclidean for dlib, 1 - cosine for arcface.

    Args:
        a: One embedding.
        b: Another of the same backend.

    Returns:
        Distance, 0 for equal embeddings.

    Raises:
        InputError: If the embeddings come from different backends.
    """
    if a.backend != b.backend or a.vector.shape != b.vector.shape:
        raise InputError(
            f"expected embeddings of one backend, got {a.backend} {a.vector.shape} and {b.backend} "
            f"{b.vector.shape}; compute both with the same backend"
        )
    if a.backend == "dlib":
        return float(np.linalg.norm(a.vector.astype(np.float64) - b.vector))
    return max(0.0, 1.0 - float(np.dot(a.vector.astype(np.float64), b.vector)))


def threshold(backend: Backend) -> float:
    """Largest distance at which two embeddings count as the same person.

    Args:
        backend: Whose distances.

    Returns:
        Threshold for `distance`.

    Raises:
        ValueError: If the backend is unknown.
    """
    if backend not in SAME_PERSON:
        raise ValueError(f"expected backend dlib or arcface, got {backend!r}")
    return SAME_PERSON[backend]


def mean_embedding(embeddings: Sequence[IdentityEmbedding]) -> IdentityEmbedding:
    """One embedding for several views of one person; steadier than any of them.

    Args:
        embeddings: At least one, all of one backend.

    Returns:
        Their mean, of unit length for arcface.

    Raises:
        ValueError: If the list is empty or mixes backends.
    """
    if len({(e.backend, e.vector.shape) for e in embeddings}) != 1:
        raise ValueError(f"expected one or more embeddings of one backend, got {[e.backend for e in embeddings]}")
    mean = np.mean([e.vector for e in embeddings], axis=0, dtype=np.float64)
    if embeddings[0].backend == "arcface":
        mean /= max(float(np.linalg.norm(mean)), 1e-12)
    return IdentityEmbedding(vector=mean.astype(np.float32), backend=embeddings[0].backend)
