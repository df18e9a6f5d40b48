"""Errors of the library, shown on the page in their own words."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import gradio as gr

from portrait_anim.errors import PortraitAnimError

Refresh = tuple[Callable[..., Any], Any, list[Any]]
"""Function, inputs and outputs of an event."""

QUIET = MappingProxyType({"show_progress": "hidden", "api_visibility": "private"})
"""For events that are done at once."""

FACE_LANE = MappingProxyType({"concurrency_id": "faces", "concurrency_limit": 1, "api_visibility": "private"})
"""For events that look at faces: one at a time, but not behind a render."""


def plainly(act: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an event handler so that typed errors become a message on the page instead of a traceback.

    Args:
        act: Function or generator function.

    Returns:
        The same, raising `gradio.Error` where `act` raises a `PortraitAnimError`. Anything else is a bug of ours:
        Gradio logs it and shows the word "Error".
    """
    if inspect.isgeneratorfunction(act):

        @functools.wraps(act)
        def stream(*values: Any) -> Iterator[Any]:
            try:
                yield from act(*values)
            except PortraitAnimError as error:
                raise shown(error) from error

        return stream

    @functools.wraps(act)
    def once(*values: Any) -> Any:
        try:
            return act(*values)
        except PortraitAnimError as error:
            raise shown(error) from error

    return once


def shown(error: PortraitAnimError) -> Exception:
    """The error that Gradio shows as a message with its text, for as long as the user needs to read it."""
    message: Exception = gr.Error(str(error), duration=None, print_exception=False)
    return message
