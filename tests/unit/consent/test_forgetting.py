"""Erasure on disk: not even the encrypted values of a deleted person stay in the database, its log or free pages."""

from datetime import timedelta

import pytest

from portrait_anim.consent.denylist import add_denied, remove_denied
from portrait_anim.consent.inbox import add_thumbnail
from portrait_anim.consent.ledger import verify
from portrait_anim.consent.permit import authorise
from portrait_anim.consent.registry import delete_cameo
from portrait_anim.consent.rotation import rotate
from portrait_anim.consent.service_rows import put_setting

SEALED = {
    "cameos": ("name", "template"),
    "grants": ("grantee",),
    "uses": ("grantee", "thumbnail"),
    "settings": ("value",),
    "denylist": ("template", "label"),
}


@pytest.fixture
def sealed_values(database):
    """All encrypted values as they are stored now, by place."""

    def collect():
        return {
            f"{table}.{column}": [bytes(value) for (value,) in database.query(f"SELECT {column} FROM {table}") if value]
            for table, columns in SEALED.items()
            for column in columns
        }

    return collect


def found_in_files(home, values):
    """Places of values of which a piece is still in a file of the database."""
    content = b"".join(path.read_bytes() for path in home.glob("consent.db*"))
    return {
        place
        for place, sealed in values.items()
        for one in sealed
        if any(one[start : start + 12] in content for start in range(17, len(one) - 12, 12))
    }


@pytest.fixture
def person(store, fictional, give, ask, now):
    """Somebody with a thumbnail, a grant and a setting; the row of the cameo was written several times."""
    give(fictional)
    permit = authorise(store, ask(fictional), now=now)
    picture = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
        "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
    )
    add_thumbnail(store, permit.id, picture)
    with store.write() as connection:
        put_setting(connection, store, fictional, "email", "robin@example.org")
    return fictional


def test_a_deleted_person_is_in_no_page(store, person, sealed_values, sqlite_only, now):
    values = sealed_values()
    assert all(values[place] for place in ("cameos.name", "cameos.template", "uses.thumbnail", "settings.value"))
    assert {"cameos.name", "cameos.template", "uses.thumbnail"} <= found_in_files(store.home, values)
    delete_cameo(store, person, now=now)
    assert found_in_files(store.home, {**values, "denylist.template": []}) == set()
    assert (store.home / "consent.db-wal").stat().st_size == 0
    verify(store)


def test_nothing_sealed_with_an_old_key_is_in_any_page(store, person, sealed_values, sqlite_only, now):
    values = sealed_values()
    rotate(store, now=now)
    assert found_in_files(store.home, values) == set()
    assert set().union(*sealed_values().values()).isdisjoint(set().union(*values.values()))


def test_a_removed_entry_of_the_denylist_is_in_no_page(store, someone, sealed_values, sqlite_only, now):
    entry = add_denied(store, [someone(1)], label="request 12", now=now)
    values = sealed_values()
    assert {"denylist.template", "denylist.label"} <= found_in_files(store.home, values)
    remove_denied(store, entry.id, now=now + timedelta(days=1))
    assert found_in_files(store.home, values) == set()


def test_what_a_reader_needs_is_removed_after_it(store, person, sealed_values, sqlite_only, now, monkeypatch):
    values = sealed_values()
    with store.read() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        connection.exec_driver_sql("SELECT count(*) FROM cameos").scalar_one()
        monkeypatch.setattr(store, "forget_free_pages", lambda: False)  # it would wait for this reader
        delete_cameo(store, person, now=now)
        monkeypatch.undo()
        assert found_in_files(store.home, values)
    assert store.forget_free_pages() is True
    assert found_in_files(store.home, values) == set()


def test_a_deleted_person_is_in_no_row(store, person, sealed_values, now):
    delete_cameo(store, person, now=now)
    assert not any(sealed_values().values())
