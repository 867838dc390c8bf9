"""What a user or a file gave, as it stands on one line or in Markdown; and paths that the system itself may refuse."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

LONGEST = 120
"""Characters of a value that a message repeats."""

LONGEST_NAME = 255
"""Characters of a folder's name, no more than file systems take."""


SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY")
PATH = re.compile(r"(?<![\w.:/\\-])(?:[A-Za-z]:)?[/\\](?:[^\s'\":,;()<>/\\]+[/\\])+([^\s'\":,;()<>/\\]*)")
ADDRESS = re.compile(r"(?<=://)[^\s/@]+@")


def printable(text: str) -> str:
    """Return a text on one line: as it is, but for what no line shows (line breaks, control and format characters), which is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def in_markdown(text: str) -> str:
    """Return a text on one line as Markdown shows it: no end of a table's cell, no HTML, link, heading, quotation or fence begins in it."""
    text = re.sub(r"(\\*)([|<]|(?<=\])\()", r"\1\1\\\2", printable(text))
    return re.sub(r"^\s*(?=[#>`~])", r"\g<0>\\", text)


def shown(value: object, longest: int = LONGEST) -> str:
    """Return a value on one printable line: as it is, escaped where it holds what no line shows, cut in the middle where it is long.

    An address is shown without the name and password in it.
    """
    text = printable(ADDRESS.sub("", str(value)))
    return text if len(text) <= longest else f"{text[: longest // 2]}...{text[-longest // 4 :]}"


def is_file(path: str | Path) -> bool:
    """Say whether a path is an existing file; one that the system cannot even look up is none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def exists(path: str | Path) -> bool:
    """Say whether there is anything at a path; at one that the system cannot even look up there is nothing."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """Say whether a path is an existing folder; one that the system cannot even look up is none."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def unusable(folder: str) -> str | None:
    """Return why no folder can be made or written at a path, in a few words; None where it can."""
    if not folder.strip():
        return "no path"
    try:
        place = Path(folder).absolute()
        # the name itself is looked up first: a part that is too long shows here
        place.exists()
        there = next(parent for parent in (place, *place.parents) if parent.exists())
    except (OSError, ValueError) as error:
        return f"no path ({getattr(error, 'strerror', None) or 'not one that the system takes'})"
    if not there.is_dir():
        return "that is a file" if there == place else f"{shown(there.name)} on the way is a file"
    try:
        # what the permissions allow the file system may still refuse, and an administrator passes every permission
        with tempfile.TemporaryDirectory(prefix=".try-", dir=there):
            return None
    except OSError:
        return "it cannot be written to"


def private(text: str) -> str:
    """Return a text that may be written down or shown: no key, an absolute path by its last part, no name or password in an address."""
    for secret in filter(None, map(os.environ.get, SECRETS)):
        text = text.replace(secret, "***")
    for folder in sorted({str(Path.home()), str(Path.cwd())} - {"/"}, key=len, reverse=True):
        text = re.sub(re.escape(folder) + r"(?:[/\\]|(?![\w.-]))", "", text)
    return ADDRESS.sub("", PATH.sub(r"\1", text))


def called(name: str) -> str:
    """Return how records and lines call a model: a local folder by its last part, another name as it is, without what is private."""
    return shown(Path(name).resolve().name, LONGEST_NAME) if is_folder(name) else private(shown(name))


def in_csv(cell: object) -> object:
    """Return a cell of a CSV file, a text behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
