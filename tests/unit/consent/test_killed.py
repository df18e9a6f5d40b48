"""Processes that are killed (SIGKILL) at random moments: nothing that was confirmed is lost, nothing is half done."""

import hashlib
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter

import pytest

from portrait_anim.consent.grants import list_grants
from portrait_anim.consent.ledger import Ledger, verify
from portrait_anim.consent.registry import list_cameos
from portrait_anim.consent.store import open_store

from .killed_worker import live

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX")


def drain(pipe):
    """Everything that a killed process still said."""
    said = []
    try:
        while pipe.poll():
            said.append(pipe.recv())
    except (EOFError, OSError):  # killed in the middle of a word
        pass
    return said


def kill_some(context, home, random_numbers, count):
    """Start processes, kill each at a random moment, and return what they had confirmed."""
    running = []
    for _ in range(count):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=live, args=(home, random_numbers.getrandbits(32), theirs))
        process.start()
        theirs.close()
        running.append((process, ours))
    said = []
    for process, pipe in running:
        # After some confirmed steps (none: while it starts or opens the store), at a random moment of the next one.
        step_s = 0.2
        for _ in range(random_numbers.randrange(12)):
            begun = time.monotonic()
            assert pipe.poll(timeout=120), "a process does nothing"
            said.append(pipe.recv())
            step_s = time.monotonic() - begun
        time.sleep(random_numbers.random() * min(step_s, 1.0))
        assert process.exitcode is None, "a process ended by itself"
        os.kill(process.pid, signal.SIGKILL)
        process.join(timeout=30)
        said += drain(pipe)
        pipe.close()
        process.close()
    return said


def check(home, confirmed):
    """Check a store after a kill against everything that was ever confirmed."""
    with open_store(home) as store:
        rows = verify(store)
        grants = {grant.id: grant for grant in list_grants(store)}
        cameos = {cameo.id: cameo for cameo in list_cameos(store, deleted=True)}
        rendered = {row.permit_id: row.payload["output_digest"] for row in Ledger(store).rows(kind="rendered")}
        authorised = {row.permit_id for row in Ledger(store).rows(kind="authorised")}
    said = {kind: {one for what, one in confirmed if what == kind} for kind in ("enrol", "grant", "revoke", "delete")}
    assert said["enrol"] <= cameos.keys()
    assert said["grant"] <= grants.keys()
    assert all(grants[one].revoked_at is not None for one in said["revoke"]), "a revocation was lost"
    assert all(cameos[one].status == "deleted" and not cameos[one].name for one in said["delete"])
    for file in (home / "outputs").glob("[!.]*"):
        assert rendered[file.name] == hashlib.sha256(file.read_bytes()).hexdigest(), "a render without its record"
    assert rendered.keys() <= authorised
    assert {permit for what, permit in confirmed if what == "render"} <= rendered.keys()
    return rows


def torment(database, kills, at_once, seed):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["portrait_anim.consent.permit", "portrait_anim.consent.registry"])
    with open_store(database.home):
        (database.home / "outputs").mkdir()
    random_numbers = random.Random(seed)
    confirmed, done, rows = [], 0, 0
    while done < kills:
        confirmed += kill_some(context, database.home, random_numbers, at_once)
        done += at_once
        rows = check(database.home, confirmed)
    files = len(list((database.home / "outputs").glob("[!.]*")))
    hidden = len(list((database.home / "outputs").glob(".*")))
    counts = Counter(what for what, _ in confirmed)
    sys.stdout.write(
        f"\n{done} kills ({at_once} at once, {database.name}): confirmed {dict(sorted(counts.items()))}; "
        f"{files} files, {hidden} cut short; ledger of {rows} rows verified {done // at_once} times\n"
    )
    return counts


def test_a_few_kills_lose_nothing(database):
    torment(database, kills=4, at_once=2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "at_once"), [(200, 1), (60, 3)])
def test_two_hundred_kills_lose_nothing(kills, at_once, database):
    counts = torment(database, kills=kills, at_once=at_once, seed=2)
    assert counts["revoke"] > kills / 10
    assert counts["render"] > kills / 10
