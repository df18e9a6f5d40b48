from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from portrait_anim.consent.denylist import add_denied, find_denied, list_denied, remove_denied
from portrait_anim.consent.ledger import Ledger, append_row, verify
from portrait_anim.consent.matching import MatchPolicy, distance, matches
from portrait_anim.consent.people_search import nearest_people, protected_people
from portrait_anim.consent.records import Cameo
from portrait_anim.consent.registry import delete_cameo
from portrait_anim.consent.rows import find_cameo, put_cameo
from portrait_anim.consent.store import open_store
from portrait_anim.errors import ConsentDenied, LedgerTampered
from portrait_anim.types import IdentityEmbedding


def arcface(seed):
    return IdentityEmbedding(vector=np.random.default_rng(seed).normal(size=512).astype(np.float32), backend="arcface")


@pytest.fixture
def add(now):
    """Write an enrolled cameo as the gate does, without the film."""

    def build(store, number, *embeddings, kind="real", fail=False):
        cameo = Cameo(
            id=f"cam_{number:016x}", name="N", kind=kind, portrait_digest=f"{number:064x}",
            portrait_embeddings=embeddings[:1], video_embeddings=embeddings[1:], created=now,
        )  # fmt: skip
        with store.write() as connection:
            put_cameo(connection, store, cameo, new=True)
            append_row(connection, store, "enrolled", now=now, cameo_id=cameo.id, payload={})
            if fail:
                near = nearest_people(connection, store, embeddings[0])
                assert cameo.id in [one.id for one in near]
                raise RuntimeError("rolled back")
        return cameo.id

    return build


def near(store, face, **options):
    with store.read() as connection:
        return nearest_people(connection, store, face, **options)


def denied(store, face, match=None):
    with store.read() as connection:
        return find_denied(connection, store, face, match)


@pytest.mark.parametrize("make", ["dlib", "arcface"])
def test_the_nearest_are_those_that_measuring_everybody_finds(make, store, add, someone):
    embed = someone if make == "dlib" else arcface
    people = {add(store, number, embed(number), embed(500 + number)): (embed(number), embed(500 + number))
              for number in range(40)}  # fmt: skip
    face = replace(embed(7), vector=embed(7).vector + 0.01 * embed(999).vector)
    slow = sorted((min(distance(face, other) for other in known), one) for one, known in people.items())
    fast = near(store, face, limit=6)
    assert [(one.distance, one.id) for one in fast] == slow[:6]
    assert fast[0].id == f"cam_{7:016x}"
    assert {one.group for one in fast} == {"real"}
    assert [one.id for one in near(store, face, limit=6, match=MatchPolicy())] == [fast[0].id]


def test_kinds_are_kept_apart(store, add, someone):
    add(store, 1, someone(1))
    drawn = add(store, 2, someone(1), kind="fictional")
    assert [one.id for one in near(store, someone(1), kinds=("fictional",))] == [drawn]
    assert len(near(store, someone(1), kinds=("real", "fictional"))) == 2
    assert near(store, arcface(1), kinds=("real", "fictional")) == []


def test_changes_by_others_are_seen_at_once(store, add, someone, now):
    first = add(store, 1, someone(1))
    assert [one.id for one in near(store, someone(2), limit=1)] == [first]
    with open_store(store.home) as other:
        second = add(other, 2, someone(2))
        assert [one.id for one in near(store, someone(2), limit=1)] == [second]
        delete_cameo(other, second, now=now)
    assert [one.id for one in near(store, someone(2))] == [first]


def test_a_change_that_was_rolled_back_is_forgotten(store, add, someone):
    add(store, 1, someone(1))
    with pytest.raises(RuntimeError, match="rolled back"):
        add(store, 2, someone(2), fail=True)
    third = add(store, 3, someone(3))  # gets the generation that was rolled back
    assert [one.id for one in near(store, someone(3), limit=1)] == [third]
    assert len(near(store, someone(3), limit=10)) == 2


def test_a_template_is_opened_once(store, add, someone, monkeypatch):
    for number in range(5):
        add(store, number, someone(number))
    opened = []
    real = store.vault.open.__func__

    def count(self, sealed, *place):
        opened.append(place)
        return real(self, sealed, *place)

    monkeypatch.setattr(type(store.vault), "open", count)
    near(store, someone(1))
    assert len([place for place in opened if place[1] == "template"]) == 5
    near(store, someone(2))
    assert len([place for place in opened if place[1] == "template"]) == 5


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cameos SET template = signature WHERE id LIKE '%2'",
        "UPDATE cameos SET kind = 'fictional'",
        "UPDATE cameos SET status = 'deleted'",
        "UPDATE cameos SET generation = 100 WHERE id LIKE '%2'",
        "DELETE FROM cameos WHERE id LIKE '%2'",
    ],
)
def test_tampered_faces_are_refused(statement, store, add, someone, tamper):
    for number in (1, 2):
        add(store, number, someone(number))
    tamper(store, statement)
    with open_store(store.home) as fresh, pytest.raises(LedgerTampered):
        near(fresh, someone(1))


