"""No question that the gate asks at every render walks through a whole table, however long the ledger is."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import event

from portrait_anim.consent.grants import grants_for, revoke
from portrait_anim.consent.ledger import Ledger
from portrait_anim.consent.permit import authorise, still_valid
from portrait_anim.consent.records import Cameo
from portrait_anim.consent.renders import record_render
from portrait_anim.consent.rows import put_cameo

GROWING = ("ledger", "cameos", "grants", "grant_usage", "uses", "challenges", "outbox")
# The newest row by primary key, and the count of faces ever made, asked once per process.
HARMLESS = (r"ORDER BY ledger\.seq DESC\s+LIMIT", r"count\(", r"max\(cameos\.generation\)", r"cameos\.generation >")


@pytest.fixture
def statements(store):
    """Every statement with its parameters, from the moment on at which this fixture is made."""
    seen = {}

    def note(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith(("SELECT", "UPDATE", "DELETE")) and not executemany:
            seen[statement] = parameters

    event.listen(store._engine, "before_cursor_execute", note)
    yield seen
    event.remove(store._engine, "before_cursor_execute", note)


def test_every_question_of_a_render_uses_an_index(store, fictional, give, ask, now, someone, sqlite_only, statements):
    real = Cameo(
        id="cam_real", name="Ada", kind="real", portrait_digest="ab" * 32, portrait_embeddings=(), created=now,
        video_embeddings=(someone(9),),
    )
    with store.write() as connection:
        put_cameo(connection, store, real, new=True)
    give("cam_real")
    grant_id = give(fictional)
    permit = authorise(store, ask(fictional), now=now)
    authorise(store, ask("cam_real", portrait_digest="ab" * 32, portrait_embedding=someone(9)), now=now)
    still_valid(store, permit, now)
    assert len(grants_for(store, "operator", "acc_1")) == 2
    record_render(store, permit, output_digest="cd" * 32, duration_s=1.0, num_frames=25, now=now)
    revoke(store, grant_id, now + timedelta(hours=1))
    Ledger(store).checkpoint(now)
    bad = {}
    with store.read() as connection:
        for statement, parameters in list(statements.items()):
            if any(re.search(pattern, statement) for pattern in HARMLESS):
                continue
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            walks = [step for step in plan if re.match(rf"SCAN ({'|'.join(GROWING)})\b", step)]
            walks += [step for step in plan if "ix_ledger_kind_seq" in step or "ix_cameos_kind" in step]
            if walks:
                bad[statement] = walks
    assert len(statements) > 20
    assert not bad
