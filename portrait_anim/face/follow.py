"""Find one and the same face in frame after frame."""

from __future__ import annotations

from types import TracebackType

import numpy as np

from portrait_anim.errors import FaceTooSmall, NoFaceFound, NotAHumanFace
from portrait_anim.face.crop import crop, square_transform
from portrait_anim.face.detect import (
    MINIMUM_FACE_PX,
    FaceChoice,
    FaceDetector,
    choose_face,
    face_size,
    observation,
    overlap,
)
from portrait_anim.face.landmarks import LandmarkFinder
from portrait_anim.types import (
    CropTransform,
    FaceObservation,
    Float32Array,
    Float64Array,
    Frame,
    UInt8Array,
)

_WINDOW_PX = 384
_WINDOW_SIDE = 2.0  # side of the followed window, in sides of the face box
_WINDOW_DRIFT = 0.08  # the window moves when the face is this far off its middle, in window sides
_WINDOW_GROWTH = 0.15  # or has grown or shrunk by this much (logarithm)
_LOWEST_OVERLAP = 0.25  # of the boxes in successive frames, else it is another face
_REACH_AT_ONCE = 0.8  # how far a face may reappear from where it was lost, in box sides
_REACH_PER_S = 1.5  # and how much farther for every second since
_SIZE_CHANGE = 2.0
_GIVE_UP_S = 3.0  # after so long without the face, it is chosen anew as in the first frame
_CUT_LEVELS = 20.0  # mean change of the whole frame since the face was last seen that means a cut [grey levels]
_THUMBNAIL = (32, 18)


