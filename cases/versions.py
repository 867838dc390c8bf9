"""What this checkout would judge now, read from its files without importing what measures: claim versions, cases, stimuli."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cases.claims import Claim, every_case, load_claims
from cases.stimuli import load_stimuli

ROOT = Path(__file__).parents[1]
SHIPPED = (("english", "core"), ("english", "all"), ("world", "core"))
"""Sets of stimuli with the emotions that may be asked of them."""


def as_shipped(options: Mapping[str, Any]) -> bool:
    """Say whether a run of these options read the shipped passages and norms, so that the checkout knows their hash."""
    return options.get("passages") in (None, "shipped") and not options.get("norms")


def read_by(subject: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[str, str]:
    """Return which set of stimuli a run read, and which emotions were asked."""
    return str(subject.get("stimuli")), str(options.get("emotions") or "core")


@dataclass(frozen=True)
class Current:
    """What a run has to be of to count: claim versions by family, every (family, case), hashes by set of stimuli and emotions.

    `judged`: the cases whose verdict may not be "reported". Without `cases` none has to be there, and without `stimuli` any may be read.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    cases: Sequence[tuple[str, str]] = ()
    stimuli: Mapping[tuple[str, str], str] = field(default_factory=dict)
    judged: Collection[tuple[str, str]] = ()

    def outdated(self, subject: Mapping[str, Any], options: Mapping[str, Any], records: Iterable[Mapping[str, Any]]) -> str | None:
        """Return how a run was judged otherwise than it would be now, "judged ...", or None.

        By other versions of claims, on other stimuli than the shipped ones of now (passages or norms of a user's own may be any), or
        without some of the cases.
        """
        rows = list(records)
        if old := dict.fromkeys(r["family"] for r in rows if r["version"] != self.versions.get(r["family"])):
            return f"judged by other versions of {', '.join(old)}"
        if self.stimuli and as_shipped(options):
            now = self.stimuli.get(read_by(subject, options))
            # a record of what was not measured had no hash once
            read = {str(r.get("stimuli")) for r in rows if r.get("stimuli") or r.get("value") is not None} - {now}
            if read or not now:
                return f"judged on other stimuli ({min(read, default='none')}, now {now})"
        if told := [f"{r['family']}/{r['case']}" for r in rows if r["verdict"] == "reported" and (r["family"], r["case"]) in self.judged]:
            return f"judged without a verdict on {told[0]}, which is judged now"
        held = {(r["family"], r["case"]) for r in rows}
        if lacking := [f"{family}/{case}" for family, case in self.cases if (family, case) not in held]:
            return f"judged without {len(lacking)} of {len(self.cases)} cases ({lacking[0]}{', ...' if len(lacking) > 1 else ''})"
        return None


def checkout() -> Current:
    """Return what this checkout would judge now."""
    stimuli = {(name, emotions): load_stimuli(name, emotions_asked=emotions).hash for name, emotions in SHIPPED}
    judged = {(claim.family, case.name) for claim in load_claims().values() for case in claim.cases if case.verdict == "judged"}
    return Current(checkout_versions(), every_case(), stimuli, judged)


def checkout_versions(root: Path = ROOT) -> dict[str, str]:
    """Return the version of every claim family of the checkout, as records carry it; families without files are left out."""
    found = {}
    for family, claim in load_claims().items():
        try:
            found[family] = claim_version(claim, root)
        except (OSError, StopIteration):
            continue
    return found


def claim_version(claim: Claim, root: Path = ROOT) -> str:
    """Return the hash of the case file, the test's source, and the protocol number of each instrument: as `fixtures.plugin.version`.

    Raises OSError or StopIteration where a file, the test or a protocol number is missing.
    """
    protocols = [f"{name}={protocol(root.joinpath('fixtures', *name.split('.')).with_suffix('.py'))}" for name in claim.instruments]
    source = source_of(root / "benchmark" / f"test_{claim.family}.py")
    return hashlib.sha256("\n".join([claim.hash, source, *protocols]).encode()).hexdigest()[:12]


def source_of(path: Path) -> str:
    """Return the source of the first test of a file, with its decorators."""
    text = path.read_text("utf-8")
    found = next(node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))
    first = min([found.lineno, *(decorator.lineno for decorator in found.decorator_list)])
    return "".join(text.splitlines(keepends=True)[first - 1 : found.end_lineno])


def protocol(path: Path) -> int:
    """Return a module's PROTOCOL."""
    return _protocol(path.read_text("utf-8"))


@cache
def _protocol(source: str) -> int:
    """Return the PROTOCOL of a module's source; many claims share an instrument, so that each is parsed once."""
    return next(
        int(ast.literal_eval(node.value))
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == "PROTOCOL" for target in node.targets)
    )
