"""Attacks on the service; every one must fail closed."""

import io
import sqlite3
import threading
from datetime import timedelta

import pytest

from portrait_anim.consent.accounts import renew_token
from portrait_anim.consent.grants import grant, revoke
from portrait_anim.consent.links import create_link
from portrait_anim.consent.permit import authorise, still_valid
from portrait_anim.consent.renders import record_render
from portrait_anim.errors import ConsentDenied
from portrait_anim.service import ServiceSettings, create_app
from portrait_anim.service.context import MIB
from portrait_anim.service.forms import form_holds, form_token
from portrait_anim.service.headers import HEADERS

from .conftest import NOW, World

CRAFTED = [
    "' OR 1=1 --", "1; DROP TABLE grants", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/consent.db", "cam_%00", "\u202ecam",
    "cam_" + "0" * 5000, "cam_000000000000000g", "CAM_0000000000000000", "cam_0000000000000000%0a", "<script>", "null",
]  # fmt: skip


@pytest.mark.parametrize("crafted", CRAFTED)
def test_crafted_ids_reach_nothing(crafted, world):
    for role, path in (
        ("owner", "/cameos/{}"), ("owner", "/cameos/{}/uses"), ("owner", "/uses/{}/thumbnail"),
        ("grantee", "/grants/{}"), ("anonymous", "/static/{}"), ("anonymous", "/enrol/{}"),
    ):  # fmt: skip
        got = world.client(role).get(path.format(crafted))
        assert got.status_code in (404, 422), (path, got.status_code)
        assert "passwd" not in got.text
        assert "DROP" not in got.text
    assert world.client("worker").post(f"/permits/{crafted}/check").status_code in (404, 405, 422)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer x", "Basic b2xnYTpwdw==", "Bearer pa_9999999999_" + "A" * 43]
)
def test_a_made_up_token_opens_nothing(header, world):
    got = world.client().get("/cameos", headers={"Authorization": header} if header else {})
    assert (got.status_code, got.headers["www-authenticate"]) == (401, "Bearer")


def test_a_token_in_address_cookie_or_body_is_not_looked_at(world):
    token = world.tokens["owner"]
    client = world.client()
    client.cookies.set("token", token)
    assert client.get(f"/cameos?token={token}&access_token={token}").status_code == 401
    assert client.post(f"/cameos/{world.ids['cameo_id']}/grants", json={"token": token}).status_code == 401


def test_the_token_of_another_person_opens_their_things_only(world):
    mine = world.client("owner").get("/cameos").json()
    theirs = world.client("other_owner").get("/cameos").json()
    assert {cameo["id"] for cameo in mine} & {cameo["id"] for cameo in theirs} == set()


def test_a_token_ends_with_its_time_and_with_its_renewal(world):
    assert world.client("owner").get("/me").status_code == 200
    world.clock.move(timedelta(days=365))
    assert world.client("owner").get("/me").status_code == 401
    world.clock.move(timedelta(days=-365))
    account = world.client("owner").get("/me").json()["id"]
    renew_token(world.store, account, now=NOW)
    assert world.client("owner").get("/me").status_code == 401


def test_a_worker_is_stopped_by_revocation_withdrawal_clock_and_reuse(world):
    worker, permit = world.client("worker"), world.ids["permit_id"]
    said = worker.post(f"/permits/{permit}/check")
    assert (said.status_code, said.json()["holds"], said.json()["label_size"]) == (200, True, "medium")
    for skew in (timedelta(seconds=-1), timedelta(hours=13)):
        world.clock.move(skew)
        assert worker.post(f"/permits/{permit}/check").json()["error"]["reason"] == "expired"
        world.clock.move(-skew)
    second = authorise(world.store, world.request(), now=NOW)
    assert world.client("owner").post(f"/permits/{permit}/withdraw", json={}).status_code == 200
    assert worker.post(f"/permits/{permit}/check").json()["error"]["reason"] == "withdrawn"
    third = authorise(world.store, world.request(), now=NOW)
    record_render(world.store, second, output_digest="ab" * 32, duration_s=2.0, num_frames=50, now=NOW)
    assert worker.post(f"/permits/{second.id}/check").json()["error"]["reason"] == "used_up"
    assert world.client("owner").post(f"/grants/{world.ids['grant_id']}/revoke").json()["state"] == "revoked"
    assert worker.post(f"/permits/{third.id}/check").json()["error"]["reason"] == "revoked"
    assert worker.post(f"/permits/per_{'0' * 16}/check").json()["error"]["reason"] == "forged_permit"


