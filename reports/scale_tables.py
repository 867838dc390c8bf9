"""What is reported across models, as tables for a terminal and for Markdown, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from cases.shown import in_csv, printable
from reports.blocks import listed
from reports.details import figure, table
from reports.ladder import SIZE, SKILL, Ladder, Line, name_of
from reports.render import NOTICE
from reports.shift import Shift
from reports.transfers import Transfer

READING = (
    "Models are the units. A slope is least squares over models with its 95% t interval on n - 2 degrees of freedom; beside it Theil and "
    "Sen's slope and the two-sided p of permuted models (with four models no lower than 0.042). Nothing here is a verdict."
)


@dataclass(frozen=True)
class Scale:
    """What is reported across models: the ladder of runs, its lines, the shifts of pairs, and transfers."""

    ladder: Ladder
    lines: tuple[Line, ...]
    shifts: tuple[Shift, ...] = ()
    transfers: tuple[Transfer, ...] = ()


def few(kept: Ladder) -> str:
    """Return in words which models there are, and what was left out."""
    names = f" ({', '.join(map(name_of, kept.runs))})" if kept.runs else ""
    left = f", left out: {' / '.join(kept.left_out)}" if kept.left_out else ""
    return f"{len(kept.runs)} model{'' if len(kept.runs) == 1 else 's'}{names}{left}"


def skill_rows(found: Scale) -> list[dict[str, str]]:
    """Return a row per family and a column per model, smallest first."""
    rows = []
    for line in found.lines:
        if line.claim == SKILL:
            points = {p.model: figure(p.value, p.low, p.high) for p in line.points}
            cells = {f"{name_of(run)} ({run.subject['parameters']:,})": points.get(name_of(run), "-") for run in found.ladder.runs}
            rows.append({"family": line.quantity, **cells})
    return rows


def value_rows(chosen: Sequence[Line]) -> list[dict[str, str]]:
    """Return a row per model with the quantities of some lines and what they are compared against."""
    rows: dict[str, dict[str, str]] = {}
    for line in chosen:
        for p in line.points:
            row = rows.setdefault(p.model, {"model": p.model, "parameters": f"{p.parameters:,}"})
            row[line.quantity] = figure(p.value, p.low, p.high)
            if line.against != SIZE:
                row[line.against] = figure(p.x)
    keys = list(dict.fromkeys(key for row in rows.values() for key in row))
    return [{key: row.get(key, "-") for key in keys} for row in rows.values()]


def slope_rows(chosen: Sequence[Line]) -> list[dict[str, str]]:
    """Return a row per line with its slope, or the reason why there is none."""
    return [
        {
            "quantity": line.quantity,
            "against": line.against,
            "models": str(line.slope.models),
            "slope": line.slope.reason or figure(line.slope.value, line.slope.low, line.slope.high),
            "Theil-Sen": figure(line.slope.theil_sen),
            "permutation p": figure(line.slope.p),
        }
        for line in chosen
    ]


def absences(chosen: Sequence[Line]) -> list[str]:
    """Return a line for each quantity and reason for which models are not among its points."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for line in chosen:
        for model, reason in line.without:
            found.setdefault((line.quantity, line.against, reason), []).append(model)
    return [f"{quantity} against {against}, without {', '.join(models)}: {reason}" for (quantity, against, reason), models in found.items()]


def shift_rows(found: Sequence[Shift]) -> list[dict[str, str]]:
    """Return a row per pair, kind of text and axis."""
    return [
        {
            "base": s.base,
            "instruct": s.instruct,
            "texts": s.texts,
            "axis": s.axis,
            "r of the shift": s.reason or figure(s.r, s.low, s.high),
            "emotions": str(s.emotions),
            "permutation p": figure(s.p),
        }
        for s in found
    ]


def transfer_rows(found: Sequence[Transfer]) -> list[dict[str, str]]:
    """Return a row per direction of a transfer."""
    return [
        {
            "source": t.source,
            "target": t.target,
            "cosine": figure(t.value, t.low, t.high),
            "permuted emotions": figure(t.permuted),
            "p": figure(t.p),
            "untrained twin of the target": figure(t.twin),
            "net": f"{figure(t.net['value'], t.net['low'], t.net['high'])} against {t.net['against']}",
            "rank": str(t.rank),
            "stimuli, profile": f"{t.stimuli}, {t.profile}",
        }
        for t in found
    ]


