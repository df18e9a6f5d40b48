"""`portrait-anim demo`: the page in the browser."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import Home
from portrait_anim.errors import InputError


def demo(
    home: Home,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 7860,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
    code: Annotated[
        str, typer.Option(metavar="required|optional|off", help="Whether spoken digits have to be heard on enrolling.")
    ] = "optional",
    dot: Annotated[bool, typer.Option("--dot/--no-dot", help="Whether a moving dot is followed on enrolling.")] = True,
) -> None:
    """Open the demo page on this machine; Ctrl-C ends it."""
    from portrait_anim.consent.records import CodePolicy

    try:
        from portrait_anim_demo.app import launch
    except ModuleNotFoundError as error:
        raise InputError(
            f"expected the packages of the demo, got none named {error.name}; pip install 'portrait-anim[demo]'"
        ) from error
    if code not in get_args(CodePolicy):
        raise typer.BadParameter(f"expected --code among {', '.join(get_args(CodePolicy))}; got {code!r}")
    launch(home=home, host=host, port=port, open_browser=open_browser, code_policy=code, dot=dot)


def register(app: GuardedTyper) -> None:
    """Add the command to the application."""
    app.command("demo")(demo)
