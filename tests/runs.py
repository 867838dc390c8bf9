"""What the self-tests of the suite share: a small run that nobody measured, and the suite run in a process of its own."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from cases.claims import load_claims
from reports.record import SCHEMA, Record, Run, parse_record

ROOT = Path(__file__).parents[1]
SCRATCH = Path(tempfile.mkdtemp(prefix="emotion-steering-"))
"""Where suites that self-tests start keep their caches: never in the user's own."""

atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)


NET = {"value": 0.4, "low": 0.35, "high": 0.45, "null": 0.5, "against": "untrained twin"}
"""The net value of a record that nobody measured: a skill of .8."""

BELOW: dict[str, Any] = {
    "verdict": "refuted",
    "reason": "reversed",
    "skill": -0.2,
    "net": {**NET, "value": -0.1, "low": -0.2, "high": -0.05},
}
"""What makes such a record a refuted one."""


def plain_record(**changes: Any) -> dict[str, Any]:
    """A supported record as a plain dict, with `changes`."""
    row = {
        "claim": "held_out_separation",
        "family": "separation",
        "case": "natural-present",
        "kind": "present",
        "statement": "A direction tells situations apart.",
        "source": "a post",
        "published": "0.9",
        "quantity": "AUROC",
        "cluster": "pair",
        "smallest_effect": 0.1,
        "best": 1.0,
        "version": "abcdef012345",
        "verdict": "supported",
        "layer": 1,
        "strength": None,
        "value": 0.9,
        "stderr": 0.02,
        "low": 0.86,
        "high": 0.94,
        "level": 0.95,
        "n": 40,
        "clusters": 40,
        "nulls": [{"kind": "untrained twin", "n": 3, "mean": 0.5, "p95": 0.55}],
        "net": dict(NET),
        "rank_p": 0.005,
        "skill": 0.8,
        "reason": None,
        "stimuli": "0123456789ab",
        "items": [{"id": "fear_calm/1", "cluster": "fear_calm/1", "score": 0.9}],
        "details": {},
    }
    return {**row, **changes}


def small_record(**changes: Any) -> Record:
    return parse_record(plain_record(**changes))


def small_run(*records: Record, **changes: Any) -> Run:
    """A complete run of an English model with `records`, or one supported record."""
    run = Run(
        schema=SCHEMA,
        suite={"version": "0.1.0", "commit": "0" * 40, "dirty": False},
        subject={
            "model": "tiny",
            "revision": "r1",
            "parameters": 1234,
            "architecture": "GPT2LMHeadModel",
            "layers": 4,
            "width": 8,
            "device": "cpu",
            "device_name": "cpu",
            "dtype": "float32",
            "stimuli": "english",
        },
        options={"seed": "0", "profile": "quick", "layer": "auto", "batch_size": "auto", "limit": "none", "norms": None},
        versions={"python": "3.11", "torch": "2.13.0", "transformers": "5.23.0"},
        start="2026-01-01T00:00:00+00:00",
        duration=1.5,
        complete=True,
        incomplete_because=(),
        records=records or (small_record(),),
    )
    return replace(run, **changes)


def judged_cases() -> list[str]:
    """The family/case of every case that is judged rather than reported."""
    return [f"{claim.family}/{case.name}" for claim in load_claims().values() for case in claim.cases if case.verdict == "judged"]


def instrument_of(family: str) -> str:
    """The instrument with which the test of a claim measures."""
    return re.findall(r'measure\("([\w.]+)"\)', (ROOT / "benchmark" / f"test_{family}.py").read_text("utf-8"))[0]


def suite(*arguments: str, timeout: int = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the benchmark in a process of its own, offline and with one thread."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    fixed = {
        "XDG_CACHE_HOME": str(SCRATCH),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "COLUMNS": "200",
    }
    command = [sys.executable, "-m", "pytest", "benchmark", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**kept, **fixed, **environment}, capture_output=True, text=True, timeout=timeout, check=False
    )


def written(root: Path) -> dict[str, Path]:
    """The folder of each model's only run under an output path."""
    return {path.parent.parent.parent.name: path.parent for path in sorted(root.glob("*/*/*/run.json"))}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text("utf-8").splitlines()]
