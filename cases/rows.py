"""Reading JSONL: one object per line, and one line that names the first fault."""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any


class StimuliError(ValueError):
    """A stimulus file with a line that does not fit; the message names the file, the line and what is accepted."""


def rows(path: Path, wanted: Set[str], lists: Set[str] = frozenset()) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file that have the `wanted` fields (texts or numbers) and `lists` (lists or tables).

    Raises StimuliError at the first line that is none, or lacks a field.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StimuliError(f"{path.name}: cannot be read as UTF-8 text ({type(error).__name__})") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of thousands of digits
            raise StimuliError(f"{path.name}, line {number}: not JSON ({getattr(error, 'msg', type(error).__name__)})") from error
        fits = isinstance(row, dict) and wanted | lists <= set(row) and all(isinstance(row[k], str | int) for k in wanted)
        if not fits or not all(isinstance(row[k], list | dict) for k in lists):
            raise StimuliError(f"{path.name}, line {number}: accepted is an object with {', '.join(sorted(wanted | lists))}")
        yield row
