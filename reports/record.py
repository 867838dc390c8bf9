"""Records and runs: the plain data that crosses from a measurement to a report, checked where it enters."""

from __future__ import annotations

import json
import platform
import subprocess
import tomllib
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

SCHEMA = 1
ROOT = Path(__file__).parents[1]
STAMP = "suite.json"
"""File that tells a copy of the suite that was sent to another machine its version, commit and state."""
VERDICTS = ("supported", "refuted", "inconclusive", "not applicable", "error", "reported")


class RecordError(ValueError):
    """A record or run file that lacks an entry or holds an unknown one; the message says which."""


@dataclass(frozen=True)
class Record:
    """The judgement of one case of a claim on one model: what was measured, against which nulls, and the verdict.

    Figures are None where nothing was measured. `net` is value minus null with its interval; `skill` is net over best
    minus null; `items` are per-item scores with their clusters; `details` feed tables and plots.
    """

    claim: str
    family: str
    case: str
    kind: str
    statement: str
    source: str
    published: str
    quantity: str
    cluster: str
    smallest_effect: float
    best: float
    version: str
    verdict: str
    layer: int | None = None
    strength: float | None = None
    value: float | None = None
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    n: int | None = None
    clusters: int | None = None
    nulls: tuple[dict[str, Any], ...] = ()
    net: dict[str, Any] | None = None
    rank_p: float | None = None
    skill: float | None = None
    reason: str | None = None
    stimuli: str | None = None
    items: tuple[dict[str, Any], ...] = ()
    details: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        """Return family/case, by which people name a record."""
        return f"{self.family}/{self.case}"


def parse_record(row: dict[str, Any]) -> Record:
    """Return the record of a plain dict; raises RecordError for missing or unknown entries and for unknown verdicts."""
    known = {f.name for f in fields(Record)}
    if stray := sorted(set(row) - known):
        raise RecordError(f"a record has an unknown entry {stray[0]!r}")
    try:
        record = Record(**{**row, "nulls": tuple(row.get("nulls") or ()), "items": tuple(row.get("items") or ())})
    except TypeError as error:
        raise RecordError(f"a record is incomplete: {error}") from error
    if record.verdict not in VERDICTS:
        raise RecordError(f"{record.id}: verdict {record.verdict!r}; accepted: {', '.join(VERDICTS)}")
    return record


@dataclass(frozen=True)
class Run:
    """One model judged once: where, how and by which version of the suite, whether completely, and the records."""

    schema: int
    suite: dict[str, Any]
    subject: dict[str, Any]
    options: dict[str, Any]
    versions: dict[str, str | None]
    start: str
    duration: float
    complete: bool
    incomplete_because: tuple[str, ...]
    records: tuple[Record, ...]

    def plain(self) -> dict[str, Any]:
        """Return the run as built-in types, ready for JSON."""
        return asdict(self)


def parse_run(document: dict[str, Any]) -> Run:
    """Return the run of a plain dict; raises RecordError for another schema or missing entries."""
    if not isinstance(document, dict):
        raise RecordError(f"a {type(document).__name__}; accepted: an object with a schema and records")
    if document.get("schema") != SCHEMA:
        raise RecordError(f"schema {document.get('schema')!r}; accepted: {SCHEMA}")
    try:
        records = tuple(parse_record(row) for row in document["records"])
        return Run(**{**document, "records": records, "incomplete_because": tuple(document["incomplete_because"])})
    except (KeyError, TypeError) as error:
        raise RecordError(f"the run is incomplete: {error}") from error


def suite_version() -> dict[str, Any]:
    """Return the suite's version, commit and whether the checkout differs from that commit; None where git does not say."""
    if (stamp := ROOT / STAMP).is_file():
        return dict(json.loads(stamp.read_text("utf-8")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain", "--untracked-files=no")
    return {"version": project["version"], "commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def installed_versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that may move a figure; None for one that is not installed."""

    def version(package: str) -> str | None:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return None

    packages = ("torch", "transformers", "tokenizers", "numpy", "scipy", "pytest")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
