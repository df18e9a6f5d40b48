import itertools
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from portrait_anim.consent.challenges import ACTIONS, draw_actions
from portrait_anim.consent.face_signals import measure
from portrait_anim.consent.liveness import LivenessLimits, verify_challenge
from portrait_anim.consent.movements import judge_steps
from portrait_anim.consent.presence import check_alive, check_continuity
from portrait_anim.consent.records import LivenessFrame
from portrait_anim.types import IdentityEmbedding

ASKED = ("smile", "turn_left", "open_mouth", "look_up", "blink_twice")


@pytest.mark.parametrize("seed", range(8))
def test_an_honest_performance_of_any_challenge_passes(seed, challenge, perform, someone):
    actions = draw_actions(random.Random(seed))
    report = verify_challenge(challenge(*actions), perform(actions=actions).frames(), someone(1))
    assert report.failures == ()
    assert report.passed
    assert [step.action for step in report.steps] == list(actions)
    starts = [step.start_s for step in report.steps]
    assert starts == sorted(starts)
    assert report.template is not None


def test_all_nine_actions_pass_in_one_challenge(challenge, perform, someone):
    report = verify_challenge(challenge(*ACTIONS), perform(actions=ACTIONS).frames(), someone(1))
    assert report.failures == ()


@pytest.mark.parametrize("fps", [12.0, 15.0, 30.0])
def test_frame_rate_does_not_matter(fps, challenge, perform, someone):
    report = verify_challenge(challenge(*ASKED), perform(actions=ASKED, fps=fps).frames(), someone(1))
    assert report.failures == ()


@pytest.mark.parametrize("other", list(itertools.islice(itertools.permutations(ASKED), 1, 120, 17)))
def test_wrong_order_fails(other, challenge, perform, someone):
    report = verify_challenge(challenge(*ASKED), perform(actions=other).frames(), someone(1))
    assert not report.passed
    assert "keep the order" in " ".join(report.failures) or "not seen" in " ".join(report.failures)


@pytest.mark.parametrize("missing", range(5))
def test_a_missing_step_fails_and_is_named(missing, challenge, perform, someone):
    done = [action for number, action in enumerate(ASKED) if number != missing]
    report = verify_challenge(challenge(*ASKED), perform(actions=done).frames(), someone(1))
    assert not report.passed
    assert [step.passed for step in report.steps] == [number != missing for number in range(5)]
    assert any(f"step {missing + 1} " in failure for failure in report.failures)


@pytest.mark.parametrize("first", ACTIONS)
def test_each_action_is_only_itself(first, perform):
    signals = measure(perform(actions=[first], rest_s=2.0).frames())
    for other in ACTIONS:
        (step,), _ = judge_steps([other], signals, LivenessLimits())
        assert step.passed == (other == first), other


def test_small_movements_fail_with_advice(challenge, perform, someone):
    report = verify_challenge(challenge(*ASKED), perform(actions=ASKED, size=0.45).frames(), someone(1))
    assert not report.passed
    assert any("make the movement larger" in failure for failure in report.failures)


def test_a_late_step_fails(challenge, perform, someone):
    frames = perform(actions=ASKED, pauses={2: 9.0}).frames()
    report = verify_challenge(challenge(*ASKED), frames, someone(1))
    assert not report.passed
    assert any("must follow within 8 s" in failure for failure in report.failures)


def test_a_mirrored_video_fails_unless_declared(challenge, perform, someone):
    def mirror(frame: LivenessFrame) -> LivenessFrame:
        # A mirrored face is found with left and right exchanged, so its landmarks are those of the opposite turn.
        return replace(frame, landmarks=np.array([frame.image_size[0], 0.0]) + frame.landmarks * [-1.0, 1.0])

    swap = {"turn_left": "turn_right"}
    frames = perform(actions=[swap.get(action, action) for action in ASKED]).frames()
    report = verify_challenge(challenge(*ASKED), frames, someone(1))
    assert any("the head moved the other way" in failure and "mirror" in failure for failure in report.failures)
    assert verify_challenge(challenge(*ASKED), frames, someone(1), mirrored=True).passed
    # Reflected coordinates with unexchanged landmarks are no face at all.
    reflected = [mirror(frame) for frame in perform(actions=ASKED).frames()]
    assert not verify_challenge(challenge(*ASKED), reflected, someone(1)).passed


def test_a_video_that_shows_everything_does_not_answer_every_challenge(challenge, perform, someone):
    frames = perform(actions=ACTIONS, rest_s=0.4).frames()
    report = verify_challenge(challenge(*ACTIONS[:5]), frames, someone(1))
    assert all(step.passed for step in report.steps)
    assert not report.passed
    assert any("unasked movements" in failure for failure in report.failures)


