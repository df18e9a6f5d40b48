import hashlib
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portrait_anim.consent import checkpoints, verification
from portrait_anim.consent.chain import CHAINED_COLUMNS, chained_digest, head_message, row_digest
from portrait_anim.consent.keys import canonical
from portrait_anim.consent.ledger import Ledger, usage, verify
from portrait_anim.consent.permit import authorise
from portrait_anim.consent.records import Usage
from portrait_anim.consent.store import open_store
from portrait_anim.consent.usage import charged
from portrait_anim.consent.verification import inspect_ledger
from portrait_anim.errors import ConsentDenied, ConsentError, LedgerTampered

JSON_VALUES = st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.none() | st.booleans()


@pytest.fixture
def filled(store, now):
    ledger = Ledger(store)
    for number in range(6):
        ledger.append("note", {"number": number}, now)
    return store


def test_rows_are_chained_and_verify(filled, now):
    rows = list(Ledger(filled).rows())
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row.payload["number"] for row in rows] == list(range(6))
    assert all(second.previous == first.digest for first, second in pairwise(rows))
    assert rows[0].time == now
    assert verify(filled) == Ledger(filled).verify() == 6


def test_an_empty_ledger_verifies(store):
    assert verify(store) == 0


def test_the_chain_goes_on_after_reopening(filled, now):
    home = filled.home
    filled.close()
    with open_store(home) as again:
        Ledger(again).append("note", {}, now)
        assert verify(again) == 7


@pytest.mark.parametrize(
    ("statements", "row"),
    [
        (["UPDATE ledger SET payload = '{\"number\":9}' WHERE seq = 3"], 3),
        (["UPDATE ledger SET kind = 'rendered' WHERE seq = 1"], 1),
        (["UPDATE ledger SET time = '2020-01-01T00:00:00.000000+00:00' WHERE seq = 6"], 6),
        (["UPDATE ledger SET charge_renders = -5 WHERE seq = 2"], 2),
        (["UPDATE ledger SET grant_id = 'gra_x' WHERE seq = 2"], 2),
        (["UPDATE ledger SET digest = 'ab' WHERE seq = 4"], 4),
        (["DELETE FROM ledger WHERE seq = 1"], 1),
        (["DELETE FROM ledger WHERE seq = 3"], 3),
        (["DELETE FROM ledger WHERE seq = 6"], 6),
        (["DELETE FROM ledger WHERE seq > 4"], 5),
        (["DELETE FROM ledger"], 1),
        (
            [
                "UPDATE ledger SET seq = 100 WHERE seq = 2",
                "UPDATE ledger SET seq = 2 WHERE seq = 3",
                "UPDATE ledger SET seq = 3 WHERE seq = 100",
            ],
            2,
        ),
        (["DELETE FROM ledger WHERE seq = 2", "UPDATE ledger SET seq = seq - 1 WHERE seq > 2"], 2),
        (
            [
                "INSERT INTO ledger SELECT 7, time, kind, cameo_id, grant_id, permit_id, challenge_id, "
                "charge_renders, charge_ms, payload, digest, 'cd' FROM ledger WHERE seq = 6"
            ],
            7,
        ),
        (["DELETE FROM ledger_head"], None),
        (["UPDATE ledger_head SET seq = 5"], None),
        (["DELETE FROM ledger WHERE seq = 6", "UPDATE ledger_head SET seq = 5"], None),
    ],
)
def test_every_tampering_is_found(statements, row, filled, tamper):
    tamper(filled, *statements)
    with pytest.raises(LedgerTampered) as caught:
        verify(filled)
    assert caught.value.row == row


def test_rewriting_the_chain_without_the_key_is_found(filled, tamper, database):
    names = (*CHAINED_COLUMNS, "previous")
    last = dict(zip(names, database.query(f"SELECT {', '.join(names)} FROM ledger WHERE seq = 6")[0], strict=True))
    last["payload"] = '{"number":99}'
    digest = row_digest({name: last[name] for name in CHAINED_COLUMNS}, last["previous"])
    tamper(
        filled,
        ("UPDATE ledger SET payload = ?, digest = ? WHERE seq = 6", (last["payload"], digest)),
        ("UPDATE ledger_head SET digest = ?", (digest,)),
    )
    with pytest.raises(LedgerTampered, match="did not sign"):
        verify(filled)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM ledger WHERE seq = 6", "UPDATE ledger SET digest = 'ab' WHERE seq = 6",
                  "UPDATE ledger SET payload = '{}' WHERE seq = 6", "UPDATE ledger_head SET seq = 3"]
)  # fmt: skip
def test_nothing_is_added_to_a_broken_end(statement, filled, now, tamper):
    tamper(filled, statement)
    with pytest.raises(LedgerTampered):
        Ledger(filled).append("note", {}, now)


