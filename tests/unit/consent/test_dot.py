import random
from dataclasses import replace

import numpy as np
import pytest

from portrait_anim.consent.dot import DotPath, agreement, draw_dot_path
from portrait_anim.consent.face_signals import measure
from portrait_anim.consent.liveness import verify_challenge
from portrait_anim.consent.liveness_types import LivenessLimits

REACH_DEG = 9.0


@pytest.fixture
def follow(pose):
    """Poses of somebody whose eyes follow a path, a fifth of a second late, with rests before and after."""

    def build(path, *, fps=15.0, lag_s=0.2, reach_deg=REACH_DEG, mirror=1.0):
        time_s = np.arange(0.0, path.duration_s + 2.0, 1 / fps)
        places = path.at(time_s - 1.0 - lag_s)
        shown = (time_s >= 1.0) & (time_s <= 1.0 + path.duration_s + lag_s)
        return [
            pose(gaze_right=mirror * reach_deg * right * on, gaze_up=0.5 * reach_deg * up * on)
            for (right, up), on in zip(places, shown, strict=True)
        ]

    return build


def test_a_path_is_packed_and_found_again():
    path = draw_dot_path(random.Random(1))
    assert DotPath.from_json(path.to_json()) == path
    assert 6.0 < path.duration_s < 13.0
    keys = path.keys()
    assert keys[0] == (0.0, 0.0, 0.0)
    assert keys[-1][0] == pytest.approx(path.duration_s)
    assert np.allclose(path.at(np.array([keys[3][0]])), [keys[3][1:]])


@pytest.mark.parametrize(
    "bad", ["", "[]", "[[0,0,1]]", "[[0,0,1],[2,0,1]]", "[[0,0,1],[0,0,0]]", "[[0,0],[1,1]]", "{}", "nan"]
)
def test_what_is_no_path_is_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        DotPath.from_json(bad)


def test_paths_are_not_alike():
    paths = {draw_dot_path(random.Random(seed)).to_json() for seed in range(100)}
    assert len(paths) == 100


@pytest.mark.parametrize("seed", range(4))
def test_who_follows_is_seen_and_who_follows_another_dot_is_not(seed, follow, filmed):
    path = draw_dot_path(random.Random(seed))
    signals = measure(filmed(follow(path), fps=15.0))
    starts, values = agreement(signals, path)
    assert values.max() > LivenessLimits().dot_agreement
    assert starts[values.argmax()] == pytest.approx(1.2, abs=0.3)
    others = [agreement(signals, draw_dot_path(random.Random(1000 + other)))[1].max(initial=0.0) for other in range(10)]
    assert sum(value >= LivenessLimits().dot_agreement for value in others) == 0


@pytest.mark.parametrize(
    ("factor", "followed"), [(0.75, False), (0.95, True), (1.05, True), (1.25, False), (2.5, False)]
)
def test_the_dot_is_a_clock(factor, followed, follow, filmed):
    path = draw_dot_path(random.Random(2))
    frames = [replace(frame, time_s=frame.time_s / factor) for frame in filmed(follow(path), fps=15.0)]
    best = agreement(measure(frames), path)[1].max(initial=0.0)
    assert (best >= LivenessLimits().dot_agreement) == followed


def test_eyes_that_rest_or_go_the_other_way_follow_nothing(follow, filmed):
    path = draw_dot_path(random.Random(3))
    for poses in (follow(path, reach_deg=0.0), follow(path, mirror=-1.0)):
        assert agreement(measure(filmed(poses, fps=15.0)), path)[1].max() < LivenessLimits().dot_agreement


def test_a_mirrored_recording_is_followed_when_declared(follow, filmed):
    path = draw_dot_path(random.Random(3))
    frames = filmed(follow(path, mirror=-1.0), fps=15.0)
    assert agreement(measure(frames, mirrored=True), path)[1].max() > LivenessLimits().dot_agreement


def test_the_dot_is_one_step_of_a_challenge(follow, filmed, perform, challenge, someone):
    path, other = (draw_dot_path(random.Random(seed)) for seed in (5, 6))
    before, after = (
        perform(actions=("turn_left", "smile"), fps=15.0),
        perform(actions=("open_mouth", "look_up"), fps=15.0),
    )
    frames = filmed([*before.poses(), *follow(path), *after.poses()], fps=15.0)
    asked = challenge("turn_left", "smile", "follow_dot", "open_mouth", "look_up")
    report = verify_challenge(replace(asked, dot_path=path.to_json()), frames, someone(1))
    assert report.failures == ()
    report = verify_challenge(replace(asked, dot_path=other.to_json()), frames, someone(1))
    assert any("step 3" in failure and "eyes did not go where the dot went" in failure for failure in report.failures)
    early = challenge("follow_dot", "turn_left", "smile", "open_mouth", "look_up")
    assert not verify_challenge(replace(early, dot_path=path.to_json()), frames, someone(1)).passed
