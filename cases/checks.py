"""Checks on stimuli: leaks of emotion words, length, balance, and text that stands twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
RUN = 6
"""No two passages may share a run of this many words."""


def words(text: str) -> list[str]:
    """Return the lower-case words of `text`, apostrophes inside a word kept, typographic ones made plain."""
    return WORD.findall(text.lower().replace("\u2019", "'"))


def leaks(text: str, banned: Iterable[str]) -> list[str]:
    """Return the words of `text` that are in `banned`, in order of appearance; "fear's" counts as "fear"."""
    forbidden = set(banned)
    return [word for word in words(text) if word.split("'")[0] in forbidden or word in forbidden]


def shared_runs(texts: Mapping[str, str], length: int = RUN) -> list[tuple[str, str, str]]:
    """Return (id, id, run) for every run of `length` words that stands in two different texts, or twice in one."""
    seen: dict[tuple[str, ...], str] = {}
    found = []
    for key, text in texts.items():
        tokens = words(text)
        for start in range(len(tokens) - length + 1):
            run = tuple(tokens[start : start + length])
            if run in seen:
                found.append((seen[run], key, " ".join(run)))
            else:
                seen[run] = key
    return found


def wrong_lengths(texts: Mapping[str, str], low: int, high: int) -> list[tuple[str, int]]:
    """Return (id, number of words) of every text outside `low` to `high` words."""
    counts = {key: len(words(text)) for key, text in texts.items()}
    return [(key, count) for key, count in counts.items() if not low <= count <= high]


def unbalanced(cells: Iterable[tuple[str, str]], rows: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return a line for each (row, column) of a full cross that does not hold exactly one item, and for each stray."""
    counts = Counter(cells)
    wanted = {(row, column) for row in rows for column in columns}
    lines = [f"{row}/{column}: {counts[row, column]} items" for row, column in sorted(wanted) if counts[row, column] != 1]
    return lines + [f"{row}/{column}: not in the design" for row, column in sorted(set(counts) - wanted)]


def token_edits(first: str, second: str) -> int:
    """Return the number of positions at which two texts of words differ; texts of other lengths: the edit distance."""
    a, b = words(first), words(second)
    previous = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        current = [i]
        for j, right in enumerate(b, 1):
            current.append(min(previous[j] + 1, current[-1] + 1, previous[j - 1] + (left != right)))
        previous = current
    return previous[-1]
