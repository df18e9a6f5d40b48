import logging
import pickle
import traceback
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from portrait_anim.consent import rotation, schema
from portrait_anim.consent.denylist import add_denied, list_denied
from portrait_anim.consent.grants import list_grants
from portrait_anim.consent.ledger import Ledger, verify
from portrait_anim.consent.records import Challenge
from portrait_anim.consent.registry import get_cameo, get_challenge
from portrait_anim.consent.rotation import rotate
from portrait_anim.consent.rows import put_challenge
from portrait_anim.consent.sealed_files import CHUNK_BYTES, erase_file, open_sealed_file, seal_file
from portrait_anim.consent.service_records import ChallengeVideo, OutboxItem, Use
from portrait_anim.consent.service_rows import (
    find_challenge_videos,
    find_outbox,
    find_setting,
    find_uses,
    put_challenge_video,
    put_outbox,
    put_setting,
    put_use,
)
from portrait_anim.consent.store import open_store
from portrait_anim.consent.vault import key_version, sealed_prefix
from portrait_anim.errors import ConsentError, LedgerTampered

SECRETS = ("Ada Lovelace", "Robin", "mallory@example.org", "the-grantee", "a picture of Ada", "hook-secret", "case 77")


def ask_for_challenge(store, name, now, number=1):
    challenge = Challenge(
        id=f"cha_{number}", name=name, nonce="00", actions=("smile",), issued=now, expires=now + timedelta(minutes=10)
    )
    with store.write() as connection:
        put_challenge(connection, store, challenge)
    return challenge


@pytest.fixture
def filled(store, fictional, give, now, someone):
    """A store with a personal value in every secret column; returns what was written."""
    give(fictional, grantee="the-grantee")
    challenge = ask_for_challenge(store, "Ada Lovelace", now)
    entry = add_denied(store, [someone(5)], label="case 77", now=now)
    video = ChallengeVideo(id="vid_1", challenge_id=challenge.id, sha256="0" * 64, fingerprint=b"a picture of Ada",
                           stored_file="videos/1", file_key=b"k" * 32, received=now)  # fmt: skip
    use = Use(id="use_1", cameo_id=fictional, time=now, kind="refused", grantee="the-grantee", purpose="film",
              context="animate", thumbnail=b"a picture of Ada")  # fmt: skip
    item = OutboxItem(id="out_1", cameo_id=fictional, channel="email", target="mallory@example.org",
                      body="Robin was used", next_try=now)  # fmt: skip
    with store.write() as connection:
        put_challenge_video(connection, store, video, new=True)
        put_use(connection, store, use, new=True)
        put_outbox(connection, store, item, new=True)
        put_setting(connection, store, fictional, "webhook", "hook-secret")
    return {"cameo": fictional, "challenge": challenge, "entry": entry, "video": video, "use": use, "item": item}


def check_all_opens(store, filled, now):
    assert get_cameo(store, filled["cameo"]).name == "Robin"
    assert list_grants(store)[0].grantee == "the-grantee"
    assert get_challenge(store, filled["challenge"].id, now) == filled["challenge"]
    assert list_denied(store) == [filled["entry"]]
    with store.read() as connection:
        assert find_challenge_videos(connection, store) == [filled["video"]]
        assert find_uses(connection, store, cameo_id=filled["cameo"]) == [filled["use"]]
        assert find_outbox(connection, store, due_before=now) == [filled["item"]]
        assert find_setting(connection, store, filled["cameo"], "webhook") == "hook-secret"


def versions(store):
    """Key versions in use, over all secret columns."""
    found = set()
    with store.read() as connection:
        for table in schema.metadata.sorted_tables:
            for column in table.columns:
                if "secret" in column.info:
                    query = select(column).where(column.is_not(None))
                    found |= {key_version(sealed) for sealed in connection.execute(query).scalars()}
    return found


def test_nothing_personal_is_readable_on_disk(store, filled, database):
    rows = "".join(
        str(database.query(f"SELECT * FROM {table}"))
        for table in ("challenges", "challenge_videos", "cameos", "grants", "uses", "outbox", "settings", "denylist")
    )
    content = rows.encode() + b"".join(path.read_bytes() for path in store.home.glob("consent.db*"))
    for secret in SECRETS:
        assert secret.encode() not in content, secret
        assert secret.encode().hex().encode() not in content, secret


