"""A running render is judged by the face on its photo, by the limits it was permitted with, and by nothing less."""

import json
import zipfile
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from portrait_anim.consent import schema
from portrait_anim.consent.denylist import add_denied
from portrait_anim.consent.export import export_cameo
from portrait_anim.consent.ledger import Ledger, verify
from portrait_anim.consent.maintenance import maintain
from portrait_anim.consent.matching import MatchPolicy, distance
from portrait_anim.consent.permit import authorise, still_valid
from portrait_anim.consent.records import Cameo
from portrait_anim.consent.registry import delete_cameo, get_cameo
from portrait_anim.consent.renders import record_abort, record_render
from portrait_anim.consent.rows import put_cameo
from portrait_anim.consent.service_rows import find_setting, put_setting
from portrait_anim.consent.standing import PERMIT_LIFETIME, check_permit
from portrait_anim.consent.withdrawal import withdraw
from portrait_anim.errors import ConsentDenied, LedgerTampered


@pytest.fixture
def photo(someone):
    """Another photo of the enrolled figure; somebody who looks like the photo need not look like the figure."""
    return someone(1, age=0.4)


@pytest.fixture
def permit(store, fictional, give, ask, now, photo, digest):
    give(fictional)
    return authorise(store, ask(fictional, portrait_digest=digest(7), portrait_embedding=photo), now=now)


def double_of(photo, someone):
    """A person 0.3 from the photo and too far from the enrolled picture."""
    away = photo.vector - someone(1).vector
    found = replace(photo, vector=photo.vector + 0.3 * away / (away**2).sum() ** 0.5)
    assert distance(found, photo) < 0.44 < distance(found, someone(1))
    return found


def enrol_person(store, embedding, now, digest):
    cameo = Cameo(
        id="cam_00000000000000ad", name="Ada", kind="real", portrait_digest=digest(90), created=now,
        portrait_embeddings=(), video_embeddings=(embedding,),
    )  # fmt: skip
    with store.write() as connection:
        put_cameo(connection, store, cameo, new=True)


def kept(store):
    """Keys of the faces that are kept, read past the program."""
    with store.read() as connection:
        return list(connection.execute(select(schema.settings.c.key)).scalars())


def refusals(store, permit, now):
    """What the window of a render here, a worker elsewhere and the end of the render are told."""
    finish = {"output_digest": "ab" * 32, "duration_s": 2.0, "num_frames": 50, "now": now}
    calls = (
        lambda: still_valid(store, permit, now),
        lambda: check_permit(store, permit.id, now),
        lambda: record_render(store, permit, **finish),
    )
    reasons = []
    for call in calls:
        with pytest.raises(ConsentDenied) as caught:
            call()
        reasons.append(caught.value.reason)
    return reasons


def test_the_face_on_the_photo_is_asked_about_not_the_enrolled_one(store, permit, now, someone, photo):
    add_denied(store, [double_of(photo, someone)], label="request 7", now=now)
    assert refusals(store, permit, now) == ["denylisted"] * 3


def test_a_person_who_looks_like_the_photo_ends_it(store, permit, now, someone, photo, digest):
    enrol_person(store, double_of(photo, someone), now, digest)
    assert refusals(store, permit, now) == ["matches_real_person"] * 3


def test_who_resembles_only_the_enrolled_picture_does_not(store, permit, now, someone, photo):
    """The decision before the render would not refuse either."""
    away = someone(1).vector - photo.vector
    far = replace(photo, vector=someone(1).vector + 0.3 * away / (away**2).sum() ** 0.5)
    assert distance(far, someone(1)) < 0.44 < distance(far, photo)
    add_denied(store, [far], label="request 8", now=now)
    still_valid(store, permit, now)


@pytest.mark.parametrize(("limit", "ends"), [(0.2, False), (0.44, True), (0.6, True)])
def test_the_limits_of_the_permit_stay_in_force(limit, ends, store, fictional, give, ask, now, someone):
    give(fictional)
    permit = authorise(store, ask(fictional), now=now, match=MatchPolicy(dlib=limit))
    add_denied(store, [someone(1, age=0.3)], label="request 7", now=now)
    if ends:
        assert refusals(store, permit, now) == ["denylisted"] * 3
    else:
        still_valid(store, permit, now)
        check_permit(store, permit.id, now)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM settings",
        "UPDATE settings SET value = NULL",
        "UPDATE settings SET key = 'shown per_0000000000000000'",
        "UPDATE settings SET cameo_id = 'cam_0000000000000000'",
    ],
)
def test_a_face_that_was_taken_away_or_changed_ends_the_render(statement, store, permit, now, tamper):
    tamper(store, statement)
    for call in (lambda: still_valid(store, permit, now), lambda: check_permit(store, permit.id, now)):
        with pytest.raises(LedgerTampered, match="changed outside the program"):
            call()


def test_the_face_of_another_permit_does_not_do(store, fictional, permit, ask, now, digest):
    other = authorise(store, ask(fictional), now=now)
    with store.write() as connection:
        text = find_setting(connection, store, fictional, f"shown {other.id}")
        put_setting(connection, store, fictional, f"shown {permit.id}", text)
    with pytest.raises(LedgerTampered, match=permit.id):
        still_valid(store, permit, now)
    still_valid(store, other, now)


@pytest.mark.parametrize("end", ["rendered", "aborted", "withdrawn", "deleted", "killed"])
def test_the_face_is_erased_with_the_permit(end, store, fictional, permit, now):
    assert kept(store) == [f"shown {permit.id}"]
    if end == "rendered":
        record_render(store, permit, output_digest="ab" * 32, duration_s=2.0, num_frames=50, now=now)
    elif end == "aborted":
        record_abort(store, permit, reason="Cancelled", now=now)
    elif end == "withdrawn":
        withdraw(store, permit.id, now)
    elif end == "deleted":
        delete_cameo(store, fictional, now=now)
    else:
        assert maintain(store, now + PERMIT_LIFETIME - timedelta(seconds=1)).retention.faces == 0
        assert maintain(store, now + PERMIT_LIFETIME).retention.faces == 1
    assert kept(store) == []
    assert verify(store)


def test_nothing_of_the_face_is_in_the_ledger_and_its_owner_gets_a_copy(store, fictional, permit, now, photo, tmp_path):
    (row,) = Ledger(store).rows(kind="authorised")
    assert len(row.payload["permit"]["shown_face"]) == 64
    with zipfile.ZipFile(export_cameo(store, fictional, tmp_path / "a.zip", now=now)) as archive:
        shown = json.loads(archive.read("renders.json"))
    assert shown[permit.id]["embedding"]["vector"] == pytest.approx([float(value) for value in photo.vector])
    assert get_cameo(store, fictional).portrait_embeddings[0].vector[0] != photo.vector[0]
