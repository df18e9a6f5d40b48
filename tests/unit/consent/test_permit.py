import copy
import dataclasses
import pickle
from datetime import timedelta

import pytest

from portrait_anim.consent.grants import revoke
from portrait_anim.consent.keys import load_or_create_keys
from portrait_anim.consent.ledger import Ledger, usage, verify
from portrait_anim.consent.permit import (
    PERMIT_LIFETIME,
    RenderPermit,
    authorise,
    permit_message,
    still_valid,
)
from portrait_anim.consent.records import Usage
from portrait_anim.consent.registry import delete_cameo
from portrait_anim.consent.renders import record_abort, record_render
from portrait_anim.consent.store import open_store
from portrait_anim.errors import ConsentDenied, ConsentError, LedgerTampered


@pytest.fixture
def permit(store, fictional, give, ask, now):
    give(fictional)
    return authorise(store, ask(fictional), now=now)


def used(store, grant_id):
    with store.read() as connection:
        return usage(connection, grant_id)


def finish(store, permit, now, **changes):
    call = {"output_digest": "ab" * 32, "duration_s": 2.0, "num_frames": 50, "now": now}
    return record_render(store, permit, **{**call, **changes})


def reason_of(call):
    with pytest.raises(ConsentDenied) as caught:
        call()
    return caught.value.reason


def test_an_allowed_request_gives_a_permit_and_a_row(store, fictional, permit, digest, now):
    assert (permit.cameo_id, permit.cameo_kind, permit.profile) == (fictional, "fictional", "lite")
    assert (permit.portrait_digest, permit.max_seconds, permit.expires) == (digest(1), 2.0, now + PERMIT_LIFETIME)
    permit.check(digest(1), now)
    still_valid(store, permit, now)
    row = list(Ledger(store).rows(grant_id=permit.grant_id))[-1]
    assert (row.kind, row.permit_id, row.charge_renders, row.charge_ms) == ("authorised", permit.id, 1, 2000)
    assert "operator" not in str(dict(row.payload))
    assert verify(store) == 3


def test_a_refusal_is_a_row_too(store, fictional, ask, now):
    assert reason_of(lambda: authorise(store, ask(fictional), now=now)) == "no_grant"
    assert reason_of(lambda: authorise(store, ask("cam_x"), now=now)) == "no_cameo"
    rows = list(Ledger(store).rows(kind="refused"))
    assert [(row.cameo_id, row.payload["reason"], row.charge_renders) for row in rows] == [
        (fictional, "no_grant", 0),
        ("cam_x", "no_cameo", 0),
    ]
    assert verify(store) == 3


def test_a_permit_cannot_be_made(permit):
    for attempt in (
        RenderPermit,
        lambda: RenderPermit(object(), id="per_1"),
        lambda: RenderPermit(None),
        type(permit),
    ):
        assert reason_of(attempt) == "forged_permit"
    with pytest.raises(TypeError, match="subclass"):
        type("Mine", (RenderPermit,), {})


def test_a_permit_cannot_be_copied_replaced_or_pickled(permit):
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps, lambda item: item.__replace__(id="x")):
        with pytest.raises(TypeError):
            attempt(permit)
    with pytest.raises(TypeError):
        dataclasses.replace(permit, max_seconds=1e9)
    with pytest.raises(TypeError):
        vars(permit)


def test_a_permit_cannot_be_changed(permit, digest, now):
    with pytest.raises(AttributeError):
        permit.max_seconds = 1e9
    with pytest.raises(AttributeError):
        del permit.signature
    with pytest.raises(AttributeError):
        permit.extra = 1


@pytest.mark.parametrize("field", [name for name in RenderPermit.__slots__ if name != "public_key"])
def test_a_permit_changed_by_force_is_worthless(field, store, permit, digest, now):
    other = {
        "expires": permit.expires + timedelta(days=99),
        "issued": now - timedelta(days=1),
        "max_seconds": 999.0,
        "signature": bytes(64),
        "cameo_kind": "real",
    }
    object.__setattr__(permit, field, other.get(field, "something else"))
    assert reason_of(lambda: permit.check(digest(1), now)) == "forged_permit"
    assert reason_of(lambda: still_valid(store, permit, now)) == "forged_permit"
    assert reason_of(lambda: finish(store, permit, now)) == "forged_permit"


def test_an_empty_permit_made_by_force_is_worthless(store, digest, now):
    empty = object.__new__(RenderPermit)
    assert reason_of(lambda: empty.check(digest(1), now)) == "forged_permit"
    assert reason_of(lambda: still_valid(store, empty, now)) == "forged_permit"
    assert "?" in repr(empty)


def test_a_permit_signed_with_another_key_is_refused_by_the_store(store, permit, tmp_path, now, digest):
    other = load_or_create_keys(tmp_path / "mallory")
    object.__setattr__(permit, "max_seconds", 999.0)
    object.__setattr__(permit, "public_key", other.public_key)
    object.__setattr__(permit, "signature", other.sign(permit_message(permit)))
    permit.check(digest(1), now)  # all that a permit alone can know
    assert reason_of(lambda: still_valid(store, permit, now)) == "forged_permit"
    assert reason_of(lambda: finish(store, permit, now)) == "forged_permit"
    assert reason_of(lambda: record_abort(store, permit, reason="x", now=now)) == "forged_permit"


def test_a_permit_of_another_store_is_refused(permit, tmp_path, now):
    with open_store(tmp_path / "second") as other:
        assert reason_of(lambda: still_valid(other, permit, now)) == "forged_permit"