def test_nothing_personal_is_in_repr_log_or_traceback(store, filled, caplog, tamper):
    caplog.set_level(logging.DEBUG)
    shown = repr(list(filled.values())) + repr(store.vault) + repr(store.keys) + repr(store.faces)
    with store.read() as connection:
        shown += repr(find_uses(connection, store)) + repr(find_outbox(connection, store))
    tamper(store, "UPDATE uses SET thumbnail = grantee")
    with store.read() as connection, pytest.raises(LedgerTampered) as caught:
        find_uses(connection, store)
    shown += "".join(traceback.format_exception(caught.value))

    def write_twice():
        with store.write() as connection:
            put_outbox(connection, store, filled["item"], new=True)

    with pytest.raises(ConsentError) as caught:
        write_twice()
    shown += "".join(traceback.format_exception(caught.value)) + caplog.text
    for secret in SECRETS:
        assert secret not in shown, secret
    assert (store.home / "keys" / "template.key").read_bytes().hex() not in shown


def test_a_value_moved_to_another_place_does_not_open(store):
    sealed = store.vault.seal(b"face", "cameos", "template", "cam_1")
    assert store.vault.open(sealed, "cameos", "template", "cam_1") == b"face"
    for place in (("cameos", "template", "cam_2"), ("cameos", "name", "cam_1"), ("uses", "template", "cam_1")):
        with pytest.raises(LedgerTampered, match="does not open"):
            store.vault.open(sealed, *place)
    for altered in (sealed[:-1], sealed[:20], b"", sealed_prefix(1) + sealed[6:][:-1] + b"\x00"):
        with pytest.raises(LedgerTampered, match="does not open"):
            store.vault.open(altered, "cameos", "template", "cam_1")
    assert store.vault.seal(b"face", "x") != store.vault.seal(b"face", "x")
    with pytest.raises(TypeError):
        pickle.dumps(store.vault)


def test_rotation_seals_everything_with_a_new_key(store, filled, now):
    keys = store.home / "keys"
    assert versions(store) == {1}
    done = rotate(store, now=now)
    assert (done.version, done.place, done.tampered, done.old_keys_deleted) == (2, "file", 0, True)
    assert done.rows == 8
    assert versions(store) == {2}
    assert not (keys / "template.key").exists()
    assert (keys / "template-2.key").stat().st_mode & 0o777 == 0o600
    check_all_opens(store, filled, now)
    with open_store(store.home) as again:
        check_all_opens(again, filled, now)
        assert rotate(again, now=now).version == 3
        check_all_opens(again, filled, now)
    check_all_opens(store, filled, now)  # a process that knew only older keys
    assert [row.payload["version"] for row in Ledger(store).rows(kind="keys_rotated")] == [2, 3]
    assert verify(store) == 5


def test_another_process_seals_with_the_new_key_at_once(store, filled, now):
    with open_store(store.home) as other:
        rotate(other, now=now)
    ask_for_challenge(store, "Grace", now, 2)
    assert versions(store) == {2}


class Stop(Exception):
    pass


@pytest.mark.parametrize("moment", range(1, 16))
def test_a_rotation_that_stops_anywhere_loses_nothing(moment, store, filled, now, monkeypatch):
    """Stops at the n-th step: after naming the key, between tables, before and after the old key is deleted."""
    steps = []

    def step(function):
        def run(*arguments, **options):
            steps.append(function.__name__)
            if len(steps) == moment:
                raise Stop
            return function(*arguments, **options)

        return run

    for name in ("write_facts", "_seal_batch", "_forget_old_keys", "key_source"):
        monkeypatch.setattr(rotation, name, step(getattr(rotation, name)))
    stopped = False
    try:
        rotate(store, now=now)
    except Stop:
        stopped = True
    check_all_opens(store, filled, now)
    monkeypatch.undo()
    with open_store(store.home) as again:
        check_all_opens(again, filled, now)
        done = rotate(again, now=now)
        assert versions(again) == {done.version}
        check_all_opens(again, filled, now)
        assert [path.name for path in (store.home / "keys").glob("template*")] == [f"template-{done.version}.key"]
        verify(again)
    assert stopped or moment > len(steps)


def test_a_value_that_was_tampered_with_keeps_the_old_key_as_evidence(store, filled, tamper, now):
    tamper(store, "UPDATE uses SET reason = 'edited'")
    done = rotate(store, now=now)
    assert (done.tampered, done.old_keys_deleted) == (1, False)
    assert (store.home / "keys" / "template.key").exists()
    assert versions(store) == {1, 2}


