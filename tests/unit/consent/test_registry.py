import random
import re
from datetime import timedelta

import numpy as np
import pytest

from portrait_anim.consent.challenges import ACTIONS, EXPRESSIONS, TURNS, draw_actions, issue_challenge
from portrait_anim.consent.denylist import add_denied
from portrait_anim.consent.evidence import EnrolmentPolicy
from portrait_anim.consent.grants import list_grants
from portrait_anim.consent.kept_videos import forget_unrecorded, keep_video
from portrait_anim.consent.ledger import Ledger, verify
from portrait_anim.consent.registry import (
    delete_cameo,
    enroll,
    enroll_fictional,
    get_cameo,
    get_challenge,
    list_cameos,
)
from portrait_anim.consent.retention import erase_due
from portrait_anim.consent.sealed_files import open_sealed_file
from portrait_anim.consent.service_rows import find_challenge_videos
from portrait_anim.errors import ConsentDenied, LedgerTampered, LivenessFailed
from portrait_anim.types import IdentityEmbedding


@pytest.fixture
def issued(store, now):
    return issue_challenge(
        store, name="Ada Lovelace", portrait_digest=f"{1:064x}", adult_declared=True, now=now, random=random.Random(3)
    )


@pytest.fixture
def enrol(store, issued, perform, someone, digest, now, camera):
    def run(**changes):
        call = {
            "challenge_id": issued.id,
            "portrait_embedding": someone(1, age=0.2),
            "portrait_digest": digest(1),
            "observations": perform(actions=issued.actions).frames(),
            "evidence": camera(),
            "now": now + timedelta(minutes=1),
        }
        return enroll(store, **{**call, **changes})

    return run


def test_actions_are_random_different_and_show_depth_and_life():
    seen = {draw_actions(random.Random(seed)) for seed in range(200)}
    assert len(seen) > 190
    for actions in seen:
        assert len(set(actions)) == len(actions) == 5
        assert set(actions) & set(TURNS)
        assert set(actions) & set(EXPRESSIONS)
    assert set().union(*seen) == set(ACTIONS)
    for count in (0, 4, 10):
        with pytest.raises(ValueError, match="5 to 9"):
            draw_actions(random.Random(0), count)


def test_a_challenge_is_bound_to_name_time_and_chance(store, now, issued):
    assert (issued.name, issued.issued, issued.expires) == ("Ada Lovelace", now, now + timedelta(minutes=10))
    assert get_challenge(store, issued.id, now) == issued
    others = [
        issue_challenge(store, name="Ada Lovelace", portrait_digest="0" * 64, adult_declared=True, now=now)
        for _ in range(3)
    ]
    assert len({other.nonce for other in others} | {issued.nonce}) == 4
    assert len({other.id for other in others}) == 3


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 101, "nul\x00"])
def test_a_name_is_one_line_of_text(name, store, now):
    with pytest.raises(ValueError, match="expected a name"):
        issue_challenge(store, name=name, portrait_digest="0" * 64, adult_declared=True, now=now)


def test_a_living_person_is_enrolled(store, enrol, issued, digest, now):
    cameo = enrol()
    assert (cameo.kind, cameo.name, cameo.status) == ("real", "Ada Lovelace", "active")
    assert cameo.portrait_digest == digest(1)
    assert len(cameo.embeddings) == 2
    stored = get_cameo(store, cameo.id)
    assert stored == cameo
    assert all(np.array_equal(a.vector, b.vector) for a, b in zip(stored.embeddings, cameo.embeddings, strict=True))
    assert list_cameos(store) == [cameo]
    (row,) = Ledger(store).rows()
    assert (row.kind, row.cameo_id, row.challenge_id) == ("enrolled", cameo.id, issued.id)
    assert "Ada" not in str(dict(row.payload))
    assert verify(store) == 1


def test_a_challenge_is_spent_by_success(enrol):
    enrol()
    with pytest.raises(ConsentDenied) as caught:
        enrol()
    assert caught.value.reason == "challenge_used"


