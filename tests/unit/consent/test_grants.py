from datetime import timedelta

import pytest

from portrait_anim.consent.grants import list_grants, revoke
from portrait_anim.consent.ledger import Ledger, verify
from portrait_anim.consent.registry import delete_cameo
from portrait_anim.errors import ConsentDenied, LedgerTampered


def test_a_grant_is_recorded(store, fictional, give, now):
    grant_id = give(fictional, commercial=True, max_seconds=1.0005)
    (found,) = list_grants(store, fictional)
    assert (found.id, found.grantee, found.purpose, found.allowed_contexts) == (
        grant_id, "operator", "film", ("animate",),
    )  # fmt: skip
    assert (found.max_renders, found.max_seconds, found.commercial, found.created) == (3, 1.001, True, now)
    row = next(iter(Ledger(store).rows(kind="granted")))
    assert row.grant_id == grant_id
    assert "operator" not in str(dict(row.payload))


@pytest.mark.parametrize(
    "change",
    [
        {"grantee": ""},
        {"purpose": " "},
        {"allowed_contexts": []},
        {"allowed_contexts": "any"},
        {"allowed_contexts": [""]},
        {"max_renders": 0},
        {"max_renders": True},
        {"max_renders": 1.5},
        {"max_seconds": 0},
        {"max_seconds": float("nan")},
        {"max_seconds": float("inf")},
        {"level": "all"},
        {"label_size": "tiny"},
        {"level": "everyone"},  # and a name beside it
        {"level": "owner", "grantee": ""},  # of a cameo that no account owns
        {"forbidden": "x" * 2001},
        {"forbidden": "a\x00b"},
    ],
)
def test_every_limit_must_be_stated_and_make_sense(change, store, fictional, give):
    with pytest.raises(ValueError, match="expected"):
        give(fictional, **change)
    assert list_grants(store) == []


def test_expiry_lies_in_the_future(fictional, give, now):
    for expires in (now, now - timedelta(days=1)):
        with pytest.raises(ValueError, match="expiry"):
            give(fictional, expires=expires)
    with pytest.raises(ValueError, match="timezone"):
        give(fictional, expires=now.replace(tzinfo=None))


def test_only_an_active_cameo_can_be_opened(store, fictional, give, now):
    with pytest.raises(ConsentDenied) as caught:
        give("cam_x")
    assert caught.value.reason == "no_cameo"
    delete_cameo(store, fictional, now=now)
    with pytest.raises(ConsentDenied) as caught:
        give(fictional)
    assert caught.value.reason == "deleted"


def test_revoking_is_final_and_recorded_once(store, fictional, give, now):
    grant_id = give(fictional)
    later = now + timedelta(minutes=1)
    assert revoke(store, grant_id, later).revoked_at == later
    assert revoke(store, grant_id, later + timedelta(days=1)).revoked_at == later
    assert len(list(Ledger(store).rows(kind="revoked"))) == 1
    with pytest.raises(ConsentDenied) as caught:
        revoke(store, "gra_x", later)
    assert caught.value.reason == "no_grant"
    assert verify(store) == 3


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE grants SET expires = '2099-01-01T00:00:00.000000+00:00'",
        "UPDATE grants SET max_renders = 1000000",
        "UPDATE grants SET grantee = signature",
        "UPDATE grants SET level = 'everyone'",
        "UPDATE grants SET grantee_key = 'ff'",
        "UPDATE grants SET forbidden = ''",
        "UPDATE grants SET label_size = 'small'",
        "UPDATE grants SET revoked_at = NULL",
        "INSERT INTO grants SELECT 'gra_forged', cameo_id, grantee, purpose, allowed_contexts, created, expires, "
        "max_renders, max_ms, commercial, NULL, level, forbidden, label_size, grantee_key, signature FROM grants",
    ],
)
def test_an_altered_or_forged_grant_is_refused(statement, store, fictional, give, now, tamper):
    revoke(store, give(fictional, forbidden="No adverts", label_size="large"), now)
    tamper(store, statement)
    with pytest.raises(LedgerTampered, match="altered or forged"):
        list_grants(store)


def test_a_revocation_cannot_be_rolled_back(store, fictional, give, now, tamper, database):
    grant_id = give(fictional)
    (before,) = database.query("SELECT * FROM grants")
    revoke(store, grant_id, now)
    tamper(store, "DELETE FROM grants", (f"INSERT INTO grants VALUES ({','.join('?' * len(before))})", before))
    with pytest.raises(LedgerTampered, match="was revoked"):
        list_grants(store)
