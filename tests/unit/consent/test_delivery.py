import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from portrait_anim.consent.delivery import (
    MailServer,
    check_address,
    check_webhook,
    send_mail,
    send_webhook,
    webhook_holds,
)
from portrait_anim.errors import DeliveryFailed

from .sinks import mail_sink, make_certificate, web_sink

BODY = json.dumps({"use": "use_1", "grantee": "Bob"}).encode()


def post(store, url, now, **changes):
    call = {"message_id": "msg_1", "sign": store.keys.sign, "now": now, "allow_private": True}
    send_webhook(url, BODY, **{**call, **changes})


def test_a_webhook_is_signed_so_that_its_reader_can_check_it(store, now):
    with web_sink() as sink:
        post(store, sink.url + "?a=1", now)
    ((path, headers, body),) = sink.calls
    assert (path, body, headers["content-type"]) == ("/hook?a=1", BODY, "application/json")
    facts = {"message_id": headers["webhook-id"], "timestamp": headers["webhook-timestamp"],
             "signature": headers["webhook-signature"]}  # fmt: skip
    key = store.keys.public_key
    assert webhook_holds(key, body, **facts, now=now)
    assert webhook_holds(key, body, **{**facts, "signature": "v1,xyz " + facts["signature"]}, now=now)
    for wrong in (
        {"message_id": "msg_2"}, {"timestamp": str(int(now.timestamp()) + 1)}, {"timestamp": "soon"},
        {"signature": "v1a,AAAA"}, {"signature": "v1a,?"}, {"signature": ""},
    ):  # fmt: skip
        assert not webhook_holds(key, body, **{**facts, **wrong}, now=now)
    assert not webhook_holds(key, body + b" ", **facts, now=now)
    assert not webhook_holds(bytes(32), body, **facts, now=now)
    for minutes in (-6, 6):
        assert not webhook_holds(key, body, **facts, now=now + timedelta(minutes=minutes))


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500, 503])
def test_only_a_2xx_answer_counts_and_redirects_are_not_followed(status, store, now):
    with web_sink() as sink:
        sink.answers = [(status, {"Location": sink.url + "/elsewhere"})]
        with pytest.raises(DeliveryFailed, match=str(status)):
            post(store, sink.url, now)
    assert [path for path, _, _ in sink.calls] == ["/hook"]


def test_a_webhook_does_not_reach_the_own_network_unless_the_operator_allows_it(store, now):
    with web_sink() as sink:
        for url in (sink.url, sink.url.replace("http:", "https:"), sink.url.replace("127.0.0.1", "localhost")):
            with pytest.raises(DeliveryFailed):
                post(store, url, now, allow_private=False)
        named = sink.url.replace("http://127.0.0.1", "https://localhost")
        with pytest.raises(DeliveryFailed, match="private network"):  # the name passes, its address does not
            post(store, named, now, allow_private=False)
    assert sink.calls == []


def test_nobody_there_is_a_failure(store, now):
    with web_sink() as sink:
        url = sink.url
    with pytest.raises(DeliveryFailed):
        post(store, url, now)


@pytest.mark.parametrize(
    "url",
    [
        "", "ftp://example.org/x", "https://", "https:///x", "http://example.org/x", "https://ada:pw@example.org/",
        "https://example.org/#part", "https://127.0.0.1/", "https://10.1.2.3/", "https://169.254.169.254/latest",
        "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://[fe80::1]/", "https://0.0.0.0/", "https://224.0.0.1/",
        "https://example.org:99999/", "https://example.org/\r\nX: y", "https://example.org/" + "a" * 3000,
    ],
)  # fmt: skip
def test_webhook_addresses_that_are_refused(url):
    with pytest.raises(ValueError, match="expected"):
        check_webhook(url)


def test_webhook_addresses_that_are_accepted():
    assert check_webhook("https://example.org/a?b=c").hostname == "example.org"
    assert check_webhook("https://1.1.1.1:8443/").port == 8443
    assert check_webhook("http://10.0.0.1/x", allow_private=True).hostname == "10.0.0.1"


