"""Performances that do not answer the challenge: other steps, other order, other speed, other digits."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import numpy as np
import pytest

from portrait_anim.consent.challenges import draw_actions
from portrait_anim.consent.recording_checks import code_was_said
from portrait_anim.consent.store import ConsentStore

from . import videos
from .handing_in import NOW, PERFORMED, Measured, ask

pytestmark = pytest.mark.slow


def test_other_orders_and_other_steps_are_refused(
    attack: Callable[..., list[str]], store: ConsentStore, honest: Measured
) -> None:
    orders = set(itertools.islice(itertools.permutations(PERFORMED), 1, 720, 29))
    for order in orders - {PERFORMED}:
        assert "step" in attack("wrong order", honest, challenge=ask(store, actions=order))
    for seed in range(25):
        drawn = draw_actions(Random(seed))
        assert drawn != PERFORMED[: len(drawn)]
        failed = attack("another challenge", honest, challenge=ask(store, actions=drawn))
        assert {"step", "order"} & set(failed)


def test_a_mirrored_video_is_refused(
    attack: Callable[..., list[str]], frames: list[np.ndarray], tmp_path: Path
) -> None:
    assert "step" in attack("mirrored", videos.film(tmp_path / "m.mp4", [frame[:, ::-1] for frame in frames]))


def test_a_late_step_is_refused(attack: Callable[..., list[str]], frames: list[np.ndarray], tmp_path: Path) -> None:
    rest = frames[55:60]
    swing = (rest + rest[::-1]) * 15  # ten seconds of rest without a jump
    assert "step" in attack("late step", videos.film(tmp_path / "late.mp4", frames[:55] + swing + frames[55:]))


@pytest.mark.parametrize(
    ("times_as_fast", "by"), [(2.5, "tempo"), (3.5, "tempo"), (5.0, "recording"), (0.4, "recording")]
)
def test_stretched_time_is_refused(
    times_as_fast: float, by: str, attack: Callable[..., list[str]], honest: Measured
) -> None:
    scene = replace(honest.evidence.scene, time_s=honest.evidence.scene.time_s / times_as_fast)
    evidence = replace(honest.evidence, scene=scene, picture_s=honest.evidence.picture_s / times_as_fast)
    frames = [replace(frame, time_s=frame.time_s / times_as_fast) for frame in honest.observations]
    failed = attack(f"{times_as_fast:g} times as fast", Measured(observations=frames, evidence=evidence))
    assert by in failed


def test_sound_that_was_not_recorded_with_the_picture_is_refused(
    attack: Callable[..., list[str]], honest: Measured
) -> None:
    for sound_s in (0.0, 9.0, 40.0):
        evidence = replace(honest.evidence, sound_s=sound_s)
        assert "clock" in attack("sound of another length", replace(honest, evidence=evidence))


def test_an_answer_in_less_time_than_it_lasts_is_refused(attack: Callable[..., list[str]], honest: Measured) -> None:
    for after_s in (0, 5, 12):
        now = NOW + timedelta(seconds=after_s)
        assert "clock" in attack("answered in less time than it lasts", honest, now=now)


def test_a_silent_video_does_not_answer_a_required_code(
    attack: Callable[..., list[str]], store: ConsentStore, honest: Measured
) -> None:
    assert attack("no code spoken", honest, challenge=ask(store, code_policy="required")) == ["code"]
    random = Random(7)
    for _ in range(40):
        evidence = replace(honest.evidence, sound_s=honest.evidence.picture_s, heard=f"{random.randrange(10**6):06d}")
        challenge = ask(store, code_policy="required")
        if not code_was_said(challenge.code, evidence.heard or ""):
            assert "code" in attack("another code", replace(honest, evidence=evidence), challenge=challenge)
