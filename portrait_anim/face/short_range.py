"""Face boxes of MediaPipe's short-range detector (BlazeFace), which the `xportrait2` networks were trained with.

Its boxes are not those around landmarks: on 14 synthetic portraits their sides were 0.91 of those (spread 0.02) and
their centres 0.035 sides lower, so one cannot stand in for the other unseen.
"""

from __future__ import annotations

from types import TracebackType

import numpy as np

from portrait_anim.face.detect import overlap
from portrait_anim.types import FaceObservation, Float64Array, UInt8Array

_SAME_FACE_OVERLAP = 0.2
_BOX_SIDE = 0.915  # side of a short-range box in longer sides of the landmark box, for frames in which it finds none
_BOX_DROP = 0.035  # its centre below that of the landmark box, in the same unit
_WINDOW_SIDE = 2.5  # side of the window in which a small face is sought again, in longer sides of its box


class ShortRangeDetector:
    """Measures the short-range box of a face that is already known; a context manager.

    Args:
        minimum_confidence: Lowest score of a detection, [0, 1]; the published script keeps MediaPipe's 0.5.
    """

    def __init__(self, *, minimum_confidence: float = 0.5) -> None:
        from mediapipe.python.solutions.face_detection import FaceDetection

        self._network = FaceDetection(model_selection=0, min_detection_confidence=minimum_confidence)

    def box_of(self, image: UInt8Array, face: FaceObservation) -> Float64Array:
        """Box of one face.

        Args:
            image: `(H, W, 3)` uint8 sRGB.
            face: Which face.

        Returns:
            `(4,)` float64, left, top, right, bottom [px], whole numbers, not left of or above the picture. Where the
            detector does not see the face, one of the usual size around its landmarks.
        """
        found = self._search(image, face, 0, 0)
        if found is None:
            left, top, right, bottom = _window(image, face)
            found = self._search(image[top:bottom, left:right], face, left, top)
        if found is None:
            side = max(face.box[2] - face.box[0], face.box[3] - face.box[1])
            centre = (face.box[:2] + face.box[2:]) / 2 + np.array([0.0, _BOX_DROP * side])
            half = _BOX_SIDE * side / 2
            found = np.concatenate([centre - half, centre + half])
        return np.maximum(np.rint(found), 0.0)

    def _search(self, image: UInt8Array, face: FaceObservation, left: int, top: int) -> Float64Array | None:
        """Most certain box that covers the face, in part of a frame that begins at `left`, `top`."""
        height, width = image.shape[:2]
        best: tuple[float, Float64Array] | None = None
        for detection in self._network.process(np.ascontiguousarray(image)).detections or ():
            area = detection.location_data.relative_bounding_box
            x, y = left + area.xmin * width, top + area.ymin * height
            box = np.array([x, y, x + area.width * width, y + area.height * height], dtype=np.float64)
            if overlap(box, face.box) > _SAME_FACE_OVERLAP and (best is None or detection.score[0] > best[0]):
                best = float(detection.score[0]), box
        return None if best is None else best[1]

    def close(self) -> None:
        """Free the native graph."""
        self._network.close()

    def __enter__(self) -> ShortRangeDetector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _window(image: UInt8Array, face: FaceObservation) -> tuple[int, int, int, int]:
    centre = (face.box[:2] + face.box[2:]) / 2
    half = _WINDOW_SIDE * max(face.box[2] - face.box[0], face.box[3] - face.box[1]) / 2
    left, top = (max(0, int(value)) for value in centre - half)
    right, bottom = (int(value) for value in centre + half)
    return left, top, min(right, image.shape[1]), min(bottom, image.shape[0])
