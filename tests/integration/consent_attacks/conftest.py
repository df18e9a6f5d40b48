"""Attacks on enrolment. Every one must be refused; each prints how many were tried and what refused them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portrait_anim.consent.ledger import Ledger
from portrait_anim.consent.records import Challenge
from portrait_anim.consent.registry import list_cameos
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.errors import ConsentDenied, InputError, LivenessFailed

from . import videos
from .handing_in import OTHER, PORTRAIT, VIDEO, Measured, ask, hand_in, measure


@dataclass
class Tally:
    """What was tried and what refused it."""

    tried: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)

    def note(self, attack: str, reasons: Sequence[str]) -> None:
        self.tried[attack] += 1
        self.refused[attack] += bool(reasons)
        self.reasons.setdefault(attack, Counter()).update(reasons)


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    counted = Tally()
    yield counted
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        for attack, tried in counted.tried.items():
            by = ", ".join(f"{reason} {count}" for reason, count in counted.reasons[attack].most_common())
            sys.stdout.write(f"\n  {attack}: {counted.refused[attack]} of {tried} refused ({by})")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConsentStore]:
    with open_store(tmp_path / "home") as opened:
        yield opened


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """The sample video, measured."""
    with open_store(tmp_path_factory.mktemp("measured") / "home") as store:
        return measure(store, VIDEO)


@pytest.fixture
def attack(store: ConsentStore, tally: Tally) -> Callable[..., list[str]]:
    """Hand in a video; return the failed checks and steps, after making sure that nobody was enrolled."""

    def run(
        name: str,
        video: Path | Measured,
        *,
        portrait: Path = PORTRAIT,
        challenge: Challenge | None = None,
        **changes: Any,
    ) -> list[str]:
        issued = challenge or ask(store, portrait=portrait)
        before = list_cameos(store)
        try:
            hand_in(store, issued, video, portrait, **changes)
        except LivenessFailed as error:
            (row,) = [row for row in Ledger(store).rows(kind="enrolment_refused") if row.challenge_id == issued.id]
            failed = list(row.payload["failed_checks"])  # type: ignore[call-overload]
            failed += ["step"] * any(failure.startswith("step ") for failure in error.failures)
            words = list(error.failures)
        except (ConsentDenied, InputError) as error:
            failed, words = [getattr(error, "reason", type(error).__name__)], [str(error)]
        else:
            failed, words = [], []
        tally.note(name, failed)
        assert failed, f"{name} was accepted"
        assert all(words)
        assert list_cameos(store) == before
        return failed

    return run


@pytest.fixture(scope="session")
def frames() -> list[np.ndarray]:
    return videos.frames_of(VIDEO)


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The other actor as our own program shows them performing the challenge."""
    from portrait_anim import studio
    from portrait_anim.consent.grants import grant
    from portrait_anim.enrolment import enroll_fictional_from_file

    folder = tmp_path_factory.mktemp("generated")
    with open_store(folder / "home") as store:
        now = datetime.now(timezone.utc)
        cameo = enroll_fictional_from_file(store, portrait=OTHER, name="B", statement="Rendered.", now=now)
        grant(
            store, cameo.id, grantee="operator", purpose="test", allowed_contexts=["animate"],
            expires=now + timedelta(hours=3), max_renders=1, max_seconds=60.0, now=now,
        )  # fmt: skip
    result = studio.animate(
        OTHER, VIDEO, cameo=cameo.id, output=folder / "b.mp4", home=folder / "home", purpose="test", audio="none",
        start_s=9.0, end_s=10.6,
    )  # fmt: skip
    return result.path
