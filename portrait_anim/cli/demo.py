"""`portrait-anim demo`: the page in the browser."""

from __future__ import annotations

from typing import Annotated

import typer

from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import Home
from portrait_anim.errors import InputError


def demo(
    home: Home,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 7860,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
) -> None:
    """Open the demo page on this machine; Ctrl-C ends it."""
    try:
        from portrait_anim_demo.app import launch
    except ModuleNotFoundError as error:
        raise InputError(
            f"expected the packages of the demo, got none named {error.name}; pip install 'portrait-anim[demo]'"
        ) from error
    launch(home=home, host=host, port=port, open_browser=open_browser)


def register(app: GuardedTyper) -> None:
    """Add the command to the application."""
    app.command("demo")(demo)
