"""Asking for a challenge and handing in an answer, from files or from what was measured in a file before."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

from portrait_anim.consent import registry
from portrait_anim.consent.challenges import issue_challenge
from portrait_anim.consent.evidence import EnrolmentPolicy, RecordingEvidence
from portrait_anim.consent.records import Cameo, Challenge, LivenessFrame
from portrait_anim.consent.store import ConsentStore
from portrait_anim.enrolment import MeasuredPortrait, enroll_from_files, measure_portrait
from portrait_anim.face.identity import load_identity_encoder
from portrait_anim.observation import Watched, gather_evidence, observe
from portrait_anim.weights import samples_dir

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
ANSWERED = NOW + timedelta(minutes=1)
SAMPLES = samples_dir()
PORTRAIT, OTHER, VIDEO = (SAMPLES / name for name in ("portrait.jpg", "portrait_b.jpg", "challenge.mp4"))
PERFORMED = tuple(step["action"] for step in json.loads((SAMPLES / "challenge.json").read_text())["actions"])


class Scripted(Random):
    """A source of randomness that draws given actions."""

    def __init__(self, actions: Sequence[str] = PERFORMED) -> None:
        super().__init__()  # ids differ
        self.actions = list(actions)

    def sample(self, population: Sequence[Any], k: int, **_: Any) -> list[Any]:
        return self.actions


@functools.cache
def person(portrait: Path) -> MeasuredPortrait:
    """A sample portrait, measured once."""
    return measure_portrait(portrait)


def ask(
    store: ConsentStore, *, portrait: Path = PORTRAIT, actions: Sequence[str] = PERFORMED, **changes: Any
) -> Challenge:
    call = {"name": "Actor A", "adult_declared": True, "now": NOW, "code_policy": "off", **changes}
    return issue_challenge(
        store, portrait_digest=person(portrait).digest, random=Scripted(actions), num_actions=6, **call
    )


@dataclass(frozen=True)
class Measured:
    """A video that was measured once, as `enroll_from_files` measures it, to be judged several times."""

    observations: list[LivenessFrame]
    evidence: RecordingEvidence


def measure(store: ConsentStore, video: Path) -> Measured:
    watched = Watched()
    observations = list(observe(video, load_identity_encoder("dlib"), watched=watched))
    challenge, policy = ask(store), EnrolmentPolicy()
    evidence = gather_evidence(challenge, PORTRAIT, video, watched=watched, policy=policy)
    return Measured(observations=observations, evidence=evidence)


def hand_in(
    store: ConsentStore, challenge: Challenge, video: Path | Measured, portrait: Path = PORTRAIT, **changes: Any
) -> Cameo:
    """Enrol from files, or from what was measured in a file before."""
    call = {"challenge_id": challenge.id, "now": ANSWERED, **changes}
    if isinstance(video, Path):
        return enroll_from_files(store, portrait=portrait, video=video, **call)
    return registry.enroll(
        store,
        portrait_embedding=person(portrait).embedding,
        portrait_digest=person(portrait).digest,
        observations=video.observations,
        evidence=video.evidence,
        **call,
    )
