"""`python -m reports summary RUN`: what a pipeline shows of a run: the gate's findings, the families, the refuted claims."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from cases.shown import in_markdown
from reports.blocks import listed
from reports.command import CommandError
from reports.details import table
from reports.record import Run
from reports.render import claim_rows, counted, facts, family_rows
from reports.store import read_run


def gate_rows(path: Path) -> list[tuple[str, list[dict[str, str]]]]:
    """Return each policy's heading with a row per finding, from the gate.json beside a run; empty where the run met no gate."""
    try:
        gates = json.loads(path.read_text("utf-8"))["gates"]
        return [
            (f"Gate {g['policy']}: {g['outcome']} (exit status {g['status']})", [{k: str(f[k]) for k in f} for f in g["findings"]])
            for g in gates
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{path} is not the outcome of a gate: {error}") from error


def summary(run: Run, gates: list[tuple[str, list[dict[str, str]]]]) -> str:
    """Return the summary as Markdown."""
    parts = [f"### {in_markdown(run.subject['model'])}", "", *listed(facts(run)), ""]
    for head, rows in gates:
        parts += [f"#### {in_markdown(head)}", "", table(rows, "github"), ""]
    parts += [
        f"**{counted(run)}**",
        "",
        table(family_rows(run), "github"),
        "",
        "<details><summary>Every case</summary>",
        "",
        table(claim_rows(run), "github"),
        "",
        "</details>",
        "",
    ]
    return "\n".join(parts)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `summary`."""
    parser.add_argument("run_path", metavar="RUN", type=Path, help="the folder of a run")


def run(arguments: argparse.Namespace) -> int:
    """Print the summary of a run."""
    folder = arguments.run_path if arguments.run_path.is_dir() else arguments.run_path.parent
    sys.stdout.write(summary(read_run(arguments.run_path), gate_rows(folder / "gate.json")))
    return 0
