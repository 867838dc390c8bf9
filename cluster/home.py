"""Home: the folder of runs, where a run is there whole or not at all, with the job that it answers."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cluster.job import Job
from reports.record import RecordError, Run, parse_run
from reports.store import read_run

JOB = "job.json"
WHOLE = ("run.json", "records.jsonl", "report.md")


class RunError(ValueError):
    """Files that came home and are no run of the job; the message says why in one line."""


@dataclass(frozen=True)
class Landed:
    """A run at home: its folder and the exit status that pytest gave it."""

    folder: Path
    status: int


def at_home(root: Path, key: Mapping[str, Any]) -> Landed | None:
    """Return the newest finished run under `root` that answers the job with this key; None if it is to be judged."""
    found = []
    for path in root.glob(f"*/*/*/{JOB}"):
        try:
            job = json.loads(path.read_text("utf-8"))
            if job["key"] == dict(key) and finished(run := read_run(path.parent), key):
                found.append((run.start, path.parent.name, Landed(path.parent, int(job["status"]))))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a folder that is no run of ours does not count as one
    return max(found, key=lambda entry: entry[:2])[2] if found else None


def finished(run: Run, key: Mapping[str, Any]) -> bool:
    """Say whether a run holds all that its job asked for: nothing broke, and without `-k` and limit it is complete."""
    partial = key["chosen"] is not None or key["limit"] != "none"
    return bool(run.records) and all(r.verdict != "error" for r in run.records) and (run.complete or partial)


def missing(root: Path, wanted: Sequence[Job], code: str) -> tuple[dict[Job, Landed], list[Job]]:
    """Return the runs that are at home already, and the jobs that are to be judged."""
    there = {job: found for job in wanted if (found := at_home(root, job.key(code)))}
    return there, [job for job in wanted if job not in there]


def checked(files: Mapping[str, bytes], job: Job) -> tuple[PurePosixPath, Run]:
    """Return the one run that a worker's files hold, and its folder relative to all runs; raises RunError for anything else."""
    folders = {PurePosixPath(*PurePosixPath(name).parts[:3]) for name in files}
    strange = [name for name in files if ".." in PurePosixPath(name).parts or name.startswith("/") or len(PurePosixPath(name).parts) < 4]
    if strange or len(folders) != 1:
        raise RunError(f"{job.label}: the worker sent {strange[0] if strange else f'{len(folders)} run folders'}; accepted: one run folder")
    (folder,) = folders
    if lacking := [name for name in WHOLE if f"{folder}/{name}" not in files]:
        raise RunError(f"{job.label}: the worker's run lacks {lacking[0]}")
    try:
        run = parse_run(json.loads(files[f"{folder}/run.json"]))
        rows = [json.loads(line) for line in files[f"{folder}/records.jsonl"].splitlines()]
    except (RecordError, ValueError) as error:
        raise RunError(f"{job.label}: the worker's run cannot be read: {error}") from error
    recorded = [(row["family"], row["case"]) for row in rows]
    if sorted(recorded) != sorted({(r.family, r.case) for r in run.records}):
        raise RunError(f"{job.label}: the worker's run and its records differ, or one was made twice")
    if run.subject.get("model") != job.model or run.options.get("seed") != job.settings.seed:
        raise RunError(f"{job.label}: the worker's run is of {run.subject.get('model')}, seed {run.options.get('seed')}")
    return folder, run


def land(root: Path, files: Mapping[str, bytes], job: Job, *, code: str, status: int, attempts: int) -> Landed:
    """Write a run that came home to its folder under `root`, whole or not at all; a second run of the same second gets a number.

    Everything is written to a hidden folder beside it, seen to the disk, and moved there in one step.
    Raises RunError for files that are not the job's run, and OSError where they cannot be written.
    """
    place, _ = checked(files, job)
    note = {"key": job.key(code), "status": status, "attempts": attempts}
    root.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".landing-", dir=root))
    try:
        for name, content in {**files, f"{place}/{JOB}": (json.dumps(note, indent=1) + "\n").encode()}.items():
            path = scratch / PurePosixPath(name).relative_to(place)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        scratch.chmod(0o755)
        return Landed(_moved(scratch, root / place), status)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _moved(scratch: Path, wanted: Path) -> Path:
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1000):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            # a folder that holds something is never replaced: the move is refused
            scratch.rename(folder)
        except OSError:
            if folder.exists():
                continue
            raise
        return folder
    raise FileExistsError(f"{wanted} is there a thousand times")
