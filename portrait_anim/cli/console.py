"""How commands talk: JSON on standard output for machines, text and progress bars on standard error for people."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from portrait_anim.types import Progress, ProgressCallback


def say(text: str, *, style: str = "") -> None:
    """Write a line for people to standard error.

    Args:
        text: Plain text; brackets are not markup.
        style: A rich style such as `"bold red"`.
    """
    Console(stderr=True).print(Text(text, style=style), soft_wrap=True)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table for people to standard error.

    Args:
        title: Heading.
        columns: Names of the columns.
        rows: One sequence of values per row, as long as `columns`.
    """
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    Console(stderr=True).print(table)


def emit(data: object, *, as_json: bool) -> None:
    """Write data for machines to standard output, if asked.

    Args:
        data: Dataclasses, mappings, sequences and plain values.
        as_json: Whether the command was called with `--json`.
    """
    if as_json:
        typer.echo(json.dumps(plain(data), indent=2, ensure_ascii=False))


def plain(value: object) -> Any:
    """Turn a value into what JSON can hold; arrays and identity embeddings are left out.

    Args:
        value: Dataclass, mapping, sequence, path, time, fraction or plain value.

    Returns:
        The same as dictionaries, lists, strings and numbers.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Fields hidden from repr are frames and biometric templates: neither belongs in a terminal or a log.
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value) if item.repr}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


@contextmanager
def progress_bars(*, quiet: bool = False) -> Iterator[ProgressCallback]:
    """Draw one bar per stage on standard error for as long as the block runs.

    Args:
        quiet: Draw nothing.

    Yields:
        The callback to hand to the library as `on_progress`.
    """
    bars = Bars(
        TextColumn("[progress.description]{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )
    tasks: dict[str, Any] = {}

    def update(progress: Progress) -> None:
        if progress.stage not in tasks:
            # A stage without a known end has ended when the next one begins.
            for task in bars.tasks:
                if task.total is None:
                    bars.update(task.id, total=1, completed=1)
            tasks[progress.stage] = bars.add_task(progress.stage, total=progress.total)
        bars.update(tasks[progress.stage], completed=progress.done, total=progress.total)

    with bars:
        yield update
