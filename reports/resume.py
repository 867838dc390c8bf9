"""Resume: what a run's folder says of itself from its first record on, which of its records stand, and who may write there."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cases.claims import every_case
from cases.shown import called
from reports.record import installed_versions, parse_record
from reports.store import BEGUN, RECORDS, SAMPLES, SUMS, digest, run_folder, slug, write_whole

NEWEST = "newest"
ASKED = (
    "device", "dtype", "seed", "profile", "layer", "limit", "norms", "emotions", "passages", "vectors", "sweep_layers",
    "device_map", "tensor_parallel", "judge", "judge_model", "execute_code", "trust_remote_code", "log_samples",
)  # fmt: skip
"""Options that a resumed run must share with the one that it goes on with; the batch size decides nothing and may differ."""

Key = tuple[str, str]


class ResumeError(ValueError):
    """A folder that cannot be resumed; the message is one line that names it and says why."""


def asked(options: Any, name: str) -> dict[str, Any]:
    """Return what was asked for a model: its name, revision and options, a file by the hash of what is in it."""
    model, revision = (name, options.revision) if "@" not in name or Path(name).exists() else name.rsplit("@", 1)
    told = {key: getattr(options, key) for key in ASKED}
    for key, value in told.items():
        if isinstance(value, str) and key in ("norms", "passages", "vectors") and Path(value).is_file():
            told[key] = f"sha256:{hashlib.sha256(Path(value).read_bytes()).hexdigest()[:16]}"
    return {"model": called(model), "revision": revision, **told}


def standing(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the records of a folder whose lines are whole and as they were written, and how many lines are not.

    A line counts if its sum was written after it and still fits: one cut short by a kill or a full disk, or changed since, does not.
    """
    try:
        lines = (folder / RECORDS).read_bytes().split(b"\n")
        sums = set((folder / SUMS).read_bytes().split())
    except FileNotFoundError:
        return [], 0
    rows = []
    for line in (found := [line for line in lines if line]):
        try:
            row = json.loads(line) if digest(line).encode() in sums else {}
            parse_record(row)
        except (ValueError, TypeError):
            continue
        rows.append(row)
    return rows, len(found) - len(rows)


@dataclass
class Begun:
    """A run in its folder, locked against others: what was asked, of which subject, since when, and the records that stand."""

    folder: Path
    document: dict[str, Any]
    lock: FileLock
    rows: dict[Key, dict[str, Any]] = field(default_factory=dict)
    dropped: int = 0

    def holds(self, subject: dict[str, Any]) -> bool:
        """Say whether the run is of this very subject: the same weights on the same kind of device in the same precision."""
        return bool(self.document["subject"] == subject)

    def elapsed(self) -> float:
        """Return the seconds that earlier sessions spent up to their last record."""
        return float(self.document["spent"])


def begin(root: Path, subject: dict[str, Any], stamp: str, start: str, asking: dict[str, Any]) -> Begun:
    """Make, lock and return the folder of a new run."""
    folder = run_folder(root, subject, stamp)
    lock = FileLock(folder / ".lock", timeout=0)
    lock.acquire()
    document = {"asked": asking, "subject": subject, "versions": installed_versions(), "start": start, "spent": 0.0, "session": time.time()}
    write_whole(folder / BEGUN, json.dumps(document, indent=1) + "\n")
    return Begun(folder, document, lock)


