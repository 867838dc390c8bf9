"""The command `scale`: slopes across models, the post-training shift of pairs, and transfers of vectors, from stored runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from reports.command import CommandError, target
from reports.ladder import ladder, lines, name_of
from reports.record import Run
from reports.scale_page import page
from reports.scale_tables import Scale, as_csv, as_json, few, markdown, plain
from reports.shift import named_run, shifts
from reports.slopes import FEWEST
from reports.store import find_runs, read_run, write_whole
from reports.transfers import read_transfers

FORMATS: dict[str, Callable[[Scale], str]] = {"text": plain, "markdown": markdown, "csv": as_csv, "json": as_json, "html": page}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `scale`."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", type=Path, help="a run.json, the folder that holds one, or a folder of many; at least four models"
    )
    parser.add_argument(
        "--pair",
        nargs=2,
        action="append",
        default=[],
        metavar=("BASE", "INSTRUCT"),
        help="post-training shift of a pair: two runs, or names of two models among RUN; repeatable",
    )
    parser.add_argument(
        "--transfer", action="append", default=[], type=Path, metavar="FILE", help="a file of python -m fixtures.transfer; repeatable"
    )
    parser.add_argument("--format", choices=tuple(FORMATS), default="text", help="default: text")
    parser.add_argument("--output", type=target, metavar="FILE", help="write there instead of printing")


def run(arguments: argparse.Namespace) -> int:
    """Print or write what the runs show across models."""
    text = FORMATS[arguments.format](scale([read_run(path) for path in find_runs(arguments.runs)], arguments.pair, arguments.transfer))
    if arguments.output is None:
        sys.stdout.write(text)
        return 0
    try:
        write_whole(arguments.output, text)
    except OSError as error:
        raise CommandError(f"--output {arguments.output}: {error.strerror}; accepted: a file in a folder that exists") from error
    return 0


def scale(runs: Sequence[Run], pairs: Sequence[Sequence[str]] = (), files: Sequence[Path] = ()) -> Scale:
    """Return what runs show across models; raises CommandError, one line, where nothing can be compared."""
    kept = ladder(runs)
    if len(kept.runs) < FEWEST and not pairs and not files:
        raise CommandError(f"RUN: {few(kept)}; accepted: complete runs of at least {FEWEST} models, or --pair, or --transfer")
    shifted = tuple(shift for base, instruct in pairs for shift in shifts(one_of(base, runs), one_of(instruct, runs)))
    moved = tuple(transfer for path in files for transfer in read_transfers(path))
    return Scale(kept, lines(kept.runs), shifted, moved)


def one_of(name: str, runs: Sequence[Run]) -> Run:
    """Return the run that a side of --pair names: a model among the runs, or else a path."""
    if found := named_run(name, runs):
        return found
    if Path(name).exists():
        return read_run(Path(name))
    known = ", ".join(dict.fromkeys(map(name_of, runs))) or "none"
    raise CommandError(f"--pair {name}: no such run; accepted: a path of a run, or a model among RUN ({known})")
