"""Head pose and expression measured from landmarks, frame by frame and relative to the person's own rest.

Shape legend: T frames, L = 478 landmarks, K landmarks of a subset. Points are pixels: x to the right, y down,
z away from the camera. Yaw > 0 turns the face to image right, which is the subject's own left in a video that
is not mirrored; pitch > 0 looks up; roll > 0 turns clockwise in the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from portrait_anim.consent.records import LivenessFrame
from portrait_anim.types import Float64Array

NUM_LANDMARKS: Final = 478

# Places that hardly move with expression, on a typical adult head facing the camera, in outer-eye distances
# from the middle between the eyes. Right and left are the subject's own.
_MIDLINE: Final = (
    (10, -0.62, -0.17),  # hairline
    (151, -0.44, -0.21),
    (9, -0.25, -0.25),
    (168, -0.06, -0.25),  # root of the nose
    (6, 0.03, -0.30),
    (197, 0.11, -0.36),
    (195, 0.18, -0.42),
    (5, 0.26, -0.49),
    (4, 0.36, -0.53),  # tip of the nose
    (1, 0.44, -0.51),
    (2, 0.52, -0.34),
)
_PAIRS: Final = (
    (33, 263, 0.50, 0.00, 0.00),  # outer corners of the eyes
    (133, 362, 0.19, 0.02, -0.06),
    (98, 327, 0.20, 0.50, -0.24),  # wings of the nose
    (67, 297, 0.40, -0.58, -0.08),
    (109, 338, 0.21, -0.62, -0.15),
    (127, 356, 0.78, 0.09, 0.55),  # temples
)
STABLE: Final[tuple[int, ...]] = (
    *(index for index, *_ in _MIDLINE),
    *(index for right, left, *_ in _PAIRS for index in (right, left)),
)
_EYES: Final = ((33, 133, 468), (362, 263, 473))  # corners from image left to image right, middle of the iris
_EYE_TURN_DEG: Final = 143.0  # turn of an eyeball of 12 mm radius that moves the iris by one eye width of 30 mm
# Each region is judged alone, so that a small lively one is not averaged away.
REGIONS: Final[tuple[tuple[int, ...], ...]] = (
    (159, 145, 386, 374),  # lids
    (13, 14, 0, 17, 61, 291),  # lips
    (105, 66, 107, 334, 296, 336),  # brows
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceSignals:
    """What moves in a face over time.

    Attributes:
        time_s: `(T,)` times [s].
        yaw_deg: `(T,)` > 0 to the subject's left [degrees].
        pitch_deg: `(T,)` > 0 up [degrees].
        roll_deg: `(T,)` tilt in the image [degrees].
        eye_open: `(T,)` height over width of the wider open eye.
        mouth_open: `(T,)` gap between the lips [outer-eye distances].
        mouth_width: `(T,)` distance of the mouth corners [outer-eye distances].
        brow_height: `(T,)` brow above the eye, mean of both sides [outer-eye distances].
        look_right_deg: `(T,)` where eyes and head together look, to the subject's own right [degrees, roughly].
        look_up_deg: `(T,)` the same, upwards.
        points: `(T, L, 3)` landmarks [px].
        eye_distance: `(T,)` 3D distance of the outer corners of the eyes [px].
        calm: `(T,)` bool, frames in which the head is near its resting pose.
    """

    time_s: Float64Array
    yaw_deg: Float64Array
    pitch_deg: Float64Array
    roll_deg: Float64Array
    eye_open: Float64Array
    mouth_open: Float64Array
    mouth_width: Float64Array
    brow_height: Float64Array
    look_right_deg: Float64Array
    look_up_deg: Float64Array
    points: Float64Array
    eye_distance: Float64Array
    calm: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

    def turn_from_rest_deg(self) -> Float64Array:
        """Return the larger of the turn and the nod from rest, `(T,)` [degrees]."""
        yaw = np.abs(self.yaw_deg - np.median(self.yaw_deg))
        pitch = np.abs(self.pitch_deg - np.median(self.pitch_deg))
        turn: Float64Array = np.maximum(yaw, pitch)
        return turn


def measure(frames: Sequence[LivenessFrame], *, mirrored: bool = False) -> FaceSignals:
    """Measure pose and expression in every frame.

    Args:
        frames: At least one frame with its face.
        mirrored: Whether the video is a mirror image of the person.

    Returns:
        The signals.

    Raises:
        ValueError: If landmarks or depth have another shape or are not finite.
    """
    points = np.stack([_points(frame) for frame in frames])  # (T, L, 3)
    rotations = rotations_to(_canonical(), points[:, list(STABLE)])  # (T, 3, 3)
    forward = -rotations[:, :, 2]
    side = -1.0 if mirrored else 1.0
    yaw = side * np.degrees(np.arctan2(forward[:, 0], -forward[:, 2]))
    pitch = np.degrees(np.arcsin(np.clip(-forward[:, 1], -1.0, 1.0)))
    roll = side * np.degrees(np.arctan2(rotations[:, 1, 0], rotations[:, 1, 1]))
    scale = np.maximum(_gap(points, 33, 263), 1e-6)
    right = (_gap(points, 160, 144) + _gap(points, 158, 153)) / np.maximum(2 * _gap(points, 33, 133), 1e-6)
    left = (_gap(points, 385, 380) + _gap(points, 387, 373)) / np.maximum(2 * _gap(points, 263, 362), 1e-6)
    gaze_right, gaze_up = _gaze(points)
    calm = (
        (np.abs(yaw - np.median(yaw)) < 10.0)
        & (np.abs(pitch - np.median(pitch)) < 8.0)
        & (np.abs(roll - np.median(roll)) < 8.0)
    )
    return FaceSignals(
        time_s=np.array([frame.time_s for frame in frames], dtype=np.float64),
        yaw_deg=yaw,
        pitch_deg=pitch,
        roll_deg=roll,
        eye_open=np.maximum(right, left),
        mouth_open=_gap(points, 13, 14) / scale,
        mouth_width=_gap(points, 61, 291) / scale,
        brow_height=(
            _brow(points, (70, 63, 105, 66, 107), (33, 133)) + _brow(points, (300, 293, 334, 296, 336), (263, 362))
        )
        / (2 * scale),
        look_right_deg=side * gaze_right - yaw,
        look_up_deg=gaze_up + pitch,
        points=points,
        eye_distance=scale,
        calm=calm,
    )


def rotations_to(shape: Float64Array, points: Float64Array) -> Float64Array:
    """Find the rotations that best carry one shape to another (Kabsch).

    Args:
        shape: `(K, 3)` one reference for all, or `(T, K, 3)` one for each.
        points: `(T, K, 3)` observed points.

    Returns:
        `(T, 3, 3)` proper rotations R, with R @ shape about parallel to points.
    """
    reference = np.broadcast_to(shape - shape.mean(axis=-2, keepdims=True), points.shape)
    observed = points - points.mean(axis=1, keepdims=True)
    u, _, vt = np.linalg.svd(np.swapaxes(reference, 1, 2) @ observed)
    v, ut = np.swapaxes(vt, 1, 2), np.swapaxes(u, 1, 2)
    flip = np.ones((len(points), 3))
    flip[:, 2] = np.sign(np.linalg.det(v @ ut))
    rotations: Float64Array = (v * flip[:, None, :]) @ ut
    return rotations


def rigid_residuals(
    shape: Float64Array, points: Float64Array, fit: Sequence[int], judge: Sequence[int]
) -> Float64Array:
    """Lay shapes over point sets by rotation, shift and size, and say how far they are off.

    Args:
        shape: `(L, 3)` one reference for all, or `(T, L, 3)` one for each.
        points: `(T, L, 3)` observed points.
        fit: Landmarks that are laid over each other.
        judge: Landmarks whose distance is measured.

    Returns:
        `(T,)` root mean square distance, in units of `points`.
    """
    shape = np.broadcast_to(shape, points.shape)
    fitted, judged = list(fit), list(judge)  # numpy reads a tuple as one index per axis
    source, target = shape[:, fitted], points[:, fitted]
    centre, middle = source.mean(axis=1, keepdims=True), target.mean(axis=1, keepdims=True)
    back = np.swapaxes(rotations_to(source, target), 1, 2)
    turned = (source - centre) @ back  # (T, K, 3)
    size = (turned * (target - middle)).sum(axis=(1, 2)) / np.maximum((turned**2).sum(axis=(1, 2)), 1e-12)
    placed = size[:, None, None] * ((shape[:, judged] - centre) @ back) + middle
    residual: Float64Array = np.sqrt(((placed - points[:, judged]) ** 2).sum(axis=2).mean(axis=1))
    return residual


def resting_shape(signals: FaceSignals) -> Float64Array:
    """Return the typical face of the calm frames, `(L, 3)`, in outer-eye distances from between the eyes."""
    chosen = signals.points[signals.calm] if signals.calm.any() else signals.points
    scale = signals.eye_distance[signals.calm] if signals.calm.any() else signals.eye_distance
    middle = (chosen[:, [33]] + chosen[:, [263]]) / 2
    shape: Float64Array = np.median((chosen - middle) / scale[:, None, None], axis=0)
    return shape


def _canonical() -> Float64Array:
    middle = [(0.0, y, z) for _, y, z in _MIDLINE]
    pairs = [(side * x, y, z) for _, _, x, y, z in _PAIRS for side in (-1.0, 1.0)]
    return np.array([*middle, *pairs])


def _points(frame: LivenessFrame) -> Float64Array:
    landmarks = np.asarray(frame.landmarks, dtype=np.float64)
    depth = np.asarray(frame.depth, dtype=np.float64)
    if landmarks.shape != (NUM_LANDMARKS, 2) or depth.shape != (NUM_LANDMARKS,):
        raise ValueError(
            f"expected landmarks ({NUM_LANDMARKS}, 2) and depth ({NUM_LANDMARKS},), got {landmarks.shape} "
            "and "
            f"{depth.shape}; measure with the landmark model that also gives depth"
        )
    points = np.column_stack([landmarks, depth * frame.image_size[0]])
    if not np.isfinite(points).all() or not np.isfinite(frame.time_s):
        raise ValueError(f"expected finite landmarks and time, got others at {frame.time_s} s; leave the frame out")
    return points


def _gaze(points: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return how far both irises stand to image left and up in their eyes, `(T,)` each [degrees, roughly]."""
    right, up = [], []
    for first, second, iris in _EYES:  # corners from image left to image right
        axis = points[:, second, :2] - points[:, first, :2]
        width = np.maximum(np.linalg.norm(axis, axis=1), 1e-6)
        off = points[:, iris, :2] - (points[:, first, :2] + points[:, second, :2]) / 2
        right.append(-(off * axis).sum(axis=1) / width**2)
        up.append((off[:, 0] * axis[:, 1] - off[:, 1] * axis[:, 0]) / width**2)
    return _EYE_TURN_DEG * np.mean(right, axis=0), _EYE_TURN_DEG * np.mean(up, axis=0)


def _gap(points: Float64Array, first: int, second: int) -> Float64Array:
    gap: Float64Array = np.linalg.norm(points[:, first] - points[:, second], axis=1)
    return gap


def _brow(points: Float64Array, brow: Sequence[int], corners: Sequence[int]) -> Float64Array:
    height: Float64Array = np.linalg.norm(
        points[:, list(brow)].mean(axis=1) - points[:, list(corners)].mean(axis=1), axis=1
    )
    return height
