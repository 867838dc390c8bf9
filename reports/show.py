"""Reading a run again: the whole table, or one claim or case with its nulls and detail."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cases.shown import shown
from reports.command import CommandError, free_form
from reports.record import Record, Run
from reports.render import section, terminal
from reports.store import read_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `show`."""
    parser.add_argument("run_path", metavar="RUN", type=Path, help="a run.json or the folder that holds one")
    parser.add_argument("chosen", metavar="CLAIM[/CASE]", nargs="?", help="a claim (separation) or a case (separation/natural-present)")


def chosen_records(run: Run, name: str) -> list[Record]:
    """Return the records that a name stands for: a family, a claim or family/case; raises CommandError where there are none."""
    found = [r for r in run.records if name in (r.family, r.claim, r.id, f"{r.claim}/{r.case}")]
    if not found:
        known = dict.fromkeys(r.id for r in run.records if name.split("/")[0] in (r.family, r.claim))
        known = known or dict.fromkeys(r.family for r in run.records)
        raise CommandError(f"CLAIM {shown(name)}: not in this run; accepted: {', '.join(known)}")
    return found


def run(arguments: argparse.Namespace) -> int:
    """Print the run, or what it holds of one claim."""
    stored = read_run(arguments.run_path)
    if arguments.chosen is None:
        text = terminal(stored)
    else:
        chosen = chosen_records(stored, arguments.chosen)
        with free_form(f"{shown(arguments.run_path)}: the details of {shown(arguments.chosen)}"):
            text = "\n".join(section(chosen))
    sys.stdout.write(text.rstrip() + "\n")
    return 0