def test_a_challenge_is_spent_by_failure_and_the_reasons_are_told(store, enrol, someone, issued):
    with pytest.raises(LivenessFailed, match="not the person of the portrait") as caught:
        enrol(portrait_embedding=someone(2))
    assert len(caught.value.failures) == 1
    with pytest.raises(ConsentDenied) as again:
        enrol()
    assert again.value.reason == "challenge_used"
    (row,) = Ledger(store).rows()
    assert (row.kind, row.challenge_id, row.payload["failed_checks"]) == (
        "enrolment_refused", issued.id, ["identity"],
    )  # fmt: skip
    assert list_cameos(store) == []


@pytest.mark.parametrize("minutes", [10, 60, -1])
def test_a_challenge_is_answered_in_time(minutes, store, enrol, now):
    with pytest.raises(ConsentDenied) as caught:
        enrol(now=now + timedelta(minutes=minutes))
    assert caught.value.reason == "challenge_expired"
    assert verify(store) == 0


def test_an_unknown_challenge(enrol):
    with pytest.raises(ConsentDenied) as caught:
        enrol(challenge_id="cha_' OR 1=1 --")
    assert caught.value.reason == "no_challenge"


def test_an_altered_challenge_is_refused(store, enrol, issued, tamper):
    tamper(store, "UPDATE challenges SET expires = '2030-01-01T00:00:00.000000+00:00'")
    with pytest.raises(LedgerTampered, match="challenges"):
        enrol()


def test_the_video_of_another_challenge_does_not_do(store, enrol, perform, issued, now):
    other = tuple(reversed(issued.actions))
    with pytest.raises(LivenessFailed, match="keep the order"):
        enrol(observations=perform(actions=other).frames())


@pytest.mark.parametrize("bad", ["", "abc", "G" * 64, "A" * 64])
def test_a_digest_is_a_digest(bad, enrol):
    with pytest.raises(ValueError, match="sha256"):
        enrol(portrait_digest=bad)


def test_a_malformed_embedding_enrols_nobody(enrol, store):
    with pytest.raises(ValueError, match="finite embedding"):
        enrol(portrait_embedding=IdentityEmbedding(vector=np.full(128, np.nan, np.float32), backend="dlib"))
    assert list_cameos(store) == []


def test_a_figure_is_enrolled_on_a_statement(store, fictional):
    cameo = get_cameo(store, fictional)
    assert cameo.kind == "fictional"
    assert cameo.statement.startswith("Drawn")
    (row,) = Ledger(store).rows()
    assert (row.kind, row.cameo_id) == ("enrolled_fictional", fictional)
    assert len(str(row.payload["statement_digest"])) == 64


def test_a_figure_with_the_face_of_an_enrolled_person_is_refused(store, enrol, someone, digest, now):
    enrol()
    for face, picture in ((someone(1, age=0.4), digest(7)), (someone(9), digest(1))):
        with pytest.raises(ConsentDenied) as caught:
            enroll_fictional(
                store, name="Robin", statement="Invented.", portrait_embedding=face, portrait_digest=picture, now=now
            )
        assert caught.value.reason == "matches_real_person"
    assert [row.kind for row in Ledger(store).rows()] == ["enrolled", "enrolment_refused", "enrolment_refused"]
    assert enroll_fictional(
        store, name="Robin", statement="Invented.", portrait_embedding=someone(9), portrait_digest=digest(8), now=now
    )


def test_a_figure_that_cannot_be_compared_is_refused(store, enrol, digest, now):
    enrol()
    with pytest.raises(ConsentDenied) as caught:
        enroll_fictional(
            store,
            name="Robin",
            statement="Invented.",
            portrait_embedding=IdentityEmbedding(vector=np.ones(512, np.float32), backend="arcface"),
            portrait_digest=digest(8),
            now=now,
        )
    assert caught.value.reason == "not_comparable"


@pytest.mark.parametrize("statement", ["", "  ", "x" * 2001])
def test_a_figure_needs_a_statement(statement, store, someone, digest, now):
    with pytest.raises(ValueError, match="statement"):
        enroll_fictional(
            store, name="R", statement=statement, portrait_embedding=someone(1), portrait_digest=digest(1), now=now
        )


