"""How commands talk: JSON on standard output for machines, text and progress bars on standard error for people."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import typer
from rich.box import SIMPLE
from rich.color import Color
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.style import Style
from rich.table import Table
from rich.text import Text

from portrait_anim.types import Progress, ProgressCallback, UInt8Array


def say(text: str, *, style: str = "") -> None:
    """Write a line for people to standard error.

    Args:
        text: Plain text; brackets are not markup.
        style: A rich style such as `"bold red"`.
    """
    Console(stderr=True).print(Text(text, style=style), soft_wrap=True)


_WHOLE: Final = frozenset({"id", "permit", "cameo", "grant"})


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table for people to standard error.

    Args:
        title: Heading.
        columns: Names of the columns.
        rows: One sequence of values per row, as long as `columns`.
    """
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE, pad_edge=False)
    for column in columns:
        # Ids are copied into the next command: they stay in one piece, other columns give way.
        table.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
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


class _BarsAndPicture(Bars):
    """Progress bars, and below them the newest picture of what is being made."""

    picture: Text | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is drawn."""
        yield from super().get_renderables()
        if self.picture is not None:
            yield self.picture


@contextmanager
def progress_bars(*, quiet: bool = False, show_pictures: bool = False) -> Iterator[ProgressCallback]:
    """Draw one bar per stage on standard error for as long as the block runs.

    Args:
        quiet: Draw nothing.
        show_pictures: Also draw the newest picture, as coloured characters, if standard error is a terminal.

    Yields:
        The callback to hand to the library as `on_progress`.
    """
    bars = _BarsAndPicture(
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
        if show_pictures and progress.preview is not None and bars.console.is_terminal:
            bars.picture = picture_text(progress.preview)

    with bars:
        yield update


def picture_text(image: UInt8Array, columns: int = 48) -> Text:
    """Draw a picture with coloured half blocks, two pixels above each other per character.

    Args:
        image: `(H, W, 3)` uint8 sRGB.
        columns: Width [characters].
    """
    from portrait_anim.media.image import resize

    rows = max(1, round(columns * image.shape[0] / image.shape[1] / 2))
    small = resize(image, (columns, 2 * rows), "area")
    text = Text()
    for upper, lower in zip(small[::2].tolist(), small[1::2].tolist(), strict=True):
        for above, below in zip(upper, lower, strict=True):
            text.append("\u2580", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        text.append("\n")
    return text
