"""Where shots are rendered: on this machine, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

J = TypeVar("J")
R = TypeVar("R")


class ShotExecutor(Protocol):
    """Runs the same work on several jobs.

    Results come in the order of the jobs; an error of one job ends the iteration with that error.
    """

    def run(self, work: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """Do the work on every job.

        Args:
            work: What to do with one job.
            jobs: The jobs.

        Yields:
            One result per job, in order.
        """
        ...


class LocalExecutor:
    """Runs jobs in this process, one after another, so that one loaded pipeline serves them all."""

    def run(self, work: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """Do the work on every job; a job starts when its result is asked for."""
        for job in jobs:
            yield work(job)
