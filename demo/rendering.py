"""Run one render beside the page, so that the page can show progress and stop it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from portrait_anim.errors import Cancelled
from portrait_anim.types import Progress, ProgressCallback

T = TypeVar("T")
CancelCheck = Callable[[], bool]


class RenderJob(Generic[T]):
    """One piece of work in its own thread, of which only the newest progress is kept.

    Frames may be finished faster than a browser can show them; keeping only the newest one means that a slow
    page never slows the render down and never fills the memory.

    Args:
        work: Called once with the progress callback and the cancel check it has to use.
    """

    def __init__(self, work: Callable[[ProgressCallback, CancelCheck], T]) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._cancel = threading.Event()
        self._newest: Progress | None = None
        self._started = False
        self._done = False
        self._result: T | None = None
        self._error: BaseException | None = None

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancel.is_set()

    @property
    def started(self) -> bool:
        """Whether `run` was called and has not come to its end."""
        return self._started and not self._done

    def cancel(self) -> None:
        """Ask the work to stop; it does so before its next frame."""
        self._cancel.set()

    def run(self, *, interval_s: float = 0.2) -> Iterator[Progress]:
        """Do the work and give its newest progress from time to time.

        Leaving the iteration early cancels the work and waits until it has stopped.

        Args:
            interval_s: Shortest time between two reports [s].

        Yields:
            The newest progress. Its preview is the newest one seen, even when the newest report had none.

        Raises:
            Cancelled: If it was cancelled before it began.
            BaseException: Whatever the work raised.
        """
        if self.cancelled:
            raise Cancelled("stopped as asked before it began; no file was written")
        self._started = True
        thread = threading.Thread(target=self._run, name="render", daemon=True)
        thread.start()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._done or self._newest is not None)
                    newest, self._newest = self._newest, None
                    done = self._done
                if newest is not None:
                    yield newest
                if done:
                    break
                with self._changed:
                    self._changed.wait_for(lambda: self._done, timeout=interval_s)
        finally:
            if thread.is_alive():
                self.cancel()
            thread.join()
        if self._error is not None:
            raise self._error

    @property
    def result(self) -> T:
        """What the work returned; only after `run` has come to its end."""
        assert self._done
        assert self._error is None
        return self._result  # type: ignore[return-value]

    def _run(self) -> None:
        try:
            self._result = self._work(self._report, self._cancel.is_set)
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that reads the progress
            self._error = error
        with self._changed:
            self._done = True
            self._changed.notify_all()

    def _report(self, progress: Progress) -> None:
        with self._changed:
            if progress.preview is None and self._newest is not None and self._newest.preview is not None:
                progress = Progress(
                    stage=progress.stage, done=progress.done, total=progress.total, preview=self._newest.preview
                )
            self._newest = progress
            self._changed.notify_all()
