from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portrait_anim.consent.ledger import Ledger, verify
from portrait_anim.consent.store import open_store
from portrait_anim.errors import ConsentError, LedgerTampered

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
    from portrait_anim.consent.chain import CHAINED_COLUMNS, row_digest

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
