"""Two processes at once: counters are never exceeded, the chain never forks, a challenge is answered once."""

import multiprocessing
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from portrait_anim.consent.ledger import Ledger, usage, verify
from portrait_anim.consent.permit import authorise
from portrait_anim.consent.records import RenderRequest
from portrait_anim.consent.store import open_store
from portrait_anim.consent.verification import inspect_ledger
from portrait_anim.errors import ConsentDenied
from portrait_anim.types import IdentityEmbedding

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)


def ask_often(home: Path, cameo_id: str, face: IdentityEmbedding, times: int, results) -> None:
    request = RenderRequest(
        cameo_id=cameo_id,
        portrait_digest=f"{1:064x}",
        portrait_embedding=face,
        grantee="operator",
        purpose="film",
        context="animate",
        duration_s=1.0,
        profile="lite",
    )
    allowed = 0
    with open_store(home) as store:
        for _ in range(times):
            try:
                authorise(store, request, now=NOW + timedelta(seconds=1))
                allowed += 1
            except ConsentDenied as denied:
                assert denied.reason == "used_up"  # noqa: PT017
    results.put(allowed)


def open_new(home: Path, results) -> None:
    with open_store(home) as store:
        Ledger(store).append("note", {}, NOW)
        results.put(store.store_id)


def append_and_seal(home: Path, results) -> None:
    with open_store(home) as store:
        for number in range(15):
            Ledger(store).append("note", {"process": os.getpid(), "number": number}, NOW)
            if number % 5 == 4:
                Ledger(store).checkpoint(NOW)
    results.put(os.getpid())


def run(target, *arguments, count: int):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=target, args=(*arguments, results)) for _ in range(count)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=300) for _ in workers]
    for worker in workers:
        worker.join(timeout=120)
        assert worker.exitcode == 0
        worker.close()
    results.close()
    results.join_thread()
    return found


@pytest.mark.parametrize(("limit", "seconds"), [(7, 100.0), (100, 7.0)])
def test_two_processes_never_exceed_a_grant(limit, seconds, store, fictional, give, someone):
    grant_id = give(fictional, max_renders=limit, max_seconds=seconds)
    allowed = run(ask_often, store.home, fictional, someone(1), 8, count=2)
    assert sum(allowed) == 7
    with store.read() as connection:
        assert usage(connection, grant_id).renders == 7
        assert usage(connection, grant_id).milliseconds == 7000
    assert verify(store) == 2 + 16


def test_processes_that_append_at_once_never_fork_the_ledger(store):
    pids = run(append_and_seal, store.home, count=3)
    found = inspect_ledger(store)
    assert (found.rows, found.damage) == (45, None)
    assert 3 <= found.checkpoints <= 9  # two may seal the same row
    rows = [row.payload for row in Ledger(store).rows()]
    for pid in pids:
        assert [row["number"] for row in rows if row["process"] == pid] == list(range(15))


def test_two_processes_make_one_store(tmp_path):
    ids = run(open_new, tmp_path / "fresh", count=2)
    assert len(set(ids)) == 1
    with open_store(tmp_path / "fresh") as store:
        assert verify(store) == 2
