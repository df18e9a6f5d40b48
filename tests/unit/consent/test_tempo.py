from dataclasses import replace
from datetime import timedelta

import pytest

from portrait_anim.consent.liveness import verify_challenge

ASKED = ("smile", "turn_left", "open_mouth", "look_up", "blink_twice")


@pytest.fixture
def played(challenge, perform, someone):
    """Names of the checks that fail for an honest performance that is played faster or slower."""

    def run(factor=1.0, *, actions=ASKED, **how):
        frames = [
            replace(frame, time_s=frame.time_s / factor) for frame in perform(actions=actions, fps=30.0, **how).frames()
        ]
        report = verify_challenge(challenge(*actions), frames, someone(1))
        return {check.name for check in report.checks if not check.passed}

    return run


@pytest.mark.parametrize(("step_s", "rest_s"), [(1.0, 0.4), (1.2, 0.8), (2.0, 1.0), (3.0, 1.0), (4.0, 3.0)])
def test_quick_and_slow_people_pass(step_s, rest_s, played):
    assert played(step_s=step_s, rest_s=rest_s) == set()


@pytest.mark.parametrize(("step_s", "rest_s"), [(1.2, 0.8), (1.6, 1.0), (2.0, 1.0)])
@pytest.mark.parametrize("factor", [2.5, 3.0])
def test_a_recording_played_fast_is_refused(step_s, rest_s, factor, played):
    assert played(factor, step_s=step_s, rest_s=rest_s) & {"tempo", "recording"}


def test_one_long_pause_does_not_hide_the_speed(played):
    assert "tempo" in played(2.5, pauses={2: 15.0})


def test_blinks_faster_than_eyelids_are_refused(played):
    steps = ("turn_left", "blink_twice", "look_up", "smile", "tilt")
    assert played(actions=steps) == set()
    assert "tempo" in played(actions=steps, rest_s=1.4, step_s=0.35)


@pytest.mark.parametrize(("since_s", "passes"), [(10, False), (17, False), (19, True), (300, True)])
def test_a_video_is_not_longer_than_there_was_time_for_it(since_s, passes, challenge, perform, someone, camera):
    asked = challenge(*ASKED)
    report = verify_challenge(
        asked, perform(actions=ASKED).frames(), someone(1), evidence=camera(),
        handed_in=asked.issued + timedelta(seconds=since_s),
    )  # fmt: skip
    assert [check.name for check in report.checks if not check.passed] == ([] if passes else ["clock"])


def test_a_video_that_does_not_tell_its_length_is_refused(challenge, perform, someone, camera):
    for picture_s in (0.0, float("nan")):
        report = verify_challenge(
            challenge(*ASKED), perform(actions=ASKED).frames(), someone(1), evidence=camera(picture_s=picture_s)
        )
        assert [check.name for check in report.checks if not check.passed] == ["clock"]


@pytest.mark.parametrize(("sound_s", "passes"), [(None, True), (20.0, True), (18.0, True), (8.0, False), (50.0, False)])
def test_sound_and_picture_were_recorded_together(sound_s, passes, challenge, perform, someone, camera):
    report = verify_challenge(
        challenge(*ASKED), perform(actions=ASKED).frames(), someone(1), evidence=camera(sound_s=sound_s)
    )
    assert [check.name for check in report.checks if not check.passed] == ([] if passes else ["clock"])
