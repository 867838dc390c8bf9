"""`python -m reports COMMAND`: what is done with runs that were written, on any machine, without torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from reports.command import USAGE, Command, CommandError, Parser
from reports.record import RecordError

COMMANDS = {
    "scale": Command("reports.scale", "compare models of several sizes: slopes, post-training shift, transfer of vectors"),
    "show": Command("reports.show", "print a stored run, a claim or a case of it"),
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
