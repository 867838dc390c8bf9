"""Blocks: what a report is made of, written as Markdown by str() and as HTML by the page."""

from __future__ import annotations

from dataclasses import dataclass

from tabulate import tabulate


@dataclass(frozen=True)
class Table:
    """Rows of figures and words by column, as they are to be read."""

    rows: list[dict[str, str]]

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def __str__(self) -> str:
        return tabulate(self.rows, headers="keys", tablefmt="github", disable_numparse=True)


@dataclass(frozen=True)
class Sample:
    """A text as a model reads or writes it, shown and never interpreted."""

    text: str

    def __str__(self) -> str:
        fence = "~~~~"
        return "\n".join([f"{fence}text", self.text.replace(fence, ""), fence])


Block = str | Table | Sample
