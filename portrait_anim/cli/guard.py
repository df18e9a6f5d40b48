"""What happens when a command fails: one table of exit codes, one place that turns an exception into a message."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from typing import Any, Final, TypeVar

import typer
from typer.core import TyperCommand

from portrait_anim.cli.console import say
from portrait_anim.errors import (
    Cancelled,
    ConsentError,
    LedgerTampered,
    LivenessFailed,
    PortraitAnimError,
    ProvenanceError,
    WeightsCorrupt,
    WeightsMissing,
)

logger = logging.getLogger(__name__)

EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2
EXIT_DENIED: Final = 3
EXIT_PROVENANCE: Final = 4
EXIT_WEIGHTS: Final = 5
EXIT_INTERRUPTED: Final = 130

# The first line that fits decides, so a narrower type stands above a wider one.
EXIT_CODES: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (KeyboardInterrupt, EXIT_INTERRUPTED),
    (Cancelled, EXIT_INTERRUPTED),
    (LedgerTampered, EXIT_PROVENANCE),
    (ConsentError, EXIT_DENIED),
    (ProvenanceError, EXIT_PROVENANCE),
    (WeightsMissing, EXIT_WEIGHTS),
    (WeightsCorrupt, EXIT_WEIGHTS),
    (BaseException, EXIT_FAILURE),
)

_PASSED_ON: Final = (typer.Exit, typer.Abort, typer.BadParameter)


def exit_code(error: BaseException) -> int:
    """Return the exit code of an exception.

    Args:
        error: What ended the command.

    Returns:
        Code of the first entry of `EXIT_CODES` that fits.
    """
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


class GuardedCommand(TyperCommand):
    """A command that ends with a message and an exit code instead of a traceback."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command and report whatever ends it early."""
        try:
            return super().invoke(ctx)
        except _PASSED_ON:
            raise
        except (Exception, KeyboardInterrupt) as error:  # the outermost edge of the program
            report(error, as_json=bool(ctx.params.get("as_json")), debug=bool(ctx.find_root().params.get("debug")))
            raise typer.Exit(exit_code(error)) from error


_Function = TypeVar("_Function", bound=Callable[..., Any])


class GuardedTyper(typer.Typer):
    """A Typer application in which every command is guarded."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[_Function], _Function]:
        """Register a command; see `typer.Typer.command`."""
        settings.setdefault("cls", GuardedCommand)
        return super().command(name, **settings)


def report(error: BaseException, *, as_json: bool, debug: bool) -> None:
    """Tell the user what went wrong: a sentence on standard error, facts as JSON on standard output if asked.

    Args:
        error: What ended the command.
        as_json: Whether the command was called with `--json`.
        debug: Whether to add the traceback.
    """
    if debug:
        say("".join(traceback.format_exception(error)), style="dim")
    say(f"{_heading(error)} {_sentence(error)}", style="bold red")
    for failure in error.failures if isinstance(error, LivenessFailed) else ():
        say(f"  - {failure}")
    if as_json:
        typer.echo(json.dumps({"error": _facts(error)}, default=str))


def _heading(error: BaseException) -> str:
    if isinstance(error, (KeyboardInterrupt, Cancelled)):
        return "Stopped:"
    if isinstance(error, ConsentError) and not isinstance(error, LedgerTampered):
        return "Refused:"
    return "Error:"


def _sentence(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted before the end; no partial file was left."
    if isinstance(error, LivenessFailed):
        return "the video does not answer the challenge. Ask for a new challenge and record it again. What was found:"
    if isinstance(error, PortraitAnimError):
        return str(error)
    reason = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {reason or 'no details'}. Run again with `portrait-anim --debug ...`."


def _facts(error: BaseException) -> dict[str, object]:
    """The attributes that typed errors carry, for machines."""
    facts: dict[str, object] = {"type": type(error).__name__, "message": str(error), "exit_code": exit_code(error)}
    if isinstance(error, PortraitAnimError):
        facts.update({key: value for key, value in vars(error).items() if not key.startswith("_")})
    return facts
