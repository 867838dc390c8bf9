"""Commands of `python -m reports`: what each module that offers one has in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from cases.shown import is_folder, shown

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


def target(name: str) -> Path:
    """Return the path of a file to write, as argparse asks for it; raises ArgumentTypeError, one line, for what no file can be at."""
    why = "no path" if not name.strip() or "\0" in name else "that is a folder" if is_folder(name) else None
    if why:
        raise argparse.ArgumentTypeError(f"{shown(repr(name))}: {why}; accepted: a file, in a folder that can be written")
    return Path(name)


@contextmanager
def free_form(what: str) -> Iterator[None]:
    """Raise CommandError, one line that begins with `what`, where details or items, which may be of any form, lack what is read of them."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise CommandError(f"{what} cannot be shown ({type(error).__name__}: {shown(error)})") from error
