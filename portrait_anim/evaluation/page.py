"""Pieces of an HTML page: tables, sections, numbers. Text is always escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Final

STYLE: Final = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1560px; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc }
h3 { font-size: 1rem; margin: 2rem 0 .4rem } p { margin: .3rem 0; max-width: 60rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .15rem .55rem; border-bottom: 1px solid #e5e5e5; text-align: left; font-size: 12px }
th { background: #f6f6f6; font-weight: 600 } img { max-width: 100%; display: block; margin: .4rem 0 }
.pair { display: flex; gap: 1rem; align-items: flex-start; flex-wrap: wrap } video { width: 256px; background: #000 }
.pair img { flex: 1 1 600px; min-width: 0; max-width: 1100px } .pass { color: #176b2c } .fail { color: #b3261e }
@media (prefers-color-scheme: dark) {
  body { background: #1b1b1b; color: #ddd } th { background: #2a2a2a } th, td, h2 { border-color: #444 }
  .pass { color: #6cd08a } .fail { color: #ff8a80 }
}
"""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def number(value: float | None, digits: int = 2) -> str:
    """A number with a fixed count of digits; a dash when there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table that scrolls sideways when it is wide.

    Args:
        columns: Headings.
        rows: Cells; everything but `Html` is escaped.
    """
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def section(title: str, content: str) -> str:
    """A heading with what belongs under it."""
    return f"<h2>{html.escape(title)}</h2>{content}"


def _cell(value: object) -> str:
    return str(value) if isinstance(value, Html) else html.escape(str(value))
