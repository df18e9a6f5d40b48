import os
import pickle
import stat

import pytest
from sqlalchemy import select

from portrait_anim.consent import schema
from portrait_anim.consent.keys import OperatorKeys, load_keys, load_or_create_keys, signature_holds
from portrait_anim.consent.ledger import Ledger
from portrait_anim.consent.permit import authorise
from portrait_anim.consent.registry import get_cameo, list_cameos
from portrait_anim.consent.store import open_store
from portrait_anim.errors import ConsentError, LedgerTampered


def test_files_are_private(store, now, sqlite_only):
    Ledger(store).append("note", {}, now)
    assert stat.S_IMODE((store.home / "keys").stat().st_mode) == 0o700
    for name in ("consent.db", "consent.db-wal", "keys/operator.ed25519", "keys/template.key"):
        assert stat.S_IMODE((store.home / name).stat().st_mode) == 0o600, name
    assert not list((store.home / "keys").glob(".*"))


def test_opening_twice_gives_the_same_store(store, tmp_path):
    with open_store(tmp_path / "home") as again:
        assert again.store_id == store.store_id
        assert again.keys.public_key == store.keys.public_key


def test_it_waits_for_others_in_wal_mode_and_survives_a_power_cut(store, sqlite_only):
    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_failed_transaction_leaves_nothing(store, now):
    from portrait_anim.consent.ledger import append_row

    def fail():
        with store.write() as connection:
            append_row(connection, store, "note", now=now, payload={})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert Ledger(store).verify() == 0


def test_a_read_only_database_allows_nothing(store, tmp_path, now, ask, fictional, give, sqlite_only):
    give(fictional)
    url = f"sqlite:///file:{tmp_path / 'home' / 'consent.db'}?mode=ro&uri=true"
    with open_store(tmp_path / "home", url=url) as locked:
        assert len(list_cameos(locked)) == 1
        with pytest.raises(ConsentError, match="writable") as caught:
            authorise(locked, ask(fictional), now=now)
    assert "sqlalche" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_a_damaged_database_fails_closed(keep, store, tmp_path, sqlite_only):
    store.close()
    path = tmp_path / "home" / "consent.db"
    path.write_bytes(path.read_bytes()[:keep] + b"not a database" * 300)
    with pytest.raises(ConsentError, match="restore it from a backup"), open_store(tmp_path / "home") as opened:
        Ledger(opened).verify()


def test_a_busy_database_is_waited_for_then_refused(store, now, monkeypatch):
    monkeypatch.setattr("portrait_anim.consent.store.BUSY_TIMEOUT_S", 0.2)
    with (
        open_store(store.home) as waiting,
        store.write(),
        pytest.raises(ConsentError, match="another process"),
    ):
        Ledger(waiting).append("note", {}, now)
    assert Ledger(store).verify() == 0


def test_a_database_that_turns_bad_fails_closed(store, tamper, database):
    tamper(store, "DROP TABLE cameos CASCADE" if database.name == "postgresql" else "DROP TABLE cameos")
    with pytest.raises(ConsentError, match="nothing is allowed"):
        list_cameos(store)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://u:secret@h/db", "what is secret"])
def test_only_sqlite_files_and_postgresql_are_stores(url, tmp_path):
    with pytest.raises(ConsentError, match="sqlite:///") as caught:
        open_store(tmp_path / "home", url=url)
    assert "secret" not in str(caught.value)


def test_another_file_by_url(tmp_path, now):
    with open_store(tmp_path / "home", url=f"sqlite:///{tmp_path / 'other.db'}") as store:
        Ledger(store).append("note", {}, now)
    assert (tmp_path / "other.db").exists()
    assert not (tmp_path / "home" / "consent.db").exists()