def test_mail_arrives_as_one_plain_message(now):
    with mail_sink() as sink:
        server = MailServer(host=sink.host, port=sink.port, sender="gate@example.org", security="none")
        send_mail(server, to="ada@example.org", subject="Somebody used it", text="Käthe asked.\n", now=now)
    ((sender, readers, message),) = sink.messages
    assert (sender, readers) == ("gate@example.org", ["ada@example.org"])
    assert (message["Subject"], message["Auto-Submitted"]) == ("Somebody used it", "auto-generated")
    assert "Käthe asked." in message.get_payload(decode=True).decode()


def test_mail_that_is_not_accepted_fails(now):
    with mail_sink() as sink:
        sink.refuse = True
        plain = MailServer(host=sink.host, port=sink.port, sender="gate@example.org", security="none")
        with pytest.raises(DeliveryFailed):
            send_mail(plain, to="ada@example.org", subject="x", text="x", now=now)
        # A server without encryption is not talked to when encryption was asked for.
        wanted = MailServer(host=sink.host, port=sink.port, sender="gate@example.org")
        sink.refuse = False
        with pytest.raises(DeliveryFailed):
            send_mail(wanted, to="ada@example.org", subject="x", text="x", now=now)
    with pytest.raises(DeliveryFailed):
        send_mail(plain, to="ada@example.org", subject="x", text="x", now=now)
    assert sink.messages == []


@pytest.mark.parametrize(
    "address", ["", "ada", "ada@", "@example.org", "a@b.org, c@d.org", "Ada <a@b.org>", "a@b.org\nBcc: x@y.org"]
)
def test_addresses_that_are_refused(address):
    with pytest.raises(ValueError, match="expected"):
        check_address(address)


def test_a_subject_cannot_add_headers(now):
    server = MailServer(host="127.0.0.1", port=1, sender="gate@example.org", security="none")
    with pytest.raises(ValueError, match="one line"):
        send_mail(server, to="a@example.org", subject="x\nBcc: y@example.org", text="x", now=now)


def test_a_password_never_travels_or_shows_in_the_clear():
    with pytest.raises(ValueError, match="encrypted"):
        MailServer(host="mail.example.org", port=25, sender="a@b.org", security="none", user="u", password="secret")
    assert "secret" not in repr(MailServer(host="m", port=25, sender="a@b.org", user="u", password="secret"))


def test_the_check_in_the_documentation_works(store):
    text = (Path(__file__).parents[3] / "docs" / "CONSENT_SERVICE.md").read_text(encoding="utf-8")
    code = text.split("```python\n", 1)[1].split("```", 1)[0]
    names: dict[str, Any] = {}
    exec(compile(code, "CONSENT_SERVICE.md", "exec"), names)
    with web_sink() as sink:
        post(store, sink.url, datetime.now(timezone.utc))
    ((_, headers, body),) = sink.calls
    key = store.keys.public_key.hex()
    assert names["genuine"](headers, body, key)
    assert not names["genuine"](headers, body + b" ", key)
    assert not names["genuine"]({**headers, "webhook-timestamp": "1"}, body, key)


@pytest.mark.parametrize("trusted", [True, False])
def test_an_encrypted_webhook_is_called_only_if_its_certificate_holds(trusted, store, now, tmp_path, monkeypatch):
    certificate = make_certificate(tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with web_sink(certificate) as sink:
        if trusted:
            post(store, sink.url, now)
            other = sink.url.replace("localhost", "127.0.0.1")  # a name that the certificate does not carry
            with pytest.raises(DeliveryFailed):
                post(store, other, now)
        else:
            with pytest.raises(DeliveryFailed):
                post(store, sink.url, now)
    assert [headers["host"].startswith("localhost:") for _, headers, _ in sink.calls] == [True] * trusted


@pytest.mark.parametrize("trusted", [True, False])
def test_mail_goes_to_a_server_only_if_its_certificate_holds(trusted, now, tmp_path, monkeypatch):
    certificate = make_certificate(tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with mail_sink(certificate) as sink:
        server = MailServer(host=sink.host, port=sink.port, sender="gate@example.org")
        if trusted:
            send_mail(server, to="ada@example.org", subject="x", text="x", now=now)
        else:
            with pytest.raises(DeliveryFailed):
                send_mail(server, to="ada@example.org", subject="x", text="x", now=now)
    assert len(sink.messages) == trusted
