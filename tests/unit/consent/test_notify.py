import json
from datetime import timedelta

import pytest

from portrait_anim.consent.delivery import MailServer, webhook_holds
from portrait_anim.consent.notify import (
    MAX_ATTEMPTS,
    Contact,
    DeliveryReport,
    allow_private_webhooks,
    delay,
    deliver_due,
    get_contact,
    get_mail_server,
    set_contact,
    set_mail_server,
)
from portrait_anim.consent.permit import authorise
from portrait_anim.consent.service_rows import find_outbox
from portrait_anim.errors import ConsentDenied

from .sinks import mail_sink, web_sink


@pytest.fixture
def web():
    with web_sink() as sink:
        yield sink


def waiting(store):
    with store.read() as connection:
        return [item for item in find_outbox(connection, store) if item.next_try is not None]


def test_nothing_is_sent_unless_the_owner_asked_for_it(store, fictional, give, ask, now):
    give(fictional)
    authorise(store, ask(fictional), now=now)
    assert deliver_due(store, now) == DeliveryReport()
    assert get_contact(store, fictional) == Contact()


def test_a_use_reaches_the_owners_webhook_signed(web, store, fictional, give, ask, now):
    allow_private_webhooks(store, True)
    set_contact(store, fictional, Contact(webhook=web.url))
    give(fictional)
    permit = authorise(store, ask(fictional), now=now)
    assert deliver_due(store, now) == DeliveryReport(sent=1)
    ((_, headers, body),) = web.calls
    told = json.loads(body)
    assert (told["type"], told["data"]["permit_id"], told["data"]["grantee"]) == ("use.draft", permit.id, "operator")
    assert webhook_holds(
        store.keys.public_key, body, message_id=headers["webhook-id"], timestamp=headers["webhook-timestamp"],
        signature=headers["webhook-signature"], now=now,
    )  # fmt: skip
    assert deliver_due(store, now + timedelta(days=9)) == DeliveryReport()
    with store.read() as connection:
        (kept,) = find_outbox(connection, store)
    assert (kept.sent_at, kept.body, kept.target) == (now, "", "")  # what was sent is not kept


def test_a_refused_attempt_reaches_the_owners_mail(store, fictional, ask, now):
    with mail_sink() as sink:
        set_mail_server(store, MailServer(host=sink.host, port=sink.port, sender="gate@example.org", security="none"))
        set_contact(store, fictional, Contact(email="ada@example.org"))
        with pytest.raises(ConsentDenied):
            authorise(store, ask(fictional, grantee="Mallory"), now=now)
        assert deliver_due(store, now) == DeliveryReport(sent=1)
    ((_, readers, message),) = sink.messages
    text = message.get_payload(decode=True).decode()
    assert readers == ["ada@example.org"]
    assert fictional in message["Subject"]
    for part in ("refused", "Mallory", "film", "animate", "no_grant"):
        assert part in text


def test_a_message_is_tried_again_later_and_later(web, store, fictional, give, ask, now):
    allow_private_webhooks(store, True)
    set_contact(store, fictional, Contact(webhook=web.url))
    give(fictional)
    web.answers = [(503, {}), (302, {"Location": web.url}), (204, {})]
    authorise(store, ask(fictional), now=now)
    assert deliver_due(store, now) == DeliveryReport(retried=1)
    assert deliver_due(store, now + timedelta(seconds=59)) == DeliveryReport()
    assert deliver_due(store, now + timedelta(seconds=60)) == DeliveryReport(retried=1)
    assert deliver_due(store, now + timedelta(seconds=61)) == DeliveryReport()
    assert deliver_due(store, now + timedelta(minutes=5)) == DeliveryReport(sent=1)
    ids = {headers["webhook-id"] for _, headers, _ in web.calls}
    assert (len(web.calls), len(ids)) == (3, 1)  # one id for all tries, so that repeats can be dropped


def test_a_message_is_given_up_after_days_and_stays_in_the_inbox(web, store, fictional, give, ask, now):
    allow_private_webhooks(store, True)
    set_contact(store, fictional, Contact(webhook=web.url))
    give(fictional)
    authorise(store, ask(fictional), now=now)
    web.answers = [(500, {})] * MAX_ATTEMPTS
    moment, reports = now, []
    for _ in range(MAX_ATTEMPTS):
        reports.append(deliver_due(store, moment))
        moment += timedelta(days=1)
    assert reports == [DeliveryReport(retried=1)] * (MAX_ATTEMPTS - 1) + [DeliveryReport(given_up=1)]
    assert waiting(store) == []
    assert len(web.calls) == MAX_ATTEMPTS


