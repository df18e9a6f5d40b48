"""The 478 face landmarks: their numbering and the network that finds them."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from portrait_anim.types import FaceObservation, Float64Array, UInt8Array

NUM_LANDMARKS = 478
# "Left" and "right" are the viewer's: landmark 33 has the smaller x in an upright picture.
LEFT_EYE_OUTER, LEFT_EYE_INNER = 33, 133
RIGHT_EYE_INNER, RIGHT_EYE_OUTER = 362, 263
EYE_CORNERS = (LEFT_EYE_OUTER, LEFT_EYE_INNER, RIGHT_EYE_INNER, RIGHT_EYE_OUTER)
NOSE_TIP, NOSE_BASE = 1, 2
MOUTH_LEFT, MOUTH_RIGHT, LIP_TOP, LIP_BOTTOM = 61, 291, 13, 14
CHIN, FOREHEAD = 152, 10


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredFace(FaceObservation):
    """An observation that knows the picture it was measured in, so that depth has a unit.

    Attributes:
        image_size: Width and height of the frame [px]; `depth * image_size[0]` is in px.
    """

    image_size: tuple[int, int]


def image_size_of(obs: FaceObservation) -> tuple[int, int] | None:
    """Size of the picture an observation was measured in.

    Args:
        obs: Any observation.

    Returns:
        Width and height [px], or `None` when the observation does not know.
    """
    return obs.image_size if isinstance(obs, MeasuredFace) else None


def landmark_box(landmarks: Float64Array) -> Float64Array:
    """Smallest box around landmarks.

    Args:
        landmarks: `(L, 2)` [px].

    Returns:
        `(4,)` left, top, right, bottom [px].
    """
    return np.concatenate([landmarks.min(axis=0), landmarks.max(axis=0)])


class LandmarkFinder:
    """MediaPipe's face mesh with iris refinement, for one face in a picture cut around it.

    A context manager; closing frees the native graph.

    Args:
        static: Whether pictures are unrelated. If not, the network follows the face from one picture to the next,
            which is faster and a quarter steadier, until `reset`.
        minimum_confidence: Lowest score of detection and presence, [0, 1].
    """

    def __init__(self, *, static: bool = True, minimum_confidence: float = 0.5) -> None:
        from mediapipe.python.solutions.face_mesh import FaceMesh

        self._mesh: Any = FaceMesh(
            static_image_mode=static,
            max_num_faces=1,
            refine_landmarks=True,
            min_detection_confidence=minimum_confidence,
            min_tracking_confidence=minimum_confidence,
        )

    def find(self, image: UInt8Array) -> Float64Array | None:
        """Find the landmarks of the most prominent face.

        Args:
            image: `(H, W, 3)` uint8 sRGB, the face filling about half of it.

        Returns:
            `(478, 3)` float64: x, y [px] and relative depth [px, smaller is nearer]; `None` without a face.
        """
        height, width = image.shape[:2]
        faces = self._mesh.process(np.ascontiguousarray(image)).multi_face_landmarks
        if not faces:
            return None
        points = np.array([[p.x, p.y, p.z] for p in faces[0].landmark], dtype=np.float64)
        return points * np.array([width, height, width], dtype=np.float64)

    def reset(self) -> None:
        """Forget the face that was followed."""
        self._mesh.reset()

    def close(self) -> None:
        """Free the native graph."""
        self._mesh.close()

    def __enter__(self) -> LandmarkFinder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
