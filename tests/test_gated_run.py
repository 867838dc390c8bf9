"""Self-tests of the gate inside a run: its exit status, its files, and that it says what the offline gate says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from reports.__main__ import main
from tests.runs import ROOT, suite, written
from tests.test_plugin import errors

POLICIES = {
    "easy": '[require]\nsupported = ["separation"]\n',
    "strict": "[skill]\nseparation = 0.9\n",
    "wrong": '[require]\nsupported = ["nothing"]\n',
    "compared": "[baseline]\nmargin = 0.05\n",
}


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("policies")
    for name, text in POLICIES.items():
        (folder / f"{name}.toml").write_text(text, "utf-8")
    return {name: str(folder / f"{name}.toml") for name in POLICIES}


def canned(tmp_path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return suite("-p", "tests.canned", "--output-path", str(tmp_path / "runs"), "-q", *words, **environment)


def test_of_several_gates_none_is_lost_and_offline_they_say_the_same(
    policies: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = canned(
        tmp_path, *(f"--gate={path}" for path in policies.values()), "--model", "one", "--baseline", str(tmp_path / "nowhere.json")
    )
    folder = written(tmp_path / "runs")["one"]
    # nothing was refuted: without the gate the status would be 0
    assert done.returncode == 1, done.stdout
    words = [word for path in policies.values() for word in ("--policy", path)]
    offline = main(["gate", str(folder), *words, "--baseline", str(tmp_path / "nowhere.json"), "--format", "json", "--current", "run"])
    printed = json.loads(capsys.readouterr().out)
    assert offline == 1
    assert printed == json.loads((folder / "gate.json").read_text("utf-8"))
    # a baseline that was named is wanted by each of them
    assert [gate["status"] for gate in printed["gates"]] == [11, 1, 10, 11]
    for name, said in zip(policies, ("NO BASELINE", "FAIL", "INCOMPARABLE", "NO BASELINE"), strict=True):
        assert f"gate {name}.toml: {said} (exit status" in done.stdout


def test_a_refuted_claim_that_is_allowed_passes_and_its_failure_names_the_command_that_shows_it(
    policies: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "lenient.toml"
    policy.write_text('[require]\nsupported = ["geometry"]\n[allow]\nrefuted = ["separation/natural-present"]\n', "utf-8")
    done = canned(tmp_path, "--gate", str(policy), CANNED='{"separation/natural-present": "refuted"}')
    assert "1 failed" in done.stdout
    assert done.returncode == 0, done.stdout
    commands = set(re.findall(r"python -m reports (show \S+ separation/natural-present)", done.stdout))
    assert len(commands) == 1
    assert done.stdout.count("python -m reports show") == 2
    assert main(commands.pop().split()) == 0
    assert "### separation/natural-present: refuted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--gate", "{easy}", "-k", "separation"), 10, "is incomplete, nothing was judged"),
        (("--gate", "{easy}", "-k", "no_such_claim"), 5, "deselected"),
    ],
)
def test_an_incomplete_run_is_incomparable_and_pytests_own_statuses_prevail(
    words: tuple[str, ...], status: int, said: str, policies: dict[str, str], tmp_path: Path
) -> None:
    done = canned(tmp_path, *(word.format(**policies) if "{" in word else word for word in words))
    assert done.returncode == status, done.stdout
    assert said in done.stdout


@pytest.mark.parametrize("content", [None, "[skill]\nseparation = 8\n", f"skill = {'[' * 3000}"], ids=["absent", "wrong", "deep"])
def test_a_policy_that_cannot_be_used_is_refused_before_anything_is_measured(content: str | None, tmp_path: Path) -> None:
    policy = tmp_path / "p.toml"
    if content:
        policy.write_text(content, "utf-8")
    done = canned(tmp_path, "--gate", str(policy))
    assert done.returncode == 4
    assert len(errors(done)) == 1
    assert "p.toml" in errors(done)[0]
    assert "accepted: " in errors(done)[0]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gate=/nonexist",), "--gate /nonexist is not a policy: No such file or directory; accepted: "),
        (("--gate=",), "--gate '' is not a policy: Is a directory; accepted: "),
        (("--gate=--",), "--gate --: accepted: a value"),
        (("--gate={easy}", "--baseline=--"), "--baseline --: accepted: a value"),
        (("--gate={easy}", "--baseline="), "--baseline '': no path; accepted: "),
    ],
)
def test_a_wrong_path_is_named_with_its_option(words: tuple[str, ...], said: str, policies: dict[str, str], tmp_path: Path) -> None:
    done = canned(tmp_path, *(word.format(**policies) for word in words))
    assert done.returncode == 4
    assert [line.removeprefix("ERROR: ")[: len(said)] for line in errors(done)] == [said]


def test_a_baseline_without_a_gate_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    done = canned(tmp_path, "--model", "one", "--baseline", "nope.json")
    assert done.returncode == 4
    assert "--baseline nope.json: accepted: together with --gate POLICY" in done.stderr + done.stdout
    assert not list(tmp_path.iterdir())


def test_an_incomplete_run_leaves_the_baseline_as_it_was_and_says_so(tmp_path: Path) -> None:
    done = canned(tmp_path, "-k", "separation", "--update-baseline", "--model", "no-such-model")
    assert done.returncode == 1
    assert "baseline of no-such-model left as it was: no baseline is made of an incomplete run" in done.stdout
    assert not (ROOT / "reports" / "baselines" / "no-such-model").exists()


ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
STEPS = {step.get("name"): step for step in ACTION["runs"]["steps"]}


def step(name: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step of the action as a runner does, with its own `env` replaced by what is given."""
    script = cwd / "step.sh"
    script.write_text(STEPS[name]["run"], "utf-8")
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "GITHUB_"))}
    return subprocess.run(command, cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(("policy", "status"), [("strict.toml", "1"), ("missing.toml", "4")])
def test_the_action_leaves_summary_junit_and_report_and_then_ends_with_the_status(policy: str, status: str, tmp_path: Path) -> None:
    work = tmp_path / "workspace"
    work.mkdir()
    (work / "strict.toml").write_text(POLICIES["strict"], "utf-8")
    python = tmp_path / "emotion-steering-venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    # what a runner installs; here the measurements are canned
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', "utf-8")
    python.chmod(0o755)
    fixed = {
        "RUNNER_TEMP": str(tmp_path), "SUITE": str(ROOT), "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }  # fmt: skip
    judged = step("Judge", work, **fixed, MODEL="one", POLICY=f"{policy}\n", BASELINE="", ARGS="-p tests.canned -p no:cacheprovider")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    outputs = dict(line.split("=", 1) for line in (tmp_path / "output").read_text("utf-8").splitlines())
    assert outputs["status"] == status
    summed = step("Job summary", work, **fixed, STATUS=outputs["status"], RUNS=outputs["runs"])
    assert summed.returncode == 0, summed.stderr
    summary = (tmp_path / "summary").read_text("utf-8")
    assert f"exit status {status}" in summary
    if status == "1":
        assert "#### Gate strict.toml: fail (exit status 1)" in summary
        assert "| separation " in summary
        assert Path(outputs["junit"]).is_file()
        assert list(Path(outputs["runs"]).rglob("report.md"))
    else:
        assert "No claim was judged" in summary
        assert "missing.toml is not a policy" in summary
    assert step("Gate", work, STATUS=outputs["status"]).returncode == int(status)


def test_the_action_uses_only_inputs_that_it_declares_and_never_pastes_them_into_a_script() -> None:
    text = (ROOT / "action.yml").read_text("utf-8")
    assert set(re.findall(r"inputs\.([a-z-]+)", text)) == set(ACTION["inputs"])
    assert not [name for name, one in STEPS.items() if "${{" in one.get("run", "")]


def test_the_worked_pipeline_calls_the_action_with_inputs_that_it_has() -> None:
    example = yaml.safe_load((ROOT / ".github" / "workflows" / "release-gate.example.yml").read_text("utf-8"))
    used = next(one for one in example["jobs"]["gate"]["steps"] if one.get("uses") == "./")
    assert set(used["with"]) <= set(ACTION["inputs"])
    assert {name for name, one in ACTION["inputs"].items() if one.get("required")} <= set(used["with"])
    assert example["jobs"]["release"]["needs"] == "gate"