def test_delays_grow_to_a_day():
    assert [delay(n) for n in (0, 1, 2, 6, 50)] == [
        timedelta(minutes=1), timedelta(minutes=4), timedelta(minutes=16), timedelta(days=1), timedelta(days=1),
    ]  # fmt: skip
    assert sum((delay(n) for n in range(MAX_ATTEMPTS)), timedelta(0)) > timedelta(days=3)


def test_a_process_that_dies_while_sending_loses_no_message(web, store, fictional, give, ask, now, monkeypatch):
    allow_private_webhooks(store, True)
    set_contact(store, fictional, Contact(webhook=web.url))
    give(fictional)
    authorise(store, ask(fictional), now=now)
    with monkeypatch.context() as patch:
        patch.setattr("portrait_anim.consent.notify.send_webhook", lambda *_, **__: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            deliver_due(store, now)
    assert deliver_due(store, now) == DeliveryReport()  # claimed by the dead one
    assert deliver_due(store, now + timedelta(minutes=1)) == DeliveryReport(sent=1)


def test_a_flood_of_refusals_is_one_message_an_hour_for_each_person(web, store, fictional, ask, now):
    allow_private_webhooks(store, True)
    set_contact(store, fictional, Contact(webhook=web.url))
    for minute, grantee in [(0, "Mallory"), (1, "Mallory"), (2, "Eve"), (30, "Mallory"), (61, "Mallory")]:
        with pytest.raises(ConsentDenied):
            authorise(store, ask(fictional, grantee=grantee), now=now + timedelta(minutes=minute))
    assert len(waiting(store)) == 3
    for number in range(9):
        with pytest.raises(ConsentDenied):
            authorise(store, ask(fictional, grantee=f"Eve {number}"), now=now + timedelta(hours=5))
    assert len(waiting(store)) == 3 + 5


def test_without_a_mail_server_mail_waits(store, fictional, ask, now):
    set_contact(store, fictional, Contact(email="ada@example.org"))
    with pytest.raises(ConsentDenied):
        authorise(store, ask(fictional, grantee="Mallory"), now=now)
    assert deliver_due(store, now) == DeliveryReport(retried=1)
    assert len(waiting(store)) == 1


@pytest.mark.parametrize(
    "contact",
    [
        Contact(email="ada"),
        Contact(email="a@b.org\nBcc: c@d.org"),
        Contact(webhook="http://example.org/"),
        Contact(webhook="https://192.168.0.1/"),
        Contact(webhook="file:///etc/passwd"),
    ],
)
def test_contacts_that_cannot_be_used_are_refused(contact, store, fictional):
    with pytest.raises(ValueError, match="expected"):
        set_contact(store, fictional, contact)
    assert get_contact(store, fictional) == Contact()


def test_a_webhook_that_was_allowed_once_is_not_called_when_the_operator_ends_it(web, store, fictional, ask, now):
    allow_private_webhooks(store, True)
    set_contact(store, fictional, Contact(webhook=web.url))
    allow_private_webhooks(store, False)
    with pytest.raises(ConsentDenied):
        authorise(store, ask(fictional), now=now)
    assert deliver_due(store, now) == DeliveryReport(retried=1)
    assert web.calls == []


def test_contacts_and_passwords_are_encrypted(store, fictional, database):
    server = MailServer(
        host="mail.example.org", port=587, sender="gate@example.org", user="gate", password="hunter2hunter2"
    )
    set_mail_server(store, server)
    set_contact(store, fictional, Contact(email="ada@example.org"))
    assert (get_mail_server(store), get_contact(store, fictional).email) == (server, "ada@example.org")
    kept = [bytes(value) for (value,) in database.query("SELECT value FROM settings")]
    assert len(kept) == 2
    for secret in (b"hunter2", b"ada@example.org", b"mail.example.org"):
        assert not any(secret in value for value in kept)
    set_mail_server(store, None)
    assert get_mail_server(store) is None
