"""The post-training shift: how each emotion's level differs between a base model and the one trained from it ([P])."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fixtures.statistics import bootstrap_estimate, correlation, rank_p
from reports.command import CommandError, free_form
from reports.ladder import described, name_of, record_of, require_alike, why_not
from reports.record import Record, Run

PLACES = "circumplex/implicit-valence-present"
"""The record whose items hold each emotion's valence and arousal, as the run took them."""

READ = (
    ("scenarios, last token", "scenarios/plain-top1-present", "scenarios"),
    ("scenarios, chat template, before the reply", "scenarios/chat-top1-present", "scenarios"),
    ("neutral passages", "scenarios/plain-top1-present", "neutral"),
)
"""The texts on which levels are compared: what they are called, the record that holds them, and under which name."""

DRAWS = 2000
FEWEST = 16
"""Emotions that a correlation over emotions needs."""


@dataclass(frozen=True)
class Shift:
    """The correlation over emotions of instruct minus base with valence or arousal, its bootstrap interval, and p of permuted emotions.

    `shifts` holds each emotion's shift, in median residual norms. Each model is read along its own vectors.
    """

    base: str
    instruct: str
    texts: str
    axis: str
    emotions: int
    r: float | None
    low: float | None
    high: float | None
    p: float | None
    shifts: dict[str, float]
    reason: str | None = None


def level_rows(record: Record | None, key: str) -> dict[str, float]:
    """Return each emotion's level on the texts called `key`, empty where the record holds none."""
    rows = ((record.details or {}) if record else {}).get("levels") or ()
    return {str(row["emotion"]): float(row[key]) for row in rows if row.get(key) is not None}


def places(run: Run) -> dict[str, tuple[float, float]]:
    """Return each emotion's valence and arousal as the run took them."""
    found = record_of(run, PLACES)
    return {str(row["id"]): (float(row["valence"]), float(row["arousal"])) for row in (found.items if found else ())}


def correlated(shift: np.ndarray, axis: np.ndarray) -> tuple[float, float, float, float]:
    """Return r over emotions, its interval from resampled emotions, and the two-sided p of permuted emotions."""
    rng = np.random.default_rng(0)
    found = bootstrap_estimate(lambda take: correlation(shift[take], axis[take]), len(shift), rng, n=len(shift), draws=DRAWS)
    drawn = np.array([abs(correlation(rng.permutation(shift), axis)) for _ in range(DRAWS)])
    return found.value, found.low, found.high, rank_p(abs(found.value), drawn)


def shifts(base: Run, instruct: Run) -> list[Shift]:
    """Return the shift of a pair on every kind of text, with valence and with arousal.

    Raises CommandError where one of the runs is incomplete or the two were not measured alike; texts that one of them was not read
    on are left out with the reason.
    """
    for run in (base, instruct):
        if reason := why_not(run):
            raise CommandError(f"--pair {name_of(base)} {name_of(instruct)}: {described(run)} is {reason}; accepted: two complete runs")
    require_alike((base, instruct), f"--pair {name_of(base)} {name_of(instruct)}")
    with free_form(f"--pair {name_of(base)} {name_of(instruct)}: the items of {PLACES}"):
        where = places(base)
    found = []
    for texts, name, key in READ:
        first, second = record_of(base, name), record_of(instruct, name)
        with free_form(f"--pair {name_of(base)} {name_of(instruct)}: the levels of {name}"):
            before, after = level_rows(first, key), level_rows(second, key)
        known = [emotion for emotion in where if emotion in before and emotion in after]
        reason = None
        if len(known) < FEWEST:
            lacking = [name_of(run) for run, rows in ((base, before), (instruct, after)) if len(rows) < FEWEST]
            reason = f"{' and '.join(lacking) or 'the pair'} recorded no levels on these texts"
        elif first and second and first.version != second.version:
            reason = "the two runs hold different versions of the claim"
        moved = np.array([after[e] - before[e] for e in known])
        for column, axis in enumerate(("valence", "arousal")):
            r, low, high, p = (None,) * 4 if reason else correlated(moved, np.array([where[e][column] for e in known]))
            each = {} if reason else dict(zip(known, moved.tolist(), strict=True))
            found.append(Shift(name_of(base), name_of(instruct), texts, axis, len(known), r, low, high, p, each, reason))
    return found


def named_run(name: str, runs: Sequence[Run]) -> Run | None:
    """Return the latest of the runs of the model called `name`."""
    return max((run for run in runs if name_of(run) == name), key=lambda run: run.start, default=None)
