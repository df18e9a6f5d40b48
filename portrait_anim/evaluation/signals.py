"""What moves in a face, measured from landmarks: the signals that driver and output are compared by.

Definitions are those of the development clips' stored measurements (`conventions`): distances are three-dimensional,
right and left are the subject's own, and what is not said to be a ratio or an angle is divided by the distance of the
outer eye corners. `mouth_corner` and `eye_asym` are ours.

Shape legend: T frames, 478 landmarks. Points are pixels: x right, y down, z away from the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from portrait_anim.types import Float64Array


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalSpec:
    """One signal.

    Attributes:
        name: Its name in reports.
        least_std: Standard deviation over time below which the driver counts as not moving it.
        unit: Unit of the values.
    """

    name: str
    least_std: float
    unit: str


# Thresholds are at least three times the tracker's noise from frame to frame on clean clips of still heads.
SIGNALS: Final = (
    SignalSpec(name="mouth_open", least_std=0.020, unit="mouth widths"),
    SignalSpec(name="mouth_width", least_std=0.020, unit="eye distances"),
    SignalSpec(name="mouth_corner", least_std=0.020, unit="eye distances"),
    SignalSpec(name="eye_open", least_std=0.020, unit="eye widths"),
    SignalSpec(name="eye_asym", least_std=0.020, unit="eye widths"),
    SignalSpec(name="brow", least_std=0.008, unit="eye distances"),
    SignalSpec(name="brow_inner", least_std=0.008, unit="eye distances"),
    SignalSpec(name="gaze_x", least_std=0.020, unit="eye widths"),
    SignalSpec(name="gaze_y", least_std=0.020, unit="eye widths"),
    SignalSpec(name="yaw", least_std=2.0, unit="degrees"),
    SignalSpec(name="pitch", least_std=2.0, unit="degrees"),
    SignalSpec(name="roll", least_std=1.5, unit="degrees"),
)
SIGNAL_NAMES: Final = tuple(spec.name for spec in SIGNALS)

RIGHT_EYE: Final = (33, 133)  # outer, inner corner
LEFT_EYE: Final = (263, 362)
RIGHT_LIDS: Final = ((159, 145), (160, 144), (158, 153))  # upper, lower
LEFT_LIDS: Final = ((386, 374), (385, 380), (387, 373))
RIGHT_BROW: Final = (63, 105, 66)
LEFT_BROW: Final = (293, 334, 296)
RIGHT_IRIS, LEFT_IRIS = 468, 473
# Landmarks that carry the head pose, their weight, and their place on MediaPipe's canonical face [cm, image axes]
# (Apache-2.0, geometry_pipeline_metadata_landmarks.pbtxt); in pairs, x is that of the left one.
_MIDLINE: Final = (
    (4, 0.07091, 0.463, -7.587),
    (6, 0.03210, -2.473, -5.789),
    (10, 0.00845, -8.262, -4.482),
)
_PAIRS: Final = (
    (33, 263, 0.05872, 4.446, -2.664, -3.173),
    (54, 284, 0.00767, 6.279, -6.615, -1.426),
    (67, 297, 0.00908, 3.524, -8.006, -3.729),
    (117, 346, 0.00979, 5.259, -0.946, -2.974),
    (119, 348, 0.01457, 3.301, -0.862, -3.873),
    (121, 350, 0.01859, 1.821, -1.468, -4.224),
    (127, 356, 0.00520, 7.743, -2.365, 2.005),
    (129, 358, 0.12063, 1.786, 0.978, -4.850),
    (132, 361, 0.00556, 7.271, 2.891, 2.252),
    (133, 362, 0.05329, 1.856, -2.585, -3.758),
    (136, 365, 0.06689, 5.085, 7.179, -0.715),
    (143, 372, 0.01482, 6.408, -2.236, -1.561),
    (147, 376, 0.01426, 6.235, 1.944, -1.664),
    (198, 420, 0.02546, 1.247, -0.230, -5.681),
    (205, 425, 0.04725, 3.833, 1.537, -4.138),
)


def measure_signals(points: Float64Array) -> dict[str, Float64Array]:
    """Measure every signal in every frame.

    Args:
        points: `(T, 478, 3)` landmarks [px]; frames without a face are NaN.

    Returns:
        `(T,)` float64 for each name of `SIGNALS`; NaN where there is no face.

    Raises:
        ValueError: If `points` has another shape.
    """
    if points.ndim != 3 or points.shape[1:] != (478, 3):
        raise ValueError(f"expected landmarks (T, 478, 3), got {points.shape}")
    scale = eye_distance(points)
    right, left = _eye_open(points, RIGHT_LIDS, RIGHT_EYE), _eye_open(points, LEFT_LIDS, LEFT_EYE)
    brows = _to_eye(points, RIGHT_BROW, RIGHT_EYE) + _to_eye(points, LEFT_BROW, LEFT_EYE)
    corners = _gap(points, 33, 61) + _gap(points, 263, 291)
    gaze = (_gaze(points, RIGHT_IRIS, 33, 133) + _gaze(points, LEFT_IRIS, 362, 263)) / 2
    yaw, pitch, roll = head_pose(points)
    values = (
        _gap(points, 13, 14) / _gap(points, 61, 291),
        _gap(points, 61, 291) / scale,
        -corners / (2 * scale),  # grows when the corners rise towards the eyes
        (right + left) / 2,
        right - left,
        brows / (2 * scale),
        _gap(points, 107, 336) / scale,
        gaze[:, 0],
        gaze[:, 1],
        yaw,
        pitch,
        roll,
    )
    return dict(zip(SIGNAL_NAMES, values, strict=True))


def eye_distance(points: Float64Array) -> Float64Array:
    """Distance of the outer eye corners, `(T,)` [px].

    Args:
        points: `(T, 478, 3)` landmarks [px].
    """
    return _gap(points, 33, 263)


def head_pose(points: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Head rotation by a weighted rigid fit (Kabsch) of MediaPipe's canonical face.

    Args:
        points: `(T, 478, 3)` landmarks [px]; frames without a face are NaN.

    Returns:
        Yaw (> 0: the face turns to image right), pitch (> 0: looks up) and roll (> 0: clockwise), each `(T,)`
        [degrees].
    """
    indices, weights, shape = _pose_basis()
    angles = np.full((3, len(points)), np.nan)
    seen = np.isfinite(points).all(axis=(1, 2))
    observed = points[seen][:, indices]
    if not len(observed):
        return angles[0], angles[1], angles[2]
    reference = shape - weights @ shape
    centred = observed - np.einsum("k,tkc->tc", weights, observed)[:, None]
    u, _, vt = np.linalg.svd(np.einsum("ka,k,tkb->tab", reference, weights, centred))
    v, ut = np.swapaxes(vt, 1, 2), np.swapaxes(u, 1, 2)
    proper = np.ones((len(observed), 3))
    proper[:, 2] = np.sign(np.linalg.det(v @ ut))
    rotation = (v * proper[:, None]) @ ut
    ahead = -rotation[:, :, 2]
    angles[0, seen] = np.degrees(np.arctan2(ahead[:, 0], -ahead[:, 2]))
    angles[1, seen] = np.degrees(np.arcsin(np.clip(-ahead[:, 1], -1, 1)))
    angles[2, seen] = np.degrees(np.arctan2(rotation[:, 1, 0], rotation[:, 1, 1]))
    return angles[0], angles[1], angles[2]