def test_a_home_can_name_its_database(tmp_path, now):
    home = tmp_path / "home"
    home.mkdir()
    named = home / "database.url"
    named.touch(mode=0o600)
    named.write_text(f"sqlite:///{tmp_path / 'other.db'}\n")
    with open_store(home) as store:
        Ledger(store).append("note", {}, now)
    assert (tmp_path / "other.db").exists()
    assert not (home / "consent.db").exists()
    with open_store(home) as again:
        assert Ledger(again).verify() == 1
    named.write_text("postgresql+psycopg://portrait:secret@127.0.0.1:1/consent")
    with pytest.raises(ConsentError) as caught:
        open_store(home)
    assert "secret" not in str(caught.value)
    named.chmod(0o644)  # it may hold a password
    with pytest.raises(ConsentError, match="chmod 600"):
        open_store(home)


def test_a_home_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConsentError, match="home folder"):
        open_store(tmp_path / "file" / "home")


@pytest.mark.parametrize("name", ["operator.ed25519", "template.key"])
def test_keys_are_never_replaced_silently(name, store, tmp_path):
    key = tmp_path / "home" / "keys" / name
    key.chmod(0o644)
    with pytest.raises(ConsentError, match="chmod 600"):
        open_store(tmp_path / "home")
    key.chmod(0o600)
    key.write_bytes(b"rubbish")
    with pytest.raises(ConsentError, match="restore the key"):
        open_store(tmp_path / "home")
    key.unlink()
    with pytest.raises(ConsentError, match="restore the key"):
        open_store(tmp_path / "home")
    assert not key.exists()


def test_somebody_elses_signing_key_does_not_open_the_store(store, tmp_path):
    load_or_create_keys(tmp_path / "elsewhere")
    os.replace(tmp_path / "elsewhere" / "operator.ed25519", tmp_path / "home" / "keys" / "operator.ed25519")
    with pytest.raises(ConsentError, match="restore the original key"):
        open_store(tmp_path / "home")


def test_somebody_elses_template_key_opens_no_template(fictional, store, tmp_path):
    with open_store(tmp_path / "elsewhere"):
        os.replace(tmp_path / "elsewhere" / "keys" / "template.key", tmp_path / "home" / "keys" / "template.key")
    with open_store(tmp_path / "home") as again, pytest.raises(LedgerTampered, match="does not open"):
        get_cameo(again, fictional)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET value = 'other' WHERE key = 'store_id'",
        "UPDATE meta SET value = 'zz' WHERE key = 'signature'",
        "DELETE FROM meta WHERE key = 'signature'",
        "DELETE FROM meta",
        "UPDATE meta SET value = '1' WHERE key = 'schema'",
        "UPDATE meta SET value = '4' WHERE key = 'schema'",
        "UPDATE meta SET value = '2:file' WHERE key = 'vault'",
    ],
)
def test_an_altered_identity_is_refused(statement, store, tmp_path, tamper):
    store.close()
    tamper(store, statement)
    with pytest.raises(ConsentError):
        open_store(tmp_path / "home")


def test_a_store_of_a_newer_version_is_refused(store, tmp_path, monkeypatch):
    store.close()
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 1)
    with pytest.raises(ConsentError, match="version 1 or older, got 3"):
        open_store(tmp_path / "home")


def test_templates_are_encrypted_at_rest(fictional, store, someone):
    plain = someone(1).vector.tobytes()
    assert get_cameo(store, fictional).embeddings[0].vector.tobytes() == plain
    with store.read() as connection:
        sealed = connection.execute(select(schema.cameos.c.template)).scalar_one()
    assert len(sealed) > len(plain)
    for file in store.home.glob("consent.db*"):
        assert plain[:16] not in file.read_bytes()


def test_keys_do_not_leave(tmp_path):
    keys = load_or_create_keys(tmp_path / "keys")
    assert repr(keys) == f"OperatorKeys(public_key={keys.public_key.hex()})"
    with pytest.raises(TypeError):
        pickle.dumps(keys)
    assert isinstance(load_keys(tmp_path / "keys"), OperatorKeys)
    assert load_or_create_keys(tmp_path / "keys").public_key == keys.public_key


def test_signatures(tmp_path):
    keys = load_or_create_keys(tmp_path / "keys")
    signature = keys.sign(b"yes")
    assert keys.verify(b"yes", signature)
    assert not keys.verify(b"no", signature)
    assert not keys.verify(b"yes", b"short")
    assert not signature_holds(b"bad key", b"yes", signature)
