"""Runs with planted figures for the self-tests of what is done with stored runs; nothing is measured."""

from __future__ import annotations

from typing import Any

import numpy as np

from fixtures.statistics import auroc, mean_estimate
from reports.record import Record, Run
from tests.runs import small_record, small_run


def scored(scores: Any, case: str = "natural-present", **changes: Any) -> Record:
    """A record whose value is the mean of its items' scores, with the verdict supported."""
    values = np.asarray(scores, dtype=float)
    names = [f"c{i}" for i in range(len(values))]
    found = mean_estimate(values, names)
    low, high = max(found.low, 0.0), min(found.high, 1.0)
    row = {
        "case": case,
        "value": found.value,
        "stderr": found.stderr,
        "low": low,
        "high": high,
        "n": len(values),
        "clusters": len(values),
        "net": {"value": found.value - 0.5, "low": low - 0.5, "high": high - 0.5, "null": 0.5, "against": "chance"},
        "skill": (found.value - 0.5) / 0.5,
        "items": [{"id": n, "cluster": n, "score": float(v)} for n, v in zip(names, values, strict=True)],
    }
    return small_record(**{**row, **changes})


def paired_sides(first: Any, second: Any, **changes: Any) -> Record:
    """A record whose value is the AUROC of its items' first over their second sides, as separation writes them."""
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    items = [
        {"id": f"p{i}", "cluster": f"p{i}", "first": float(one[i]), "second": float(other[i]), "score": float(np.mean(one[i] > other))}
        for i in range(len(one))
    ]
    value = auroc(one, other)
    return small_record(
        **{"value": value, "low": value - 0.05, "high": min(1.0, value + 0.05), "items": items, "clusters": len(one), **changes}
    )


def spread(mean: float, count: int = 40, width: float = 0.05) -> np.ndarray:
    """Scores around a mean, the same pattern every time."""
    return np.clip(mean + width * np.sin(np.arange(count) * 2.4), 0.0, 1.0)


def other_model(run: Run, name: str = "other", **subject: Any) -> Run:
    """The run as if it were of another model."""
    return small_run(
        *run.records, subject={**run.subject, "model": name, **subject}, start=run.start, options=run.options, complete=run.complete
    )
