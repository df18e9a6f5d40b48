"""Find the faces of a picture, from 64 px up, and choose one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np

from portrait_anim.errors import FaceTooSmall, InputError, MultipleFaces, NoFaceFound, NotAHumanFace
from portrait_anim.face.crop import crop, square_transform
from portrait_anim.face.landmarks import LandmarkFinder, MeasuredFace, landmark_box
from portrait_anim.face.plausibility import HumanFaceCheck
from portrait_anim.types import CropTransform, FaceObservation, Float64Array, UInt8Array

FaceChoice: TypeAlias = str
"""`"largest"`, `"left"`, `"right"`, or a number counting faces from the left, `"0"` being the leftmost."""

MINIMUM_FACE_PX = 64
_NAMED_CHOICES = ("largest", "left", "right")
_TILE_PX = 640  # side of the tiles in which small faces are sought
_TILE_STEP = 0.65  # distance of tiles, as a part of their side: a face of up to 0.35 sides is whole in one
_MAX_TILES = 40  # beyond that (pictures over 12 Mpx), tiles grow instead
_MESH_INPUT_PX = 384
_MESH_SIDES = (2.0, 1.4, 2.8)  # sides of the square given to the mesh, in sides of the detected box
_SIMILAR_SIZE = 0.6  # a second face at least this large makes the choice ambiguous
_SAME_FACE_OVERLAP = 0.35


class FaceDetector:
    """Finds faces in single pictures; a context manager.

    The whole picture is searched with MediaPipe's full-range and short-range detectors; large pictures also in
    overlapping tiles. Every candidate is cut out at a fixed resolution and confirmed by the landmark network,
    which also makes the landmarks as exact for a small face as for a large one.

    Args:
        max_faces: Most faces to return.
        static: Whether pictures are unrelated. Pass `False` for frames of a clip: tiles are then searched only
            when the whole picture shows no face.
        minimum_confidence: Lowest score of a candidate, [0, 1].
    """

    def __init__(self, *, max_faces: int = 5, static: bool = True, minimum_confidence: float = 0.5) -> None:
        from mediapipe.python.solutions.face_detection import FaceDetection

        if max_faces < 1:
            raise ValueError(f"expected max_faces >= 1, got {max_faces}")
        self._max_faces = max_faces
        self._static = static
        self._networks: tuple[Any, ...] = tuple(
            FaceDetection(model_selection=model, min_detection_confidence=minimum_confidence) for model in (1, 0)
        )
        self._mesh = LandmarkFinder(static=True)
        self._human_check: HumanFaceCheck | None = None

    def detect(self, image: UInt8Array, *, time_s: float = 0.0) -> list[FaceObservation]:
        """Find faces.

        Args:
            image: `(H, W, 3)` uint8 sRGB.
            time_s: Time to note in the observations [s].

        Returns:
            Faces, largest first.
        """
        faces: list[FaceObservation] = []
        for box, score in self._candidates(image)[: 3 * self._max_faces]:
            face = self._confirm(image, box, score, time_s)
            if face is not None and all(overlap(face.box, other.box) < _SAME_FACE_OVERLAP for other in faces):
                faces.append(face)
        return sorted(faces, key=lambda face: -face_size(face))[: self._max_faces]

    def is_human(self, image: UInt8Array, face: FaceObservation) -> bool:
        """Whether a detected face is a human one, see `portrait_anim.face.plausibility`.

        Args:
            image: The picture, `(H, W, 3)` uint8 sRGB.
            face: A face detected in it.
        """
        if self._human_check is None:
            self._human_check = HumanFaceCheck()
        return self._human_check.is_human(image, face)

    def _candidates(self, image: UInt8Array) -> list[tuple[Float64Array, float]]:
        """Boxes with scores, most certain first, each face once."""
        found = [*self._search(image, 0, 0, self._networks)]
        height, width = image.shape[:2]
        if max(height, width) > _TILE_PX and (self._static or not found):
            for left, top, side in tiles(width, height):
                found += self._search(image[top : top + side, left : left + side], left, top, self._networks[:1])
        found.sort(key=lambda item: -item[1])
        kept: list[tuple[Float64Array, float]] = []
        for box, score in found:
            if all(overlap(box, other) < _SAME_FACE_OVERLAP for other, _ in kept):
                kept.append((box, score))
        return kept

    def _search(
        self, image: UInt8Array, left: int, top: int, networks: Sequence[Any]
    ) -> Iterator[tuple[Float64Array, float]]:
        """Boxes in frame px that the detectors see in one part of the frame."""
        height, width = image.shape[:2]
        picture = np.ascontiguousarray(image)
        for network in networks:
            for detection in network.process(picture).detections or ():
                area = detection.location_data.relative_bounding_box
                x, y = left + area.xmin * width, top + area.ymin * height
                box = np.array([x, y, x + area.width * width, y + area.height * height], dtype=np.float64)
                if box[2] - box[0] > 1 and box[3] - box[1] > 1:
                    yield box, float(detection.score[0])

    def _confirm(self, image: UInt8Array, box: Float64Array, score: float, time_s: float) -> FaceObservation | None:
        """Landmarks of the face in a box, or nothing when the mesh sees none there."""
        centre, side = (box[:2] + box[2:]) / 2, float(max(box[2] - box[0], box[3] - box[1]))
        for factor in _MESH_SIDES:
            window = square_transform(centre, factor * side, _MESH_INPUT_PX)
            points = self._mesh.find(crop(image, window))
            if points is None:
                continue
            face = observation(points, window, image, score=score, time_s=time_s)
            if overlap(face.box, box) > 0.1:
                return face
        return None

    def close(self) -> None:
        """Free the native graphs."""
        for network in self._networks:
            network.close()
        self._mesh.close()

    def __enter__(self) -> FaceDetector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def observation(
    points: Float64Array, window: CropTransform, image: UInt8Array, *, score: float, time_s: float
) -> MeasuredFace:
    """Bring landmarks found in a window back to the frame.

    Args:
        points: `(478, 3)`, x, y and depth in window px.
        window: Frame px -> window px, upright.
        image: The frame, `(H, W, 3)`.
        score: Confidence, [0, 1].
        time_s: Time of the frame [s].

    Returns:
        The face, in frame px.
    """
    height, width = image.shape[:2]
    zoom = float(window.matrix[0, 0])
    landmarks = (points[:, :2] - window.matrix[:, 2]) / zoom
    return MeasuredFace(
        box=landmark_box(landmarks[:468]),
        landmarks=landmarks,
        score=score,
        time_s=time_s,
        depth=points[:, 2] / zoom / width,
        image_size=(width, height),
    )


def tiles(width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """Overlapping squares that cover a picture.

    Args:
        width: Picture width [px].
        height: Picture height [px].

    Yields:
        Left, top, side [px].
    """
    side = _TILE_PX
    while _steps(width, side) * _steps(height, side) > _MAX_TILES:
        side = round(side * 1.25)
    for top in _starts(height, side):
        for left in _starts(width, side):
            yield left, top, side


def _steps(length: int, side: int) -> int:
    return 1 + max(0, math.ceil((length - side) / (side * _TILE_STEP)))


def _starts(length: int, side: int) -> list[int]:
    count = _steps(length, side)
    return [round(i * max(0, length - side) / max(1, count - 1)) for i in range(count)]


def overlap(a: Float64Array, b: Float64Array) -> float:
    """Intersection of two boxes over their union, [0, 1].

    Args:
        a: `(4,)` left, top, right, bottom.
        b: Likewise.
    """
    extent = np.maximum(0.0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]))
    shared = float(extent[0] * extent[1])
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / union if union > 0 else 0.0


def face_size(face: FaceObservation) -> float:
    """Shorter side of the face box [px].

    Args:
        face: Any face.
    """
    return float(min(face.box[2] - face.box[0], face.box[3] - face.box[1]))


def choose_face(faces: Sequence[FaceObservation], choice: FaceChoice | None = None) -> FaceObservation:
    """Pick one face.

    Args:
        faces: Faces of one picture, at least one.
        choice: `"largest"`, `"left"`, `"right"` or a number counting from the left, from `"0"`. `None` accepts the
            largest only when no other face comes near its size.

    Returns:
        The chosen face.

    Raises:
        NoFaceFound: If there is no face, or none with that number.
        MultipleFaces: If `choice` is `None` and the choice is not clear.
        InputError: If `choice` is none of the above.
    """
    if not faces:
        raise NoFaceFound("expected a face, got none; use a picture in which a face is clearly visible")
    by_size = sorted(faces, key=lambda face: -face_size(face))
    from_left = sorted(faces, key=lambda face: float(face.box[0] + face.box[2]))
    if choice is None:
        rivals = [face for face in by_size if face_size(face) >= _SIMILAR_SIZE * face_size(by_size[0])]
        if len(rivals) > 1:
            raise MultipleFaces(
                f"expected one face, got {len(rivals)} of similar size; choose one with "
                f"{', '.join(_NAMED_CHOICES)} or a number from 0 (leftmost) to {len(faces) - 1}",
                count=len(rivals),
            )
        return by_size[0]
    if choice == "largest":
        return by_size[0]
    if choice in ("left", "right"):
        return from_left[0 if choice == "left" else -1]
    if not choice.isdecimal():
        raise InputError(
            f"expected a face choice ({', '.join(_NAMED_CHOICES)} or a number), got {choice!r}; correct the choice"
        )
    if int(choice) >= len(faces):
        raise NoFaceFound(
            f"expected a face with number {choice}, got {len(faces)} face(s); "
            f"choose a number from 0 (leftmost) to {len(faces) - 1}"
        )
    return from_left[int(choice)]


def find_face(
    image: UInt8Array,
    detector: FaceDetector,
    choice: FaceChoice | None = None,
    *,
    minimum_px: float = MINIMUM_FACE_PX,
) -> FaceObservation:
    """Find the one face to work with, or say exactly why there is none.

    Faces too small and things that are not human faces never compete with usable faces.

    Args:
        image: `(H, W, 3)` uint8 sRGB.
        detector: Detector to use.
        choice: See `choose_face`.
        minimum_px: Smallest accepted shorter side of the face box [px].

    Returns:
        The chosen face.

    Raises:
        NoFaceFound: If the picture shows no face.
        FaceTooSmall: If all faces are smaller than `minimum_px`.
        NotAHumanFace: If only animals, drawings or chance patterns look like a face.
        MultipleFaces: If `choice` is `None` and several faces have similar size.
    """
    faces = detector.detect(image)
    if not faces:
        height, width = image.shape[:2]
        raise NoFaceFound(
            f"expected a picture with a human face, got none in {width}x{height} px; use a picture in which one "
            "face looks towards the camera, upright, at least 64 px wide"
        )
    large = [face for face in faces if face_size(face) >= minimum_px]
    if not large:
        size = face_size(faces[0])
        raise FaceTooSmall(
            f"expected a face of at least {minimum_px:g} px, got {size:.0f} px; "
            "use a picture with more pixels or one taken closer",
            size_px=size,
            minimum_px=minimum_px,
        )
    human = [face for face in large if detector.is_human(image, face)]
    if not human:
        raise NotAHumanFace(
            f"expected a human face, got {len(large)} face-like thing(s) that are none (an animal, a drawing or a "
            "pattern); use a photograph or realistic picture of a person"
        )
    return choose_face(human, choice)
