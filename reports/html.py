"""The HTML report of a stored run, written beside it or where it is wanted."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from cases.shown import shown
from reports.command import CommandError, target
from reports.figures import Drawings
from reports.page import page
from reports.record import Run
from reports.store import read_json, read_run, write_whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `html`."""
    parser.add_argument("run_path", metavar="RUN", type=Path, help="a run.json or the folder that holds one")
    parser.add_argument("--output", metavar="FILE", type=target, help="where to write (default: report.html beside the run)")


def read_samples(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of samples.jsonl, which a run has with --log-samples; none where it has none or they cannot be read."""
    try:
        lines = (folder / "samples.jsonl").read_text("utf-8").splitlines()
        return [row for row in map(read_json, lines) if isinstance(row, dict) and {"claim", "case", "id"} <= set(row)]
    except (OSError, ValueError, RecursionError):
        return []


def write_page(stored: Run, folder: Path, target: Path | None = None, made: Drawings | None = None) -> Path:
    """Write a run's page, with texts where its folder holds them, beside it or to `target`, and return its path; `made`: its figures."""
    path = target or folder / "report.html"
    write_whole(path, page(stored, read_samples(folder), made))
    return path


def run(arguments: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    stored = read_run(arguments.run_path)
    folder = arguments.run_path if arguments.run_path.is_dir() else arguments.run_path.parent
    try:
        path = write_page(stored, folder, arguments.output)
    except CommandError as error:
        raise CommandError(f"{shown(arguments.run_path)}: {error}") from error
    except OSError as error:
        raise CommandError(f"--output {arguments.output or folder}: {error.strerror}; accepted: a file in a folder to write in") from error
    sys.stdout.write(f"{path}\n")
    return 0
