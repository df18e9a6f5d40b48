"""Stores of version 1, written here row by row as version 1 wrote them, are brought to the present version."""

import base64
import json
import secrets
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import MetaData, create_engine

from portrait_anim.consent import migrations, schema, verification
from portrait_anim.consent.chain import genesis, head_message, row_digest
from portrait_anim.consent.grants import grants_for, list_grants
from portrait_anim.consent.identity import VAULT, open_vault
from portrait_anim.consent.keys import canonical, load_or_create_keys
from portrait_anim.consent.ledger import Ledger, verify
from portrait_anim.consent.migrations import Sealing, tables_2
from portrait_anim.consent.permit import authorise
from portrait_anim.consent.registry import get_cameo, list_cameos
from portrait_anim.consent.rows import find_challenge
from portrait_anim.consent.signed_rows import sealed_row
from portrait_anim.consent.store import open_store
from portrait_anim.consent.usage import charged
from portrait_anim.consent.verification import inspect_ledger
from portrait_anim.errors import ConsentError, LedgerTampered

TIME = "2026-11-22T11:00:00.000000+00:00"
STORE = "ab" * 16
HERE = Path(__file__).parent  # version_N.sql: the tables of version N as SQLite had them; never edited


class OldStore:
    """Version 1 of the store, as far as these tests need it."""

    def __init__(self, home):
        (home / "keys").mkdir(parents=True, mode=0o700)
        self.home, self.keys = home, load_or_create_keys(home / "keys")
        (home / "keys" / "template.key").touch(mode=0o600)
        (home / "keys" / "template.key").write_bytes(secrets.token_bytes(32))
        self.database = sqlite3.connect(home / "consent.db")
        self.database.executescript((HERE / "version_1.sql").read_text())
        facts = {"operator": self.keys.public_key.hex(), "schema": "1", "store_id": STORE}
        for item in {**facts, "signature": self.keys.sign(canonical(facts)).hex()}.items():
            self.database.execute("INSERT INTO meta VALUES (?, ?)", item)
        self.seq, self.digest = 0, genesis(STORE)
        self.sign_head()

    def put(self, table, **values):
        plain = {key: value.hex() if isinstance(value, bytes) else value for key, value in values.items()}
        row = {**values, "signature": self.keys.sign(canonical(["row", STORE, table, plain]))}
        marks = ",".join("?" * len(row))
        self.database.execute(f"INSERT INTO {table} ({','.join(row)}) VALUES ({marks})", tuple(row.values()))

    def sealed(self, cameo_id, embedding):
        plain = [[embedding.backend, base64.b64encode(embedding.vector.astype("<f4").tobytes()).decode()]]
        nonce = secrets.token_bytes(12)
        key = AESGCM((self.home / "keys" / "template.key").read_bytes())
        return nonce + key.encrypt(nonce, canonical(plain), f"template of {cameo_id} in {STORE}".encode())

    def append(self, kind, *, cameo_id=None, grant_id=None, permit_id=None, renders=0, ms=0, **payload):
        self.seq += 1
        row = {"seq": self.seq, "time": TIME, "kind": kind, "cameo_id": cameo_id, "grant_id": grant_id,
               "permit_id": permit_id, "challenge_id": None, "charge_renders": renders, "charge_ms": ms,
               "payload": canonical(payload).decode()}  # fmt: skip
        previous, self.digest = self.digest, row_digest(row, self.digest)
        values = (*row.values(), previous, self.digest)
        self.database.execute(f"INSERT INTO ledger VALUES ({','.join('?' * 12)})", values)
        self.sign_head()

    def sign_head(self):
        self.database.execute("DELETE FROM ledger_head")
        head = self.keys.sign(head_message(STORE, self.seq, self.digest))
        self.database.execute("INSERT INTO ledger_head VALUES (1, ?, ?, ?)", (self.seq, self.digest, head))

    def cameo(self, number, embedding):
        self.put("cameos", id=f"cam_{number}", name=f"Robin the {number}.", kind="fictional",
                 portrait_digest=f"{number:064x}", template=self.sealed(f"cam_{number}", embedding), created=TIME,
                 status="active", statement="Drawn.", deleted_at=None)  # fmt: skip
        self.append("enrolled_fictional", cameo_id=f"cam_{number}")

    def grant(self, number, cameo, revoked_at=None):
        self.put("grants", id=f"gra_{number}", cameo_id=f"cam_{cameo}", grantee="operator", purpose="film",
                 allowed_contexts=json.dumps(["animate"]), created=TIME, expires=TIME.replace("2026", "2030"),
                 max_renders=3, max_ms=30_000, commercial=0, revoked_at=revoked_at)  # fmt: skip
        self.append("granted", cameo_id=f"cam_{cameo}", grant_id=f"gra_{number}")


