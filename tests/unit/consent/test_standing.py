import hashlib
import threading
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from portrait_anim.consent.acknowledgements import acknowledge, was_acknowledged
from portrait_anim.consent.denylist import add_denied, is_denied, remove_denied
from portrait_anim.consent.grants import get_grant, grants_for, revoke
from portrait_anim.consent.keys import canonical
from portrait_anim.consent.ledger import Ledger, append_row, verify
from portrait_anim.consent.permit import authorise, still_valid
from portrait_anim.consent.records import Cameo
from portrait_anim.consent.registry import delete_cameo, get_cameo
from portrait_anim.consent.renders import record_render
from portrait_anim.consent.rows import put_cameo
from portrait_anim.consent.standing import PERMIT_LIFETIME, check_permit
from portrait_anim.errors import ConsentDenied
from portrait_anim.types import IdentityEmbedding


@pytest.fixture
def permit(store, fictional, give, ask, now):
    give(fictional, label_size="large")
    return authorise(store, ask(fictional), now=now)


def reason_of(call):
    with pytest.raises(ConsentDenied) as caught:
        call()
    return caught.value.reason


def test_a_worker_asks_by_id_and_learns_what_the_permit_says(store, permit, now):
    facts = check_permit(store, permit.id, now)
    assert (facts.id, facts.cameo_id, facts.max_ms, facts.label_size) == (permit.id, permit.cameo_id, 2000, "large")
    assert (permit.label_size, facts.expires) == ("large", permit.expires)


@pytest.mark.parametrize("permit_id", ["", "per_0000000000000000", "' OR '1'='1", "../x", "per_" + "f" * 5000, "\x00"])
def test_an_id_that_was_never_given_stops_the_worker(permit_id, store, permit, now):
    assert reason_of(lambda: check_permit(store, permit_id, now)) == "forged_permit"


def test_a_worker_with_a_wrong_clock_is_stopped_in_both_directions(store, permit, now):
    check_permit(store, permit.id, permit.expires - timedelta(microseconds=1))
    for skew in (-timedelta(microseconds=1), -timedelta(days=1), PERMIT_LIFETIME, timedelta(days=4000)):
        assert reason_of(lambda skew=skew: check_permit(store, permit.id, now + skew)) == "expired"
        assert reason_of(lambda skew=skew: still_valid(store, permit, now + skew)) == "expired"


def test_revocation_deletion_and_the_end_of_the_render_stop_a_remote_worker(store, fictional, permit, give, ask, now):
    revoke(store, permit.grant_id, now)
    assert reason_of(lambda: check_permit(store, permit.id, now)) == "revoked"
    give(fictional)
    second, third = (authorise(store, ask(fictional), now=now) for _ in range(2))
    record_render(store, second, output_digest="ab" * 32, duration_s=2.0, num_frames=50, now=now)
    assert reason_of(lambda: check_permit(store, second.id, now)) == "used_up"
    delete_cameo(store, fictional, now=now)
    assert reason_of(lambda: check_permit(store, third.id, now)) == "deleted"


def test_who_is_put_on_the_denylist_ends_renders_that_run(store, fictional, permit, give, ask, now, someone):
    add_denied(store, [someone(2)], label="somebody else", now=now)
    still_valid(store, permit, now)
    entry = add_denied(store, [someone(1, age=0.2)], label="request 7", now=now)
    assert reason_of(lambda: still_valid(store, permit, now)) == "denylisted"
    assert reason_of(lambda: check_permit(store, permit.id, now)) == "denylisted"
    finish = {"output_digest": "ab" * 32, "duration_s": 2.0, "num_frames": 50, "now": now}
    assert reason_of(lambda: record_render(store, permit, **finish)) == "denylisted"
    (row,) = Ledger(store).rows(kind="aborted")
    assert (row.permit_id, row.payload["reason"]) == (permit.id, "denylisted")
    remove_denied(store, entry.id, now=now)
    still_valid(store, authorise(store, ask(fictional), now=now), now)


def test_a_face_that_cannot_be_compared_ends_renders_of_figures_only(store, permit, now):
    other_model = IdentityEmbedding(vector=np.ones(512, np.float32), backend="arcface")
    add_denied(store, [other_model], label="request 8", now=now)
    assert reason_of(lambda: still_valid(store, permit, now)) == "denylisted"
    real = replace(get_cameo(store, permit.cameo_id), kind="real")
    with store.read() as connection:
        assert not is_denied(connection, store, real)


def test_a_person_who_enrols_ends_renders_of_a_figure_with_their_face(store, permit, now, someone, digest):
    def enrol(who):
        cameo = Cameo(
            id=f"cam_{who:016x}", name="Ada", kind="real", portrait_digest=digest(90 + who), created=now,
            portrait_embeddings=(), video_embeddings=(someone(who),),
        )  # fmt: skip
        with store.write() as connection:
            put_cameo(connection, store, cameo, new=True)
            append_row(connection, store, "enrolled", now=now, cameo_id=cameo.id, payload={})

    enrol(2)
    still_valid(store, permit, now)
    enrol(1)
    assert reason_of(lambda: still_valid(store, permit, now)) == "matches_real_person"


