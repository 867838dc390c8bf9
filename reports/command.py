"""Commands of `python -m reports`: what each module that offers one has in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

INTERNAL = 3
"""Exit status of a fault of the command's own, as pytest has it."""


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