@pytest.fixture
def os_keyring():
    """A keyring backend that keeps entries in memory, in place of the desktop's."""
    keyring = pytest.importorskip("keyring")

    class MemoryKeyring(keyring.backend.KeyringBackend):
        priority = 1

        def __init__(self):
            super().__init__()
            self.entries = {}

        def get_password(self, service, username):
            return self.entries.get((service, username))

        def set_password(self, service, username, password):
            self.entries[service, username] = password

        def delete_password(self, service, username):
            del self.entries[service, username]

    before = keyring.get_keyring()
    backend = MemoryKeyring()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


def test_the_key_can_live_in_the_keyring(tmp_path, os_keyring, now):
    with open_store(tmp_path / "home", keys_in="keyring") as store:
        challenge = ask_for_challenge(store, "Ada", now)
        assert store.vault.place == "keyring"
    assert [path.name for path in (tmp_path / "home" / "keys").iterdir()] == ["operator.ed25519"]
    with open_store(tmp_path / "home") as store:
        assert get_challenge(store, challenge.id, now).name == "Ada"
    os_keyring.entries.clear()
    with pytest.raises(ConsentError, match="keyring"):
        open_store(tmp_path / "home")


def test_rotation_moves_the_key_between_file_and_keyring(store, filled, os_keyring, now):
    with open_store(store.home) as other:
        assert rotate(store, now=now, place="keyring").place == "keyring"
        assert not list((store.home / "keys").glob("template*"))
        assert len(os_keyring.entries) == 1
        check_all_opens(other, filled, now)
        assert rotate(other, now=now + timedelta(days=1), place="file").place == "file"
    assert not os_keyring.entries
    check_all_opens(store, filled, now)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2_500_000])
def test_files_are_sealed_in_chunks(size, tmp_path):
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    pieces = [content[start : start + 70_000] for start in range(0, size, 70_000)]
    key = seal_file(pieces, tmp_path / "film.sealed")
    assert b"".join(open_sealed_file(tmp_path / "film.sealed", key)) == content
    assert [path.name for path in tmp_path.iterdir()] == ["film.sealed"]
    if size > 1000:
        assert content[:500] not in (tmp_path / "film.sealed").read_bytes()


def test_sealed_files_that_were_changed_do_not_open(tmp_path):
    path = tmp_path / "film.sealed"
    key = seal_file([b"x" * (2 * CHUNK_BYTES + 5)], path)
    whole = path.read_bytes()
    head, sealed = 35, CHUNK_BYTES + 16
    chunks = [whole[head + i * sealed : head + (i + 1) * sealed] for i in range(3)]
    for altered in (
        whole[:-1], whole[: head + sealed], whole[:head], whole[:10], b"", whole + b"x",
        whole[:head] + chunks[1] + chunks[0] + chunks[2], whole[:head] + chunks[0] + chunks[0] + chunks[2],
        whole[:100] + bytes([whole[100] ^ 1]) + whole[101:], bytes([whole[0] ^ 1]) + whole[1:],
    ):  # fmt: skip
        path.write_bytes(altered)
        with pytest.raises(LedgerTampered, match="intact encrypted file"):
            list(open_sealed_file(path, key))
    path.write_bytes(whole)
    with pytest.raises(LedgerTampered):
        list(open_sealed_file(path, bytes(32)))
    erase_file(path)
    erase_file(path)
    assert not path.exists()
    with pytest.raises(ConsentError, match="restore"):
        list(open_sealed_file(path, key))
    with pytest.raises(ConsentError, match="permissions"):
        seal_file([b""], tmp_path / "absent" / "film")


def test_a_file_that_fails_halfway_leaves_nothing(tmp_path):
    def broken():
        yield b"x" * 3_000_000
        raise RuntimeError("camera unplugged")

    with pytest.raises(RuntimeError):
        seal_file(broken(), tmp_path / "film")
    assert list(tmp_path.iterdir()) == []


def test_every_row_is_counted_once(store, filled, now, monkeypatch):
    monkeypatch.setattr(rotation, "BATCH_ROWS", 3)
    for number in range(7):
        ask_for_challenge(store, f"Person {number}", now, number + 2)
    with store.read() as connection:
        total = connection.execute(select(func.count()).select_from(schema.challenges)).scalar_one()
    assert total == 8
    seen = []
    assert rotate(store, now=now, on_progress=seen.append).rows == 8 + 7
    assert seen == sorted(seen)
    assert versions(store) == {2}
