"""Stopping long calls of large networks part-way: on a small machine one call takes minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

_NORMS = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm2d)  # every block of every network has some


@contextmanager
def interruptible(
    networks: Sequence[nn.Module],
    check: Callable[[], None] | None,
    *,
    every_s: float = 0.2,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Ask again and again, also within a call of a network, whether work is to go on.

    Args:
        networks: Networks that will be called in the block.
        check: Raises to stop; what it raises comes out of the call. `None` never stops.
        every_s: Pause between two checks [s].
        clock: Steady clock [s].
    """
    last = clock()

    def before(module: nn.Module, arguments: Any) -> None:
        nonlocal last
        if check is not None and clock() - last >= every_s:
            check()
            last = clock()

    with ExitStack() as stack:
        if check is not None:
            for network in networks:
                for module in network.modules():
                    if isinstance(module, _NORMS):
                        stack.callback(module.register_forward_pre_hook(before).remove)
        yield
