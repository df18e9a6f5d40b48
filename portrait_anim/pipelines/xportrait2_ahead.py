"""Denoising one window while the window before is decoded: an iterator in a thread of its own, one item ahead.

Only the thread that takes the items talks to callers: what the other has to report waits for it. So consent stores,
progress bars and the like are never used from two threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

import torch

T = TypeVar("T", bound=torch.Tensor)

_PATIENCE_S = 0.2


class _Abandoned(Exception):
    """Nobody wants the items any more."""


class WorkAhead(Generic[T]):
    """Runs an iterator of tensors in a thread, one item ahead of whoever takes them.

    On a GPU its kernels go to a stream of their own. That part has never run on a GPU.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._done: SimpleQueue[T | BaseException | None] = SimpleQueue()
        self._wanted = threading.Semaphore(1)
        self._abandoned = threading.Event()
        self._reports: dict[str, Callable[[], None]] = {}
        self._lock = threading.Lock()

    def check(self) -> None:
        """To be called often by the work; ends it when its items are no longer wanted."""
        if self._abandoned.is_set():
            raise _Abandoned

    def report(self, kind: str, call: Callable[[], None]) -> None:
        """Let the taker of the items make a call; of each kind only the newest one."""
        with self._lock:
            self._reports[kind] = call

    def tell(self) -> None:
        """Make the calls that wait; for the taker of the items."""
        with self._lock:
            calls, self._reports = self._reports, {}
        for call in calls.values():
            call()

    def items(self, work: Iterator[T], meanwhile: Callable[[], None]) -> Generator[T, None, None]:
        """Take the items of `work` in their order.

        Args:
            work: The iterator; it is used in the other thread only.
            meanwhile: Called a few times a second while waiting; raise in it to stop.

        Yields:
            Its items. When the second is being made, the first is given out, and so on.

        Raises:
            BaseException: Whatever `work` or `meanwhile` raised.
        """
        thread = threading.Thread(target=self._run, args=(work,), name="denoising ahead", daemon=True)
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
        thread.start()
        try:
            while (item := self._take(meanwhile)) is not None:
                self._wanted.release()
                yield item
        finally:
            self._abandoned.set()
            self._wanted.release()
            thread.join()

    def _take(self, meanwhile: Callable[[], None]) -> T | None:
        while True:
            try:
                item = self._done.get(timeout=_PATIENCE_S)
            except Empty:
                meanwhile()
                continue
            self.tell()
            if isinstance(item, BaseException):
                raise item
            if item is not None and self._stream is not None:
                item.record_stream(torch.cuda.current_stream(self._device))
            return item

    def _run(self, work: Iterator[T]) -> None:
        try:
            with torch.cuda.stream(self._stream):  # nothing where there is none
                while self._next_is_wanted():
                    item = next(work, None)
                    if self._stream is not None:
                        self._stream.synchronize()
                    self._done.put(item)
                    if item is None:
                        return
        except _Abandoned:
            pass
        except BaseException as error:  # noqa: BLE001  raised again by whoever takes the items
            self._done.put(error)

    def _next_is_wanted(self) -> bool:
        self._wanted.acquire()
        return not self._abandoned.is_set()
