"""Transfers of vectors between two models, as `python -m fixtures.transfer` wrote them: read, checked and summarised."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.command import CommandError

SCHEMA = "transfer/1"


@dataclass(frozen=True)
class Transfer:
    """Vectors of a source taken to a target by a map fitted on other emotions: cosine with the target's own, and its nulls."""

    source: str
    target: str
    stimuli: str
    profile: str
    rank: int
    emotions: int
    value: float
    low: float
    high: float
    permuted: float
    permuted_p95: float
    p: float
    twin: float
    net: dict[str, Any]


def read_transfers(path: Path) -> list[Transfer]:
    """Return both directions of a file; raises CommandError, one line, for what is none."""
    try:
        document = json.loads(path.read_text("utf-8"))
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}")
        return [Transfer(**one) for one in both(document)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        told = str(error).splitlines()[0] if str(error) else "no message"
        raise CommandError(f"--transfer {path}: {type(error).__name__}: {told}; accepted: a file of python -m fixtures.transfer") from error


def both(document: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield the entries of each direction."""
    for one in document["directions"]:
        nulls = {null["kind"]: null for null in one["nulls"]}
        permuted, twin = nulls["permuted emotions"], nulls["untrained twin"]
        yield {
            **{key: one[key] for key in ("source", "target", "rank", "emotions", "value", "low", "high", "p", "net")},
            "stimuli": str(document["stimuli"]),
            "profile": str(document["profile"]),
            "permuted": float(permuted["mean"]),
            "permuted_p95": float(permuted["p95"]),
            "twin": float(twin["mean"]),
        }
