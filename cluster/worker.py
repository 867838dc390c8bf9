"""A worker: judges one job with the ordinary suite in a process of its own, and returns the files of its run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
STEP = 0.5
"""Seconds between two looks at what was recorded."""
TAIL = 4000
"""Characters of pytest's last words that come home."""


class Killed(RuntimeError):
    """The suite's process was killed by a signal: for Ray a reason to try again."""


def judge(words: Sequence[str], tell: Callable[[int, str], None], root: Path = ROOT) -> dict[str, Any]:
    """Run `pytest benchmark` with `words` in a temporary folder; return its status, the run's files and pytest's last words.

    `tell(records, claim)` is called as records are made. The process ends with this one, however this one ends. Raises Killed where a
    signal ended it.
    """
    with tempfile.TemporaryDirectory(prefix="run-") as folder, tempfile.TemporaryFile() as output:
        options = ["benchmark", "-v", "--color=no", "-p", "no:cacheprovider", f"--output-path={folder}"]
        command = [sys.executable, "-m", "cluster.tether", folder, *options, *words]
        start = time.monotonic()
        # in a session of its own, so that what kills this process's group leaves it the time to delete its folder
        streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": output, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, cwd=root, start_new_session=True, **streams) as process:
            try:
                told = (-1, "")
                while process.poll() is None:
                    if (now := (recorded(Path(folder)), claim_in_work(read_tail(output)))) != told:
                        tell(*(told := now))
                    time.sleep(STEP)
            finally:
                process.kill()
        if process.returncode < 0:
            raise Killed(f"the suite's process was killed by signal {-process.returncode}")
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}
        return {
            "status": process.returncode,
            "files": files,
            "output": read_tail(output),
            "seconds": round(time.monotonic() - start, 1),
        }


def recorded(folder: Path) -> int:
    """Return how many records a run in the making has."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*/*/*/records.jsonl"))


def read_tail(output: Any) -> str:
    """Return the end of what pytest wrote; the process goes on writing at the file's end, for it shares the position."""
    size = os.fstat(output.fileno()).st_size
    return os.pread(output.fileno(), TAIL, max(0, size - TAIL)).decode("utf-8", "replace")


def claim_in_work(text: str) -> str:
    """Return the family of the last test that pytest named."""
    named = re.findall(r"benchmark/test_(\w+)\.py::", text)
    return named[-1] if named else ""
