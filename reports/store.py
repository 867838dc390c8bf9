"""The store: one folder per run, records appended as they are made, the run written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cases.shown import exists, is_folder, shown
from reports.record import RecordError, Run, parse_run
from reports.schema import check_document

RUNS = Path(__file__).parent / "runs"
BEGUN, RECORDS, SUMS, SAMPLES = "begun.json", "records.jsonl", "records.sums", "samples.jsonl"

BASELINE = "*-*.json"
"""Files of baselines: <device>-<dtype>.json."""


def slug(name: str) -> str:
    """Return a model's name as one folder name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "--", name).strip("-.") or "model"


def run_folder(root: Path, subject: dict[str, Any], stamp: str) -> Path:
    """Make and return root/<model>/<device>-<dtype>/<utc>; a second run in the same second gets a number."""
    parent = root / slug(str(subject["model"])) / f"{subject.get('device', 'unknown')}-{subject.get('dtype', 'unknown')}"
    for number in range(1, 1000):
        folder = parent / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{parent} holds a thousand runs of {stamp}")


def append(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append rows to a JSONL file and see them to the disk: all of them, or none where the disk is full."""
    append_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def append_text(path: Path, text: str) -> None:
    """Append text to a file and see it to the disk, or leave the file as it was."""
    # without a buffer: what it still held would be written on closing, after the file was cut back
    with path.open("ab", buffering=0) as file:
        before, left = os.fstat(file.fileno()).st_size, memoryview(text.encode())
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, before)
            raise


def append_record(folder: Path, row: dict[str, Any]) -> None:
    """Append a record to its run and then its sum, without which it does not count."""
    append(folder / RECORDS, [row])
    append_text(folder / SUMS, f"{digest(json.dumps(row, allow_nan=False).encode())}\n")


def digest(line: bytes) -> str:
    """Return the sum of a line of a JSONL file, by which one that was cut short or changed is known."""
    return hashlib.sha256(line).hexdigest()[:32]


def write_whole(path: Path, text: str | bytes) -> None:
    """Write a file so that a reader finds the old one or the new one, never half of it, and nothing else where it cannot be written."""
    content = text.encode() if isinstance(text, str) else text
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError as error:
        # nobody asked for the scratch file by its name
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def write_run(folder: Path, run: Run) -> Path:
    """Write run.json and return its path."""
    path = folder / "run.json"
    write_whole(path, json.dumps(run.plain(), indent=1, allow_nan=False) + "\n")
    return path


def _finite(word: str) -> float:
    if not math.isfinite(figure := float(word)):
        raise ValueError(f"{word} is no finite number" if word[-1].isdigit() else f"{word} is not JSON")
    return figure


def read_json(text: str) -> Any:
    """Return what a text in JSON holds; raises ValueError where that could not be written again: a figure too large, half a character."""
    document = json.loads(text, parse_constant=_finite, parse_float=_finite)
    if "\\ud" in text.lower():  # only an escape gives half of a pair, and most text has none
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            near = error.object[max(0, error.start - 20) : error.end + 20]
            raise ValueError(f"half of a surrogate pair: {shown(near)}; accepted: whole characters") from error
    return document


def read_run(path: Path) -> Run:
    """Return the run in a run.json or a baseline, or in the folder that holds one, checked against the schema.

    Raises RecordError with the path.
    """
    file = path / "run.json" if is_folder(path) else path
    if is_folder(path) and not file.exists():
        if (path / BEGUN).exists():
            raise RecordError(
                f"{shown(path)} holds a run that was stopped; accepted: a whole one, and --resume={shown(path)} goes on with it"
            )
        file, *more = sorted(path.glob(BASELINE)) or [path]
        if file == path:
            raise RecordError(f"{shown(path)} holds no run; accepted: a run.json, its folder, or a baseline")
        if more:
            raise RecordError(f"{shown(path)} holds {1 + len(more)} baselines; accepted: one of them ({file.name}, {more[0].name})")
    try:
        document = read_json(file.read_text("utf-8"))
        run = parse_run(document)
        check_document(document)
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{shown(file)} is not a run: {shown(error, 400)}") from error
    return run


def read_baselines(names: Sequence[str] | None) -> dict[str, Run | None] | None:
    """Return the run, or None where nothing is there, at each path that --baseline names; None where none was named.

    Raises RecordError, by the option, for what is no run.
    """
    if names is None:
        return None
    if not all(name.strip() for name in names):
        raise RecordError("--baseline '': no path; accepted: a run.json, its folder, or a baseline")
    try:
        return {name: read_run(Path(name)) if exists(name) else None for name in names}
    except RecordError as error:
        raise RecordError(f"--baseline {error}") from error


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Return the run files that paths stand for: a file, a folder of a run, or a folder that holds many, or baselines, at any depth.

    Raises RecordError for a path that stands for none.
    """
    found: dict[Path, None] = {}
    for path in paths:
        files = [path] if path.is_file() else [path / "run.json"] if (path / "run.json").is_file() else sorted(path.rglob("run.json"))
        files = files or sorted(path.rglob(BASELINE))
        if not files:
            raise RecordError(f"{shown(path)} holds no run; accepted: a run.json, its folder, a folder of such folders or of baselines")
        found.update(dict.fromkeys(file.resolve() for file in files))
    return list(found)
