"""The board: where workers tell how far they are, and where the terminal reads it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from cluster.worker import Part
from reports.store import RECORDS


@dataclass
class Attempt:
    """One try at a job: on which node, in which process, how many records there are and which claim is in work.

    `kept` records were made by the tries before it, and it goes on with them.
    """

    node: str
    process: int
    records: int = 0
    claim: str = ""
    kept: int = 0


class Board:
    """Holds the attempts at every job, and what they recorded.

    It lives as a Ray actor on the driver's own node, so that no lost worker takes it along.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.attempts: dict[int, list[Attempt]] = {}
        self.files: dict[int, dict[str, bytes]] = {}

    def begin(self, job: int, node: str, process: int) -> tuple[int, dict[str, bytes]]:
        """Note a new attempt at a job; return its number, from 0, and the files that the one before it left, to go on with."""
        tries, files = self.attempts.setdefault(job, []), self.files.setdefault(job, {})
        kept = sum(content.count(b"\n") for name, content in files.items() if name.endswith(f"/{RECORDS}"))
        tries.append(Attempt(node, process, kept=kept))
        return len(tries) - 1, dict(files) if kept else {}

    def tell(self, job: int, attempt: int, records: int, claim: str, parts: Sequence[Part] = ()) -> None:
        """Note how far an attempt is, and what it added to its files; of one that another has followed nothing counts any more."""
        now = self.attempts[job][attempt]
        now.records, now.claim = max(records, 0), claim
        files = self.files.get(job)
        if files is not None and attempt + 1 == len(self.attempts[job]):
            files.update({name: files.get(name, b"")[:start] + content for name, start, content in parts})

    def end(self, job: int) -> None:
        """Let go what a finished job recorded: it has come home."""
        self.files.pop(job, None)

    def read(self) -> dict[int, list[Attempt]]:
        """Return all attempts."""
        return self.attempts


class Show:
    """Events as lines, and on a terminal one more line, renewed in place, of what is in work; `total` is the cases of a job."""

    def __init__(self, out: TextIO, labels: Sequence[str], total: int, retries: int) -> None:
        """Take where to write, how jobs are called, and what the figures are counted against."""
        self.out, self.labels, self.total, self.retries = out, labels, total, retries
        self.live = out.isatty()
        self.seen: dict[int, int] = {}
        self.last = ""

    def say(self, line: str) -> None:
        """Show a line of its own."""
        self.out.write(f"\r\033[K{line}\n" if self.live else f"{line}\n")
        self.out.flush()
        self.last = ""

    def update(self, board: Mapping[int, Sequence[Attempt]], ended: set[int]) -> None:
        """Say which attempts began since, and renew the line of what is in work."""
        for job, attempts in sorted(board.items()):
            for number in range(self.seen.get(job, 0), len(attempts)):
                self.say(f"{self.labels[job]}: {self.began(attempts, number)}")
            self.seen[job] = len(attempts)
        working = {job: attempts[-1] for job, attempts in sorted(board.items()) if job not in ended}
        parts = [f"{self.labels[job]}: {now.claim or 'starts'}, {now.records} of {self.total} records" for job, now in working.items()]
        line = f"{len(ended)} of {len(self.labels)} judged" + "".join(f" | {part}" for part in parts)
        if self.live and line != self.last:
            self.last = line
            self.out.write(f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}")
            self.out.flush()

    def began(self, attempts: Sequence[Attempt], number: int) -> str:
        """Return the words for an attempt: the first, or another after a lost worker."""
        now = attempts[number]
        where = f"on node {now.node[:6]}, process {now.process}"
        if not number:
            return f"judging {where}"
        lost = attempts[number - 1]
        return (
            f"worker lost after {lost.records} of {self.total} records; going on with {now.kept} of them {where} "
            f"(retry {number} of {self.retries})"
        )

    def clear(self) -> None:
        """Wipe the line of what is in work."""
        if self.live and self.last:
            self.out.write("\r\033[K")
            self.out.flush()
            self.last = ""
