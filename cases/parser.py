"""An argument parser for the commands of this project, whatever room they are in."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

USAGE = 4
"""Exit status of a wrong option, or of a file that cannot be read or written, as pytest has it."""


class Parser(argparse.ArgumentParser):
    """An argument parser that ends a wrong use with one line and status USAGE, and takes no option by its beginning."""

    def __init__(self, *given: Any, **options: Any) -> None:
        """Take what argparse's parser takes."""
        super().__init__(*given, **{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(USAGE, f"error: {message} (see {self.prog} --help)\n")
