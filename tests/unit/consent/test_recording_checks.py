from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from portrait_anim.consent.evidence import EnrolmentPolicy, SceneSamples
from portrait_anim.consent.face_signals import measure
from portrait_anim.consent.liveness import verify_challenge
from portrait_anim.consent.movement_print import likeness, movement_print
from portrait_anim.consent.recording_checks import code_was_said

ASKED = ("smile", "turn_left", "open_mouth", "look_up", "blink_twice")


@pytest.fixture
def failed(challenge, perform, someone, camera):
    """Names of the checks that fail for an honest performance with changed evidence."""
    frames = perform(actions=ASKED).frames()

    def run(*, policy=None, asked=None, **changes):
        report = verify_challenge(
            asked or challenge(*ASKED), frames, someone(1), evidence=camera(**changes), policy=policy
        )
        assert report.passed == (not report.failures)
        return {check.name: check.message for check in report.checks if not check.passed}

    return run


def scene(change=None, backdrop=None, seen=None, count=300):
    return SceneSamples(
        time_s=np.arange(count) / 25.0,
        change=np.full(count, 0.004) if change is None else change,
        backdrop=np.zeros((count, 2)) if backdrop is None else backdrop,
        seen=np.ones(count, bool) if seen is None else seen,
    )


def test_an_honest_recording_passes(failed):
    assert failed() == {}


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ("own_watermark", "invisible mark"),
        ("own_manifest", "that it was generated"),
        ("ai_manifest", "C2PA"),
        ("damaged_manifest", "damaged or forged"),
    ],
)
def test_a_file_that_says_it_was_generated_fails(mark, words, failed):
    found = failed(marks=(mark,))
    assert list(found) == ["origin"]
    assert words in found["origin"]


def test_a_copy_of_an_earlier_video_fails(challenge, perform, someone, camera):
    def judge(frames, *earlier, **changes):
        report = verify_challenge(challenge(*ASKED), frames, someone(1), evidence=camera(), earlier=earlier, **changes)
        return [check.name for check in report.checks if not check.passed]

    def print_of(frames, **changes):
        return movement_print(measure(frames, **changes))

    first, second = perform(actions=ASKED).frames(), perform(actions=ASKED, step_s=1.6, rest_s=1.1).frames()
    assert judge(first) == []
    assert judge(first, print_of(second)) == []
    assert judge(first, print_of(second), print_of(first)) == ["replay"]
    later = [replace(frame, time_s=frame.time_s + 100.0) for frame in first[20:]]
    assert judge(later, print_of(first)) == ["replay"]
    assert judge(first, print_of(later)) == ["replay"]
    assert judge(first, print_of(first, mirrored=True)) == ["replay"]


def test_prints_are_small_whole_and_of_moving_faces(perform, filmed, pose):
    packed = movement_print(measure(perform(actions=ASKED).frames()))
    assert len(packed) < 3000
    assert likeness(packed, packed) == pytest.approx(1.0)
    still = movement_print(measure(filmed([pose()] * 200)))
    assert likeness(packed, still) < 0.5
    assert likeness(packed, movement_print(measure(perform(actions=ASKED).frames()[:40]))) == 0.0
    for broken in (b"", packed[:-1], b"XXXX" + packed[4:]):
        with pytest.raises(ValueError, match="print of movements"):
            likeness(packed, broken)


@pytest.mark.parametrize(("minutes", "passes"), [(-60 * 24, False), (-6, False), (-4, True), (9, True), (16, False)])
def test_a_video_recorded_at_another_time_fails(minutes, passes, failed, now):
    found = failed(recorded_at=now + timedelta(minutes=minutes))
    assert list(found) == ([] if passes else ["recorded_at"])


def test_a_file_without_a_time_passes(failed):
    assert failed(recorded_at=None) == {}


def test_a_sudden_change_of_the_whole_picture_fails(failed):
    change = np.full(300, 0.004)
    change[150] = 0.05
    found = failed(scene=scene(change))
    assert "6.0 s" in found["scene"]
    slow = 0.004 + 0.04 * np.exp(-(((np.arange(300) - 150) / 20.0) ** 2))  # a cloud before the sun
    assert failed(scene=scene(slow)) == {}
    change[:] = 0.0
    change[10] = 0.015  # a noisy frame of a very still picture
    assert failed(scene=scene(change)) == {}


def test_the_pattern_of_a_screen_fails(failed):
    assert list(failed(screen=3.0)) == ["screen"]
    assert list(failed(screen=None)) == ["screen"]


def test_a_backdrop_that_moves_with_the_face_fails(failed, perform):
    """The nose goes where the backdrop goes: a picture that is waved with everything on it."""
    frames = perform(actions=ASKED).frames()
    nose = np.array([frame.landmarks[4] for frame in frames])
    moving = scene(backdrop=nose - nose[0], count=len(frames))
    assert list(failed(scene=moving)) == ["backdrop"]
    plain = replace(moving, seen=np.zeros(len(frames), bool))
    assert failed(scene=plain) == {}
    shaking = np.cumsum(np.random.default_rng(0).normal(size=(len(frames), 2)), axis=0)
    assert failed(scene=scene(backdrop=shaking, count=len(frames))) == {}


def code(challenge, policy, digits="480217"):
    return replace(challenge(*ASKED), code=digits, code_policy=policy)


@pytest.mark.parametrize(
    ("policy", "sound", "heard", "passes"),
    [
        ("required", True, "480217", True),
        ("required", True, "480517", True),  # one misheard digit
        ("required", True, "490517", False),
        ("required", True, "", False),
        ("required", True, None, False),
        ("required", False, None, False),
        ("optional", True, "480217", True),
        ("optional", True, "111111", True),
        ("optional", False, None, True),
        ("off", True, "111111", True),
    ],
)
def test_the_spoken_code(policy, sound, heard, passes, failed, challenge):
    found = failed(asked=code(challenge, policy), sound_s=20.0 if sound else None, heard=heard)
    assert list(found) == ([] if passes else ["code"])


def test_a_missing_sound_is_explained(failed, challenge):
    assert "has no sound; allow the microphone" in failed(asked=code(challenge, "required"))["code"]
    found = failed(asked=code(challenge, "required"), sound_s=20.0, heard="123456")
    assert "1 2 3 4 5 6" in found["code"]


def test_a_recital_of_all_digits_is_no_code():
    assert code_was_said("480217", "99480217")
    assert not code_was_said("480217", "0123456789" * 3)
    assert not code_was_said("480217", "48021")


def test_a_liveness_network_is_heeded(failed):
    assert failed(live_score=0.9) == {}
    assert list(failed(live_score=0.5)) == ["live_score"]
    assert list(failed(policy=EnrolmentPolicy(passive_liveness="required"))) == ["live_score"]
    assert failed(live_score=0.9, liveness_asked=True) == {}
    assert "could not judge" in failed(liveness_asked=True)["live_score"]  # whatever the policy


def test_the_check_of_age_is_heeded(failed):
    assert "too young" in failed(age_refusal="too young")["age"]


def test_broken_evidence_is_refused():
    with pytest.raises(ValueError, match="finite"):
        scene(np.full(300, np.nan))
    with pytest.raises(ValueError, match="expected times"):
        scene(np.zeros(3))
    with pytest.raises(ValueError, match="keep_video_days"):
        EnrolmentPolicy(keep_video_days=float("nan"))
    with pytest.raises(ValueError, match="same_face"):
        EnrolmentPolicy(same_face="ignore")