def test_who_stands_against_a_fictional_face(store, add, someone, digest):
    def against(face, picture):
        with store.read() as connection:
            return [person.id for person in protected_people(connection, store, face, picture)]

    assert against(someone(1), digest(1)) == against(None, digest(1)) == []
    first, second = add(store, 1, someone(1)), add(store, 2, someone(2), arcface(2))
    assert against(someone(1, age=0.2), digest(9)) == [first]
    assert against(someone(9), digest(9)) == []
    assert against(someone(9), digest(2)) == [second]
    assert against(arcface(2), digest(9)) == [second, first]  # the first cannot be compared
    assert against(arcface(9), digest(9)) == [first]
    assert against(None, digest(9)) in ([first], [second])


def test_few_people_decide_like_everybody(store, add, someone, digest):
    policy = MatchPolicy()
    people = {add(store, number, someone(number)): someone(number) for number in range(30)}
    for seed in range(60):
        face = someone(seed % 40, age=0.02 * seed)
        with store.read() as connection:
            found = protected_people(connection, store, face, digest(999), policy)
        everybody = [one for one, known in people.items() if matches(face, [known], policy)]
        assert bool(found) == bool(everybody)
        assert {person.id for person in found} <= set(everybody)


def test_people_who_opted_out_are_found(store, someone, now):
    assert denied(store, someone(1)) is None
    entry = add_denied(store, [someone(1)], label="request 12", now=now)
    found = denied(store, someone(1, age=0.3))
    assert (found.id, round(found.distance, 1)) == (entry.id, 0.3)
    assert denied(store, someone(2)) is None
    assert denied(store, someone(1, age=0.3), MatchPolicy(dlib=0.1)) is None
    assert (denied(store, arcface(3)).id, denied(store, arcface(3)).distance) == (entry.id, None)
    assert list_denied(store) == [entry]
    assert "request" not in repr(entry)


def test_an_entry_with_both_face_models_is_comparable(store, someone, now):
    add_denied(store, [someone(1), arcface(1)], label="both", now=now)
    assert denied(store, arcface(2)) is None
    assert denied(store, arcface(1)).distance == pytest.approx(0, abs=1e-6)


def test_an_entry_is_removed_with_its_face(store, someone, now):
    entry = add_denied(store, [someone(1)], label="request 12", now=now)
    with open_store(store.home) as other:
        assert denied(other, someone(1)).id == entry.id
        left = remove_denied(store, entry.id, now=now + timedelta(hours=1))
        assert denied(other, someone(1)) is None
    assert (left.embeddings, left.label) == ((), "")
    assert remove_denied(store, entry.id, now=now) == left
    assert (list_denied(store), list_denied(store, removed=True)) == ([], [left])
    assert [row.kind for row in Ledger(store).rows()] == ["denied_added", "denied_removed"]
    assert "request" not in str([dict(row.payload) for row in Ledger(store).rows()])
    assert verify(store) == 2


def test_bad_entries(store, someone, now):
    for embeddings, label in (([], "x"), ([someone(1)], ""), ([someone(1)], "a\nb")):
        with pytest.raises(ValueError, match="expected"):
            add_denied(store, embeddings, label=label, now=now)
    nothing = replace(someone(1), vector=np.zeros(128, np.float32))
    with pytest.raises(ValueError, match="finite embedding"):
        add_denied(store, [nothing], label="x", now=now)
    with pytest.raises(ValueError, match="finite embedding"):
        denied(store, nothing)
    with pytest.raises(ConsentDenied) as caught:
        remove_denied(store, "den_' OR 1=1 --", now=now)
    assert caught.value.reason == "no_entry"


def test_a_removed_row_of_the_denylist_is_noticed(store, someone, now, tamper):
    add_denied(store, [someone(1)], label="x", now=now)
    tamper(store, "DELETE FROM denylist")
    with open_store(store.home) as fresh, pytest.raises(LedgerTampered, match="denylist"):
        denied(fresh, someone(2))


def test_find_cameo_agrees(store, add, someone):
    one = add(store, 1, someone(1), arcface(1))
    with store.read() as connection:
        cameo = find_cameo(connection, store, one)
    assert [embedding.backend for embedding in cameo.embeddings] == ["dlib", "arcface"]
