"""Whoever enrols through a link owns the cameo; interrupted or raced, a link never makes two, or one without owner."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import event

from portrait_anim.consent.accounts import account_of, create_account, draw_token, list_accounts
from portrait_anim.consent.challenges import issue_challenge
from portrait_anim.consent.handover import Handover
from portrait_anim.consent.ledger import Ledger, verify
from portrait_anim.consent.links import create_link, open_link
from portrait_anim.consent.registry import enroll, get_cameo, get_challenge, list_cameos
from portrait_anim.errors import ConsentDenied, LivenessFailed


class Interrupted(BaseException):
    """Stands for Ctrl-C, a killed process, a power cut: nothing of ours catches it."""


@pytest.fixture
def link(store, now):
    return create_link(store, name="Ada", now=now)[1]


@pytest.fixture
def answer(store, link, now, perform, someone, digest, camera):
    """A function that enrols through the link with a challenge of its own, drawn with a seed."""

    def prepare(seed=3, **changes):
        handover = Handover(link_token=link, owner_token=draw_token(now, timedelta(days=9)))
        issued = issue_challenge(
            store, name="Ada", portrait_digest=digest(1), adult_declared=True, now=now, random=random.Random(seed),
            link_token_digest=handover.link_digest,
        )  # fmt: skip
        call = {
            "challenge_id": issued.id, "portrait_embedding": someone(1, age=0.2), "portrait_digest": digest(1),
            "observations": perform(actions=issued.actions).frames(), "evidence": camera(sha256=f"{seed:064x}"),
            "now": now + timedelta(minutes=1), "handover": handover,
        }  # fmt: skip
        call.update(changes)
        return call

    return prepare


def test_the_person_of_the_link_owns_the_cameo(store, link, answer, now):
    create_account(store, name="ADA", role="grantee", now=now)
    call = answer()
    cameo = enroll(store, **call)
    account = account_of(store, call["handover"].owner_token, now)
    assert get_cameo(store, cameo.id) == cameo
    assert (cameo.name, cameo.owner_account) == ("Ada", account.id)
    assert (account.name, account.role) == ("Ada (2)", "owner")  # the name was taken
    with pytest.raises(ConsentDenied, match="expected an open link"):
        open_link(store, link, now)
    assert link not in repr(call["handover"])
    assert call["handover"].owner_token not in repr(call["handover"])
    assert verify(store) == 3


def test_a_video_that_fails_closes_no_link(store, link, answer, someone, now):
    with pytest.raises(LivenessFailed):
        enroll(store, **answer(portrait_embedding=someone(2)))
    assert open_link(store, link, now).name == "Ada"
    assert list_accounts(store) == []


def test_a_challenge_is_answered_the_way_it_was_issued(store, answer, now):
    call = answer()
    elsewhere = Handover(link_token=create_link(store, name="Ada", now=now)[1], owner_token="pa_0_")
    for way in (None, elsewhere):
        with pytest.raises(ConsentDenied) as caught:
            enroll(store, **{**call, "handover": way})
        assert caught.value.reason == "no_challenge"
    assert enroll(store, **call).owner_account


def test_an_interruption_anywhere_leaves_all_or_nothing(store, link, answer, now):
    """Interrupted before each statement in turn, the commit included, and then not at all."""
    call, countdown = answer(), [0]

    def count(*_):
        countdown[0] -= 1
        if countdown[0] == 0:
            raise Interrupted

    event.listen(store._engine, "before_cursor_execute", count)
    event.listen(store._engine, "commit", count)
    interrupted, cameo = 0, None
    while cameo is None:
        countdown[0] = interrupted + 1
        try:
            cameo = enroll(store, **call)
        except Interrupted:
            interrupted += 1
            countdown[0] = 0
            assert (list_cameos(store), list_accounts(store), list(Ledger(store).rows())) == ([], [], [])
            assert get_challenge(store, call["challenge_id"], now).name == "Ada"
            assert open_link(store, link, now).name == "Ada"
    countdown[0] = 0
    assert interrupted > 20
    assert list_cameos(store) == [cameo]
    assert [account.id for account in list_accounts(store)] == [cameo.owner_account]
    assert verify(store) == 2


def test_two_answers_at_once_make_one_cameo(store, answer, now):
    """Two challenges of one link, both videos judged before either is recorded."""
    barrier = Barrier(2, timeout=60)

    def judged_together(frames):
        yield from frames
        barrier.wait()

    calls = [answer(seed) for seed in (3, 4)]
    calls = [{**call, "observations": judged_together(call["observations"])} for call in calls]

    def run(call):
        try:
            return enroll(store, **call)
        except ConsentDenied as error:
            return error.reason

    with ThreadPoolExecutor(2) as pool:
        results = sorted(pool.map(run, calls), key=lambda result: isinstance(result, str))
    cameo, refused = results
    assert refused == "no_link"
    assert list_cameos(store) == [cameo]
    assert [account.id for account in list_accounts(store)] == [cameo.owner_account]
    assert verify(store) == 2