def test_another_person_fails(challenge, perform, someone):
    report = verify_challenge(challenge(*ASKED), perform(actions=ASKED, who=2).frames(), someone(1))
    assert not report.passed
    assert report.template is None
    assert any("not the person of the portrait" in failure for failure in report.failures)


def test_an_older_photo_of_the_same_person_passes(challenge, perform, someone):
    assert verify_challenge(challenge(*ASKED), perform(actions=ASKED).frames(), someone(1, age=0.35)).passed


def test_a_swap_of_people_in_the_middle_fails(challenge, perform, someone):
    first, second = perform(actions=ASKED).frames(), perform(actions=ASKED, who=2).frames()
    half = len(first) // 2
    report = verify_challenge(challenge(*ASKED), first[:half] + second[half:], someone(1))
    assert not report.passed
    short = first[:half] + second[half : half + 25] + first[half + 25 :]
    report = verify_challenge(challenge(*ASKED), short, someone(1))
    assert any("another person is seen" in failure for failure in report.failures)


def test_too_few_identity_samples_fail(challenge, perform, someone):
    frames = [replace(frame, embedding=None) for frame in perform(actions=ASKED).frames()]
    report = verify_challenge(challenge(*ASKED), frames, someone(1))
    assert any("could be recognised in 0 frontal frames" in failure for failure in report.failures)
    frames = perform(actions=ASKED).frames()
    blind = [replace(frame, embedding=None) if 3 < frame.time_s < 6 else frame for frame in frames]
    assert any(
        "could not be recognised for" in text
        for text in verify_challenge(challenge(*ASKED), blind, someone(1)).failures
    )


def test_another_face_model_fails(challenge, perform, someone):
    portrait = IdentityEmbedding(vector=np.ones(512, np.float32), backend="arcface")
    report = verify_challenge(challenge(*ASKED), perform(actions=ASKED).frames(), portrait)
    assert any("different face models" in failure for failure in report.failures)


@pytest.mark.parametrize("shift", [0.8, 0.1])
def test_a_cut_fails(shift, challenge, filmed, pose, someone, perform):
    poses = perform(actions=ASKED).poses()
    half = len(poses) // 2
    moved = [replace(item, x=item.x + shift) for item in poses[half:]]
    report = verify_challenge(challenge(*ASKED), filmed(poses[:half] + moved), someone(1))
    assert [check.name for check in report.checks if not check.passed] == ["continuity"]
    assert any("as in a cut" in failure for failure in report.failures)


def test_a_cut_inside_a_turn_fails(challenge, filmed, someone, perform):
    poses = perform(actions=ASKED).poses()
    turned = next(i for i, item in enumerate(poses) if item.yaw > 26)
    del poses[turned - 9 : turned]
    report = verify_challenge(challenge(*ASKED), filmed(poses), someone(1))
    assert any("as in a cut" in failure for failure in report.failures)


def test_a_photograph_waved_before_the_camera_fails(challenge, perform, someone):
    """Poses follow the challenge, the face never changes: only turns and nods are asked, to see the check itself."""
    actions = ("turn_left", "look_up", "tilt", "turn_right", "look_down")
    report = verify_challenge(challenge(*actions), perform(actions=actions).frames(), someone(1))
    assert [check.name for check in report.checks if not check.passed] == ["alive"]
    assert all(step.passed for step in report.steps)


def test_a_flat_picture_that_is_turned_fails(challenge, perform, someone):
    """Image points follow a plane, while the tracker still makes up the depth of a head."""
    performance = perform(actions=ASKED, noise_px=0.3)
    frames = performance.frames()
    rest = frames[0].landmarks
    flat = []
    for frame, item in zip(frames, performance.poses(), strict=True):
        angle = np.radians(item.yaw)
        centred = rest - np.array([320.0, 200.0])
        turned = centred * [np.cos(angle), 1.0] / (1.0 + centred[:, :1] * np.sin(angle) / 900.0)
        flat.append(replace(frame, landmarks=turned + np.array([320.0, 200.0])) if item.yaw else frame)
    report = verify_challenge(challenge(*ASKED), flat, someone(1))
    assert not report.passed
    assert "solid" in [check.name for check in report.checks if not check.passed]


