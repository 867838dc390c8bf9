"""Records and runs: the plain data that crosses from a measurement to a report, checked where it enters."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import tomllib
from collections import Counter
from dataclasses import MISSING, asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from cases.shown import printable, shown

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


KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "str": ("text", (str,)),
    "int": ("a whole number", (int,)),
    "float": ("a number", (int, float)),
    "bool": ("true or false", (bool,)),
    "tuple": ("a list", (tuple, list)),
    "dict": ("an object", (dict,)),
}
"""By the first word of an annotation: what a message calls it, and the types of its values."""

LARGEST = 10**15
"""No figure of a run is as large; parameters are counted in trillions at most."""

NET = {"value": "float | None", "low": "float | None", "high": "float | None", "null": "float | None", "against": "str"}
NULL = {"kind": "str", "n": "int", "mean": "float | None", "p95": "float | None"}
ITEM = dict.fromkeys(("score", "first", "second", "r"), "float | None")
"""Figures that pair the items of two runs."""
DETAILS = {
    "risk": "dict | None",
    "windows": "tuple | None",
    "unsteered nats per token": "float | None",
    "unsteered nats per character": "float | None",
}
"""Details that other runs are compared with."""
SUBJECT = {"model": "str", "parameters": "int | None", "layers": "int | None", "width": "int | None"}


def _check(where: str, values: dict[str, Any], kinds: dict[str, str], *, optional: bool = False) -> None:
    """Raise RecordError for the first of `values` that is missing, unless `optional`, or does not fit its kind, an annotation as text."""
    for name, kind in kinds.items():
        if name not in values:
            if optional:
                continue
            raise RecordError(f"{where}: no entry {name!r}")
        value = values[name]
        if value is None and kind.endswith("None"):
            continue
        accepted, types = KINDS[kind.split("[")[0].split(" ")[0]]
        fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
        sized = not isinstance(value, int | float) or abs(value) < LARGEST  # false for what is no number
        if not fits or not sized:
            raise RecordError(f"{where}: {name} {shown(repr(value))}; accepted: {accepted}")


def _each(where: str, rows: Any, kinds: dict[str, str], *, optional: bool = False) -> None:
    """Raise RecordError for a row that is no object or does not fit."""
    for row in rows:
        _check(where, {"row": row}, {"row": "dict"})
        _check(where, row, kinds, optional=optional)


def unsound(row: dict[str, Any], why: RecordError) -> dict[str, Any]:
    """Return the record of a case whose own record breaks the rules: what it is, that it broke, and why, without its figures."""
    told = {f.name: row.get(f.name) if f.default is MISSING else f.default for f in fields(Record)}
    empty: dict[str, Any] = {"nulls": [], "items": [], "details": {}}
    return {**told, **empty, "stimuli": row.get("stimuli"), "verdict": "error", "reason": f"{type(why).__name__}: {why}"}


def _on_lines(value: Any) -> Any:
    """Return a value with each of its texts on one printable line: they stand in tables, headings and on terminals."""
    if isinstance(value, dict):
        return {key: _on_lines(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_on_lines, value))
    return printable(value) if isinstance(value, str) else value


def parse_record(row: dict[str, Any]) -> Record:
    """Return the record of a plain dict; raises RecordError for missing, unknown or unfitting entries and for unknown verdicts."""
    if not isinstance(row, dict):
        raise RecordError(f"a record is {shown(repr(row))}; accepted: an object")
    for name in ("nulls", "items"):
        _check("a record", {name: row.get(name)}, {name: "tuple | None"})
    known = {f.name for f in fields(Record)}
    if stray := sorted(set(row) - known):
        raise RecordError(f"a record has an unknown entry {shown(repr(stray[0]))}")
    try:
        lines = {name: _on_lines(value) for name, value in row.items() if name not in ("items", "details")}
        record = Record(**{**row, **lines, "nulls": tuple(lines.get("nulls") or ()), "items": tuple(row.get("items") or ())})
    except TypeError as error:
        raise RecordError(f"a record is incomplete: {error}") from error
    where = shown(record.id)
    if record.verdict not in VERDICTS:
        raise RecordError(f"{where}: verdict {shown(repr(record.verdict))}; accepted: {', '.join(VERDICTS)}")
    _check(where, vars(record), {f.name: str(f.type) for f in fields(Record)})
    if record.net is not None:
        _check(f"{where}, net", record.net, NET)
    if record.skill is not None and (net := record.net) is not None:
        # skill and its interval are shares of the room between null and best
        _check(f"{where}, net of a skill", net, dict.fromkeys(("value", "low", "high", "null"), "float"))
        if not record.best > net["null"]:
            raise RecordError(f"{where}: a skill {record.skill:g} over a null of {net['null']:g}; accepted: a null below {record.best:g}")
    details = record.details or {}
    _check(f"{where}, details", details, DETAILS, optional=True)
    if risk := details.get("risk"):
        _check(f"{where}, details, risk", risk, {"value": "float | None"})
    _each(f"{where}, details, windows", details.get("windows") or (), {"width": "float | None"})
    _each(f"{where}, nulls", record.nulls, NULL)
    _each(f"{where}, items", record.items, ITEM, optional=True)
    return record


SLACK = 1e-5
"""By how much figures that follow from one another may differ: baselines keep seven digits."""


def contradiction(record: Record) -> str | None:
    """Return what a record says against its own figures, or None: a skill that is not net over room, a verdict that its net forbids."""
    if record.net is None or None in (net := {name: record.net[name] for name in ("value", "low", "high", "null")}).values():
        return f"{record.verdict} without a net value" if record.verdict in ("supported", "refuted") else None
    room = record.best - net["null"]
    if record.skill is not None and abs(record.skill - net["value"] / room) > SLACK * max(1.0, abs(record.skill)):
        return f"skill {record.skill:g}, though {net['value']:g} over {room:g} is {net['value'] / room:.3g}"
    if record.verdict == "supported" and net["low"] <= 0:
        return f"supported, though its net value may be {net['low']:.3g}"
    if record.verdict == "refuted" and net["high"] > record.smallest_effect * room + SLACK:
        return f"refuted, though its net value may be {net['high']:.3g}, a skill above {record.smallest_effect:g}"
    return None


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
    """Return the run of a plain dict; raises RecordError for another schema, missing entries, and a run that contradicts itself."""
    if not isinstance(document, dict):
        raise RecordError(f"a {type(document).__name__}; accepted: an object with a schema and records")
    if document.get("schema") != SCHEMA:
        raise RecordError(f"schema {shown(repr(document.get('schema')))}; accepted: {SCHEMA}")
    _check("the run", document, {"records": "tuple", "incomplete_because": "tuple"}, optional=True)
    try:
        records = tuple(parse_record(row) for row in document["records"])
        lines = _on_lines({name: value for name, value in document.items() if name != "records"})
        run = Run(**{**lines, "records": records, "incomplete_because": tuple(lines["incomplete_because"])})
    except (KeyError, TypeError) as error:
        raise RecordError(f"the run is incomplete: {shown(error, 300)}") from error
    _check("the run", vars(run), {f.name: str(f.type) for f in fields(Run)})
    _check("the run, suite", run.suite, {"version": "str", "commit": "str | None", "dirty": "bool | None"})
    _check("the run, subject", run.subject, SUBJECT, optional=True)
    _check("the run, subject", run.subject, {"model": "str"})
    _each("the run, incomplete_because", [{"reason": reason} for reason in run.incomplete_because], {"reason": "str"})
    if twice := [id for id, count in Counter(record.id for record in records).items() if count > 1]:
        raise RecordError(f"the run: {shown(twice[0])} is recorded twice; accepted: one record of each case")
    for record in records:
        if why := contradiction(record):
            raise RecordError(f"{shown(record.id)}: {why}")
    if run.complete and (broken := [shown(record.id) for record in records if record.verdict == "error"]):
        raise RecordError(f"the run is complete, though {broken[0]} broke")
    if missing := [name for name in ("profile", "seed", "batch_size") if name not in run.options]:
        raise RecordError(f"the run, options: no entry {missing[0]!r}")
    if not re.fullmatch(r"[0-9]{1,9}", str(seed := run.options["seed"])):
        raise RecordError(f"the run, options: seed {shown(repr(seed))}; accepted: a whole number from 0 to 999999999")
    if missing := [name for name in ("torch", "transformers") if name not in run.versions]:
        raise RecordError(f"the run, versions: no entry {missing[0]!r}")
    return run


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
