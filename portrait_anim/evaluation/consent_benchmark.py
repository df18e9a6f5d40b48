"""How fast the consent store is when it is large: `python -m portrait_anim.evaluation.consent_benchmark`.

Builds a store with many cameos and a long, honest ledger, then times what users wait for: authorising a render,
searching a face among all people, checking the whole ledger. Prints a table; wall time is what a user sees,
CPU time what it costs where other programs share the processor.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np

from portrait_anim.consent.denylist import add_denied, find_denied
from portrait_anim.consent.ledger import Ledger
from portrait_anim.consent.people_search import nearest_people
from portrait_anim.consent.permit import RenderPermit, authorise, still_valid
from portrait_anim.consent.records import RenderRequest
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.evaluation.consent_population import (
    CONTEXT,
    GRANTEE,
    PURPOSE,
    RENDER_MS,
    START,
    Inhabitant,
    inhabitants,
    invented_face,
    populate,
)

LATER = START + timedelta(days=300)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """One line of the table.

    Attributes:
        what: What was timed.
        count: How often.
        p5_ms: 5th percentile of the wall time [ms]: what it takes when nothing interrupts.
        median_ms: Median of the wall time [ms].
        p95_ms: 95th percentile of the wall time [ms].
        cpu_ms: Mean of the CPU time of this process [ms].
    """

    what: str
    count: int
    p5_ms: float
    median_ms: float
    p95_ms: float
    cpu_ms: float


def measure(store: ConsentStore, people: Sequence[Inhabitant], *, num_requests: int) -> list[Timing]:
    """Time the questions that the gate is asked.

    Args:
        store: A store that `populate` filled.
        people: Its cameos.
        num_requests: How often each question is asked.

    Returns:
        One line per question.
    """
    random = np.random.default_rng(1)

    def pick(kind: str) -> list[Inhabitant]:
        known = [one for one in people if one.cameo.kind == kind]
        return [known[int(index)] for index in random.integers(len(known), size=num_requests)]

    def search(number: int) -> None:
        with store.read() as connection:
            nearest_people(connection, store, invented_face(10**6 + number), limit=5)

    def denied(number: int) -> None:
        with store.read() as connection:
            find_denied(connection, store, invented_face(10**6 + number))

    real, figures = pick("real"), pick("fictional")
    permits: list[RenderPermit] = []
    of_figures: list[RenderPermit] = []

    def stands(given: Sequence[RenderPermit]) -> Callable[[int], None]:
        return lambda number: still_valid(store, given[number], LATER)

    lines = [
        _timed("first search: every template opened", 1, lambda _: search(0)),
        _timed("authorise, real person", num_requests, lambda i: permits.append(_ask(store, real[i]))),
        _timed(
            "authorise, figure (searched among all)", num_requests, lambda i: of_figures.append(_ask(store, figures[i]))
        ),
        _timed("1:N search", num_requests, search),
    ]
    for number in range(1000):
        add_denied(store, [invented_face(2 * 10**6 + number)], label=f"request {number}", now=LATER)
    denied(0)
    return [
        *lines,
        _timed("denylist of 1000", num_requests, denied),
        _timed("still valid, asked during a render, real person", num_requests, stands(permits)),
        _timed("still valid, asked during a render, figure", num_requests, stands(of_figures)),
    ]


def _ask(store: ConsentStore, one: Inhabitant) -> RenderPermit:
    request = RenderRequest(
        cameo_id=one.cameo.id,
        portrait_digest=one.cameo.portrait_digest,
        portrait_embedding=one.cameo.embeddings[0],
        grantee=GRANTEE,
        purpose=PURPOSE,
        context=CONTEXT,
        duration_s=RENDER_MS / 1000,
        profile="lite",
    )
    return authorise(store, request, now=LATER)


def _timed(what: str, count: int, action: Callable[[int], object]) -> Timing:
    wall = []
    cpu = time.process_time()
    for number in range(count):
        start = time.perf_counter()
        action(number)
        wall.append(1000 * (time.perf_counter() - start))
    cpu = 1000 * (time.process_time() - cpu)
    p5, median, p95 = (float(value) for value in np.percentile(wall, [5, 50, 95]))
    return Timing(what=what, count=count, p5_ms=p5, median_ms=median, p95_ms=p95, cpu_ms=cpu / count)


def _seconds(action: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameos", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--folder", type=Path, help="where the store is, or will be; a temporary folder if not given")
    parser.add_argument("--url", help="another database, such as postgresql+psycopg://user@host/database")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args(arguments)
    made = nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory()
    with made as folder, open_store(Path(folder) / "home", url=options.url) as store:
        out = sys.stdout.write
        people = inhabitants(options.cameos)
        if next(iter(Ledger(store).rows(kind="enrolled")), None) is None:
            wall, cpu = _seconds(lambda: populate(store, num_cameos=options.cameos, num_rows=options.rows))
            out(f"built {options.cameos} cameos and {options.rows} ledger rows in {wall:.0f} s ({cpu:.0f} s CPU)\n\n")
        lines = measure(store, people, num_requests=options.requests)
        out(f"{'question':42}{'times':>7}{'p5 ms':>9}{'median ms':>11}{'p95 ms':>9}{'CPU ms':>9}\n")
        for line in lines:
            out(f"{line.what:42}{line.count:7}{line.p5_ms:9.2f}{line.median_ms:11.2f}")
            out(f"{line.p95_ms:9.2f}{line.cpu_ms:9.2f}\n")
        rows: list[int] = []
        wall, cpu = _seconds(lambda: rows.append(Ledger(store).verify()))
        out(f"\nledger verify: {rows[0]} rows in {wall:.1f} s ({cpu:.1f} s CPU): ")
        out(f"{rows[0] / wall:.0f} rows/s wall, {rows[0] / cpu:.0f} rows/s CPU\n")
        if options.json:
            verify = {"rows": rows[0], "wall_s": wall, "cpu_s": cpu}
            options.json.write_text(json.dumps({"questions": [asdict(line) for line in lines], "verify": verify}))


if __name__ == "__main__":
    main()
