from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from portrait_anim.consent.ledger import Ledger
from portrait_anim.consent.records import Challenge
from portrait_anim.consent.registry import list_cameos
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.enrolment import (
    enroll_fictional_from_file,
    enroll_from_files,
    issue_challenge_for,
    measure_portrait,
)
from portrait_anim.errors import ConsentDenied, LivenessFailed, MediaError, NoFaceFound
from portrait_anim.media.image import read_image, write_image
from portrait_anim.types import Progress
from portrait_anim.weights import samples_dir

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
SAMPLES = samples_dir()
PORTRAIT, OTHER, VIDEO = (SAMPLES / name for name in ("portrait.jpg", "portrait_b.jpg", "challenge.mp4"))


class Scripted(Random):
    """A source of randomness that draws the actions which the sample video performs."""

    def sample(self, population: Sequence[Any], k: int, **_: Any) -> list[Any]:
        steps = json.loads((SAMPLES / "challenge.json").read_text())["actions"]
        return [step["action"] for step in steps][:k]


class Reversed(Scripted):
    """The same actions in another order."""

    def sample(self, population: Sequence[Any], k: int, **_: Any) -> list[Any]:
        return super().sample(population, k)[::-1]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConsentStore]:
    with open_store(tmp_path / "home") as opened:
        yield opened


def challenge(store: ConsentStore, random: Random, portrait: Path = PORTRAIT) -> Challenge:
    return issue_challenge_for(
        store, portrait=portrait, name="Actor A", adult_declared=True, now=NOW, random=random, num_actions=6
    )


def test_a_portrait_is_measured_once_and_for_all() -> None:
    first, second = measure_portrait(PORTRAIT), measure_portrait(PORTRAIT, face="largest")
    assert first.digest == second.digest
    np.testing.assert_array_equal(first.embedding.vector, second.embedding.vector)
    assert first.digest != measure_portrait(OTHER).digest


@pytest.mark.slow
def test_the_performed_challenge_enrols_the_actor(store: ConsentStore) -> None:
    issued, told = challenge(store, Scripted()), list[Progress]()
    cameo = enroll_from_files(
        store, challenge_id=issued.id, portrait=PORTRAIT, video=VIDEO, now=NOW + timedelta(minutes=1),
        on_progress=told.append,
    )  # fmt: skip
    assert (cameo.kind, cameo.name) == ("real", "Actor A")
    assert [progress.stage for progress in told][-1] == "challenge"
    assert told[-1].done == told[-1].total
    with pytest.raises(ConsentDenied) as caught:
        enroll_fictional_from_file(store, portrait=PORTRAIT, name="No one", statement="Painted.", now=NOW)
    assert caught.value.reason == "matches_real_person"
    other = enroll_fictional_from_file(store, portrait=OTHER, name="B", statement="Rendered.", now=NOW)
    assert other.kind == "fictional"


@pytest.mark.slow
@pytest.mark.parametrize(("random", "portrait"), [(Reversed(), PORTRAIT), (Scripted(), OTHER)])
def test_a_wrong_order_or_another_person_is_refused(store: ConsentStore, random: Random, portrait: Path) -> None:
    issued = challenge(store, random, portrait)
    with pytest.raises(LivenessFailed) as caught:
        enroll_from_files(store, challenge_id=issued.id, portrait=portrait, video=VIDEO, now=NOW)
    assert caught.value.failures
    assert list_cameos(store) == []
    assert [row.kind for row in Ledger(store).rows()][-1] == "enrolment_refused"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scores", "told"),
    [([0.79], "sees a picture or a screen"), ([None], "could not judge"), ([0.99, None, None], "could not judge")],
)
def test_a_liveness_network_that_doubts_or_does_not_tell_refuses(
    store: ConsentStore, scores: list[float | None], told: str
) -> None:
    """The library's default policy; the network answers in turn, the other checks pass."""
    issued, answers = challenge(store, Scripted()), itertools.cycle(scores)
    with pytest.raises(LivenessFailed) as caught:
        enroll_from_files(
            store, challenge_id=issued.id, portrait=PORTRAIT, video=VIDEO, now=NOW + timedelta(minutes=1),
            liveness=lambda *_: next(answers),
        )  # fmt: skip
    assert len(caught.value.failures) == 1
    assert told in caught.value.failures[0]
    assert list_cameos(store) == []


def test_files_that_cannot_be_read_do_not_spend_the_challenge(store: ConsentStore, tmp_path: Path) -> None:
    issued, empty, blank = challenge(store, Scripted()), tmp_path / "empty.mp4", tmp_path / "blank.png"
    empty.write_bytes(b"")
    write_image(blank, np.full((256, 256, 3), 127, np.uint8))
    cases = ((PORTRAIT, empty, MediaError), (empty, VIDEO, MediaError), (blank, VIDEO, NoFaceFound))
    for portrait, video, error in cases:
        with pytest.raises(error):
            enroll_from_files(store, challenge_id=issued.id, portrait=portrait, video=video, now=NOW)
    assert list(Ledger(store).rows(kind="enrolment_refused")) == []


def test_a_challenge_that_is_over_is_refused_before_any_work(store: ConsentStore, tmp_path: Path) -> None:
    issued = challenge(store, Scripted())
    with pytest.raises(ConsentDenied) as caught:
        enroll_from_files(
            store, challenge_id=issued.id, portrait=tmp_path / "absent", video=tmp_path / "absent",
            now=NOW + timedelta(minutes=10),
        )  # fmt: skip
    assert caught.value.reason == "challenge_expired"


def test_a_fictional_figure_is_enrolled_with_its_statement(store: ConsentStore) -> None:
    cameo = enroll_fictional_from_file(store, portrait=PORTRAIT, name="Anna", statement="Rendered by us.", now=NOW)
    assert (cameo.kind, cameo.statement) == ("fictional", "Rendered by us.")
    assert len(read_image(PORTRAIT)) == 512
