"""A worker: judges one job with the ordinary suite in a process of its own, and returns the files of its run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.store import BEGUN, RECORDS, SAMPLES, SUMS

ROOT = Path(__file__).parents[1]
STEP = 0.5
"""Seconds between two looks at what was recorded."""
TAIL = 4000
"""Characters of pytest's last words that come home."""
KEPT = (BEGUN, RECORDS, SUMS, SAMPLES)
"""Files of a run in the making that another worker needs to go on with it."""

Part = tuple[str, int, bytes]
"""What was added to a file: its path under the folder of runs, the place in bytes, and the bytes from there to its end."""


class Killed(RuntimeError):
    """The suite's process was killed by a signal: for Ray a reason to try again."""


def judge(
    words: Sequence[str],
    tell: Callable[[int, str, list[Part]], None],
    root: Path = ROOT,
    begun: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:
    """Run `pytest benchmark` with `words` in a temporary folder; return its status, the run's files and pytest's last words.

    `tell(records, claim, parts)` is called as records are made, with what was added to the files since. `begun` are the files of a run that
    a lost worker had begun: what they hold is not measured again. The process ends with this one, however this one ends. Raises Killed
    where a signal ended it.
    """
    with tempfile.TemporaryDirectory(prefix="run-") as folder, tempfile.TemporaryFile() as output:
        for name, content in (begun or {}).items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes(content)
        options = ["benchmark", "-v", "--color=no", "-p", "no:cacheprovider", f"--output-path={folder}"]
        command = [sys.executable, "-m", "cluster.tether", folder, *options, *words, *(["--resume"] if begun else [])]
        start = time.monotonic()
        # in a session of its own, so that what kills this process's group leaves it the time to delete its folder
        streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": output, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, cwd=root, start_new_session=True, **streams) as process:
            try:
                told, sent = (-1, ""), dict[str, int]()
                while process.poll() is None:
                    if (now := (recorded(Path(folder)), claim_in_work(read_tail(output)))) != told:
                        tell(*(told := now), added(Path(folder), sent))
                    time.sleep(STEP)
            finally:
                process.kill()
        if process.returncode < 0:
            raise Killed(f"the suite's process was killed by signal {-process.returncode}")
        return {
            "status": process.returncode,
            "files": harvest(Path(folder)),
            "output": read_tail(output),
            "seconds": round(time.monotonic() - start, 1),
        }


def harvest(folder: Path) -> dict[str, bytes]:
    """Return the files of the runs that were finished, by path; of all where none was, for the words of who looks at them.

    A run that a lost worker had begun and that could not be gone on with (another GPU, other packages) lies beside the new one.
    """
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    whole = {path.parts[:3] for path in files if path.name == "run.json"}
    return {path.as_posix(): place.read_bytes() for path, place in files.items() if not whole or path.parts[:3] in whole}


def recorded(folder: Path) -> int:
    """Return how many records a run in the making has."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob(f"*/*/*/{RECORDS}"))


def added(folder: Path, sent: dict[str, int]) -> list[Part]:
    """Return what was added to the files of a run in the making, and note in `sent` how far each was sent; a shorter one is sent anew."""
    parts = []
    for path in sorted(path for name in KEPT for path in folder.glob(f"*/*/*/{name}")):
        name, content = path.relative_to(folder).as_posix(), path.read_bytes()
        start = sent.get(name, 0) if sent.get(name, 0) <= len(content) else 0
        if content[start:]:
            parts.append((name, start, content[start:]))
        sent[name] = len(content)
    return parts


def read_tail(output: Any) -> str:
    """Return the end of what pytest wrote; the process goes on writing at the file's end, for it shares the position."""
    size = os.fstat(output.fileno()).st_size
    return os.pread(output.fileno(), TAIL, max(0, size - TAIL)).decode("utf-8", "replace")


def claim_in_work(text: str) -> str:
    """Return the family of the last test that pytest named."""
    named = re.findall(r"benchmark/test_(\w+)\.py::", text)
    return named[-1] if named else ""