def test_deleting_erases_everything_but_the_chain(store, enrol, give, now, digest):
    cameo = enrol()
    grant_id = give(cameo.id)
    with store.read() as connection:
        sealed = connection.exec_driver_sql("SELECT template FROM cameos").scalar_one()
    later = now + timedelta(hours=1)
    left = delete_cameo(store, cameo.id, now=later)
    assert get_cameo(store, cameo.id) == left
    assert (left.status, left.name, left.portrait_digest, left.embeddings) == ("deleted", "", "", ())
    assert left.deleted_at == later
    assert list_cameos(store) == []
    assert [item.id for item in list_cameos(store, deleted=True)] == [cameo.id]
    assert list_grants(store, cameo.id)[0].revoked_at == later
    for file in store.home.glob("consent.db*"):
        assert sealed[20:60] not in file.read_bytes(), file
    assert [row.kind for row in Ledger(store).rows(cameo_id=cameo.id)] == ["enrolled", "granted", "revoked", "deleted"]
    assert delete_cameo(store, cameo.id, now=later) == left
    assert verify(store) == 4
    assert list_grants(store)[0].id == grant_id


def test_a_deleted_cameo_cannot_be_put_back(store, fictional, now, tamper, database):
    (before,) = database.query("SELECT * FROM cameos")
    delete_cameo(store, fictional, now=now)
    tamper(store, "DELETE FROM cameos", (f"INSERT INTO cameos VALUES ({','.join('?' * len(before))})", before))
    with pytest.raises(LedgerTampered, match="was deleted"):
        get_cameo(store, fictional)


def test_a_forged_cameo_is_refused(store, fictional, tamper):
    tamper(store, "UPDATE cameos SET kind = 'real'")
    with pytest.raises(LedgerTampered, match="altered or forged"):
        list_cameos(store)


def test_unknown_cameos(store, now):
    for call in (lambda: get_cameo(store, "cam_x"), lambda: delete_cameo(store, "cam_x", now=now)):
        with pytest.raises(ConsentDenied) as caught:
            call()
        assert caught.value.reason == "no_cameo"


def test_a_challenge_is_for_one_portrait_only(store, enrol, digest, issued, now):
    with pytest.raises(ConsentDenied) as caught:
        enrol(portrait_digest=digest(2))
    assert caught.value.reason == "portrait_mismatch"
    assert get_challenge(store, issued.id, now) == issued
    assert enrol().portrait_digest == digest(1)


@pytest.mark.parametrize("declared", [False, None, 0, "yes"])
def test_only_adults_get_a_challenge(declared, store, now, digest):
    with pytest.raises(ConsentDenied) as caught:
        issue_challenge(store, name="Ada", portrait_digest=digest(1), adult_declared=declared, now=now)
    assert caught.value.reason == "not_adult"


def test_a_challenge_holds_code_and_dot_as_asked(store, now, digest):
    def issue(**changes):
        return issue_challenge(store, name="Ada", portrait_digest=digest(1), adult_declared=True, now=now, **changes)

    plain, dotted = issue(code_policy="off"), issue(dot=True, code_policy="required", purpose="film")
    assert (plain.code, plain.dot_path) == ("", "")
    assert "follow_dot" not in plain.actions
    assert dotted.actions.count("follow_dot") == 1
    assert re.fullmatch(r"\d{6}", dotted.code)
    assert (dotted.purpose, dotted.code_policy) == ("film", "required")
    assert get_challenge(store, dotted.id, now) == dotted
    with pytest.raises(ValueError, match="code policy"):
        issue(code_policy="maybe")


def test_the_same_file_does_not_answer_twice(store, enrol, camera, digest, now, perform, someone):
    enrol()
    again = issue_challenge(
        store, name="Ada Lovelace", portrait_digest=digest(1), adult_declared=True, now=now, random=random.Random(3 + 1)
    )
    with pytest.raises(LivenessFailed, match="this very file"):
        enrol(challenge_id=again.id, observations=perform(actions=again.actions).frames())
    assert [row.kind for row in Ledger(store).rows()] == ["enrolled", "enrolment_refused"]


