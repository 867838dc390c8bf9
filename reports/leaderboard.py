"""The leaderboard: which runs are ranked with which, and in which order; ties are kept as ties."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from cases.versions import Current, read_by
from fixtures.statistics import wilson
from reports.comparable import conditions, hashes, outdated
from reports.paired import difference
from reports.record import Record, Run
from reports.scores import JUDGED, Score, families, risk, score, skill_interval


@dataclass(frozen=True)
class Row:
    """A model on a device: its run, its scores, and its rank, or why it has none. `left` counts its other runs, which are left out."""

    run: Run
    families: dict[str, Score]
    whole: Score
    common: Score | None
    risk: float | None
    unranked: str | None
    rank: int | None = None
    tied: bool = False
    left: int = 0

    @property
    def share(self) -> tuple[float, float] | None:
        """Return the Wilson interval of the share of judged cases that are supported; None where none was judged."""
        return wilson(self.whole.supported, self.whole.judged) if self.whole.judged else None


@dataclass(frozen=True)
class Board:
    """Rows that may be ranked together: one set of stimuli, profile and passages. `cases` are those that every ranked row was judged on."""

    conditions: dict[str, str]
    rows: tuple[Row, ...]
    cases: tuple[str, ...]

    @property
    def families(self) -> list[str]:
        """Return the families with a judged case in any row, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name, found in row.families.items() if found.judged))


def newest(runs: Sequence[Run]) -> list[tuple[Run, int]]:
    """Return one run per model, revision, device and dtype, the newest complete one if there is any, and how many others there were."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(str(run.subject.get(key)) for key in ("model", "revision", "device", "dtype")), []).append(run)
    return [(max(group, key=lambda run: (run.complete, run.start)), len(group) - 1) for group in groups.values()]


def current_of(runs: Sequence[Run], known: Current) -> Current:
    """Return what is current among runs of the same conditions: what is `known`, and for what it lacks that of the newest runs.

    Of a claim the version in the newest run that holds it; cases and stimuli of the newest complete run, or of the newest.
    """
    last = max(runs, key=lambda run: (run.complete, run.start))
    versions = {r.family: r.version for run in sorted(runs, key=lambda run: run.start) for r in run.records}
    return Current(
        {**versions, **known.versions},
        known.cases or [(r.family, r.case) for r in last.records],
        known.stimuli or {read_by(last.subject, last.options): hashes(last)},
        known.judged,
    )


def unranked(run: Run, current: Current) -> str | None:
    """Return why a run is not ranked: it is incomplete, or stale, judged otherwise than what is current."""
    if not run.complete:
        return f"incomplete: {'; '.join(run.incomplete_because)}"
    why = outdated(run, current)
    return f"stale: {why}" if why else None


def judged(run: Run) -> dict[str, Record]:
    """Return a run's judged records that have a skill, by id."""
    return {r.id: r for r in run.records if r.verdict in JUDGED and skill_interval(r) is not None}


def skill_difference(ours: Run, theirs: Run, cases: Sequence[str]) -> tuple[float, float, float] | None:
    """Return the mean over cases of the paired difference in skill, with its interval; None where one cannot be told.

    Its ends are the means of the cases' ends, as for a row's own mean skill: the cases share passages, so that their errors
    are taken as fully dependent.
    """
    a, b = judged(ours), judged(theirs)
    found = [difference(a[name], b[name], skill=True, seed=int(ours.options["seed"])) for name in cases]
    known = [(d.value, d.low, d.high) for d in found if d is not None]
    if not known or len(known) < len(found):
        return None
    value, low, high = (statistics.fmean(column) for column in zip(*known, strict=True))
    return value, low, high


def ranked(rows: Sequence[Row], cases: Sequence[str]) -> list[Row]:
    """Return rows by falling skill, with ranks: a row shares the rank of the best row that its paired difference does not tell it from."""
    order = sorted(rows, key=lambda row: -(row.common.skill if row.common and row.common.skill is not None else float("-inf")))
    groups: list[list[Row]] = []
    for row in order:
        gap = skill_difference(groups[-1][0].run, row.run, cases) if groups else (1.0, 1.0, 1.0)
        if gap is None or gap[1] <= 0 <= gap[2]:
            groups[-1].append(row)
        else:
            groups.append([row])
    found, rank = [], 1
    for group in groups:
        found += [Row(**{**vars(row), "rank": rank, "tied": len(group) > 1}) for row in group]
        rank += len(group)
    return found


def parameters(row: Row) -> float:
    """Return a row's number of parameters, by which rows are ordered; a model of unknown size comes last."""
    return float(row.run.subject.get("parameters") or float("inf"))


def boards(runs: Sequence[Run], sort: str = "parameters", current: Current | None = None) -> list[Board]:
    """Return a board for each set of conditions; rows are ordered by `parameters` or by `skill`, those without a rank last.

    `current` has the checkout's claim versions, cases and stimuli; for what it lacks, those of the newest run are current.
    """
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(conditions(run).items()), []).append(run)
    found = []
    for key, group in groups.items():
        present = current_of(group, current or Current())
        chosen = [(run, left, unranked(run, present)) for run, left in newest(group)]
        together = [judged(run) for run, _, because in chosen if because is None]
        cases = tuple(name for name in (together[0] if together else ()) if all(name in one for one in together))
        if together and not cases:
            chosen = [
                (run, left, because or "no judged case in common: every rankable row was judged on others") for run, left, because in chosen
            ]
        rows = [
            Row(
                run=run,
                families=families(run),
                whole=score(list(run.records)),
                common=None if because else score([r for r in run.records if r.id in cases]),
                risk=risk(list(run.records)),
                unranked=because,
                left=left,
            )
            for run, left, because in chosen
        ]
        order = ranked([row for row in rows if row.unranked is None], cases)
        if sort == "parameters":
            order.sort(key=parameters)
        rest = sorted((row for row in rows if row.unranked is not None), key=parameters)
        found.append(Board(dict(key), (*order, *rest), cases))
    return found
