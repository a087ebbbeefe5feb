"""Short tables for notebooks: what ``_repr_html_`` of networks, runs and reports is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def table(title: str, rows: Iterable[Sequence[Any]], head: Sequence[Any] = ()) -> str:
    """A small table, every text escaped.

    >>> table("h<-h", [("units", 3)])
    '<b>h&lt;-h</b><table><tr><td>units</td><td>3</td></tr></table>'
    """
    lines = [_row(head, "th")] if head else []
    lines += [_row(row, "td") for row in rows]
    return f"<b>{escape(title)}</b><table>{''.join(lines)}</table>"


def _row(cells: Sequence[Any], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(_text(cell))}</{tag}>" for cell in cells) + "</tr>"


def _text(cell: Any) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