def test_a_permit_holds_for_its_portrait_and_time(permit, digest, now):
    assert reason_of(lambda: permit.check(digest(2), now)) == "portrait_mismatch"
    assert reason_of(lambda: permit.check("", now)) == "portrait_mismatch"
    permit.check(digest(1), permit.expires - timedelta(microseconds=1))
    assert reason_of(lambda: permit.check(digest(1), permit.expires)) == "expired"
    assert reason_of(lambda: permit.check(digest(1), now - timedelta(seconds=1))) == "expired"
    with pytest.raises(ValueError, match="timezone"):
        permit.check(digest(1), now.replace(tzinfo=None))


def test_a_permit_never_outlives_its_grant(store, fictional, give, ask, now, digest):
    give(fictional, expires=now + timedelta(minutes=5))
    permit = authorise(store, ask(fictional), now=now)
    assert permit.expires == now + timedelta(minutes=5)
    assert reason_of(lambda: still_valid(store, permit, permit.expires)) == "expired"


def test_a_permit_binds_the_picture_that_was_shown(store, fictional, give, ask, someone, digest, now):
    give(fictional)
    request = ask(fictional, portrait_digest=digest(5), portrait_embedding=someone(1, age=0.3))
    permit = authorise(store, request, now=now)
    permit.check(digest(5), now)
    assert reason_of(lambda: permit.check(digest(1), now)) == "portrait_mismatch"


def test_revocation_and_deletion_stop_a_running_render(store, fictional, permit, give, ask, now):
    revoke(store, permit.grant_id, now)
    assert reason_of(lambda: still_valid(store, permit, now)) == "revoked"
    give(fictional)
    second = authorise(store, ask(fictional), now=now)
    still_valid(store, second, now)
    delete_cameo(store, fictional, now=now)
    assert reason_of(lambda: still_valid(store, second, now)) == "deleted"


def test_a_render_is_recorded_once(store, permit, now):
    row = finish(store, permit, now, duration_s=1.5)
    assert (row.kind, row.permit_id, row.payload["num_frames"]) == ("rendered", permit.id, 50)
    assert used(store, permit.grant_id) == Usage(renders=1, milliseconds=1500)
    with pytest.raises(ConsentError, match="rendered before"):
        finish(store, permit, now)
    with pytest.raises(ConsentError, match="rendered before"):
        record_abort(store, permit, reason="late", now=now)
    assert reason_of(lambda: still_valid(store, permit, now)) == "used_up"
    assert verify(store) == 4


def test_an_aborted_render_is_recorded_and_given_back_if_nothing_was_seen(store, permit, fictional, ask, now):
    row = record_abort(store, permit, reason="interrupted", now=now)
    assert (row.kind, row.charge_renders, row.charge_ms) == ("aborted", -1, -2000)
    assert used(store, permit.grant_id) == Usage()
    with pytest.raises(ConsentError, match="aborted before"):
        finish(store, permit, now)
    second = authorise(store, ask(fictional), now=now)
    record_abort(store, second, reason="interrupted", rendered_s=0.5, now=now)
    assert used(store, second.grant_id) == Usage(renders=1, milliseconds=500)


def test_a_render_that_ends_after_revocation_must_be_destroyed(store, permit, now):
    revoke(store, permit.grant_id, now)
    assert reason_of(lambda: finish(store, permit, now)) == "revoked"
    row = list(Ledger(store).rows())[-1]
    assert (row.kind, row.payload["reason"]) == ("aborted", "revoked")
    assert used(store, permit.grant_id) == Usage(renders=1, milliseconds=2000)


def test_a_render_that_is_too_long_must_be_destroyed_and_is_charged(store, permit, now):
    assert reason_of(lambda: finish(store, permit, now, duration_s=2.6)) == "too_long"
    assert used(store, permit.grant_id) == Usage(renders=1, milliseconds=2600)
    assert list(Ledger(store).rows())[-1].kind == "aborted"


def test_rounding_of_the_last_frame_is_not_charged(store, permit, now):
    assert finish(store, permit, now, duration_s=2.04).kind == "rendered"
    assert used(store, permit.grant_id) == Usage(renders=1, milliseconds=2000)


def test_grants_are_used_up(store, fictional, give, ask, now):
    give(fictional, max_renders=2, max_seconds=5.0)
    for _ in range(2):
        authorise(store, ask(fictional), now=now)
    assert reason_of(lambda: authorise(store, ask(fictional), now=now)) == "used_up"
    give(fictional, max_renders=9, max_seconds=3.0)
    permit = authorise(store, ask(fictional), now=now)
    assert reason_of(lambda: authorise(store, ask(fictional), now=now)) == "used_up"
    finish(store, permit, now, duration_s=1.0)
    authorise(store, ask(fictional), now=now)


def test_a_tampered_store_authorises_nothing(store, fictional, give, ask, now, tamper):
    give(fictional)
    tamper(store, "UPDATE grants SET max_renders = 99")
    assert reason_of(lambda: authorise(store, ask(fictional), now=now)) == "tampered"
    assert list(Ledger(store).rows())[-1].payload["reason"] == "tampered"
    tamper(store, "DELETE FROM ledger WHERE seq = 3")
    with pytest.raises(LedgerTampered):
        authorise(store, ask(fictional), now=now)


def test_use_cannot_be_reset_by_a_row_beside_the_chain(store, fictional, give, ask, now, tamper):
    give(fictional, max_renders=1)
    authorise(store, ask(fictional), now=now)
    tamper(
        store,
        "INSERT INTO ledger SELECT 99, time, 'note', cameo_id, grant_id, NULL, NULL, -1, -2000, payload, digest, 'x' "
        "FROM ledger WHERE seq = 3",
    )
    with pytest.raises(LedgerTampered):
        authorise(store, ask(fictional), now=now)
