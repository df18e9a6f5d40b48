"""Challenges are counted by face: another name, another file, another seed start no new count."""

import random
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from portrait_anim.consent import schema
from portrait_anim.consent.attempts import WINDOW
from portrait_anim.consent.challenges import issue_challenge
from portrait_anim.consent.links import MAX_ATTEMPTS
from portrait_anim.consent.maintenance import maintain
from portrait_anim.consent.registry import delete_cameo, enroll, get_challenge
from portrait_anim.errors import ConsentDenied


@pytest.fixture
def ask_again(store, now, someone, digest):
    """Ask for the next challenge, under another name and with another picture each time."""
    count = 0

    def ask(who=1, at=now):
        nonlocal count
        count += 1
        return issue_challenge(
            store, name=f"Name {count}", portrait_digest=digest(count), adult_declared=True, now=at,
            face=someone(who, age=0.01 * count), random=random.Random(count),
        )  # fmt: skip

    return ask


def kept(store):
    with store.read() as connection:
        return connection.execute(select(func.count()).where(schema.settings.c.key == "attempt")).scalar_one()


def refused(call):
    with pytest.raises(ConsentDenied) as caught:
        call()
    return caught.value


def test_one_face_gets_ten_challenges_a_day(store, ask_again, now):
    for minute in range(MAX_ATTEMPTS):
        issued = ask_again(at=now + timedelta(minutes=minute))
    assert get_challenge(store, issued.id, now + timedelta(minutes=15))
    error = refused(ask_again)
    assert error.reason == "too_many_attempts"
    assert f"{now + WINDOW:%Y-%m-%d %H:%M} UTC" in str(error)
    assert ask_again(who=2).id != issued.id  # somebody else
    assert refused(lambda: ask_again(at=now + WINDOW - timedelta(seconds=1))).reason == "too_many_attempts"
    assert ask_again(at=now + WINDOW)  # one of the ten is a day old
    assert refused(lambda: ask_again(at=now + WINDOW)).reason == "too_many_attempts"


def test_a_refused_request_leaves_no_challenge(store, ask_again):
    def challenges():
        with store.read() as connection:
            return connection.execute(select(func.count()).select_from(schema.challenges)).scalar_one()

    for _ in range(MAX_ATTEMPTS):
        ask_again()
    assert (challenges(), kept(store)) == (MAX_ATTEMPTS, MAX_ATTEMPTS)
    refused(ask_again)
    assert (challenges(), kept(store)) == (MAX_ATTEMPTS, MAX_ATTEMPTS)


def test_what_was_kept_to_count_goes_after_a_day(store, ask_again, now):
    ask_again()
    assert maintain(store, now + WINDOW - timedelta(seconds=1)).retention.faces == 0
    assert maintain(store, now + WINDOW).retention.faces == 1
    assert kept(store) == 0


def test_it_goes_with_success_and_with_deletion(store, ask_again, perform, someone, camera, now):
    ask_again(who=2)
    ask_again()
    issued = ask_again()
    cameo = enroll(
        store, challenge_id=issued.id, portrait_embedding=someone(1, age=0.2), portrait_digest=issued.portrait_digest,
        observations=perform(actions=issued.actions).frames(), evidence=camera(), now=now + timedelta(minutes=1),
    )  # fmt: skip
    assert kept(store) == 1  # of somebody else
    ask_again()
    delete_cameo(store, cameo.id, now=now)
    assert kept(store) == 1