@pytest.fixture
def old(tmp_path, someone):
    """Two figures, one of them with a grant that was used and one that was revoked, and an open challenge."""
    old = OldStore(tmp_path / "old")
    old.put("challenges", id="cha_1", name="Ada Lovelace", nonce="00", actions='["smile"]', issued=TIME, expires=TIME)
    old.cameo(1, someone(1))
    old.cameo(2, someone(2))
    old.grant(1, 1)
    old.grant(2, 1, revoked_at=TIME)
    old.append("revoked", cameo_id="cam_1", grant_id="gra_2")
    old.append("authorised", cameo_id="cam_1", grant_id="gra_1", permit_id="per_1", renders=1, ms=2000)
    old.append("rendered", cameo_id="cam_1", grant_id="gra_1", permit_id="per_1", ms=-500)
    old.database.commit()
    return old


def test_an_old_store_is_migrated_on_opening(old, someone, ask, now):
    with open_store(old.home) as store:
        assert store.store_id == STORE
        assert [cameo.name for cameo in list_cameos(store)] == ["Robin the 1.", "Robin the 2."]
        assert get_cameo(store, "cam_2").embeddings[0].vector.tolist() == someone(2).vector.tolist()
        first, second = list_grants(store, "cam_1")
        assert (first.grantee, first.max_seconds, first.level, first.forbidden) == ("operator", 30.0, "person", "")
        assert second.revoked_at is not None
        with store.read() as connection:
            assert find_challenge(connection, store, "cha_1").name == "Ada Lovelace"
            assert (charged(connection, store, "gra_1").renders, charged(connection, store, "gra_1").milliseconds) == (
                1, 1500,
            )  # fmt: skip
        assert verify(store) == 7
        assert authorise(store, ask("cam_1"), now=now).grant_id == "gra_1"
    with open_store(old.home) as again:
        assert verify(again) == 8


def test_a_migrated_store_has_the_tables_of_a_new_one(old, tmp_path):
    with open_store(old.home) as store, open_store(tmp_path / "new") as new:
        for one in (store, new):
            with one.read() as connection:
                assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
                version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
                assert version == f"{schema.SCHEMA_VERSION:04d}"
        objects = "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name"
        with store.read() as one, new.read() as other:
            assert one.exec_driver_sql(objects).all() == other.exec_driver_sql(objects).all()


def test_the_ledger_of_version_1_is_sealed_by_a_checkpoint(old, monkeypatch):
    monkeypatch.setattr(verification, "CHECKPOINT_ROWS", 5)  # its seven rows are more than may go without one
    with open_store(old.home) as store:
        found = inspect_ledger(store)
    assert (found.rows, found.checkpoints, found.sound_seq, found.damage) == (7, 1, 7, None)


def test_names_of_version_1_are_no_longer_readable(old):
    content = (old.home / "consent.db").read_bytes()
    assert b"Ada Lovelace" in content
    with open_store(old.home):
        pass
    for path in old.home.glob("consent.db*"):
        content = path.read_bytes()
        assert b"Ada Lovelace" not in content, path
        assert b"Robin the" not in content, path


@pytest.mark.parametrize(
    ("statement", "refused"),
    [
        ("UPDATE cameos SET kind = 'real' WHERE id = 'cam_1'", lambda store: get_cameo(store, "cam_1")),
        ("UPDATE cameos SET template = x'00' WHERE id = 'cam_1'", lambda store: get_cameo(store, "cam_1")),
        ("UPDATE grants SET max_renders = 99", list_grants),
        ("UPDATE grants SET revoked_at = NULL", list_grants),
        ("UPDATE ledger SET charge_renders = 0 WHERE seq = 6", verify),
    ],
)
def test_what_was_tampered_with_before_is_refused_after(statement, refused, old):
    old.database.execute(statement)
    old.database.commit()
    with open_store(old.home) as store, pytest.raises(LedgerTampered):
        refused(store)


@pytest.mark.parametrize("key", ["schema", "store_id", "operator", "signature"])
def test_a_store_with_an_altered_identity_is_not_migrated(key, old):
    old.database.execute("UPDATE meta SET value = '0' WHERE key = ?", (key,))
    old.database.commit()
    before = list(old.database.iterdump())
    with pytest.raises(ConsentError):
        open_store(old.home)
    assert list(old.database.iterdump()) == before


def test_a_migration_that_fails_changes_nothing(old, monkeypatch):
    def fail(*arguments, **options):
        raise ConsentError("power cut")

    monkeypatch.setattr("portrait_anim.consent.identity.write_facts", fail)
    with pytest.raises(ConsentError, match="power cut"):
        open_store(old.home)
    assert old.database.execute("SELECT name FROM challenges").fetchall() == [("Ada Lovelace",)]
    monkeypatch.undo()
    with open_store(old.home) as store:
        assert verify(store) == 7
        assert [row.kind for row in Ledger(store).rows(grant_id="gra_2")] == ["granted", "revoked"]


