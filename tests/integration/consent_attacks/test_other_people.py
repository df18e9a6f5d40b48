"""Somebody else than the person of the portrait, all the time or for a moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from portrait_anim.consent.liveness import verify_challenge
from portrait_anim.consent.store import ConsentStore
from portrait_anim.enrolment import measure_portrait

from . import videos
from .conftest import Tally
from .handing_in import OTHER, Measured, ask, person

pytestmark = pytest.mark.slow


def test_another_persons_portrait_is_refused(attack: Callable[..., list[str]], honest: Measured) -> None:
    assert attack("wrong person", honest, portrait=OTHER) == ["identity"]


def test_look_alikes_are_refused_as_often_as_the_threshold_says(
    honest: Measured, store: ConsentStore, tally: Tally
) -> None:
    """Portraits of other synthetic people, handed in with the actor's video."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "data" / "portraits"
    if not folder.is_dir():
        pytest.skip("the portraits of synthetic people are not beside this checkout")
    young = {f"{int(number):04d}" for number in (folder / "omi_young_ids.txt").read_text().split()}
    others = [path for path in sorted((folder / "omi").iterdir()) if path.stem not in young][::20]
    challenge = ask(store)
    accepted = 0
    for path in others:
        other = measure_portrait(path, face="largest").embedding
        report = verify_challenge(challenge, honest.observations, other, evidence=honest.evidence)
        tally.note("look-alike among strangers", [check.name for check in report.checks if not check.passed])
        accepted += report.passed
    assert accepted == 0


def test_a_person_swapped_in_the_middle_is_refused(
    attack: Callable[..., list[str]], generated: Path, frames: list[np.ndarray], tmp_path: Path
) -> None:
    others = videos.frames_of(generated)
    start = round(9.0 * videos.FPS)
    shown = frames[:start] + others + frames[start + len(others) :]
    failed = attack("swapped person", videos.film(tmp_path / "swap.mp4", shown))
    assert "identity" in failed
    assert {"continuity", "scene"} & set(failed)


def test_faces_exchanged_in_the_measurements_are_refused(attack: Callable[..., list[str]], honest: Measured) -> None:
    """Only the identity changes, for one sample, at each place in turn: no cut betrays it."""
    other = person(OTHER).embedding
    sampled = [i for i, frame in enumerate(honest.observations) if frame.embedding is not None]
    for place in sampled:
        frames = list(honest.observations)
        frames[place] = replace(frames[place], embedding=other)
        assert "identity" in attack("swapped person, one sample", replace(honest, observations=frames))
