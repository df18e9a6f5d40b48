"""The shipped sample assets show what they are meant to show."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from portrait_anim.face.detect import FaceDetector
from portrait_anim.media.audio import read_audio
from portrait_anim.media.image import read_image
from portrait_anim.media.reader import VideoReader, probe
from portrait_anim.training.synthetic.curves import Performance, perform
from portrait_anim.training.synthetic.motion import MotionStatistics
from portrait_anim.training.synthetic.performances import (
    CHALLENGE_ACTIONS,
    DRIVING,
    DRIVING_B,
    challenge_performance,
)
from portrait_anim.types import Float64Array

SAMPLES = Path(__file__).parents[4] / "demo" / "samples"


def signals(path: Path, step: int) -> tuple[Float64Array, Float64Array]:
    """Times `(n,)` and yaw-like, mouth gap, eye opening `(n, 3)` of every `step`-th frame; each must hold a face."""
    times, rows = [], []
    with FaceDetector(static=False) as detector, VideoReader(path) as video:
        for frame in video:
            if frame.index % step:
                continue
            (face,) = detector.detect(frame.image)
            assert face.depth is not None
            p = np.column_stack([face.landmarks, face.depth * frame.image.shape[1]])
            eyes = np.linalg.norm(p[263] - p[33])
            across = p[263] - p[33]
            yaw = np.degrees(np.arctan2(across[2], across[0]))
            lids = np.linalg.norm(p[159] - p[145]) + np.linalg.norm(p[386] - p[374])
            times.append(frame.time_s)
            rows.append([yaw, np.linalg.norm(p[13] - p[14]) / eyes, lids / eyes])
    return np.array(times), np.array(rows)


def intended(performance: Performance, fps: float, names: tuple[str, ...], times: Float64Array) -> Float64Array:
    """Yaw, jaw and lid closure of a performance at the given times, `(n, 3)`."""
    curves = perform(MotionStatistics(names, torch.device("cpu")), performance, fps)
    k = torch.from_numpy(np.round(times * fps)).long()
    jaw = curves.expr[:, names.index("jawOpen")]
    return torch.stack([curves.head[:, 0], jaw, curves.expr[:, names.index("eyeBlink_L")]], 1)[k].double().numpy()


def test_sizes_and_licence() -> None:
    assert sum(f.stat().st_size for f in SAMPLES.iterdir()) < 6_000_000
    assert "CC BY-NC-SA 4.0" in (SAMPLES / "LICENSE.md").read_text(encoding="utf-8")
    for name, frames, audio in (("driving", 150, True), ("driving_b", 75, False), ("challenge", 270, False)):
        info = probe(SAMPLES / f"{name}.mp4")
        assert (info.num_frames, info.has_audio, info.codec) == (frames, audio, "h264")


@pytest.mark.parametrize("name", ["portrait.jpg", "portrait_b.jpg"])
def test_portraits_show_one_face_that_fits_the_portrait_crop(name: str) -> None:
    image = read_image(SAMPLES / name)
    with FaceDetector() as detector:
        (face,) = detector.detect(image)
    eyes = np.linalg.norm(face.landmarks[263] - face.landmarks[33])
    assert 180 < eyes < 512 / 2.4


CLIPS = (
    ("driving.mp4", DRIVING, 25.0),
    ("driving_b.mp4", DRIVING_B, 25.0),
    ("challenge.mp4", challenge_performance(), 15.0),
)


@pytest.mark.parametrize(("name", "performance", "fps"), CLIPS)
def test_faces_follow_the_intended_curves(
    expression_names: tuple[str, ...], name: str, performance: Performance, fps: float
) -> None:
    times, seen = signals(SAMPLES / name, step=3)
    wanted = intended(performance, fps, expression_names, times)
    yaw, jaw, lid = (np.corrcoef(seen[:, k], wanted[:, k])[0, 1] for k in range(3))
    assert abs(yaw) > 0.95
    assert jaw > 0.8
    assert lid < -0.7


def test_the_voice_is_in_sync_with_the_jaw(expression_names: tuple[str, ...]) -> None:
    track = read_audio(SAMPLES / "driving.mp4")
    assert track is not None
    assert track.duration_s == pytest.approx(6.0, abs=0.15)
    samples = track.samples.mean(0)
    times = np.arange(140) / 25
    centre = ((times + 0.02) * track.sample_rate_hz).astype(int)
    half = int(0.03 * track.sample_rate_hz)
    loud = np.array([np.sqrt((samples[max(0, c - half) : c + half] ** 2).mean()) for c in centre])
    jaw = intended(DRIVING, 25.0, expression_names, times)[:, 1]
    spoken = times < DRIVING.line[-1].end_s
    lags = {lag: np.corrcoef(np.roll(loud, lag)[spoken], jaw[spoken])[0, 1] for lag in range(-8, 9)}
    assert lags[0] > 0.5
    assert abs(max(lags, key=lambda lag: lags[lag])) <= 2


def test_challenge_notes_agree_with_the_performance() -> None:
    notes = json.loads((SAMPLES / "challenge.json").read_text(encoding="utf-8"))
    listed = tuple((a["action"], a["start_s"], a["end_s"]) for a in notes["actions"])
    assert listed == CHALLENGE_ACTIONS
    assert (SAMPLES / notes["video"]).is_file()
    assert (SAMPLES / notes["portrait"]).is_file()