def _pose_basis() -> tuple[list[int], Float64Array, Float64Array]:
    """Landmark numbers, weights that sum to 1, and canonical positions `(33, 3)`."""
    rows = [(index, weight, 0.0, y, z) for index, weight, y, z in _MIDLINE]
    for right, left, weight, x, y, z in _PAIRS:
        rows += [(right, weight, -x, y, z), (left, weight, x, y, z)]
    weights = np.array([row[1] for row in rows])
    return [row[0] for row in rows], weights / weights.sum(), np.array([row[2:] for row in rows])


def _gap(points: Float64Array, first: int, second: int) -> Float64Array:
    gap: Float64Array = np.linalg.norm(points[:, first] - points[:, second], axis=1)
    return gap


def _eye_open(points: Float64Array, lids: Sequence[tuple[int, int]], corners: tuple[int, int]) -> Float64Array:
    opening = sum(_gap(points, upper, lower) for upper, lower in lids)
    return np.asarray(opening / (len(lids) * _gap(points, *corners)), dtype=np.float64)


def _to_eye(points: Float64Array, brow: Sequence[int], corners: tuple[int, int]) -> Float64Array:
    centre = points[:, list(corners)].mean(axis=1)
    distance: Float64Array = np.linalg.norm(points[:, list(brow)] - centre[:, None], axis=2).mean(axis=1)
    return distance


def _gaze(points: Float64Array, iris: int, image_left: int, image_right: int) -> Float64Array:
    """Iris offset from the middle of the eye `(T, 2)` [eye widths]: towards image right, towards the forehead."""
    axis = points[:, image_right] - points[:, image_left]
    width = np.linalg.norm(axis, axis=1, keepdims=True)
    across = axis / width
    up = points[:, 10] - points[:, 152]
    up = up - (up * across).sum(axis=1, keepdims=True) * across
    up = up / np.linalg.norm(up, axis=1, keepdims=True)
    offset = points[:, iris] - (points[:, image_left] + points[:, image_right]) / 2
    along = np.stack([(offset * across).sum(axis=1), (offset * up).sum(axis=1)], axis=1)
    return np.asarray(along / width, dtype=np.float64)
