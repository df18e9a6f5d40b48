import hashlib
import os
from dataclasses import replace
from datetime import timedelta

import pytest

from portrait_anim.consent.inbox import list_uses
from portrait_anim.consent.keys import load_or_create_keys
from portrait_anim.consent.ledger import Ledger, verify
from portrait_anim.consent.permit import authorise, still_valid
from portrait_anim.consent.renders import record_abort, record_render, remember_output
from portrait_anim.consent.withdrawal import (
    check_list,
    destroy_withdrawn,
    is_withdrawn,
    signed_list,
    withdraw,
    withdraw_all,
)
from portrait_anim.errors import ConsentDenied, LedgerTampered

MOVIE = b"not really a film, but a file with a digest"


@pytest.fixture
def permit(store, fictional, give, ask, now):
    give(fictional)
    return authorise(store, ask(fictional), now=now)


def finish(store, permit, path, now, content=MOVIE):
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    record_render(store, permit, output_digest=digest, duration_s=2.0, num_frames=50, now=now, output=path)
    return digest


def test_a_withdrawn_render_is_destroyed_recorded_and_listed(store, permit, tmp_path, now):
    film, sheet = tmp_path / "film.mp4", tmp_path / "sheet.png"
    finish(store, permit, film, now)
    sheet.write_bytes(b"sheet")
    remember_output(store, permit.id, sheet, hashlib.sha256(b"sheet").hexdigest())
    assert not is_withdrawn(store, permit.id)
    made = withdraw(store, permit.id, now, reason="I changed my mind")
    assert (made.file_deleted, film.exists(), sheet.exists()) == (True, False, False)
    assert is_withdrawn(store, permit.id)
    assert list_uses(store)[0].kind == "withdrawn"
    (row,) = Ledger(store).rows(kind="withdrawn")
    assert (row.permit_id, "mind" in str(dict(row.payload))) == (permit.id, False)
    assert withdraw(store, permit.id, now + timedelta(1), reason="again").reason == "I changed my mind"
    assert len(list(Ledger(store).rows(kind="withdrawn"))) == 1
    verify(store)


def test_a_file_that_took_the_name_since_is_left_alone(store, fictional, permit, ask, tmp_path, now):
    film = tmp_path / "film.mp4"
    finish(store, permit, film, now)
    second = authorise(store, ask(fictional), now=now)
    finish(store, second, film, now, content=b"another film")
    assert withdraw(store, permit.id, now).file_deleted
    assert film.read_bytes() == b"another film"
    withdraw(store, second.id, now)
    assert not film.exists()


def test_a_link_is_not_followed(store, permit, tmp_path, now):
    film, other = tmp_path / "film.mp4", tmp_path / "other.mp4"
    finish(store, permit, film, now)
    film.rename(other)
    film.symlink_to(other)
    withdraw(store, permit.id, now)
    assert other.exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may delete anywhere")
def test_a_file_that_cannot_be_deleted_now_is_deleted_by_maintenance(store, permit, tmp_path, now):
    folder = tmp_path / "locked"
    folder.mkdir()
    finish(store, permit, folder / "film.mp4", now)
    folder.chmod(0o500)
    try:
        assert not withdraw(store, permit.id, now).file_deleted
    finally:
        folder.chmod(0o700)
    assert destroy_withdrawn(store, now) == 1