@pytest.mark.parametrize("statement", ["UPDATE ledger SET kind = 'x'", "DELETE FROM ledger", "DELETE FROM ledger_head",
                                       "UPDATE checkpoints SET seq = 1", "DELETE FROM checkpoints"])  # fmt: skip
def test_the_database_itself_refuses_changes(statement, filled, now):
    Ledger(filled).checkpoint(now)

    def change():
        with filled.write() as connection:
            connection.exec_driver_sql(statement)

    with pytest.raises(ConsentError, match=r"ledger|checkpoints"):
        change()
    assert verify(filled) == 6


def test_unreadable_payload_is_tampering(filled, tamper):
    tamper(filled, "UPDATE ledger SET payload = 'no json' WHERE seq = 2")
    with pytest.raises(LedgerTampered):
        list(Ledger(filled).rows())


def test_rows_can_be_chosen(filled, fictional):
    assert [row.kind for row in Ledger(filled).rows(cameo_id=fictional)] == ["enrolled_fictional"]
    assert len(list(Ledger(filled).rows(kind="note"))) == 6
    assert list(Ledger(filled).rows(grant_id="gra_none")) == []


def test_a_naive_time_is_refused(store, now):
    with pytest.raises(ValueError, match="timezone"):
        Ledger(store).append("note", {}, now.replace(tzinfo=None))
    assert verify(store) == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.dictionaries(st.text(max_size=20), JSON_VALUES, max_size=4))
def test_any_payload_survives(payload, store, now):
    try:
        row = Ledger(store).append("note", payload, now)
    except UnicodeEncodeError:  # lone surrogates are no text
        return
    assert dict(row.payload) == payload
    assert verify(store) == row.seq


@pytest.fixture
def sealed(store, now, monkeypatch):
    """Thirty rows with a checkpoint after every tenth, a day apart."""
    monkeypatch.setattr(checkpoints, "CHECKPOINT_ROWS", 10)
    monkeypatch.setattr(verification, "CHECKPOINT_ROWS", 10)
    for number in range(30):
        Ledger(store).append("note", {"number": number}, now + timedelta(days=number))
    return store


def test_checkpoints_are_made_every_so_many_rows_and_on_demand(sealed, now):
    found = inspect_ledger(sealed)
    assert (found.rows, found.checkpoints, found.sound_seq, found.damage) == (30, 3, 30, None)
    assert found.sound_since == now + timedelta(days=29)
    Ledger(sealed).append("note", {}, now)
    assert Ledger(sealed).checkpoint(now).seq == 31
    assert Ledger(sealed).checkpoint(now).seq == 31
    assert inspect_ledger(sealed).checkpoints == 4
    assert verify(sealed) == 31


def test_an_empty_ledger_has_no_checkpoint(store, now):
    assert Ledger(store).checkpoint(now) is None


def rewrite(database, store, first, last, keep_head=False):
    """Edit row `first` and chain everything after it anew, as somebody would who knows how it is done."""
    names = (*CHAINED_COLUMNS, "previous")
    statements = []
    previous = None
    for values in database.query(f"SELECT {', '.join(names)} FROM ledger WHERE seq >= {first} ORDER BY seq"):
        row = dict(zip(names, values, strict=True))
        if row["seq"] == first:
            row["payload"], previous = '{"number":99}', row["previous"]
        digest = row_digest(row, previous)
        change = "UPDATE ledger SET payload = ?, previous = ?, digest = ? WHERE seq = ?"
        statements.append((change, (row["payload"], previous, digest, row["seq"])))
        previous = digest
    database.execute(*statements)
    if not keep_head:
        head = store.keys.sign(head_message(store.store_id, last, previous))
        database.execute(("UPDATE ledger_head SET digest = ?, signature = ?", (previous, head)))


@pytest.mark.parametrize(("first", "sound"), [(3, 0), (10, 0), (11, 10), (25, 20), (30, 20)])
def test_a_ledger_chained_anew_with_the_stolen_key_does_not_pass_the_checkpoints(first, sound, sealed, database, now):
    rewrite(database, sealed, first, 30)
    found = inspect_ledger(sealed)
    assert (found.sound_seq, found.damage.row) == (sound, sound + 10)
    with pytest.raises(LedgerTampered) as caught:
        verify(sealed)
    if sound:
        day = now + timedelta(days=sound - 1)
        assert f"Rows 1 to {sound} are as the checkpoint of {day:%Y-%m-%d}" in str(caught.value)
    else:
        assert "No checkpoint lies before the damage" in str(caught.value)


