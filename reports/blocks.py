"""Blocks: what a report is made of, written as Markdown by str() and as HTML by the page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tabulate import tabulate

from cases.shown import in_markdown, printable


@dataclass(frozen=True)
class Table:
    """Rows of figures and words by column, as they are to be read."""

    rows: list[dict[str, str]]

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def __str__(self) -> str:
        rows = [{in_markdown(name): in_markdown(cell) for name, cell in row.items()} for row in self.rows]
        return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


@dataclass(frozen=True)
class Sample:
    """A text as a model reads or writes it, shown and never interpreted."""

    text: str

    def __str__(self) -> str:
        fence = "~~~~"
        lines = map(printable, re.sub(f"{fence}+", "", self.text).expandtabs().split("\n"))
        return "\n".join([f"{fence}text", *lines, fence])


Block = str | Table | Sample


def listed(lines: Iterable[str]) -> list[str]:
    """Return lines as the items of a list in Markdown."""
    return [f"- {in_markdown(line)}" for line in lines]