def test_a_withdrawal_whose_deletion_was_interrupted_is_completed(store, permit, tmp_path, now, monkeypatch):
    film = tmp_path / "film.mp4"
    finish(store, permit, film, now)
    with monkeypatch.context() as patch:
        patch.setattr("portrait_anim.consent.withdrawal._destroy", lambda _: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            withdraw(store, permit.id, now)
    assert is_withdrawn(store, permit.id)
    assert film.exists()
    assert destroy_withdrawn(store, now) == 1
    assert not film.exists()
    assert destroy_withdrawn(store, now) == 0


def test_a_file_that_is_put_in_place_just_after_its_withdrawal_is_destroyed_too(store, permit, tmp_path, now):
    film, hidden = tmp_path / "film.mp4", tmp_path / "hidden.mp4"
    finish(store, permit, film, now)
    film.rename(hidden)
    withdraw(store, permit.id, now)
    hidden.rename(film)  # the last step of a render that was recorded before
    assert destroy_withdrawn(store, now + timedelta(minutes=1)) == 1
    assert not film.exists()
    assert destroy_withdrawn(store, now + timedelta(minutes=2)) == 0


def test_a_running_render_that_is_withdrawn_stops_and_leaves_nothing(store, permit, tmp_path, now):
    withdraw(store, permit.id, now)
    for call in (lambda: still_valid(store, permit, now), lambda: finish(store, permit, tmp_path / "film.mp4", now)):
        with pytest.raises(ConsentDenied) as caught:
            call()
        assert caught.value.reason == "withdrawn"
    assert list_uses(store)[0].kind == "withdrawn"


def test_files_are_remembered_only_for_finished_renders_that_stand(store, fictional, permit, ask, tmp_path, now):
    with pytest.raises(ConsentDenied, match="finished"):
        remember_output(store, permit.id, tmp_path / "a.mp4", "0" * 64)
    with pytest.raises(ConsentDenied, match="finished"):
        remember_output(store, "per_'; DROP TABLE outputs; --", tmp_path / "a.mp4", "0" * 64)
    finish(store, permit, tmp_path / "film.mp4", now)
    withdraw(store, permit.id, now)
    with pytest.raises(ConsentDenied, match="withdrew"):
        remember_output(store, permit.id, tmp_path / "b.png", "0" * 64)


def test_only_renders_of_this_store_can_be_withdrawn(store, now):
    for permit_id in ("per_0000000000000000", "../../etc/passwd", "", "' OR 1=1 --"):
        with pytest.raises(ConsentDenied) as caught:
            withdraw(store, permit_id, now)
        assert caught.value.reason == "no_permit"
        assert not is_withdrawn(store, permit_id)


def test_all_renders_of_a_cameo_are_withdrawn_at_once(store, fictional, permit, ask, tmp_path, now):
    finish(store, permit, tmp_path / "film.mp4", now)
    running, stopped = (authorise(store, ask(fictional), now=now) for _ in range(2))
    record_abort(store, stopped, reason="x", now=now)
    assert {item.permit_id for item in withdraw_all(store, fictional, now)} == {permit.id, running.id}


def test_a_withdrawal_cannot_be_taken_away_in_the_database(store, permit, tmp_path, now, tamper):
    finish(store, permit, tmp_path / "film.mp4", now)
    withdraw(store, permit.id, now)
    tamper(store, "DELETE FROM withdrawals")
    assert is_withdrawn(store, permit.id)
    assert permit.id in signed_list(store, now)["withdrawn"]
    tamper(store, "DELETE FROM ledger WHERE kind = 'withdrawn'")
    with pytest.raises(LedgerTampered):
        signed_list(store, now)


def test_the_published_list_can_be_checked_by_others(store, permit, tmp_path, now):
    key = store.keys.public_key
    empty = signed_list(store, now)
    assert check_list(empty, operator=key) == frozenset()
    finish(store, permit, tmp_path / "film.mp4", now)
    withdraw(store, permit.id, now)
    full = signed_list(store, now)
    assert check_list(full, operator=key, least_rows=empty["ledger_rows"]) == {permit.id}
    with pytest.raises(LedgerTampered, match="old copy"):
        check_list(empty, operator=key, least_rows=full["ledger_rows"])
    for wrong in (
        {**full, "withdrawn": []}, {**full, "ledger_rows": 999}, {**full, "signature": "00" * 64}, {},
        {**full, "signature": "no"}, {**full, "extra": 1}, {**full, "withdrawn": [b"x"]},
    ):  # fmt: skip
        with pytest.raises(LedgerTampered):
            check_list(wrong, operator=key)
    with pytest.raises(LedgerTampered):
        check_list(full, operator=load_or_create_keys(tmp_path / "mallory").public_key)


def test_a_permit_of_another_length_is_not_reusable_after_withdrawal(store, fictional, permit, ask, now):
    withdraw(store, permit.id, now)
    with pytest.raises(ConsentDenied):
        still_valid(store, permit, now)
    assert authorise(store, replace(ask(fictional), duration_s=1.0), now=now).id != permit.id
