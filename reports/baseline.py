"""Baselines: a complete run cut down to what a later run is compared with, small enough to be committed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cases.shown import shown
from reports.command import CommandError, target
from reports.paired import form_of
from reports.record import Record, Run
from reports.store import read_run, slug, write_whole

BASELINES = Path(__file__).parent / "baselines"
DIGITS = 7
"""Significant digits that are kept of a figure: those of float32."""
REQUIRED = ("claim", "family", "case", "kind", "statement", "source", "published", "quantity", "cluster", "smallest_effect", "best")


def baseline_path(run: Run, root: Path = BASELINES) -> Path:
    """Return root/<model>/<device>-<dtype>.json, where the baseline of a model on a device is kept."""
    return root / slug(str(run.subject["model"])) / f"{slug(str(run.subject.get('device')))}-{slug(str(run.subject.get('dtype')))}.json"


def rounded(value: Any) -> Any:
    """Return plain data with every figure cut to DIGITS significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list | tuple) else value


KEPT = ("risk", "unsteered nats per token", "unsteered nats per character")
"""Details that a gate, a leaderboard or a ladder reads; of coherent windows they read the width."""


def slim_details(details: dict[str, Any]) -> dict[str, Any] | None:
    """Return what other runs are compared with of a record's details, None where there is nothing."""
    kept = {name: details[name] for name in KEPT if details.get(name) is not None}
    if windows := details.get("windows"):
        kept["windows"] = [{name: value for name, value in window.items() if name != "points"} for window in windows]
    return kept or None


def slim_record(record: Record) -> Record:
    """Return a record without its nulls, texts and most details; of its items, the figures that pair it with another run."""
    form = form_of(record)
    kept = form.columns if form else ()
    items = [
        {k: item[k] for k in ("id", "cluster", *kept) if k in item and not (k == "cluster" and item[k] == item["id"])}
        for item in record.items
    ]
    return replace(
        record,
        statement="",
        source="",
        published="",
        nulls=(),
        items=tuple(items) if form else (),
        details=slim_details(record.details or {}),
    )


def slim(run: Run) -> Run:
    """Return the baseline of a run; raises CommandError for an incomplete one, which is none."""
    if not run.complete:
        raise CommandError(f"no baseline is made of an incomplete run: {'; '.join(run.incomplete_because)}")
    return replace(run, records=tuple(slim_record(record) for record in run.records))


def baseline_text(run: Run) -> str:
    """Return a baseline as a run.json of the same schema, one record per line, so that a change shows in a diff."""
    document = rounded(slim(run).plain())
    rows = [{k: v for k, v in row.items() if k in REQUIRED or v not in (None, [], ())} for row in document.pop("records")]
    head = json.dumps(document, allow_nan=False)[:-1]
    lines = ",\n".join(json.dumps(row, allow_nan=False, separators=(",", ":")) for row in rows)
    return f'{head}, "records": [\n{lines}\n]}}\n'


def write_baseline(run: Run, path: Path | None = None) -> Path:
    """Write the baseline of a complete run and return its path.

    Raises CommandError for an incomplete one, and where the file of its own, which no `path` replaces, holds another model's: names that
    differ may have one folder name.
    """
    text = baseline_text(run)
    file = path or baseline_path(run)
    if path is None and file.is_file() and not same(read_run(file), run, "model"):
        raise CommandError(f"{shown(file)} is the baseline of another model; accepted: --output FILE, beside it")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, text)
    return file


def same(a: Run, b: Run, *names: str) -> bool:
    """Return whether two runs agree in what their subjects say of `names`."""
    return all(a.subject.get(name) == b.subject.get(name) for name in names)


def find_baseline(run: Run, given: Sequence[Run] | None, alone: bool = True) -> Run | None:
    """Return the baseline of a run, or None.

    Nothing given: the committed one of its model, device and dtype. One given, and the run alone: that one, whatever model
    it is of, so that a release can be held against the last one. Else the given one of the same model, device and dtype, or of the same
    model at least, so that what differs is told.
    """
    if given is None:
        path = baseline_path(run)
        stored = read_run(path) if path.is_file() else None
        return stored if stored and same(stored, run, "model") else None
    if alone and len(given) == 1:
        return given[0]
    own = [b for b in given if same(b, run, "model")]
    return next((b for b in own if same(b, run, "device", "dtype")), own[0] if own else None)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `baseline`."""
    parser.add_argument("run_path", metavar="RUN", type=Path, help="a run.json or the folder that holds one; a complete run")
    parser.add_argument("--output", metavar="FILE", type=target, help="default: reports/baselines/<model>/<device>-<dtype>.json")


def run(arguments: argparse.Namespace) -> int:
    """Make a run the baseline of its model and device."""
    stored = read_run(arguments.run_path)
    path = write_baseline(stored, arguments.output)
    sys.stdout.write(f"baseline: {path} ({path.stat().st_size / 1000:.0f} kB)\n")
    if stored.suite["dirty"] is not False:
        sys.stdout.write("note: the run was made from a checkout that had been changed, or whose state git did not tell\n")
    return 0
