"""`python -m reports COMMAND`: what is done with runs that were written, on any machine, without torch."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from cases.parser import USAGE, Parser
from cases.shown import shown
from reports.command import INTERNAL, Command, CommandError
from reports.record import RecordError

COMMANDS = {
    "html": Command("reports.html", "write a stored run as one self-contained HTML page"),
    "scale": Command("reports.scale", "compare models of several sizes: slopes, post-training shift, transfer of vectors"),
    "show": Command("reports.show", "print a stored run, a claim or a case of it"),
    "baseline": Command("reports.baseline", "make a complete run the baseline of its model and device"),
    "leaderboard": Command("reports.board_formats", "rank runs of several models, claim family by claim family"),
    "compare": Command("reports.compare", "print what two runs differ by, paired by item"),
    "export": Command("reports.export", "write runs as CSV or parquet, a run as JUnit or as the block of a model card"),
    "summary": Command("reports.summary", "print a run as a pipeline shows it, with what its gate found"),
    "gate": Command("reports.gating", "hold a stored run to policies; the exit status says what came of it"),
}
"""A new command is a line here and a module with `add_arguments(parser)` and `run(arguments) -> exit status`."""


def main(words: Sequence[str]) -> int:
    """Run one command and return its exit status; only the module of the chosen command is imported."""
    parser = Parser(prog="python -m reports", description="Read, compare and gate runs of the benchmark.")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        chosen = subparsers.add_parser(name, help=command.help, description=command.help[0].upper() + command.help[1:] + ".")
        if words and words[0] == name:
            command.parts()[0](chosen)
    arguments = parser.parse_args(words)
    try:
        return COMMANDS[arguments.command].parts()[1](arguments)
    except (CommandError, RecordError) as error:
        sys.stderr.write(f"error: {error}\n")
        return USAGE
    except BrokenPipeError:
        # a reader such as head has seen enough; what is left in the buffer has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        sys.stderr.write(f"error: {shown(error.filename or 'a file')}: {error.strerror or shown(error)}\n")
        return USAGE


def guarded(words: Sequence[str]) -> int:
    """Run one command; a fault of the command's own is no verdict, and ends with pytest's status for an internal error."""
    try:
        return main(words)
    except Exception:
        traceback.print_exc()
        return INTERNAL


if __name__ == "__main__":
    sys.exit(guarded(sys.argv[1:]))
