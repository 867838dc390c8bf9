"""`python -m reports compare A B`: what B differs by from A, case by case, paired by item."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixtures.statistics import LEVEL, holm
from reports.command import target
from reports.comparable import condition_gaps, named, record_gap
from reports.details import figure, table
from reports.paired import UNPAIRED, Difference, difference
from reports.record import Record, Run
from reports.scores import JUDGED, risk
from reports.store import read_run, write_whole

INCOMPARABLE = 10


@dataclass(frozen=True)
class Row:
    """One case of both runs: its difference (second less first) with Holm's p, or why there is none, and both verdicts."""

    id: str
    first: Record | None
    second: Record | None
    difference: Difference | None
    holm_p: float | None
    gap: str | None

    @property
    def changed(self) -> bool:
        """Say whether the verdict changed; a case that one run lacks has none."""
        return self.first is not None and self.second is not None and self.first.verdict != self.second.verdict

    @property
    def verdicts(self) -> str:
        """Return the verdict, or both where it changed."""
        a, b = (r.verdict if r else "absent" for r in (self.first, self.second))
        return a if a == b else f"{a} -> {b}"

    @property
    def plain(self) -> dict[str, Any]:
        """Return the row as built-in types, ready for JSON."""
        d = self.difference
        return {
            "id": self.id,
            "first": self.first.value if self.first else None,
            "second": self.second.value if self.second else None,
            "difference": d.value if d else None,
            "low": d.low if d else None,
            "high": d.high if d else None,
            "clusters": d.clusters if d else None,
            "form": d.form if d else None,
            "p": d.p if d else None,
            "holm_p": self.holm_p,
            "verdicts": [r.verdict if r else None for r in (self.first, self.second)],
            "gap": self.gap,
        }


def rows(first: Run, second: Run) -> list[Row]:
    """Return every case of both runs in order of appearance; Holm's p runs over the judged ones that can be compared."""
    a, b = ({r.id: r for r in run.records} for run in (first, second))
    found = []
    for name in dict.fromkeys((*a, *b)):
        x, y = a.get(name), b.get(name)
        gap = f"absent from the {'first' if x is None else 'second'} run" if x is None or y is None else record_gap(x, y)
        paired = difference(y, x, seed=int(first.options["seed"])) if x and y and gap is None else None
        if paired is None and gap is None:
            gap = "too few clusters for an interval"
        found.append(Row(name, x, y, paired, None, gap))
    counted = [i for i, row in enumerate(found) if row.difference and row.first and row.second and row.first.verdict in JUDGED]
    adjusted = holm([p for i in counted if (d := found[i].difference) for p in [d.p]])
    for i, p in zip(counted, adjusted, strict=True):
        found[i] = Row(**{**vars(found[i]), "holm_p": p})
    return found


def facts(first: Run, second: Run) -> list[str]:
    """Return what is compared with what, and what to bear in mind."""
    lines = [f"first:  {named(first)}", f"second: {named(second)}", "difference: second less first, 95% interval, items matched by id"]
    lines += [
        f"note: the {which} run is incomplete: {'; '.join(r.incomplete_because)}"
        for which, r in (("first", first), ("second", second))
        if not r.complete
    ]
    for words, one, other in (
        ("dtype", first.subject.get("dtype"), second.subject.get("dtype")),
        ("device", first.subject.get("device"), second.subject.get("device")),
        ("seed", first.options.get("seed"), second.options.get("seed")),
    ):
        if one != other:
            lines.append(f"note: other {words}: {one} in the first, {other} in the second")
    return lines


def text(first: Run, second: Run, found: list[Row]) -> str:
    """Return the comparison as the terminal shows it: cases with figures, changed verdicts, and what could not be compared."""
    shown = [
        {
            "claim / case": row.id,
            "first": figure(row.first.value),
            "second": figure(row.second.value),
            "difference": figure(d.value, d.low, d.high) + ("" if d.form != UNPAIRED else " *"),
            "Holm p": "-" if row.holm_p is None else f"{row.holm_p:.4f}" + (" <" if row.holm_p < 1 - LEVEL else ""),
            "verdict": row.verdicts,
        }
        for row in found
        if (d := row.difference) and row.first and row.second
    ]
    lines = [*facts(first, second), ""]
    lines += [table(shown, "simple"), ""] if shown else ["no case could be compared", ""]
    if any(row.difference and row.difference.form == UNPAIRED for row in found):
        lines += ["* the value is more than its items hold: the two intervals are combined as if independent, which is wide", ""]
    lines += [f"changed: {row.id}: {row.verdicts}" for row in found if row.changed]
    lines += [f"not compared: {row.id}: {row.gap}" for row in found if row.gap]
    known = [row.holm_p for row in found if row.holm_p is not None]
    lines += [f"{sum(p < 1 - LEVEL for p in known)} of {len(known)} judged cases differ (Holm, p < {1 - LEVEL:.2f})"]
    risks = [risk(list(run.records)) for run in (first, second)]
    if any(value is not None for value in risks):
        lines.append(f"risk: {figure(risks[0])} -> {figure(risks[1])} nats per unit of strength (largest of all directions, no interval)")
    return "\n".join(lines) + "\n"


def plain(first: Run, second: Run, found: list[Row], gaps: list[str]) -> dict[str, Any]:
    """Return the comparison as built-in types, ready for JSON."""
    return {
        "first": named(first),
        "second": named(second),
        "incomparable": gaps,
        "notes": [line.removeprefix("note: ") for line in facts(first, second) if line.startswith("note: ")],
        "risk": [risk(list(run.records)) for run in (first, second)],
        "cases": [row.plain for row in found],
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `compare`."""
    parser.add_argument("first", metavar="A", type=Path, help="a run.json, the folder that holds one, or a baseline")
    parser.add_argument("second", metavar="B", type=Path, help="what is compared with it")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what is printed (default: text)")
    parser.add_argument("--output", metavar="FILE", type=target, help="write to a file instead")
    parser.epilog = "Exit status: 0 compared, 10 incomparable (other stimuli, profile or passages), 4 a wrong option or file."


def run(arguments: argparse.Namespace) -> int:
    """Print what two runs differ by."""
    first, second = read_run(arguments.first), read_run(arguments.second)
    gaps = condition_gaps(first, second)
    found = [] if gaps else rows(first, second)
    if arguments.format == "json":
        written = json.dumps(plain(first, second, found, gaps), indent=1, allow_nan=False) + "\n"
    elif gaps:
        written = (
            "\n".join(
                [
                    *facts(first, second),
                    *(f"incomparable: {gap.replace(' here', ' in the first').replace(' there', ' in the second')}" for gap in gaps),
                ]
            )
            + "\n"
        )
    else:
        written = text(first, second, found)
    if arguments.output:
        write_whole(arguments.output, written)
    else:
        sys.stdout.write(written)
    return INCOMPARABLE if gaps or not any(row.difference for row in found) else 0