def test_a_ledger_row_put_beside_the_chain_opens_nothing(store, permit, now, tamper):
    tamper(
        store,
        "INSERT INTO ledger "
        "SELECT seq + 1000, time, kind, cameo_id, grant_id, 'per_00000000000000ff', NULL, 0, 0, payload, "
        "digest, 'beside' FROM ledger WHERE kind = 'authorised'",
    )
    assert reason_of(lambda: check_permit(store, "per_00000000000000ff", now)) == "forged_permit"


def test_a_revocation_from_another_thread_stops_the_next_window(store, permit, now):
    """The owner ends the grant while a render of 40 windows runs: no window starts after the revocation returned."""
    revoked, started = threading.Event(), []
    half = threading.Event()

    def render() -> None:
        for window in range(40):
            after = revoked.is_set()
            still_valid(store, permit, now)
            started.append(after)
            if window == 10:
                half.set()
                revoked.wait(10)

    def end() -> None:
        half.wait(10)
        revoke(store, permit.grant_id, now)
        revoked.set()

    owner = threading.Thread(target=end)
    owner.start()
    assert reason_of(render) == "revoked"
    owner.join()
    assert started == [False] * 11
    verify(store)


def test_forbidden_content_is_confirmed_by_the_person_it_is_for(store, fictional, give, ask, now):
    grant_id = give(fictional, forbidden="No adverts\n\nNothing political")
    assert get_grant(store, grant_id).forbidden == "No adverts\nNothing political"
    assert reason_of(lambda: authorise(store, ask(fictional), now=now)) == "not_acknowledged"
    assert reason_of(lambda: acknowledge(store, grant_id, grantee="mallory", now=now)) == "no_grant"
    assert reason_of(lambda: acknowledge(store, "gra_x", grantee="operator", now=now)) == "no_grant"
    assert not was_acknowledged(store, get_grant(store, grant_id), "operator")
    row = acknowledge(store, grant_id, grantee="operator", now=now)
    assert "operator" not in str(dict(row.payload))
    assert was_acknowledged(store, get_grant(store, grant_id), "operator")
    assert not was_acknowledged(store, get_grant(store, grant_id), "mallory")
    authorise(store, ask(fictional), now=now)


def test_everyone_confirms_for_themselves(store, fictional, give, ask, now):
    grant_id = give(fictional, level="everyone", grantee="", forbidden="No adverts")
    acknowledge(store, grant_id, grantee="ada", now=now)
    authorise(store, ask(fictional, grantee="ada"), now=now)
    assert reason_of(lambda: authorise(store, ask(fictional, grantee="eve"), now=now)) == "not_acknowledged"


def test_a_confirmation_of_another_store_or_grant_does_not_count(store, fictional, give, ask, now, tamper):
    first, second = give(fictional, forbidden="A"), give(fictional, forbidden="A", max_renders=1)
    acknowledge(store, first, grantee="operator", now=now)
    assert not was_acknowledged(store, get_grant(store, second), "operator")
    tamper(
        store,
        f"INSERT INTO ledger SELECT seq + 1000, time, kind, cameo_id, '{second}', NULL, NULL, 0, 0, payload, digest, "
        "'beside' FROM ledger WHERE kind = 'acknowledged'",
    )
    assert not was_acknowledged(store, get_grant(store, second), "operator")


def test_an_ended_grant_cannot_be_confirmed(store, fictional, give, now):
    ended, old = give(fictional, forbidden="A"), give(fictional, forbidden="A")
    revoke(store, ended, now)
    assert reason_of(lambda: acknowledge(store, ended, grantee="operator", now=now)) == "revoked"
    later = now + timedelta(days=2)
    assert reason_of(lambda: acknowledge(store, old, grantee="operator", now=later)) == "expired"
    assert list(Ledger(store).rows(kind="acknowledged")) == []


def test_everybody_sees_the_grants_that_are_for_them(store, fictional, give):
    mine, everyones = give(fictional, grantee="ada"), give(fictional, level="everyone", grantee="")
    give(fictional, grantee="eve")
    assert {given.id for given in grants_for(store, "ada", "acc_1")} == {mine, everyones}
    assert grants_for(store, "") == []


def test_names_in_the_ledger_cannot_be_guessed_and_former_rows_still_count(
    store, fictional, give, ask, now, monkeypatch
):
    def former(store, grantee):
        return hashlib.sha256(canonical(["grantee", store.store_id, grantee])).hexdigest()

    grant_id = give(fictional, forbidden="No adverts")
    monkeypatch.setattr("portrait_anim.consent.acknowledgements.grantee_digest", former)
    acknowledge(store, grant_id, grantee="operator", now=now)
    monkeypatch.undo()
    assert authorise(store, ask(fictional), now=now).grant_id == grant_id
    assert not was_acknowledged(store, get_grant(store, grant_id), "mallory")
    (row,) = Ledger(store).rows(kind="authorised")
    assert row.payload["grantee_digest"] not in (former(store, "operator"), hashlib.sha256(b"operator").hexdigest())
