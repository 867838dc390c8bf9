"""`python -m reports export RUN --format F`: records as CSV or parquet, a model card's block, or JUnit."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cases.shown import in_csv
from reports.command import CommandError, target
from reports.junit import junit
from reports.model_card import model_card
from reports.record import Record, Run
from reports.store import find_runs, read_run, write_whole

if TYPE_CHECKING:
    import pandas as pd

FLAT = (
    "claim", "family", "case", "kind", "verdict", "reason", "quantity", "value", "stderr", "low", "high", "level", "n", "clusters",
    "rank_p", "skill", "layer", "strength", "smallest_effect", "best", "version", "stimuli",
)  # fmt: skip
NET = ("value", "low", "high", "null", "against")
SUBJECT = ("model", "revision", "parameters", "architecture", "device", "device_name", "dtype")
WHOLE = {"integer": ("parameters", "n", "clusters", "layer")}


def flat(run: Run, record: Record) -> dict[str, Any]:
    """Return a record as one row: the run's header, the record's figures, its net value and its risk; nothing per item."""
    net, risk = record.net or {}, (record.details or {}).get("risk") or {}
    return {
        **{key: run.subject.get(key) for key in SUBJECT},
        "stimuli_set": run.subject.get("stimuli"),
        "profile": run.options["profile"],
        "seed": str(run.options["seed"]),
        "suite": run.suite["version"],
        "commit": run.suite["commit"],
        "start": run.start,
        "complete": run.complete,
        **{key: getattr(record, key) for key in FLAT},
        **{f"net_{key}": net.get(key) for key in NET},
        "risk": risk.get("value"),
    }


def frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row per record of all runs; an absent figure is empty, never 0."""
    import pandas as pd

    found = pd.DataFrame([flat(run, record) for run in runs for record in run.records])
    texts = [c for c in found if c in (*SUBJECT, "reason", "net_against", "commit", "stimuli", "stimuli_set") and c != "parameters"]
    figures = [
        c
        for c in found
        if c in ("value", "stderr", "low", "high", "level", "rank_p", "skill", "strength", "risk", *(f"net_{k}" for k in NET[:4]))
    ]
    # a column of nothing keeps its type, so that files of several runs can be read together
    return found.astype({**dict.fromkeys(WHOLE["integer"], "Int64"), **dict.fromkeys(texts, "string"), **dict.fromkeys(figures, "float64")})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `export`."""
    parser.add_argument(
        "runs", metavar="RUN", type=Path, nargs="+", help="runs, or folders of runs; exactly one run for model-card and junit"
    )
    parser.add_argument("--format", choices=("csv", "parquet", "model-card", "junit"), required=True, help="what is written")
    parser.add_argument("--output", metavar="FILE", type=target, help="where to; needed for parquet (default: the terminal)")


def run(arguments: argparse.Namespace) -> int:
    """Write runs in another format."""
    runs = [read_run(path) for path in find_runs(arguments.runs)]
    if arguments.format in ("csv", "parquet"):
        if not any(run.records for run in runs):
            raise CommandError(f"--format {arguments.format}: no run holds a record; accepted: runs with at least one")
        if arguments.format == "csv":
            written = frame(runs).astype(object).map(in_csv).to_csv(index=False)
        elif arguments.output is None:
            raise CommandError("--format parquet: not for a terminal; accepted: with --output FILE")
        else:
            write_whole(arguments.output, frame(runs).to_parquet(index=False))
            return 0
    else:
        if len(runs) != 1:
            raise CommandError(f"--format {arguments.format}: {len(runs)} runs were named; accepted: one")
        written = model_card(runs[0]) if arguments.format == "model-card" else junit(runs[0])
    if arguments.output:
        write_whole(arguments.output, written)
    else:
        sys.stdout.write(written)
    return 0
