"""A ladder: stored runs of several models that may be compared, and what each of them measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.command import CommandError
from reports.comparable import hashes
from reports.record import Record, Run
from reports.scores import JUDGED, score
from reports.slopes import Slope, slope

ALIKE = ("profile", "layer", "emotions", "passages", "norms", "vectors", "limit")
"""Options that have to be the same in all runs."""

SIZE, TOKEN, CHARACTER = "log10 parameters", "nats per token", "nats per character"
NEUTRAL = "side_effects/implicit"
"""The record whose details hold what neutral text costs the unsteered model."""


@dataclass(frozen=True)
class Ladder:
    """Complete runs of one kind, smallest model first, and a line for each run that was left out."""

    runs: tuple[Run, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Point:
    """A model's value of a quantity with its own interval, where it has one, at a place on the horizontal axis."""

    model: str
    parameters: int
    x: float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Quantity:
    """What is compared across models: its claim, the records that it rests on, and how to read it from a run (None: not there)."""

    claim: str
    name: str
    records: tuple[str, ...]
    read: Callable[[Run], tuple[float, float | None, float | None] | None]
    against: tuple[str, ...] = (SIZE,)


@dataclass(frozen=True)
class Line:
    """A quantity against size or quality: the models' points, the slope over them, and which models are not among them and why."""

    claim: str
    quantity: str
    against: str
    points: tuple[Point, ...]
    slope: Slope
    without: tuple[tuple[str, str], ...]


def name_of(run: Run) -> str:
    """Return how a run's model is called."""
    return str(run.subject.get("model"))


def described(run: Run) -> str:
    """Return a run's model and start, by which a person knows the run."""
    return f"{name_of(run)} of {run.start}"


def conditions(run: Run) -> dict[str, str]:
    """Return what has to be alike for two runs to be compared, by name: stimuli set and hash, profile, and the options in ALIKE."""
    found = {"stimuli set": str(run.subject.get("stimuli"))}
    found |= {option: str(run.options.get(option)) for option in ALIKE}
    if run.options.get("passages") != "self":  # a model's own passages are its own by design
        found["stimuli hash"] = hashes(run)
    return found


def require_alike(runs: Sequence[Run], argument: str = "RUN") -> None:
    """Raise CommandError, one line, at the first condition in which runs differ."""
    for what in dict.fromkeys(name for run in runs for name in conditions(run)):
        groups: dict[str, list[str]] = {}
        for run in runs:
            groups.setdefault(conditions(run).get(what, "its own"), []).append(name_of(run))
        if len(groups) > 1:
            told = "; ".join(f"{value or 'none'} ({', '.join(names)})" for value, names in groups.items())
            raise CommandError(f"{argument}: {what} differs: {told}; accepted: runs with the same {what}")


HASH = re.compile(r"[0-9a-f]{40}|sha256:[0-9a-f]+|seed:[0-9]+")
"""Revisions that are of the weights themselves: a commit of the hub, a hash of files, a seed of random ones."""


def why_not(run: Run) -> str | None:
    """Return why a run is no point of a scale by itself, or None."""
    if not run.complete:
        return f"incomplete: {'; '.join(run.incomplete_because) or 'no reason given'}"
    return None if run.subject.get("parameters") else "no number of parameters"


def weights_of(run: Run) -> str:
    """Return what tells a run's weights from others': the hash that its revision is, or else the model's name with the revision."""
    revision = str(run.subject.get("revision") or "")
    return revision if HASH.fullmatch(revision) else f"{name_of(run)}@{revision}"


def ladder(runs: Sequence[Run]) -> Ladder:
    """Return the runs that can be compared; of two runs of the same weights the later one counts.

    Raises CommandError where runs of different stimuli, profiles or options would be mixed.
    """
    left: list[str] = []
    latest: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: run.start):
        if reason := why_not(run):
            left.append(f"{described(run)}: {reason}")
            continue
        weights = weights_of(run)
        if earlier := latest.pop(weights, None):
            left.append(f"{described(earlier)}: {described(run)} has the same weights")
        latest[weights] = run
    kept = list(latest.values())
    require_alike(kept)
    return Ladder(tuple(sorted(kept, key=lambda run: (int(run.subject["parameters"]), name_of(run)))), tuple(left))


def record_of(run: Run, name: str) -> Record | None:
    """Return a run's record by family/case."""
    return next((r for r in run.records if r.id == name), None)


def detail_of(run: Run, name: str) -> dict[str, Any]:
    """Return the details of a run's record, empty where it has none."""
    found = record_of(run, name)
    return (found.details or {}) if found else {}


