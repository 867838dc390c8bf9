"""Scores: what the records of a run come to, per family and for a model's row of the leaderboard."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from reports.record import VERDICTS, Record, Run

JUDGED = ("supported", "refuted", "inconclusive")


@dataclass(frozen=True)
class Score:
    """A mean skill with its interval, and how many of the judged cases are supported."""

    skill: float | None
    low: float | None
    high: float | None
    supported: int
    judged: int


def skill_interval(record: Record) -> tuple[float, float, float] | None:
    """Return a record's skill with the interval of its net value on the same scale; None where it has no skill."""
    if record.skill is None or record.net is None or None in (record.net["low"], record.net["high"]):
        return None
    room = record.best - record.net["null"]
    return record.skill, record.net["low"] / room, record.net["high"] / room


def score(records: list[Record]) -> Score:
    """Return the mean skill over judged cases.

    Its ends are the means of the cases' ends: the cases share passages, so their errors are taken as fully dependent.
    A case without skill (no room, an error) leaves the mean undefined rather than out of it.
    """
    judged = [r for r in records if r.verdict in JUDGED or r.verdict == "error"]
    skills = [skill_interval(r) for r in judged]
    supported = sum(r.verdict == "supported" for r in judged)
    known = [s for s in skills if s is not None]
    if not known or len(known) < len(skills):
        return Score(None, None, None, supported, len(judged))
    skill, low, high = (sum(column) / len(known) for column in zip(*known, strict=True))
    return Score(skill, low, high, supported, len(judged))


def families(run: Run) -> dict[str, Score]:
    """Return the score of every claim family of a run, in order of appearance."""
    names = list(dict.fromkeys(r.family for r in run.records))
    return {name: score([r for r in run.records if r.family == name]) for name in names}


def verdict_counts(run: Run) -> dict[str, int]:
    """Return how many records have each verdict, verdicts that occur only."""
    counts = Counter(r.verdict for r in run.records)
    return {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]}


def exit_status(records: list[Record]) -> int:
    """Return 1 if anything was refuted or broke, or if nothing was supported; else 0."""
    verdicts = [r.verdict for r in records]
    return int("refuted" in verdicts or "error" in verdicts or "supported" not in verdicts)


def risk(records: list[Record]) -> float | None:
    """Return the largest risk of the records: nats by which coherent steering moves the log-odds of harm, per unit of strength.

    None where no record has one.
    """
    found = [(r.details or {}).get("risk") for r in records]
    known = [float(row["value"]) for row in found if row and row["value"] is not None]
    return max(known, default=None)
