"""The claim versions of this checkout, read from its files without importing what measures."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

from cases.claims import Claim, load_claims

ROOT = Path(__file__).parents[1]


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
    return next(
        int(ast.literal_eval(node.value))
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == "PROTOCOL" for target in node.targets)
    )