def resumed(folder: Path, asking: dict[str, Any]) -> Begun:
    """Lock a folder and return its run with the records that stand; what was cut short is taken out of its file.

    Raises ResumeError for a folder that holds no run, another run than the one asked for, or one in which another process writes.
    """
    try:
        document = json.loads((folder / BEGUN).read_text("utf-8"))
        then, versions = document["asked"], document["versions"]
        float(document["spent"]), float(document["session"]), document["subject"]["model"]
    except FileNotFoundError as error:
        raise ResumeError(f"it has no {BEGUN}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResumeError(f"its {BEGUN} cannot be read") from error
    for key, value in asking.items():
        if then.get(key) != value:
            raise ResumeError(f"it was begun with {key} {then.get(key)}, not {value}")
    for package, version in installed_versions().items():
        if versions.get(package) != version:
            raise ResumeError(f"it was begun with {package} {versions.get(package)}, and {version} is installed")
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ResumeError("another run is writing in it") from error
    rows, dropped = standing(folder)
    if rows or dropped:
        document["spent"] += max(0.0, (folder / RECORDS).stat().st_mtime - document["session"])
    # a later record of a case replaces an earlier one, and one that broke is measured again
    good = {(row["family"], row["case"]): row for row in rows if row["verdict"] != "error"}
    keep_only(folder, good)
    document["session"] = time.time()
    write_whole(folder / BEGUN, json.dumps(document, indent=1) + "\n")
    return Begun(folder, document, lock, good, dropped)


def keep_only(folder: Path, rows: dict[Key, dict[str, Any]]) -> None:
    """Leave in a folder's files the records `rows`, and of the samples theirs."""
    lines = [json.dumps(row, allow_nan=False) for row in rows.values()]
    # sums of lines that are gone do no harm, lines without sums do not count
    write_whole(folder / RECORDS, "".join(f"{line}\n" for line in lines))
    write_whole(folder / SUMS, "".join(f"{digest(line.encode())}\n" for line in lines))
    if (folder / SAMPLES).exists():
        claims = {(row["claim"], row["case"]) for row in rows.values()}
        samples = [sample for sample in parsed((folder / SAMPLES).read_bytes()) if (sample.get("claim"), sample.get("case")) in claims]
        write_whole(folder / SAMPLES, "".join(f"{json.dumps(sample, allow_nan=False)}\n" for sample in samples))


def parsed(text: bytes) -> list[dict[str, Any]]:
    """Return the objects of a JSONL file; a line that holds none is left out."""
    rows = []
    for line in text.split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows += [row] if isinstance(row, dict) else []
    return rows


def taken_over(folder: Path) -> Begun:
    """Return a run that another process of this session has locked, for looking records up."""
    document = json.loads((folder / BEGUN).read_text("utf-8"))
    rows = {(row["family"], row["case"]): row for row in standing(folder)[0] if row["verdict"] != "error"}
    return Begun(folder, document, FileLock(folder / ".lock"), rows)


def settled(rows: list[dict[str, Any]], begun: Begun) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return a run's records in the order of the claims, those of earlier sessions included, and why they may not be complete."""
    found = {(row["family"], row["case"]): row for row in rows}
    unseen = {key: row for key, row in begun.rows.items() if key not in found}
    places = {key: place for place, key in enumerate(every_case())}
    whole = sorted({**unseen, **found}.items(), key=lambda item: places.get(item[0], len(places)))
    reason = f"{len(unseen)} records of an earlier session were not looked at again"
    return [row for _, row in whole], (reason,) if unseen else ()


def is_complete(folder: Path) -> bool:
    """Say whether a folder's run was finished and lacks nothing."""
    try:
        return json.loads((folder / "run.json").read_text("utf-8"))["complete"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def newest(root: Path, asking: dict[str, Any]) -> Begun | None:
    """Return the newest incomplete run of what is asked, locked; None if there is none that nobody writes in."""
    for path in sorted(root.glob(f"{slug(asking['model'])}/*/*/{BEGUN}"), key=lambda path: path.parent.name, reverse=True):
        if not is_complete(path.parent):
            try:
                return resumed(path.parent, asking)
            except ResumeError:
                continue
    return None


class Resumption:
    """The runs that a session goes on with, and the records of theirs that need not be measured again."""

    def __init__(self, begun: list[Begun]) -> None:
        """Take the runs."""
        self.begun = begun

    def run_of(self, subject: dict[str, Any]) -> Begun | None:
        """Return the run of this subject that is gone on with."""
        return next((run for run in self.begun if run.holds(subject)), None)

    def recall(self, subject: dict[str, Any], key: Key, version: str, stimuli: str) -> dict[str, Any] | None:
        """Return the standing record of a case (family, case) of this version on these stimuli, or None: then it is to be measured."""
        run = self.run_of(subject)
        row = run.rows.get(key) if run else None
        return row if row and row["version"] == version and row.get("stimuli") == stimuli else None


def chosen(option: str | None, root: Path, options: Any) -> list[Begun]:
    """Return the runs that `--resume` names: a folder, or the newest incomplete one of each model; raises ResumeError."""
    if option is None:
        return []
    if option == NEWEST:
        return [found for name in options.model if (found := newest(root, asked(options, name)))]
    if len(options.model) > 1:
        raise ResumeError(f"--resume {option}: that is one run, and {len(options.model)} models are asked for; accepted: --resume alone")
    try:
        return [resumed(Path(option), asked(options, options.model[0]))]
    except ResumeError as error:
        raise ResumeError(
            f"--resume {option}: {error}; accepted: the folder of a run with these options, or --resume alone, after all paths"
        ) from error