def extremes(found: Sequence[Shift]) -> list[str]:
    """Return for each pair and kind of text which emotions rose and fell most."""
    told = []
    for s in found:
        if s.axis == "valence" and s.shifts:
            order = sorted(s.shifts, key=lambda emotion: s.shifts[emotion])
            up, down = (", ".join(f"{e} {s.shifts[e]:+.3f}" for e in some) for some in (order[:-4:-1], order[:3]))
            told.append(f"{s.base} to {s.instruct}, {s.texts}: most up {up}; most down {down} (median residual norms)")
    return told


@dataclass(frozen=True)
class Part:
    """A piece of the report: a heading, lines before its table, the table's rows, and lines after it; each may be empty."""

    heading: str
    before: tuple[str, ...] = ()
    rows: tuple[dict[str, str], ...] = ()
    after: tuple[str, ...] = ()


def parts(found: Scale) -> list[Part]:
    """Return what is shown, in order, in every format that people read."""
    world = any(run.subject.get("stimuli") == "world" for run in found.ladder.runs) or any(t.stimuli == "world" for t in found.transfers)
    left = [f"left out: {line}" for line in found.ladder.left_out]
    shown = [Part("Across models", (few(Ladder(found.ladder.runs)), *([NOTICE] if world else []), READING, *left))]
    for claim in dict.fromkeys(line.claim for line in found.lines):
        chosen = [line for line in found.lines if line.claim == claim]
        values = skill_rows(found) if claim == SKILL else value_rows(chosen)
        shown.append(Part(claim[0].upper() + claim[1:], (), tuple(slope_rows(chosen))))
        shown.append(Part("", (), tuple(values), tuple(absences(chosen))))
    if found.shifts:
        shown.append(Part("Post-training shift", (), tuple(shift_rows(found.shifts)), tuple(extremes(found.shifts))))
    if found.transfers:
        shown.append(Part("Transfer of vectors", (), tuple(transfer_rows(found.transfers))))
    return shown


def plain(found: Scale) -> str:
    """Return the report for a terminal."""
    return rendered(found, "simple", "")


def markdown(found: Scale) -> str:
    """Return the report as Markdown."""
    return rendered(found, "github", "## ")


def rendered(found: Scale, style: str, mark: str) -> str:
    """Return the report with its tables in a style of tabulate's and `mark` before headings."""
    blocks: list[str] = []
    told = listed if mark else partial(map, printable)
    for part in parts(found):
        blocks += [f"{mark}{part.heading}"] if part.heading else []
        blocks += ["\n".join(told(part.before))]
        blocks += [table(list(part.rows), style)] if part.rows else []
        blocks += ["\n".join(told(part.after))]
    return "\n\n".join(block for block in blocks if block) + "\n"


def as_json(found: Scale) -> str:
    """Return everything as JSON."""
    document: dict[str, Any] = {
        "schema": "scale/1",
        "models": [{k: run.subject.get(k) for k in ("model", "revision", "parameters", "device", "dtype")} for run in found.ladder.runs],
        "left_out": list(found.ladder.left_out),
        "lines": [asdict(line) for line in found.lines],
        "shifts": [asdict(shift) for shift in found.shifts],
        "transfers": [asdict(transfer) for transfer in found.transfers],
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def as_csv(found: Scale) -> str:
    """Return a row per model and quantity."""
    target = io.StringIO()
    rows = csv.writer(target, lineterminator="\n")
    rows.writerow(["claim", "quantity", "model", "parameters", "against", "x", "value", "low", "high"])
    for line in found.lines:
        for p in line.points:
            cells = [line.claim, line.quantity, p.model, p.parameters, line.against, p.x, p.value, p.low, p.high]
            rows.writerow([in_csv(cell) for cell in cells])
    return target.getvalue()