def tables_of(connection):
    query = (
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
        "AND name != 'alembic_version' ORDER BY type DESC, name"
    )
    return [" ".join(sql.split()) for (sql,) in connection.execute(query)]


def frozen(version):
    database = sqlite3.connect(":memory:")
    database.executescript((HERE / f"version_{version}.sql").read_text())
    return tables_of(database)


@pytest.mark.parametrize("version", [1, 2])
def test_each_migration_makes_the_tables_that_its_version_had(version, old, monkeypatch):
    """Whatever `schema.py` says today: an empty one is put in its place."""
    monkeypatch.setattr("portrait_anim.consent.schema.metadata", MetaData())
    sealing = Sealing(
        store_id=STORE, keys=old.keys, vault=open_vault({"store_id": STORE, VAULT: "1:file"}, old.home / "keys")
    )
    old.database.close()
    engine = create_engine(f"sqlite:///{old.home / 'consent.db'}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", migrations.__path__[0])
        config.attributes |= {"connection": connection, "sealing": sealing}
        command.stamp(config, "0001")
        command.upgrade(config, f"{version:04d}")
    engine.dispose()
    assert tables_of(sqlite3.connect(old.home / "consent.db")) == frozen(version)


@pytest.fixture
def second(tmp_path, old):
    """The store of version 1 as the program of version 2 left it: tables from frozen SQL, its own rows."""
    home = tmp_path / "second"
    (home / "keys").mkdir(parents=True, mode=0o700)
    for path in (old.home / "keys").iterdir():
        (home / "keys" / path.name).touch(mode=0o600)
        (home / "keys" / path.name).write_bytes(path.read_bytes())
    vault = open_vault({"store_id": STORE, VAULT: "1:file"}, home / "keys")
    sealing = Sealing(store_id=STORE, keys=old.keys, vault=vault)
    database = sqlite3.connect(home / "consent.db")
    database.executescript((HERE / "version_2.sql").read_text())
    facts = {"operator": old.keys.public_key.hex(), "schema": "2", "store_id": STORE, VAULT: "1:file"}
    for item in {**facts, "signature": old.keys.sign(canonical(facts)).hex()}.items():
        database.execute("INSERT INTO meta VALUES (?, ?)", item)

    def put(table, **values):
        row = sealed_row(sealing, table, values)
        database.execute(
            f"INSERT INTO {table.name} ({','.join(row)}) VALUES ({','.join('?' * len(row))})", tuple(row.values())
        )

    put(tables_2.cameos, id="cam_1", name="Robin", kind="fictional", portrait_digest="", template=None, created=TIME,
        status="active", statement="Drawn.", deleted_at=None, owner_account="acc_1", generation=1)  # fmt: skip
    for number, (level, grantee) in enumerate(
        [("person", "Studio"), ("person", "Other"), ("everyone", ""), ("owner", "")]
    ):
        put(tables_2.grants, id=f"gra_{number}", cameo_id="cam_1", grantee=grantee, purpose="film",
            allowed_contexts='["animate"]', created=TIME, expires=TIME.replace("2026", "2030"), max_renders=3,
            max_ms=30_000, commercial=0, revoked_at=None, level=level, forbidden="", label_size="small")  # fmt: skip
    head = old.keys.sign(head_message(STORE, 0, genesis(STORE)))
    database.execute("INSERT INTO ledger_head VALUES (1, 0, ?, ?)", (genesis(STORE), head))
    database.commit()
    return home, database


def test_a_store_of_version_2_finds_the_grants_of_each_person_afterwards(second):
    home, _ = second
    with open_store(home) as store:
        assert [grant.id for grant in grants_for(store, "Studio")] == ["gra_0", "gra_2"]
        assert [grant.id for grant in grants_for(store, "Other", "acc_1")] == ["gra_1", "gra_2", "gra_3"]
        assert [grant.id for grant in grants_for(store, "Nobody")] == ["gra_2"]
        assert [grant.grantee for grant in list_grants(store)] == ["Studio", "Other", "", ""]
        assert verify(store) == 0
        with store.read() as connection:
            assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    assert b"Studio" not in (home / "consent.db").read_bytes()


def test_a_grant_tampered_with_under_version_2_is_refused_afterwards(second):
    home, database = second
    database.execute("UPDATE grants SET max_renders = 99 WHERE id = 'gra_0'")
    database.commit()
    with open_store(home) as store:
        with pytest.raises(LedgerTampered):
            list_grants(store)
        assert [grant.id for grant in grants_for(store, "Other")] == ["gra_1", "gra_2"]
