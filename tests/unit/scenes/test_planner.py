from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from portrait_anim.consent.grants import grant
from portrait_anim.consent.ledger import verify as count_rows
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.enrolment import enroll_fictional_from_file
from portrait_anim.errors import ConsentDenied, SceneScriptError
from portrait_anim.media.image import write_image
from portrait_anim.media.writer import VideoWriter
from portrait_anim.scenes.permission import check_grants
from portrait_anim.scenes.planner import ScenePlan, plan_scene, shot_key
from portrait_anim.scenes.script import read_script
from portrait_anim.types import AudioTrack
from portrait_anim.weights import samples_dir

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
SCRIPT = """\
fps: 25
purpose: film
roles:
  anna: {portrait: anna.png, cameo: cam_a}
  ben: {portrait: ben.png}
shots:
  - {id: one, role: anna, driving: clip.mp4, in: 0.2, out: 1}
  - {id: two, role: ben, driving: clip.mp4}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_image(tmp_path / "anna.png", np.full((65, 97, 3), 90, np.uint8))
    write_image(tmp_path / "ben.png", np.full((64, 64, 3), 90, np.uint8))
    audio = AudioTrack(samples=np.zeros((1, 48_000), np.float32), sample_rate_hz=48_000)
    with VideoWriter(tmp_path / "clip.mp4", fps=Fraction(25), size=(64, 64), audio=audio) as video:
        for index in range(50):
            video.write(np.full((64, 64, 3), index, np.uint8))
    return tmp_path


def planned(folder: Path, text: str = SCRIPT, **cast: str) -> ScenePlan:
    path = folder / "scene.yaml"
    path.write_text(text)
    return plan_scene(read_script(path), cast=cast or {"ben": "cam_b"})


def test_shots_become_work(folder: Path) -> None:
    plan = planned(folder)
    assert plan.size == (96, 64)
    assert [shot.cameo for shot in plan.shots] == ["cam_a", "cam_b"]
    assert [shot.duration_s for shot in plan.shots] == pytest.approx([0.8, 2.0])
    assert plan.duration_s == pytest.approx(2.8)


def test_the_cast_takes_precedence(folder: Path) -> None:
    assert [shot.cameo for shot in planned(folder, anna="cam_x", ben="cam_b").shots] == ["cam_x", "cam_b"]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("portrait: anna.png", "portrait: absent.png", 4, "absent.png"),
        ("portrait: anna.png", "portrait: scene.yaml", 4, "scene.yaml"),
        ("driving: clip.mp4}", "driving: absent.mp4}", 8, "absent.mp4"),
        ("driving: clip.mp4}", "driving: ben.png}", 8, "moving picture"),
        ("driving: clip.mp4}", "driving: clip.mp4, in: 7}", 8, "end"),
        ("driving: clip.mp4}", "driving: clip.mp4, audio: absent.wav}", 8, "absent.wav"),
        ("driving: clip.mp4}", "driving: clip.mp4, audio: ben.png}", 8, "sound"),
        ("driving: clip.mp4}", "driving: scene.safetensors}", 8, "safetensors"),
        ("ben: {portrait: ben.png}", "ben: {portrait: ben.png, frame: -1}", 5, "greater"),
    ],
)
def test_a_file_that_cannot_be_used_is_pointed_at(folder: Path, old: str, new: str, line: int, words: str) -> None:
    with pytest.raises(SceneScriptError, match=words) as caught:
        planned(folder, SCRIPT.replace(old, new))
    assert caught.value.line == line


def test_a_role_without_cameo_is_pointed_at(folder: Path) -> None:
    with pytest.raises(SceneScriptError, match="--cast ben=") as caught:
        planned(folder, anna="cam_a")
    assert caught.value.line == 5


def test_a_cast_for_nobody_is_refused(folder: Path) -> None:
    with pytest.raises(SceneScriptError, match="carl"):
        planned(folder, ben="cam_b", carl="cam_c")


def key(plan: ScenePlan, index: int = 0, **other: str) -> str:
    facts = {"grantee": "operator", "profile": "lite", "weights_digest": "0", **other}
    return shot_key(plan.shots[index], plan, **facts)


def test_the_key_changes_with_everything_that_changes_the_result(folder: Path) -> None:
    plan = planned(folder)
    same = planned(folder, "title: Another title\n" + SCRIPT)
    assert key(plan) == key(same)
    changed = [
        planned(folder, SCRIPT.replace(old, new))
        for old, new in [
            ("in: 0.2", "in: 0.24"),
            ("out: 1", "out: 1.2"),
            ("fps: 25", "fps: 24"),
            ("purpose: film", "purpose: art"),
            ("cam_a", "cam_x"),
            ("out: 1", "out: 1, seed: 1"),
            ("out: 1", "out: 1, audio: none"),
            ("anna.png", "ben.png"),
        ]
    ]
    others = [key(plan, grantee="else"), key(plan, weights_digest="1"), key(plan, profile="other"), key(plan, 1)]
    keys = [key(plan), *(key(other) for other in changed), *others]
    assert len(set(keys)) == len(keys)
    write_image(folder / "anna.png", np.full((65, 97, 3), 91, np.uint8))
    assert key(planned(folder)) not in keys


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConsentStore]:
    with open_store(tmp_path / "home") as opened:
        yield opened


def allow(store: ConsentStore, cameo: str, *, renders: int = 9, seconds: float = 60) -> None:
    grant(
        store, cameo, grantee="operator", purpose="film", allowed_contexts=["scene"], expires=NOW + timedelta(days=1),
        max_renders=renders, max_seconds=seconds, now=NOW,
    )  # fmt: skip


@pytest.fixture
def cast(store: ConsentStore) -> dict[str, str]:
    return {
        role: enroll_fictional_from_file(
            store, portrait=samples_dir() / name, name=role, statement="Rendered by a program.", now=NOW
        ).id
        for role, name in (("anna", "portrait.jpg"), ("ben", "portrait_b.jpg"))
    }


def test_every_role_needs_a_grant_for_all_its_shots(folder: Path, store: ConsentStore, cast: dict[str, str]) -> None:
    pictures = {"anna.png": "portrait.jpg", "ben.png": "portrait_b.jpg"}
    text = SCRIPT + "  - {id: three, role: anna, driving: clip.mp4}\n"
    for old, new in pictures.items():
        text = text.replace(old, str(samples_dir() / new))
    plan = planned(folder, text, **cast)

    def check(shots: int = 3) -> None:
        check_grants(plan, store, shots=plan.shots[:shots], grantee="operator", profile="lite", now=NOW)

    before = count_rows(store)
    with pytest.raises(ConsentDenied, match=r"'anna'.*'ben'") as caught:
        check()
    assert caught.value.reason == "no_grant"
    assert count_rows(store) == before
    allow(store, cast["anna"], renders=1)
    with pytest.raises(ConsentDenied, match="'ben'"):
        check()
    allow(store, cast["ben"], seconds=2.0)
    with pytest.raises(ConsentDenied, match="'anna'") as caught:
        check()
    assert caught.value.reason == "used_up"
    check(shots=2)
    allow(store, cast["anna"], renders=1)
    check()
    swapped = replace(plan, shots=tuple(replace(shot, cameo=cast["ben"]) for shot in plan.shots))
    with pytest.raises(ConsentDenied) as caught:
        check_grants(swapped, store, shots=swapped.shots[:1], grantee="operator", profile="lite", now=NOW)
    assert caught.value.reason == "portrait_mismatch"
