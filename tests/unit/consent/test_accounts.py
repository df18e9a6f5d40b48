import hashlib
from datetime import timedelta

import pytest

from portrait_anim.consent.accounts import (
    account_of,
    create_account,
    disable_account,
    list_accounts,
    renew_token,
    token_expiry,
)
from portrait_anim.consent.ledger import Ledger
from portrait_anim.consent.links import MAX_ATTEMPTS, close_link, count_attempt, create_link, open_link
from portrait_anim.errors import ConsentDenied


@pytest.fixture
def made(store, now):
    return create_account(store, name="Ada", role="owner", now=now)


def test_a_token_opens_its_account_and_only_its_digest_is_kept(store, made, now, database):
    account, token = made
    assert account_of(store, token, now) == account
    assert len(token.split("_", 2)[2]) == 43  # 256 random bits
    ((name, digest),) = database.query("SELECT name, token_digest FROM accounts")
    assert b"Ada" not in bytes(name)
    assert digest == hashlib.sha256(token.encode()).hexdigest()
    assert "Ada" not in repr(account)
    (row,) = Ledger(store).rows(kind="account_added")
    assert "Ada" not in str(dict(row.payload))


def test_a_token_ends_at_its_time_which_nobody_can_move(store, made, now):
    _, token = made
    end = token_expiry(token)
    assert end == now + timedelta(days=365)
    assert account_of(store, token, end - timedelta(seconds=1))
    assert account_of(store, token, end) is None
    longer = token.replace(str(int(end.timestamp())), str(int(end.timestamp()) + 10**6))
    assert account_of(store, longer, now) is None


@pytest.mark.parametrize("change", ["", "x", " ", "\n", "é", "' OR 1=1 --"])
def test_other_texts_open_nothing(change, store, made, now):
    _, token = made
    for text in (change, token + change if change else token[:-1], change + token[1:], token.swapcase()):
        assert account_of(store, text, now) is None
    with pytest.raises(ValueError, match="token"):
        token_expiry("pa_1_x")


def test_a_renewed_or_disabled_token_is_worthless_at_once(store, made, now):
    account, first = made
    _, second = renew_token(store, account.id, now=now, lifetime=timedelta(hours=1))
    assert account_of(store, first, now) is None
    assert account_of(store, second, now).id == account.id
    (row,) = Ledger(store).rows(kind="note")
    assert dict(row.payload) == {"event": "token_renewed", "account_id": account.id}
    disable_account(store, account.id, now)
    assert disable_account(store, account.id, now + timedelta(1)).disabled_at == now
    assert account_of(store, second, now) is None
    assert account_of(store, "", now) is None  # the digest of a disabled account is empty, not that of nothing
    with pytest.raises(ConsentDenied, match="disabled"):
        renew_token(store, account.id, now=now)
    assert (list_accounts(store), len(list_accounts(store, disabled=True))) == ([], 1)


def test_names_are_unique_while_in_use(store, made, now):
    account, _ = made
    for name in ("Ada", "ada", account.id):
        with pytest.raises(ConsentDenied) as caught:
            create_account(store, name=name, role="grantee", now=now)
        assert caught.value.reason == "name_taken"
    disable_account(store, account.id, now)
    create_account(store, name="Ada", role="grantee", now=now)


@pytest.mark.parametrize(
    "change",
    [{"name": " "}, {"name": "a\nb"}, {"role": "root"}, {"lifetime": timedelta(0)}, {"lifetime": timedelta(9999)}],
)
def test_senseless_accounts_are_refused(change, store, now):
    with pytest.raises(ValueError, match="expected"):
        create_account(store, **{"name": "Eve", "role": "owner", "now": now, **change})
    assert list_accounts(store) == []


def test_unknown_accounts_are_refused(store, now):
    for call in (lambda: renew_token(store, "acc_x", now=now), lambda: disable_account(store, "acc_x", now)):
        with pytest.raises(ConsentDenied) as caught:
            call()
        assert caught.value.reason == "no_account"


def test_a_link_opens_until_it_is_used_old_or_tried_too_often(store, now):
    link, token = create_link(store, name="Ada", now=now)
    assert open_link(store, token, now) == link
    assert "Ada" not in repr(link)
    for text in ("", "x" * 43, token[:-1], token + "=", "../" + token):
        with pytest.raises(ConsentDenied) as caught:
            open_link(store, text, now)
        assert caught.value.reason == "no_link"
    with pytest.raises(ConsentDenied):
        open_link(store, token, link.expires)
    for count in range(1, MAX_ATTEMPTS + 1):
        assert count_attempt(store, token, now).attempts == count
    with pytest.raises(ConsentDenied) as caught:
        count_attempt(store, token, now)
    assert caught.value.reason == "too_many_attempts"
    with store.write() as connection:
        close_link(connection, store, token, now)
    with pytest.raises(ConsentDenied):
        open_link(store, token, now)


def test_links_do_not_live_for_ever(store, now):
    for lifetime in (timedelta(0), timedelta(days=31)):
        with pytest.raises(ValueError, match="lifetime"):
            create_link(store, name="Ada", now=now, lifetime=lifetime)
    with pytest.raises(ValueError, match="name"):
        create_link(store, name="", now=now)