def test_a_revocation_through_the_service_stops_a_render_that_runs(world):
    """Windows are rendered in one thread; the owner ends the permission from the phone after the third."""
    done, third, ended = [], threading.Event(), threading.Event()

    def windows():
        for number in range(30):
            still_valid(world.store, world.permit, NOW)
            done.append(number)
            if number == 2:
                third.set()
                assert ended.wait(20)

    def owner():
        assert third.wait(20)
        assert world.client("owner").post(f"/grants/{world.ids['grant_id']}/revoke").status_code == 200
        ended.set()

    phone = threading.Thread(target=owner)
    phone.start()
    with pytest.raises(ConsentDenied, match="revoked"):
        windows()
    phone.join()
    assert done == [0, 1, 2]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE grants SET revoked_at = NULL, max_renders = 999",
        "UPDATE cameos SET owner_account = 'acc_x'",
        "UPDATE accounts SET role = 'operator'",
        "INSERT INTO accounts SELECT 'acc_0000000000000000', name, 'operator', token_digest, created, disabled_at, "
        "signature FROM accounts LIMIT 1",
    ],
)
def test_a_tampered_row_makes_the_service_refuse_without_details(statement, world):
    with sqlite3.connect(world.store.home / "consent.db") as connection:
        connection.execute(statement)
    connection.close()
    statuses = set()
    for role, path in (("owner", "/cameos"), ("owner", f"/cameos/{world.ids['cameo_id']}/grants"), ("worker", "/me")):
        got = world.client(role).get(path)
        statuses.add(got.status_code)
        if got.status_code != 200:
            assert got.status_code in (401, 503)
            assert str(world.store.home) not in got.text
    assert 503 in statuses
    if "INSERT" not in statement:  # a row beside those of worker, cameo and grant is in nobody's way
        assert world.client("worker").post(f"/permits/{world.ids['permit_id']}/check").status_code != 200


def test_a_forged_grant_in_the_request_is_not_a_grant(world):
    body = {
        "level": "person", "grantee": "Dora", "purpose": "film", "allowed_contexts": ["animate"], "max_renders": 1,
        "max_seconds": 1, "expires": "2027-01-01T00:00:00Z",
    }  # fmt: skip
    path = f"/cameos/{world.ids['cameo_id']}/grants"
    for more in ({"id": "gra_x"}, {"cameo_id": world.ids["other_cameo_id"]}, {"signature": "00"}, {"created": "2000"}):
        assert world.client("owner").post(path, json={**body, **more}).status_code == 422
    for wrong in (
        {"max_renders": 0}, {"max_seconds": -1}, {"max_seconds": "NaN"}, {"expires": "2001-01-01T00:00:00Z"},
        {"expires": "2027-01-01T00:00:00"}, {"level": "all"}, {"level": "everyone"}, {"purpose": "a\nb"},
        {"purpose": ""}, {"allowed_contexts": []}, {"forbidden": ["x" * 2001]}, {"grantee": ""},
    ):  # fmt: skip
        got = world.client("owner").post(path, json={**body, **wrong})
        assert got.status_code == 422, (wrong, got.text)
    assert len(world.client("owner").get(path).json()) == 1


