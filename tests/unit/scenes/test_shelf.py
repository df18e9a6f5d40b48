from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from portrait_anim.consent.denylist import add_denied
from portrait_anim.consent.grants import grant, revoke
from portrait_anim.consent.permit import RenderPermit, authorise
from portrait_anim.consent.records import RenderRequest
from portrait_anim.consent.registry import delete_cameo, enroll_fictional, list_cameos
from portrait_anim.consent.renders import record_render
from portrait_anim.consent.rows import put_cameo
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.scenes.permission import was_rendered, why_withdrawn
from portrait_anim.scenes.shelf import FinishedShot, ShotShelf
from portrait_anim.types import IdentityEmbedding
from portrait_anim.weights import file_sha256

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
KEY = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConsentStore]:
    with open_store(tmp_path / "home") as opened:
        yield opened


def permit(store: ConsentStore) -> RenderPermit:
    face = IdentityEmbedding(vector=np.ones(128, np.float32), backend="dlib")
    cameo = enroll_fictional(
        store, name="Nobody", statement="Painted.", portrait_embedding=face, portrait_digest=KEY, now=NOW
    )
    grant(
        store, cameo.id, grantee="operator", purpose="any", allowed_contexts=["scene"],
        expires=NOW + timedelta(days=1), max_renders=3, max_seconds=60, now=NOW,
    )  # fmt: skip
    request = RenderRequest(
        cameo_id=cameo.id, portrait_digest=KEY, portrait_embedding=face, grantee="operator", purpose="",
        context="scene", duration_s=2, profile="lite",
    )  # fmt: skip
    return authorise(store, request, now=NOW)


@pytest.fixture
def shelf(tmp_path: Path) -> ShotShelf:
    return ShotShelf(tmp_path / "film.shots")


@pytest.fixture
def shot(store: ConsentStore, shelf: ShotShelf) -> FinishedShot:
    allowed = permit(store)
    shelf.video(KEY).write_bytes(b"pictures")
    digest = file_sha256(shelf.video(KEY))
    record_render(store, allowed, output_digest=digest, duration_s=2, num_frames=50, now=NOW)
    finished = FinishedShot(
        shot_id="one", key=KEY, cameo_id=allowed.cameo_id, cameo_kind=allowed.cameo_kind, grant_id=allowed.grant_id,
        permit_id=allowed.id, sha256=digest, num_frames=50, fps="25",
    )  # fmt: skip
    shelf.put(finished)
    return finished


def test_a_finished_shot_is_found_again(store: ConsentStore, shelf: ShotShelf, shot: FinishedShot) -> None:
    found = shelf.find(KEY, "renamed", store, NOW)
    assert found is not None
    assert (found.shot_id, found.reused, found.sha256) == ("renamed", True, shot.sha256)
    assert was_rendered(store, shot.permit_id, shot.grant_id, shot.sha256)
    assert shelf.find("cd" * 32, "one", store, NOW) is None


def test_a_revoked_grant_destroys_the_shot(store: ConsentStore, shelf: ShotShelf, shot: FinishedShot) -> None:
    revoke(store, shot.grant_id, NOW)
    assert why_withdrawn(store, shot.cameo_id, shot.grant_id, NOW) == "revoked"
    assert shelf.find(KEY, "one", store, NOW) is None
    assert list(shelf.folder.iterdir()) == []


def test_a_deleted_cameo_destroys_the_shot(store: ConsentStore, shelf: ShotShelf, shot: FinishedShot) -> None:
    delete_cameo(store, shot.cameo_id, now=NOW)
    assert why_withdrawn(store, shot.cameo_id, shot.grant_id, NOW) == "deleted"
    assert shelf.find(KEY, "one", store, NOW) is None


def test_a_face_put_on_the_denylist_destroys_the_shot(
    store: ConsentStore, shelf: ShotShelf, shot: FinishedShot
) -> None:
    (cameo,) = list_cameos(store)
    add_denied(store, cameo.embeddings, label="request 7", now=NOW)
    assert why_withdrawn(store, shot.cameo_id, shot.grant_id, NOW) == "denylisted"
    assert shelf.find(KEY, "one", store, NOW) is None
    assert list(shelf.folder.iterdir()) == []


def test_a_person_who_enrols_destroys_the_shot_of_a_figure_with_their_face(
    store: ConsentStore, shelf: ShotShelf, shot: FinishedShot
) -> None:
    (figure,) = list_cameos(store)
    person = replace(figure, id="cam_0123456789abcdef", kind="real", statement="")
    with store.write() as connection:
        put_cameo(connection, store, person, new=True)
    assert why_withdrawn(store, shot.cameo_id, shot.grant_id, NOW) == "matches_real_person"
    assert shelf.find(KEY, "one", store, NOW) is None


def test_an_expired_grant_destroys_the_shot(store: ConsentStore, shelf: ShotShelf, shot: FinishedShot) -> None:
    assert why_withdrawn(store, shot.cameo_id, shot.grant_id, NOW + timedelta(days=1)) == "expired"
    assert shelf.find(KEY, "one", store, NOW + timedelta(days=1)) is None


def test_another_file_in_its_place_is_destroyed(store: ConsentStore, shelf: ShotShelf, shot: FinishedShot) -> None:
    shelf.video(KEY).write_bytes(b"others")
    assert shelf.find(KEY, "one", store, NOW) is None
    assert list(shelf.folder.iterdir()) == []


def test_a_note_that_claims_another_file_is_not_believed(
    store: ConsentStore, shelf: ShotShelf, shot: FinishedShot
) -> None:
    shelf.video(KEY).write_bytes(b"others")
    note = shelf.folder / f"{KEY}.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "sha256": file_sha256(shelf.video(KEY))}))
    assert shelf.find(KEY, "one", store, NOW) is None


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"fps": "0"}', "null"])
def test_a_damaged_note_means_rendering_again(
    store: ConsentStore, shelf: ShotShelf, shot: FinishedShot, note: str
) -> None:
    (shelf.folder / f"{KEY}.json").write_text(note)
    assert shelf.find(KEY, "one", store, NOW) is None


def test_length_in_a_film_of_another_rate(shot: FinishedShot) -> None:
    assert shot.length_in(Fraction(25)) == 50
    assert shot.length_in(Fraction(30)) == 60
    assert shot.length_in(Fraction(1, 10)) == 1