def net(name: str) -> Callable[[Run], tuple[float, float | None, float | None] | None]:
    """Return a reader of a record's net value."""

    def read(run: Run) -> tuple[float, float | None, float | None] | None:
        found = record_of(run, name)
        return None if found is None or not found.net else (found.net["value"], found.net["low"], found.net["high"])

    return read


def width(name: str) -> Callable[[Run], tuple[float, float | None, float | None] | None]:
    """Return a reader of the mean width of a dose-response's coherent windows over its directions."""

    def read(run: Run) -> tuple[float, float | None, float | None] | None:
        widths = [w["width"] for w in detail_of(run, name).get("windows") or ()]
        return (float(np.mean(widths)), None, None) if widths and None not in widths else None

    return read


def skill(cases: Sequence[str]) -> Callable[[Run], tuple[float, float | None, float | None] | None]:
    """Return a reader of the mean skill over cases."""

    def read(run: Run) -> tuple[float, float | None, float | None] | None:
        found = score([r for r in run.records if r.id in cases])
        return None if found.skill is None else (found.skill, found.low, found.high)

    return read


AROUSAL, WINDOW, SKILL = "arousal gets cleaner with scale", "the coherent window grows with model quality", "skill against size"
CLAIMED = (
    *(
        Quantity(AROUSAL, f"net arousal, {case.removeprefix('implicit-arousal-').replace('-', ' ')}", (name,), net(name))
        for case in (
            "implicit-arousal-present",
            "implicit-arousal-beyond-words",
            "implicit-arousal-decoded-present",
            "implicit-arousal-decoded-beyond-words",
        )
        for name in [f"circumplex/{case}"]
    ),
    *(
        Quantity(WINDOW, f"mean window width, {case}", (name,), width(name), (SIZE, TOKEN, CHARACTER))
        for case in ("implicit", "fear-contrast")
        for name in [f"dose_response/{case}"]
    ),
)
"""The across-models claims that need no second model."""


def skills(runs: Sequence[Run]) -> tuple[Quantity, ...]:
    """Return the skill of every family, and of all together, over the cases that are judged in every run.

    A chat case that one model cannot be asked counts for no model; the name says how many cases are left.
    """
    judged = [{r.id for r in run.records if r.verdict in JUDGED} for run in runs]
    some = sorted(set().union(*judged))
    every = [case for case in some if all(case in cases for cases in judged)]
    found = []
    for family in [*dict.fromkeys(case.split("/")[0] for case in some), "all"]:
        cases, asked = ([c for c in known if family in ("all", c.split("/")[0])] for known in (every, some))
        name = family if len(cases) == len(asked) else f"{family} ({len(cases)} of {len(asked)} cases)"
        if cases:
            found.append(Quantity(SKILL, name, tuple(cases), skill(cases)))
    return tuple(found)


def quality(run: Run, against: str) -> float | None:
    """Return a model's place on the horizontal axis: log10 parameters, or what neutral text costs it unsteered."""
    if against == SIZE:
        return float(np.log10(int(run.subject["parameters"])))
    value = detail_of(run, NEUTRAL).get(f"unsteered {against}")
    return None if value is None else float(value)


def line(runs: Sequence[Run], quantity: Quantity, against: str = SIZE) -> Line:
    """Return a quantity against size or quality over the runs that measured it by the version of the claim in the latest run."""
    needed = [*quantity.records, *([] if against == SIZE else [NEUTRAL])]

    def versions(run: Run) -> list[str | None]:
        return [found.version if (found := record_of(run, name)) else None for name in needed]

    current = versions(max(runs, key=lambda run: run.start)) if runs else []
    points, without = [], []
    for run in runs:
        found, x = quantity.read(run), quality(run, against)
        if found is None or x is None:
            broken = record_of(run, quantity.records[0]) if found is None else None
            what = f"{quantity.name} has no figure" if found is None else f"{against} of neutral text is not recorded"
            without.append((name_of(run), (broken.reason if broken and broken.value is None else None) or what))
        elif versions(run) != current:
            without.append((name_of(run), "another version of the claim than in the latest run"))
        else:
            points.append(Point(name_of(run), int(run.subject["parameters"]), x, *found))
    fitted = slope([p.x for p in points], [p.value for p in points])
    return Line(quantity.claim, quantity.name, against, tuple(points), fitted, tuple(without))


def lines(runs: Sequence[Run]) -> tuple[Line, ...]:
    """Return every across-models claim and every skill against size, and the claims about windows against quality too.

    A measure of quality that no run has recorded has no line.
    """
    known = [against for against in (SIZE, TOKEN, CHARACTER) if any(quality(run, against) is not None for run in runs)]
    asked = (*CLAIMED, *skills(runs)) if runs else ()
    return tuple(line(runs, quantity, against) for quantity in asked for against in quantity.against if against in known)