def test_oversized_bodies_are_refused_while_they_arrive(world, settings):
    client = world.client("owner")
    assert client.put(f"/cameos/{world.ids['cameo_id']}/contact", content=b"x" * (65 * 1024)).status_code == 413
    _, link = create_link(world.store, name="Ivo", now=NOW)
    taken = []

    def endless():
        while len(taken) < 100:
            taken.append(1)
            yield b"x" * MIB

    got = world.client().post(
        f"/enrol/{link}/answer", content=endless(), headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert got.status_code == 413
    lying = client.post("/links", content=b"{}", headers={"content-length": "-5"})
    assert lying.status_code in (400, 403, 413, 422)
    assert list(world.app.state.service.incoming.iterdir()) == []


def test_uploads_that_are_no_media_are_refused_and_leave_nothing(world):
    link, token = create_link(world.store, name="Ivo", now=NOW)
    form = form_token(world.store, "start", link.digest, NOW)
    for content, name in (
        (b"PK\x03\x04" + b"\0" * 100, "photo.zip"), (b"\x80\x04\x95pickle", "../../../etc/cron.d/x"),
        (b"<svg onload=alert(1)>", "a.svg"), (b"\x89PNG\r\n\x1a\n", "photo.png"), (b"", "empty.png"),
    ):  # fmt: skip
        got = world.client().post(
            f"/enrol/{token}/start", data={"form_token": form, "adult": "yes", "agree": "yes"},
            files={"portrait": (name, io.BytesIO(content))},
        )  # fmt: skip
        assert got.status_code == 422
        assert "onload" not in got.text
        assert "Traceback" not in got.text
    assert list(world.app.state.service.incoming.iterdir()) == []


def test_forms_of_others_and_old_forms_do_not_count(world):
    link, token = create_link(world.store, name="Ivo", now=NOW)
    other, _ = create_link(world.store, name="Jan", now=NOW)
    files = {"portrait": ("a.png", io.BytesIO(b"x"))}
    good = form_token(world.store, "start", link.digest, NOW)
    for form in (
        "", "x", form_token(world.store, "start", other.digest, NOW),
        form_token(world.store, "answer", link.digest, NOW),
        form_token(world.store, "start", link.digest, NOW - timedelta(hours=2)), good.replace(good[:3], "999"),
    ):  # fmt: skip
        got = world.client().post(
            f"/enrol/{token}/start", data={"form_token": form, "adult": "yes", "agree": "yes"}, files=files
        )
        assert got.status_code == 403
    assert form_holds(world.store, good, "start", link.digest, NOW)
    for wrong in (good + "x", "9" * 13 + good[10:], "٣" + good, good.split(".")[0]):
        assert not form_holds(world.store, wrong, "start", link.digest, NOW)


def test_a_name_cannot_become_html(world):
    _, token = create_link(world.store, name="<img src=x onerror=alert(1)>", now=NOW)
    got = world.client().get(f"/enrol/{token}")
    assert "<img" not in got.text
    assert "&lt;img" in got.text


def test_every_answer_carries_the_security_headers(world):
    for role, path in (("anonymous", "/"), ("anonymous", "/cameos"), ("owner", "/cameos"), ("anonymous", "/nowhere")):
        got = world.client(role).get(path)
        for name, value in HEADERS.items():
            assert got.headers[name] == value
        assert "max-age" in got.headers["strict-transport-security"]
        assert "set-cookie" not in got.headers
        assert "access-control-allow-origin" not in got.headers
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def limited(world: World, **limits) -> World:
    settings = ServiceSettings(**{"burst": 12, "address_per_minute": 1000, "token_per_minute": 1000, **limits})
    world.app = create_app(world.store, settings=settings, clock=world.clock, monotonic=world.clock.monotonic)
    return world


def test_an_address_that_calls_too_often_waits(world):
    client = limited(world, address_per_minute=60).client()
    answers = [client.get("/health").status_code for _ in range(13)]
    assert answers == [200] * 12 + [429]
    refused = client.get("/health")
    assert refused.headers["retry-after"] == "2"
    assert refused.headers["X-Frame-Options"] == "DENY"
    world.clock.move(timedelta(seconds=1))
    assert [client.get("/health").status_code for _ in range(2)] == [200, 429]


def test_guessing_tokens_is_slow_and_does_not_lock_others_out(world):
    limited(world, failures_per_minute=6)
    guesses = [world.client().get("/me", headers={"Authorization": "Bearer x"}).status_code for _ in range(4)]
    assert guesses == [401, 401, 429, 429]
    assert world.client("owner").get("/me").status_code == 200


def test_a_token_that_calls_too_often_waits_alone(world):
    limited(world, token_per_minute=6, burst=3)
    world.app.state.service.by_address._burst = 1e9
    answers = [world.client("owner").get("/me").status_code for _ in range(4)]
    assert answers == [200, 200, 200, 429]
    assert world.client("other_owner").get("/me").status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [{"max_video_mb": 0}, {"max_portrait_mb": 0}, {"code_policy": "maybe"}, {"num_actions": 4}, {"num_actions": 99}],
)
def test_senseless_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        ServiceSettings(**wrong)


def test_levels_are_kept_apart_for_accounts(world):
    ada = world.client("owner").get("/me").json()["id"]
    for second, level in enumerate(("owner", "everyone")):
        grant(
            world.store, world.ids["cameo_id"], grantee="", level=level, purpose="film", allowed_contexts=["animate"],
            expires=NOW + timedelta(days=1), max_renders=1, max_seconds=9,
            now=NOW + timedelta(seconds=second),
        )  # fmt: skip
    world.clock.move(timedelta(seconds=2))
    revoke(world.store, world.ids["grant_id"], world.clock.now)
    seen = {role: {g["level"] for g in world.client(role).get("/grants").json() if g["state"] == "active"}
            for role in ("owner", "other_owner", "grantee")}  # fmt: skip
    assert seen == {"owner": {"owner", "everyone"}, "other_owner": {"everyone"}, "grantee": {"everyone"}}
    authorise(world.store, world.request(grantee=ada), now=world.clock.now)
    authorise(world.store, world.request(grantee="Dora"), now=world.clock.now)
    with pytest.raises(ConsentDenied):
        authorise(world.store, world.request(grantee="Dora"), now=world.clock.now)
