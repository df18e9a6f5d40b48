"""The command line. Commands parse, call the library and print; everything else is in the library."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.logging import RichHandler

from portrait_anim import __version__
from portrait_anim.cli import (
    account,
    animate,
    attack_watermark,
    cameo,
    consent,
    demo,
    denylist,
    doctor,
    evaluate,
    grant,
    inbox,
    ledger,
    motion,
    quickstart,
    scene,
    serve_consent,
    train,
    verify,
    weights,
)
from portrait_anim.cli.console import say
from portrait_anim.cli.guard import EXIT_INTERRUPTED, GuardedTyper
from portrait_anim.cli.noise import without_noise

app = GuardedTyper(
    name="portrait-anim",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
animate.register(app)
app.add_typer(cameo.app, name="cameo")
app.add_typer(grant.app, name="grant")
app.add_typer(inbox.app, name="inbox")
app.add_typer(inbox.render, name="render")
app.add_typer(denylist.app, name="denylist")
app.add_typer(account.app, name="account")
app.add_typer(consent.app, name="consent")
app.add_typer(ledger.app, name="ledger")
serve_consent.register(app)
verify.register(app)
app.add_typer(scene.app, name="scene")
app.add_typer(motion.app, name="motion")
app.add_typer(weights.app, name="weights")
doctor.register(app)
demo.register(app)
quickstart.register(app)
train.register(app)
evaluate.register(app)
attack_watermark.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"portrait-anim {__version__}")
        raise typer.Exit


@app.callback()
def configure(
    debug: Annotated[bool, typer.Option("--debug", help="Log details; show a traceback on errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """One photo plus a driving clip becomes an expressive video, with the subject's verified consent.

    Exit codes: 0 done, 1 failure, 2 usage, 3 consent denied, 4 provenance check failed, 5 weights missing or
    corrupt, 130 interrupted. Give --debug before the command.
    """
    from rich.console import Console

    handler = RichHandler(console=Console(stderr=True), show_path=debug, show_time=debug)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(message)s")
    logging.getLogger("portrait_anim").setLevel(logging.DEBUG if debug else logging.WARNING)


def main() -> None:
    """Run the command line and exit with the code of the table in `cli.guard`."""
    with contextlib.suppress(ValueError, AttributeError):
        # A terminated render cleans up exactly like one that was stopped with Ctrl-C.
        signal.signal(signal.SIGTERM, _stop)
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    try:
        with contextlib.nullcontext() if "--debug" in sys.argv else without_noise():
            app()
    except KeyboardInterrupt:
        say("Stopped: interrupted before the end.", style="bold red")
        sys.exit(EXIT_INTERRUPTED)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