def test_a_ledger_chained_anew_without_the_key_is_found(sealed, database):
    rewrite(database, sealed, 30, 30, keep_head=True)
    with pytest.raises(LedgerTampered) as caught:
        verify(sealed)
    assert caught.value.row == 30


@pytest.mark.parametrize(
    ("statements", "row"),
    [
        (["UPDATE checkpoints SET digest = 'ab' WHERE seq = 20"], 20),
        (["UPDATE checkpoints SET time = '2020-01-01T00:00:00.000000+00:00' WHERE seq = 20"], 20),
        (["UPDATE checkpoints SET seq = 21 WHERE seq = 20"], 21),
        (["DELETE FROM checkpoints WHERE seq = 10"], 20),
        (["DELETE FROM checkpoints WHERE seq = 20"], 30),
        (["DELETE FROM checkpoints WHERE seq = 30"], 30),
        (["DELETE FROM checkpoints"], 30),
        (["INSERT INTO checkpoints SELECT 25, digest, time, signature FROM checkpoints WHERE seq = 20"], 25),
        (["INSERT INTO checkpoints SELECT 40, digest, time, signature FROM checkpoints WHERE seq = 30"], 40),
        (["DELETE FROM ledger WHERE seq > 25"], 26),
    ],
)
def test_forged_and_removed_checkpoints_are_found(statements, row, sealed, tamper):
    tamper(sealed, *statements)
    with pytest.raises(LedgerTampered) as caught:
        verify(sealed)
    assert caught.value.row == row


def test_a_truncated_ledger_with_a_head_of_its_own_is_shorter_than_its_checkpoints(sealed, tamper, database):
    ((digest,),) = database.query("SELECT digest FROM ledger WHERE seq = 25")
    head = sealed.keys.sign(head_message(sealed.store_id, 25, digest))
    tamper(sealed, "DELETE FROM ledger WHERE seq > 25",
           ("UPDATE ledger_head SET seq = 25, digest = ?, signature = ?", (digest, head)))  # fmt: skip
    with pytest.raises(LedgerTampered, match="a checkpoint sealed row 30") as caught:
        verify(sealed)
    assert caught.value.row == 26


def test_kept_sums_are_those_of_the_ledger(store, fictional, give, ask, now, tamper, database):
    grant_id = give(fictional)
    authorise(store, ask(fictional), now=now)
    (before,) = database.query("SELECT * FROM grant_usage")
    authorise(store, ask(fictional), now=now)
    verify(store)
    with store.read() as connection:
        kept = charged(connection, store, grant_id)
        assert kept == usage(connection, grant_id) == Usage(renders=2, milliseconds=4000)
    put_back = ("INSERT INTO grant_usage VALUES (?, ?, ?, ?, ?)", before)
    for statements in (
        ["DELETE FROM grant_usage", put_back],  # sums of before, with their genuine signature
        ["DELETE FROM grant_usage"],
        [put_back, "UPDATE grant_usage SET renders = 0"],
        ["UPDATE grant_usage SET seq = 4"],
    ):
        tamper(store, *statements)
        with pytest.raises(LedgerTampered, match="sums of grant"):
            verify(store)
        with store.read() as connection, pytest.raises(LedgerTampered):
            charged(connection, store, grant_id)
        refused = pytest.raises((ConsentDenied, LedgerTampered))
        with refused:
            authorise(store, ask(fictional), now=now)


@settings(max_examples=300, deadline=None)
@given(values=st.tuples(st.integers(), st.text(), st.text(), *[st.none() | st.text()] * 4, st.integers(), st.integers(),
                        st.text()), previous=st.text())  # fmt: skip
def test_the_fast_spelling_of_a_row_is_the_canonical_one(values, previous):
    try:
        expected = hashlib.sha256(canonical([*values, previous])).hexdigest()
    except UnicodeEncodeError:
        with pytest.raises(UnicodeEncodeError):
            chained_digest(values, previous)
        return
    assert chained_digest(values, previous) == expected
    assert row_digest(dict(zip(CHAINED_COLUMNS, values, strict=True)), previous) == expected


@pytest.mark.parametrize(
    "bad", [{"seq": "1"}, {"charge_ms": 1.0}, {"charge_renders": True}, {"kind": None}, {"payload": 1}]
)
def test_a_row_of_other_types_has_no_digest(bad):
    row = {**dict.fromkeys(CHAINED_COLUMNS, "x"), "seq": 1, "charge_renders": 0, "charge_ms": 0, **bad}
    with pytest.raises(TypeError):
        row_digest(row, "00")
