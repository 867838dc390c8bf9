"""The same seed on the same machine gives the same records; another case file, test or protocol gives another version."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cases.claims import Claim, load_claim, load_claims
from fixtures.plugin import version
from tests.runs import ROOT, suite, written

CLAIMS = load_claims()
FIXTURES = ROOT / "fixtures"
SHARED = {"bench", "given", "judges", "models", "plugin"}
"""Modules that hand stimuli, models and vectors on: what they may change has its own hash in the record, or decides nothing."""


# the same again


@pytest.fixture(
    scope="module",
    params=["separation and natural", pytest.param("scenarios or dose or sycophancy or sampled", marks=pytest.mark.slow)],
    ids=["read", "written and sampled"],
)
def twice(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs in processes of their own, whose hashes of texts, and so the order of sets, differ."""
    folders = []
    for seed in ("1", "2"):
        root = tmp_path_factory.mktemp("run")
        chosen = ("--model=reference-xs", "--limit=2", "-k", request.param, "--log-samples", "--output-path", str(root))
        done = suite(*chosen, "-q", timeout=1800, PYTHONHASHSEED=seed)
        assert done.returncode in (0, 1), done.stdout[-2000:]
        folders.append(written(root)["reference-xs"])
    return folders


def test_records_samples_and_figures_are_the_same_to_the_byte(twice: list[Path]) -> None:
    first, second = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in twice)
    assert set(first) == set(second)
    same = [path for path in first if path.suffix in (".jsonl", ".svg")]
    assert {path.name for path in same} >= {"records.jsonl", "samples.jsonl"}
    assert [str(path) for path in same if first[path] != second[path]] == []


def test_runs_differ_in_their_times_and_in_nothing_else(twice: list[Path]) -> None:
    first, second = (json.loads((f / "run.json").read_text("utf-8")) for f in twice)
    differing = {key for key in first if first[key] != second[key]}
    assert differing <= {"start", "duration"}
    reports = [[line for line in (f / "report.md").read_text("utf-8").splitlines() if "; torch " not in line] for f in twice]
    assert reports[0] == reports[1]


# versions


def changed_module(source: str, folder: Path) -> Any:
    """A module of this source, from which a test function's text can be read."""
    path = folder / f"changed_{abs(hash(source))}.py"
    path.write_text(source, "utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_function(family: str) -> Any:
    module = importlib.import_module(f"benchmark.test_{family}")
    return next(value for name, value in vars(module).items() if name.startswith("test_"))


test_function.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("family", CLAIMS)
def test_a_version_changes_with_the_case_file_the_test_and_the_protocol_of_each_instrument(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, function = CLAIMS[family], test_function(family)
    before = version(claim, function)
    assert version(claim, function) == before
    path = tmp_path / f"{family}.toml"
    path.write_bytes((ROOT / "cases" / f"{family}.toml").read_bytes() + b"\n# a word more\n")
    found = {version(load_claim(path), function), before}
    source = (ROOT / "benchmark" / f"test_{family}.py").read_text("utf-8").replace("judge(measure(", "judge( measure(")
    module = changed_module(source, tmp_path)
    found.add(version(claim, next(value for name, value in vars(module).items() if name.startswith("test_"))))
    assert len(found) == 3
    for name in claim.instruments:
        with monkeypatch.context() as patch:
            patch.setattr(f"fixtures.{name}.PROTOCOL", -1)
            found.add(version(claim, function))
    assert len(found) == 3 + len(set(claim.instruments))


def test_claims_of_the_same_content_in_other_files_have_other_versions_only_by_what_is_listed() -> None:
    claim: Claim = CLAIMS["separation"]
    function = test_function("separation")
    assert version(replace(claim, name="renamed"), function) == version(claim, function)
    assert version(replace(claim, hash="other"), function) != version(claim, function)


def source_of(module: str) -> Path | None:
    path = FIXTURES / Path(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def used(module: str) -> set[str]:
    """The modules of fixtures that a module imports, at the top or inside a function."""
    path = source_of(module)
    nodes = ast.walk(ast.parse(path.read_text("utf-8"))) if path else []
    names = {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module and n.module.startswith("fixtures.")}
    return {name.removeprefix("fixtures.") for name in names if source_of(name.removeprefix("fixtures."))}


@pytest.mark.parametrize("family", CLAIMS)
def test_every_module_that_a_claim_is_measured_with_is_one_of_its_instruments(family: str) -> None:
    reached, waiting = set(), list(CLAIMS[family].instruments)
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += used(module) - SHARED
    numbered = {module for module in reached if hasattr(importlib.import_module(f"fixtures.{module}"), "PROTOCOL")}
    assert sorted(numbered - set(CLAIMS[family].instruments)) == []
    # tokenisation has the number of scoring
    assert "continuations" not in reached or "scoring" in CLAIMS[family].instruments


def test_the_readme_lists_what_enters_a_version() -> None:
    text = " ".join((ROOT / "README.md").read_text("utf-8").split())
    listed = text[text.index("A record's **version**") :][:1200]
    for part in ("the bytes of its case file", "the source of its test", "`PROTOCOL`", "`instruments`"):
        assert part in listed, part
    # and the hash is made of these three and nothing else
    source = ast.parse((FIXTURES / "plugin.py").read_text("utf-8"))
    function = next(n for n in source.body if isinstance(n, ast.FunctionDef) and n.name == "version")
    hashed = ast.unparse(function.body[-1])
    assert hashed.count("claim.hash") == hashed.count("inspect.getsource(function)") == hashed.count("*protocols") == 1
    assert {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "claim"} == {
        "hash",
        "instruments",
    }
