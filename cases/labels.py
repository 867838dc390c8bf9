"""How far blind readers' labels agree with the emotions that the texts were written for: `python -m cases.labels`."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases.parser import Parser

PATH = Path(__file__).parent / "blind_labels.jsonl"
OTHERS = Path(__file__).parent / "blind_labels_others.jsonl"
"""Labels of the scenarios (one of twelve emotions), of the texts of other kinds (one of thirty, or "none"), and those on behaviour."""


@dataclass(frozen=True)
class Agreement:
    """Shares of passages labelled as intended, per emotion and overall, Cohen's kappa, and the number of passages."""

    per_emotion: dict[str, float]
    overall: float
    kappa: float
    n: int


def load_labels(path: Path = PATH) -> list[dict[str, Any]]:
    """Return the labels, one per passage: the emotion intended, the topic, the label given, and whether the reader was sure."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def kappa(cells: Sequence[tuple[str, str]]) -> float:
    """Return Cohen's kappa of pairs of labels: (observed - chance) / (1 - chance), chance from both marginals (Cohen 1960).

    NaN where both always give one and the same label, or without pairs.
    """
    n, first, second = len(cells), Counter(a for a, _ in cells), Counter(b for _, b in cells)
    chance = sum(first[label] * second[label] for label in first) / n**2 if n else 1.0
    return (sum(a == b for a, b in cells) / n - chance) / (1 - chance) if chance < 1 else float("nan")


def agreement(rows: Iterable[Mapping[str, Any]]) -> Agreement:
    """Return the agreement of `label` with `emotion`.

    Raises ValueError without rows. Kappa is NaN where both always name one and the same emotion.
    """
    cells = [(str(row["emotion"]), str(row["label"])) for row in rows]
    if not cells:
        raise ValueError("no labels: agreement is undefined")
    n = len(cells)
    intended, hits = Counter(e for e, _ in cells), Counter(e for e, label in cells if e == label)
    return Agreement({e: hits[e] / count for e, count in intended.items()}, sum(hits.values()) / n, kappa(cells), n)


def told(name: str, found: Agreement) -> str:
    """Return a line on a set of texts."""
    chance = "Cohen's kappa undefined (one label throughout)" if math.isnan(found.kappa) else f"Cohen's kappa {found.kappa:.3f}"
    return f"{name}: overall {found.overall:.3f} of {found.n}, {chance}"


def main(words: Sequence[str] = ()) -> None:
    """Print agreement per emotion, lowest first, overall, and kappa."""
    Parser(prog="python -m cases.labels", description=__doc__).parse_args(words)
    found = agreement(load_labels())
    ordered = sorted(found.per_emotion.items(), key=lambda pair: pair[1])
    cells = [f"{emotion} {share:.2f}" for emotion, share in ordered]
    lines = [", ".join(cells[start : start + 10]) for start in range(0, len(cells), 10)]
    lines.append(told("implicit passages", found))
    others = load_labels(OTHERS)
    for name in dict.fromkeys(row["set"] for row in others):
        lines.append(told(name, agreement(row for row in others if row["set"] == name)))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
