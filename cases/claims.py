"""Claims as data: the typed loader of the case files, and the hash that enters every record's version."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from cases.shown import shown

HERE = Path(__file__).parent
KINDS = ("present", "beyond the words", "effect")
VERDICTS = ("judged", "reported")
POOLINGS = ("mean", "last", "span")
LARGEST = 10**9
"""No number in a case file is as large."""

TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "str": ("text", (str,)),
    "int": ("a whole number", (int,)),
    "float": ("a number", (int, float)),
    "tuple": ("a list", (tuple,)),
    "dict": ("a table", (dict,)),
}


class CaseError(ValueError):
    """A case file with a missing, unknown or impossible entry; the message names file, entry and what is accepted."""


@dataclass(frozen=True)
class Needs:
    """What a case costs a model: which stimuli are read and how, and how many steering rows per frame and word."""

    stimuli: tuple[str, ...] = ()
    pooling: str = "mean"
    layers: str = "all"
    steering_rows: str = "none"
    twins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One instance of a claim: its kind, the stimuli or vectors it is about, and whether it is judged or reported."""

    name: str
    kind: str
    on: str
    verdict: str
    needs: Needs
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One sentence that can be false, and everything that was fixed about its judgement before any model was run."""

    name: str
    statement: str
    source: str
    family: str
    quantity: str
    cluster: str
    minimum_clusters: int
    smallest_effect: float
    best: float
    published: str
    instruments: tuple[str, ...]
    cases: tuple[Case, ...]
    hash: str
    worst: float = 0.0

    def case(self, name: str) -> Case:
        """Return the case called `name`."""
        return next(case for case in self.cases if case.name == name)


def _checked(kind: type, row: dict[str, Any], where: str) -> dict[str, Any]:
    """Return `row` if its keys are fields of `kind` and none is missing; raises CaseError otherwise."""
    known = {f.name for f in fields(kind)}
    if stray := sorted(set(row) - known):
        raise CaseError(f"{where}: unknown entry {shown(repr(stray[0]))}; accepted: {', '.join(sorted(known))}")
    required = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in required if name not in row]:
        raise CaseError(f"{where}: no entry {missing[0]!r}")
    for f in fields(kind):
        name, types = TYPES.get(str(f.type).split("[")[0], ("", (object,)))
        value = row.get(f.name)
        fits = isinstance(value, types) and (types == (object,) or not isinstance(value, bool))
        sized = not isinstance(value, int | float) or abs(value) < LARGEST  # false for what is no number
        if f.name in row and not (fits and sized):
            raise CaseError(f"{where}: {f.name} {shown(repr(value))}; accepted: {name}")
        if "tuple[str" in str(f.type) and (odd := [item for item in row.get(f.name, ()) if not isinstance(item, str)]):
            raise CaseError(f"{where}: {f.name} holds {shown(repr(odd[0]))}; accepted: texts")
    return row


def _table(value: Any, where: str) -> dict[str, Any]:
    """Return a table with its lists made tuples; raises CaseError for anything else."""
    if not isinstance(value, dict):
        raise CaseError(f"{where}: {shown(repr(value))}; accepted: a table")
    return {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}


def _one_of(value: str, accepted: tuple[str, ...], where: str) -> str:
    if value not in accepted:
        raise CaseError(f"{where}: {shown(repr(value))}; accepted: {', '.join(accepted)}")
    return value


def load_claim(path: Path) -> Claim:
    """Return the claim of one case file; raises CaseError for what does not fit the schema."""
    return _claim(path, path.read_bytes())


@cache
def _claim(path: Path, text: bytes) -> Claim:
    """Return the claim of a case file's text; every test asks for its claim, so that each text is read once."""
    try:
        document = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # ValueError: no TOML, no UTF-8, or a number of thousands of digits
        raise CaseError(f"{path.name}: {shown(error)}") from error
    if stray := sorted(set(document) - {"claim", "case"}):
        raise CaseError(f"{path.name}: unknown table {shown(repr(stray[0]))}; accepted: claim, case")
    if not isinstance(document.get("case"), list):
        raise CaseError(f"{path.name}: no [[case]]")
    cases = []
    for row in document["case"]:
        if not isinstance(row, dict):
            raise CaseError(f"{path.name}, case: {shown(repr(row))}; accepted: a table")
        where = f"{path.name}, case {shown(repr(row.get('name', '?')))}"
        needs = _checked(Needs, _table(row.get("needs", {}), f"{where}, needs"), f"{where}, needs")
        _checked(Case, {**row, "needs": Needs(**needs)}, where)
        _one_of(row["kind"], KINDS, f"{where}, kind")
        _one_of(row["verdict"], VERDICTS, f"{where}, verdict")
        _one_of(needs.get("pooling", "mean"), POOLINGS, f"{where}, needs.pooling")
        cases.append(Case(**{**row, "needs": Needs(**needs)}))
    head = _table(document.get("claim"), f"{path.name}, claim")
    digest = hashlib.sha256(text).hexdigest()[:12]
    claim = Claim(**_checked(Claim, {**head, "family": path.stem, "cases": tuple(cases), "hash": digest}, f"{path.name}, claim"))
    if not 0 < claim.smallest_effect < 1:
        raise CaseError(f"{path.name}, claim: smallest_effect {claim.smallest_effect}; accepted: a skill between 0 and 1")
    if claim.minimum_clusters < 2:
        raise CaseError(f"{path.name}, claim: minimum_clusters {shown(claim.minimum_clusters)}; accepted: at least 2")
    if not claim.worst < claim.best:
        raise CaseError(f"{path.name}, claim: best {claim.best:g} with worst {claim.worst:g}; accepted: a best above the worst")
    if len({case.name for case in claim.cases}) != len(claim.cases):
        raise CaseError(f"{path.name}: two cases share a name")
    return claim


def case_files() -> list[Path]:
    """Return the case files: TOML files with a [claim] table, in alphabetical order."""
    return sorted(p for p in HERE.glob("*.toml") if p.read_text("utf-8").lstrip().startswith(("[claim]", "# claim")))


@cache
def load_claims() -> dict[str, Claim]:
    """Return every claim by family, which is the stem of its case file and of the test that reads it; read once, for all who ask."""
    return {path.stem: load_claim(path) for path in case_files()}


def every_case() -> tuple[tuple[str, str], ...]:
    """Return family and case of every case that a complete run has a record of, in order."""
    return tuple((claim.family, case.name) for claim in load_claims().values() for case in claim.cases)