def test_a_still_picture_fails(challenge, filmed, pose, someone):
    report = verify_challenge(challenge(*ASKED), filmed([pose()] * 200), someone(1))
    assert not report.passed
    assert len([step for step in report.steps if not step.passed]) == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frames: [], "0 frames only"),
        (lambda frames: frames[:1], "1 frames only"),
        (lambda frames: frames[:50], "between 4 s and 60 s"),
        (lambda frames: frames[::-1], "do not increase"),
        (lambda frames: [*frames[:100], *frames[99:]], "do not increase"),
        (lambda frames: frames[:100] + frames[125:], "no face was seen for 1.0 s"),
        (lambda frames: frames[::5], "frames per second"),
        (lambda frames: [replace(f, num_faces=2) if f.time_s < 2 else f for f in frames], "more than one face"),
        (
            lambda frames: [replace(f, image_size=(f.image_size[0], 500 if f.time_s > 5 else 480)) for f in frames],
            "size",
        ),
        (lambda frames: [replace(f, time_s=f.time_s * 8) for f in frames], "between 4 s and 60 s"),
    ],
)
def test_a_bad_recording_is_explained(change, words, challenge, perform, someone):
    report = verify_challenge(challenge(*ASKED), change(perform(actions=ASKED).frames()), someone(1))
    assert not report.passed
    assert words in report.failures[0]


def test_an_endless_video_is_not_read_to_its_end(challenge, perform, someone, filmed, pose):
    frame = filmed([pose()])[0]
    read = []

    def endless():
        for i in itertools.count():
            read.append(i)
            yield replace(frame, time_s=i / 10)

    report = verify_challenge(challenge(*ASKED), endless(), someone(1))
    assert not report.passed
    assert len(read) < 610


@pytest.mark.parametrize("bad", [np.zeros((468, 2)), np.full((478, 2), np.nan)])
def test_malformed_landmarks_are_refused(bad, challenge, perform, someone):
    frames = perform(actions=ASKED).frames()
    frames[5] = replace(frames[5], landmarks=bad)
    with pytest.raises(ValueError, match="expected"):
        verify_challenge(challenge(*ASKED), frames, someone(1))


def test_a_face_that_looks_away_at_rest_fails(challenge, filmed, perform, someone):
    poses = [replace(item, yaw=item.yaw + 32) for item in perform(actions=ASKED).poses()]
    report = verify_challenge(challenge(*ASKED), filmed(poses), someone(1))
    assert any("look straight at the camera" in failure for failure in report.failures)


def test_limits_are_checked():
    with pytest.raises(ValueError, match="turn_deg"):
        LivenessLimits(turn_deg=float("nan"))
    with pytest.raises(ValueError, match="hold_s"):
        LivenessLimits(hold_s=0)


def test_an_empty_challenge_passes_nobody(challenge, perform, someone):
    assert not verify_challenge(challenge(), perform(actions=ASKED).frames(), someone(1)).passed


@pytest.mark.parametrize("name", ["yaw", "pitch", "roll"])
@pytest.mark.parametrize("degrees", [-25.0, 10.0, 30.0])
def test_pose_is_recovered(name, degrees, filmed, pose):
    signals = measure(filmed([pose(**{name: degrees})], noise_px=0.0))
    assert getattr(signals, f"{name}_deg")[0] == pytest.approx(degrees, abs=1.5)


@pytest.fixture
def clip_frames():
    path = Path(__file__).parents[4] / "shared/data/clips/dev_landmarks.npz"
    if not path.exists():
        pytest.skip("the development clips are not beside this checkout")
    data = np.load(path, allow_pickle=False)

    def load(clip: str) -> tuple[list[LivenessFrame], np.ndarray]:
        size, fps = (int(data[f"{clip}/width"]), int(data[f"{clip}/height"])), float(data[f"{clip}/fps"])
        frames = [
            LivenessFrame(
                time_s=i / fps,
                landmarks=points[:, :2].astype(float) * size,
                depth=points[:, 2].astype(float),
                embedding=None,
                image_size=size,
            )
            for i, points in enumerate(data[f"{clip}/landmarks"])
        ]
        return frames, data[f"{clip}/yaw_pitch_roll_3d"]

    return load


@pytest.mark.parametrize("clip", [f"dev0{number}" for number in range(1, 8)])
def test_real_clips_are_measured_as_published_and_move_without_a_jump(clip, clip_frames):
    frames, published = clip_frames(clip)
    signals = measure(frames)
    ours = np.stack([signals.yaw_deg, signals.pitch_deg, signals.roll_deg], axis=1)
    assert np.abs(ours - published).max() < 3.5
    assert check_continuity(signals).passed
    assert check_alive(signals, LivenessLimits()).passed
    assert check_continuity(measure(frames[::2])).passed
