"""Signals against the stored measurements of the development clips, and on faces of known pose."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portrait_anim.evaluation.curves import follow_face
from portrait_anim.evaluation.metrics import pearson, slope
from portrait_anim.evaluation.signals import SIGNAL_NAMES, _pose_basis, head_pose, measure_signals
from portrait_anim.inputs import DrivingSource


def _points(stored: dict[str, Any], clip: str) -> np.ndarray:
    width, height = int(stored[f"{clip}/width"]), int(stored[f"{clip}/height"])
    return stored[f"{clip}/landmarks"].astype(np.float64) * np.array([width, height, width])


def _reference(stored: dict[str, Any], clip: str) -> dict[str, np.ndarray]:
    names = [str(name) for name in stored["signal_names"]]
    column = {name: stored[f"{clip}/signals"][:, k].astype(np.float64) for k, name in enumerate(names)}
    pose = stored[f"{clip}/yaw_pitch_roll_3d"].astype(np.float64)
    return {
        "mouth_open": column["mouth_open"],
        "mouth_width": column["mouth_width_iod"],
        "eye_open": (column["eye_open_r"] + column["eye_open_l"]) / 2,
        "eye_asym": column["eye_open_r"] - column["eye_open_l"],
        "brow": (column["brow_r"] + column["brow_l"]) / 2,
        "brow_inner": column["brow_inner"],
        "gaze_x": (column["gaze_rx"] + column["gaze_lx"]) / 2,
        "gaze_y": (column["gaze_ry"] + column["gaze_ly"]) / 2,
        "yaw": pose[:, 0],
        "pitch": pose[:, 1],
        "roll": pose[:, 2],
    }


@pytest.mark.parametrize("clip", ["dev01", "dev02", "dev03", "dev05"])
def test_definitions_equal_the_stored_ones(stored: dict[str, Any], clip: str) -> None:
    ours = measure_signals(_points(stored, clip))
    for name, values in _reference(stored, clip).items():
        tolerance = 0.01 if name in ("yaw", "pitch", "roll") else 5e-4
        np.testing.assert_allclose(ours[name], values, atol=tolerance, err_msg=name)


@pytest.mark.slow
def test_our_tracker_sees_what_was_stored(dev_clips: Path, stored: dict[str, Any]) -> None:
    source = DrivingSource(dev_clips / "dev" / "dev01.mp4", end_s=1.6)
    with source.frames() as frames:
        curves = follow_face(frames, float(source.fps))
    assert source.fps == Fraction(25)
    assert curves.seen.all()
    ours, theirs = measure_signals(curves.points.astype(np.float64)), _reference(stored, "dev01")
    for name in ("mouth_open", "mouth_width", "gaze_x"):
        r, k = pearson(theirs[name][:40], ours[name]), slope(theirs[name][:40], ours[name])
        assert r is not None
        assert r > 0.98, name
        assert k == pytest.approx(1, abs=0.15), name


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(20, 0, 0), (0, 12, 0), (0, 0, -15), (-25, 8, 5)])
def test_pose_of_the_turned_canonical_face(yaw: float, pitch: float, roll: float) -> None:
    indices, _, shape = _pose_basis()
    a, b, c = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    nod = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    tilt = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    points = np.zeros((2, 478, 3))
    points[:, indices] = 30 * shape @ (turn @ nod @ tilt).T + 200
    points[1] = np.nan
    found = np.array(head_pose(points))
    np.testing.assert_allclose(found[:, 0], [yaw, pitch, roll], atol=1e-6)
    assert np.isnan(found[:, 1]).all()


def test_frames_without_a_face_are_nan_in_every_signal() -> None:
    signals = measure_signals(np.full((3, 478, 3), np.nan))
    assert tuple(signals) == SIGNAL_NAMES
    assert all(np.isnan(values).all() for values in signals.values())
    with pytest.raises(ValueError, match="478"):
        measure_signals(np.zeros((3, 468, 3)))