@pytest.fixture
def second(store, now, digest, perform, someone, camera):
    """Enrol one more person with an own challenge."""

    def run(name, who, **changes):
        challenge = issue_challenge(
            store, name=name, portrait_digest=digest(50 + who), adult_declared=True, now=now, random=random.Random(who)
        )
        call = {
            "challenge_id": challenge.id,
            "portrait_embedding": someone(who, age=0.1),
            "portrait_digest": digest(50 + who),
            "observations": perform(actions=challenge.actions, who=who).frames(),
            "evidence": camera(sha256=f"{who:064x}"),
            "now": now + timedelta(minutes=1),
        }
        return enroll(store, **{**call, **changes})

    return run


def test_an_enrolled_face_does_not_enrol_under_another_name(store, enrol, second):
    first = enrol()
    with pytest.raises(ConsentDenied) as caught:
        second("Somebody Else", 1)
    assert caught.value.reason == "matches_other_person"
    assert "Ada" not in str(caught.value)
    assert list_cameos(store) == [first]
    assert second("Bob", 2).name == "Bob"


def test_an_enrolled_face_enrols_again_under_its_own_name(store, enrol, second):
    enrol()
    assert second("ada lovelace", 1).kind == "real"


def test_another_name_is_flagged_where_the_policy_says_so(store, enrol, second):
    first = enrol()
    twin = second("Somebody Else", 1, policy=EnrolmentPolicy(same_face="flag"))
    (row,) = Ledger(store).rows(cameo_id=twin.id)
    assert row.payload["same_face_as"] == [first.id]


def test_a_protected_face_is_never_enrolled(store, second, someone, now, digest):
    add_denied(store, [someone(2)], label="request 7", now=now)
    with pytest.raises(ConsentDenied) as caught:
        second("Bob", 2, policy=EnrolmentPolicy(same_face="flag"))
    assert caught.value.reason == "denylisted"
    with pytest.raises(ConsentDenied) as caught:
        enroll_fictional(
            store, name="R", statement="Invented.", portrait_embedding=someone(2), portrait_digest=digest(9), now=now
        )
    assert caught.value.reason == "denylisted"
    assert list_cameos(store) == []


def test_a_protected_face_of_another_face_model_refuses_everybody(store, second, now):
    other = IdentityEmbedding(vector=np.ones(512, np.float32), backend="arcface")
    add_denied(store, [other], label="request 8", now=now)
    with pytest.raises(ConsentDenied) as caught:
        second("Bob", 2)
    assert caught.value.reason == "not_comparable"


def test_a_video_is_kept_encrypted_for_its_time(store, enrol, tmp_path, now):
    video = tmp_path / "me; rm -rf ~.mp4"
    video.write_bytes(b"moving pictures" * 9999)
    kept = keep_video(store, video)
    enrol(kept=kept)
    sealed = (store.home / kept.stored_file).read_bytes()
    assert b"moving" not in sealed
    assert b"".join(open_sealed_file(store.home / kept.stored_file, kept.file_key)) == video.read_bytes()
    assert "rm" not in kept.stored_file
    erase_due(store, now + timedelta(days=29))
    assert (store.home / kept.stored_file).exists()
    erase_due(store, now + timedelta(days=31))
    assert not (store.home / kept.stored_file).exists()
    with store.read() as connection:
        (left,) = find_challenge_videos(connection, store)
    assert (left.stored_file, left.file_key) == ("", None)
    assert left.sha256 == "c" * 64


def test_a_copy_that_nothing_speaks_of_is_erased(store, issued, tmp_path):
    video = tmp_path / "video"
    video.write_bytes(b"x")
    kept = keep_video(store, video)
    forget_unrecorded(store, issued.id, kept)
    assert not (store.home / kept.stored_file).exists()
