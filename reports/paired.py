"""Paired differences: what two runs' figures on one case differ by, its items matched by id, with interval and p."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fixtures.statistics import (
    Batched,
    bootstrap_estimate,
    clopper_pearson,
    correlation,
    interval_p,
    mean_estimate,
    mover,
    on_each,
    pairs_auroc,
)
from reports.record import Record
from reports.scores import skill_interval

AGREES = 2e-4
"""A form is a record's own when it gives the record's value from its items within this, which leaves room for rounded baselines."""
SAME = 1e-5
"""Differences smaller than this count as none: baselines are rounded, and threads and devices move figures by about 1e-8."""
UNPAIRED = "unpaired"


@dataclass(frozen=True)
class Form:
    """How a value is made from items: the columns of figures that are read, and the statistic on the items that `take` names.

    `span(table)` is the length of the statistic's scale.
    """

    name: str
    columns: tuple[str, ...]
    statistic: Callable[[np.ndarray], Callable[[np.ndarray], float]]
    span: Callable[[np.ndarray], float] = lambda table: 1.0


def _correlated(table: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda take: correlation(table[0][take], table[1][take])


def _mean(table: np.ndarray) -> Callable[[np.ndarray], float]:
    return Batched(lambda takes: np.asarray(table[0][takes].mean(axis=1)))


# scores lie between 0 and 1, or between -1 and 1 where they are correlations
MEAN = Form("mean of scores", ("score",), _mean, lambda table: 2.0 if table.min() < 0 else 1.0)
FORMS = (
    Form("AUROC", ("first", "second"), lambda table: pairs_auroc(table[0], table[1])),
    Form("AUROC, second sides higher", ("second", "first"), lambda table: pairs_auroc(table[0], table[1])),
    MEAN,
    Form("correlation", ("score", "r"), _correlated, lambda table: 2.0),
)
"""Tried in this order: the mean of a pair's shares is an AUROC's value too, but not its spread."""


@dataclass(frozen=True)
class Difference:
    """What `ours` exceeds `theirs` by on a case, with its 95% interval, on how many clusters, and by which form.

    `p` is two-sided against no difference. Under `UNPAIRED` the records' own intervals are combined as if independent (Zou and
    Donner 2008), which is too wide rather than too narrow where the same items move both.
    """

    id: str
    value: float
    low: float
    high: float
    clusters: int
    form: str

    @property
    def p(self) -> float:
        """Return the two-sided p against no difference."""
        return interval_p(self.value, self.low if self.value > 0 else self.high, 0.0, self.clusters)

    def p_below(self, threshold: float) -> float:
        """Return the two-sided p of lying below a threshold; below .05 where the whole interval does."""
        return interval_p(self.value, self.high, threshold, self.clusters)


def columns(record: Record, form: Form) -> dict[str, list[float]] | None:
    """Return a form's figures by item id, or None where an item lacks one, or two share an id."""
    found = {str(item["id"]): [item.get(name) for name in form.columns] for item in record.items}
    if len(found) != len(record.items) or any(value is None for row in found.values() for value in row):
        return None
    return {name: [float(value) for value in row if value is not None] for name, row in found.items()}


def clusters_of(record: Record) -> dict[str, str]:
    """Return each item's cluster; an item without one is its own."""
    return {str(item["id"]): str(item.get("cluster", item["id"])) for item in record.items}


def form_of(record: Record) -> Form | None:
    """Return the form that makes the record's value from its items, or None where its value is more than they hold."""
    if record.value is None or len(record.items) < 2:
        return None
    clusters = clusters_of(record)
    for form in FORMS:
        found = columns(record, form)
        if found is None or (form is not MEAN and len(set(clusters.values())) < len(clusters)):
            continue
        statistic = form.statistic(np.array(list(found.values())).T)
        if abs(float(on_each(statistic, np.arange(len(found))[None])[0]) - record.value) < AGREES:
            return form
    return None


def difference(ours: Record, theirs: Record, *, seed: int = 0, skill: bool = False) -> Difference | None:
    """Return ours minus theirs on one case, on the scale of its value or on that of skill (each run's null held fixed).

    None where one of the two has no figure, or too few clusters for an interval.
    """
    a, b = (skill_interval(r) if skill else (r.value, r.low, r.high) for r in (ours, theirs))
    if a is None or b is None or None in a or None in b or ours.clusters is None or theirs.clusters is None:
        return None
    count = min(ours.clusters, theirs.clusters)
    form = form_of(ours)
    if form is None or form_of(theirs) is not form or clusters_of(ours) != clusters_of(theirs):
        value, low, high = a[0] - b[0], *mover(a, b)  # type: ignore[operator, arg-type]
        return Difference(ours.id, value if abs(value) > SAME else 0.0, low, high, count, UNPAIRED) if count > 1 else None
    mine, other = columns(ours, form) or {}, columns(theirs, form) or {}
    scales = [(r.net["null"], r.best - r.net["null"]) if skill and r.net else (0.0, 1.0) for r in (ours, theirs)]
    tables = [np.array([rows[name] for name in mine]).T for rows in (mine, other)]
    statistics = [form.statistic(table) for table in tables]

    def gap(takes: np.ndarray) -> np.ndarray:
        (x, y), ((m, s), (n, t)) = (on_each(each, takes) for each in statistics), scales
        found = (x - m) / s - (y - n) / t
        return np.asarray(np.where(np.abs(found) > SAME, found, 0.0))

    names = clusters_of(ours)
    if form is MEAN:
        estimate = mean_estimate(gap(np.arange(len(names))[:, None]), list(names.values()))
    else:
        rng = np.random.default_rng([seed, zlib.crc32(ours.id.encode())])
        estimate = bootstrap_estimate(Batched(gap), len(names), rng, n=len(names))
    if estimate.clusters < 2 or not np.isfinite([estimate.value, estimate.low, estimate.high]).all():
        return None
    low, high = min(estimate.low, estimate.value), max(estimate.high, estimate.value)
    span = max(form.span(table) for table in tables) / min(room for _, room in scales)
    if high - low < SAME:
        # clusters that all differ alike leave no spread to go by; of so many, this share may still differ otherwise, by the whole scale
        unseen = clopper_pearson(0.0, estimate.clusters)[1] * span
        low, high = low - unseen, high + unseen
    return Difference(ours.id, estimate.value, max(low, -span), min(high, span), estimate.clusters, form.name)
