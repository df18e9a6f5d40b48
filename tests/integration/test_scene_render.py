from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path

import pytest

from portrait_anim.consent.grants import grant, list_grants, revoke
from portrait_anim.consent.ledger import Ledger
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.enrolment import enroll_fictional_from_file
from portrait_anim.errors import Cancelled, ConsentDenied
from portrait_anim.media.reader import VideoReader
from portrait_anim.provenance.verify import verify
from portrait_anim.scenes.renderer import SceneResult, check_scene, render_scene
from portrait_anim.types import Progress
from portrait_anim.weights import samples_dir

pytestmark = pytest.mark.slow

SAMPLES = samples_dir()
SCRIPT = f"""\
fps: 10
size: 256x256
purpose: film
defaults: {{size: 128, steps: 1}}
roles:
  anna: {{portrait: {SAMPLES / "portrait.jpg"}}}
  ben: {{portrait: {SAMPLES / "portrait_b.jpg"}}}
shots:
  - {{id: one, role: anna, driving: {SAMPLES / "driving.mp4"}, in: 0, out: 0.5}}
  - {{id: two, role: ben, driving: {SAMPLES / "driving_b.mp4"}, in: 0.4, out: 0.8}}
  - {{id: three, role: anna, driving: {SAMPLES / "driving.mp4"}, in: 3, out: 3.3}}
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConsentStore]:
    with open_store(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def cast(store: ConsentStore) -> dict[str, str]:
    now = datetime.now(timezone.utc)
    made = {}
    for role, name in (("anna", "portrait.jpg"), ("ben", "portrait_b.jpg")):
        cameo = enroll_fictional_from_file(
            store, portrait=SAMPLES / name, name=role, statement="Rendered by a program.", now=now
        )
        grant(
            store, cameo.id, grantee="operator", purpose="film", allowed_contexts=["scene"],
            expires=now + timedelta(hours=1), max_renders=2, max_seconds=10, now=now,
        )  # fmt: skip
        made[role] = cameo.id
    return made


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "scene.yaml"
    path.write_text(SCRIPT)
    return path


def stop_after(shots: int) -> tuple[list[Progress], object]:
    told: list[Progress] = []
    return told, lambda: any(progress.stage == "shots" and progress.done >= shots for progress in told)


def render(script: Path, cast: dict[str, str], told: list[Progress] | None = None, **settings: object) -> SceneResult:
    return render_scene(
        script, script.parent / "film.mp4", home=script.parent / "home", cast=cast,
        on_progress=None if told is None else told.append, **settings,
    )  # type: ignore[arg-type]  # fmt: skip


def test_an_interrupted_scene_goes_on_and_a_revoked_role_stops_it(
    script: Path, cast: dict[str, str], store: ConsentStore
) -> None:
    film = script.parent / "film.mp4"
    told, cancel = stop_after(1)
    with pytest.raises(Cancelled):
        render(script, cast, told, cancel=cancel)
    assert not film.exists()
    finished = check_scene(script, home=store.home, cast=cast, work=script.parent / "film.shots").finished
    assert finished == ("one",)

    told = []
    result = render(script, cast, told)
    assert [shot.reused for shot in result.shots] == [True, False, False]
    assert {progress.stage for progress in told} >= {"shots", "two animate", "three animate", "join"}
    assert result.num_frames == 5 + 4 + 3
    with VideoReader(film) as reader:
        assert sum(1 for _ in reader) == 12
        assert (reader.fps, reader.info.has_audio) == (Fraction(10), True)
        assert (reader.info.width, reader.info.height) == (256, 256)
    report = verify(film, home=store.home)
    assert report.ok
    parts = report.claims["consent"]["parts"]
    assert [part["cameo_id"] for part in parts] == [cast["anna"], cast["ben"], cast["anna"]]
    rows = list(Ledger(store).rows())
    assert sum(row.kind == "rendered" for row in rows) == 3
    assert rows[-1].payload["output_digest"] == result.sha256

    # All shots are finished, so nothing is charged; both grants are used up all the same.
    assert [shot.reused for shot in render(script, cast).shots] == [True] * 3

    film.unlink()
    revoke(store, list_grants(store, cast["ben"])[0].id, datetime.now(timezone.utc))
    with pytest.raises(ConsentDenied, match="'ben'"):
        render(script, cast)
    assert not film.exists()
    assert len(list((script.parent / "film.shots").glob("*.mp4"))) == 2