class FaceFollower:
    """Follows one person through a clip; a context manager.

    While the face is in view, only a window around it is searched, at a fixed resolution. When it is lost, the
    whole frame is searched and the face nearest to where it was (in place and size) is taken, or, after a cut or
    `_GIVE_UP_S`, the one that `choice` selects, which must pass the check for humans.

    Args:
        choice: Which face to start with, see `portrait_anim.face.choose_face`.
        minimum_px: Smallest shorter side of a face to start with [px].
    """

    def __init__(self, *, choice: FaceChoice | None = None, minimum_px: float = MINIMUM_FACE_PX) -> None:
        self._choice = choice
        self._minimum_px = minimum_px
        self._detector = FaceDetector(static=False)
        self._mesh = LandmarkFinder(static=False)
        self._window: CropTransform | None = None
        self._last: FaceObservation | None = None
        self._view: Float32Array | None = None  # thumbnail of the frame in which the face was last seen
        self._doubt: NoFaceFound | FaceTooSmall | None = None

    def find(self, frame: Frame) -> FaceObservation | None:
        """The person's face in the next frame.

        Args:
            frame: Next frame of the clip.

        Returns:
            The face, or `None` when it is hidden, gone, or not found yet.

        Raises:
            MultipleFaces: If the clip begins with several similar faces and no choice was made.
        """
        face = self._in_window(frame)
        if face is None:
            face = self._in_frame(frame)
            self._window = None
        if face is not None:
            self._last = face
            self._view = _thumbnail(frame.image)
            self._place_window(face)
        return face

    def explain_absence(self) -> NoFaceFound | FaceTooSmall:
        """The error to raise when no frame of the whole clip gave a face: the most telling thing that was seen."""
        return self._doubt or NoFaceFound(
            "expected a clip that shows a human face, got no face in any frame; "
            "use a clip in which one face looks towards the camera, upright, at least 64 px wide"
        )

    def _in_window(self, frame: Frame) -> FaceObservation | None:
        if self._window is None or self._last is None:
            return None
        points = self._mesh.find(crop(frame.image, self._window))
        if points is None:
            return None
        face = observation(points, self._window, frame.image, score=self._last.score, time_s=frame.time_s)
        if overlap(face.box, self._last.box) < _LOWEST_OVERLAP or not _touches(face, frame.image):
            return None
        return face

    def _in_frame(self, frame: Frame) -> FaceObservation | None:
        faces = self._detector.detect(frame.image, time_s=frame.time_s)
        if not faces:
            return None
        if self._last is not None and not self._is_new_scene(frame):
            return self._same_person(faces, frame.time_s)
        large = [face for face in faces if face_size(face) >= self._minimum_px]
        if not large:
            size = face_size(faces[0])
            self._doubt = self._doubt or FaceTooSmall(
                f"expected a clip with a face of at least {self._minimum_px:g} px, got at most {size:.0f} px; "
                "use a clip with more pixels or one taken closer",
                size_px=size,
                minimum_px=self._minimum_px,
            )
            return None
        human = [face for face in large if self._detector.is_human(frame.image, face)]
        if not human:
            self._doubt = NotAHumanFace(
                "expected a clip of a human face, got something face-like that is none (an animal, a drawing or a "
                "pattern); use a clip of a person"
            )
            return None
        if self._last is not None and self._choice is not None and self._choice.isdecimal():
            return max(human, key=face_size) if int(self._choice) >= len(human) else choose_face(human, self._choice)
        return choose_face(human, self._choice if self._last is None else self._choice or "largest")

    def _is_new_scene(self, frame: Frame) -> bool:
        """Whether where the face was last seen says nothing about where it is now."""
        if self._last is None or self._view is None or frame.time_s - self._last.time_s > _GIVE_UP_S:
            return True
        return float(np.abs(_thumbnail(frame.image) - self._view).mean()) > _CUT_LEVELS

    def _same_person(self, faces: list[FaceObservation], time_s: float) -> FaceObservation | None:
        """Of several faces, the one that can be the face lost shortly before."""
        assert self._last is not None
        size, centre = face_size(self._last), _centre(self._last.box)
        reach = size * (_REACH_AT_ONCE + _REACH_PER_S * (time_s - self._last.time_s))
        near = [
            (float(np.linalg.norm(_centre(face.box) - centre)), face)
            for face in faces
            if 1 / _SIZE_CHANGE <= face_size(face) / size <= _SIZE_CHANGE
        ]
        gap, nearest = min(near, key=lambda item: item[0], default=(np.inf, None))
        return nearest if gap <= reach else None

    def _place_window(self, face: FaceObservation) -> None:
        """Keep the window where it is while the face stays well inside, for the network's own tracking."""
        centre = _centre(face.box)
        side = _WINDOW_SIDE * float(max(face.box[2] - face.box[0], face.box[3] - face.box[1]))
        if self._window is not None:
            zoom = float(self._window.matrix[0, 0])
            off = np.abs(self._window.matrix[:, :2] @ centre + self._window.matrix[:, 2] - _WINDOW_PX / 2).max()
            if off <= _WINDOW_DRIFT * _WINDOW_PX and abs(np.log(side * zoom / _WINDOW_PX)) <= _WINDOW_GROWTH:
                return
        self._window = square_transform(centre, max(side, 1.0), _WINDOW_PX)
        self._mesh.reset()

    def close(self) -> None:
        """Free the native graphs."""
        self._detector.close()
        self._mesh.close()

    def __enter__(self) -> FaceFollower:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _centre(box: Float64Array) -> Float64Array:
    return np.asarray((box[:2] + box[2:]) / 2, dtype=np.float64)


def _thumbnail(image: UInt8Array) -> Float32Array:
    """A tiny grey picture, `(18, 32)` float32."""
    import cv2

    grey = cv2.cvtColor(cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return np.asarray(grey, dtype=np.float32)


def _touches(face: FaceObservation, image: UInt8Array) -> bool:
    """Whether the middle of the face still lies in the frame (the mesh also fits repeated border pixels)."""
    x, y = _centre(face.box)
    return bool(0 <= x <= image.shape[1] and 0 <= y <= image.shape[0])
