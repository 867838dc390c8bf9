"""Commands of `python -m reports`: what each module that offers one has in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import NoReturn

INTERNAL, USAGE = 3, 4
"""Exit statuses of a fault of the command's own, and of a wrong option or a file that cannot be read or written, as pytest has them."""


class CommandError(ValueError):
    """Input that a command cannot work with; the message is one line that names it and what is accepted."""


@dataclass(frozen=True)
class Command:
    """A subcommand: the module with `add_arguments(parser)` and `run(arguments) -> exit status`, and what `--help` says of it."""

    module: str
    help: str

    def parts(self) -> tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]:
        """Import the module and return its two functions."""
        module = import_module(self.module)
        return module.add_arguments, module.run


class Parser(argparse.ArgumentParser):
    """An argument parser that ends a wrong use with one line and pytest's status for it."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(USAGE, f"error: {message} (see {self.prog} --help)\n")
