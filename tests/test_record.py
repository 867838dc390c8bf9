"""Self-tests of records and runs: what is accepted, and that it survives JSON."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from importlib import metadata
from typing import Any

import pytest

from cases.claims import load_claims
from reports.record import VERDICTS, RecordError, installed_versions, parse_record, parse_run, suite_version
from tests.runs import NET, plain_record, small_record, small_run


def test_a_run_survives_json_unchanged() -> None:
    run = small_run(
        small_record(),
        small_record(case="matched-present", verdict="inconclusive", net=None, skill=None),
        complete=False,
        incomplete_because=("x",),
    )
    assert parse_run(json.loads(json.dumps(run.plain()))) == run


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"skill": 50.0}, "skill 50, though 0.4 over 0.5 is 0.8"),
        ({"net": {**NET, "low": -0.1}}, "supported, though its net value may be -0.1"),
        ({"verdict": "refuted"}, "refuted, though its net value may be 0.45, a skill above 0.1"),
        ({"net": None, "skill": None}, "supported without a net value"),
        ({"verdict": "refuted", "net": {**NET, "value": 0.03, "low": -0.05, "high": None}, "skill": None}, "refuted without a net value"),
    ],
)
def test_a_run_whose_figures_contradict_its_verdicts_is_refused_and_says_where(changes: dict[str, Any], because: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_run(json.loads(json.dumps(small_run(small_record(**changes)).plain())))
    assert str(caught.value) == f"separation/natural-present: {because}"


@pytest.mark.parametrize(
    "changes",
    [
        {"net": {**NET, "low": 1e-9}},
        {"verdict": "refuted", "net": {**NET, "value": 0.03, "low": -0.01, "high": 0.05}, "skill": 0.06},
        {"verdict": "inconclusive", "net": {**NET, "low": None}, "skill": None},
        {"skill": 0.8000001},
    ],
)
def test_figures_at_the_edge_of_their_verdict_are_no_contradiction(changes: dict[str, Any]) -> None:
    assert parse_run(json.loads(json.dumps(small_run(small_record(**changes)).plain()))).complete


def test_a_case_is_recorded_once_and_a_run_with_a_broken_case_is_not_complete() -> None:
    twice = small_run(small_record(), small_record(verdict="inconclusive"))
    with pytest.raises(RecordError, match=r"separation/natural-present is recorded twice; accepted: one record of each case"):
        parse_run(twice.plain())
    broken = small_run(small_record(verdict="error", value=None, net=None, skill=None))
    with pytest.raises(RecordError, match=r"the run is complete, though separation/natural-present broke"):
        parse_run(broken.plain())
    assert parse_run(replace(broken, complete=False).plain()).records[0].verdict == "error"


def test_an_unknown_entry_of_a_record_is_named() -> None:
    with pytest.raises(RecordError, match="unknown entry 'vlaue'"):
        parse_record(plain_record(vlaue=1.0))


@pytest.mark.parametrize("entry", ["claim", "family", "case", "smallest_effect", "best", "version", "verdict"])
def test_a_missing_entry_of_a_record_is_named(entry: str) -> None:
    row = plain_record()
    del row[entry]
    with pytest.raises(RecordError, match=f"a record is incomplete.*'{entry}'"):
        parse_record(row)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"items": [{"id": "a", "first": "x"}]}, "items: first 'x'; accepted: a number"),
        ({"items": [{"id": "a", "second": [1.0]}]}, "items: second [1.0]; accepted: a number"),
        ({"items": [{"id": "a", "r": True}]}, "items: r True; accepted: a number"),
        ({"items": [{"id": "a", "score": 1e300}]}, "items: score 1e+300; accepted: a number"),
        ({"details": {"unsteered nats per token": "x"}}, "details: unsteered nats per token 'x'; accepted: a number"),
        ({"details": {"windows": "x"}}, "details: windows 'x'; accepted: a list"),
        ({"details": {"windows": ["x"]}}, "details, windows: row 'x'; accepted: an object"),
        ({"details": {"windows": [{"width": "x"}]}}, "details, windows: width 'x'; accepted: a number"),
        ({"details": {"risk": "x"}}, "details: risk 'x'; accepted: an object"),
    ],
)
def test_what_other_runs_are_compared_with_is_checked_where_a_record_enters(change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordError) as caught:
        small_record(**change)
    assert str(caught.value) == f"separation/natural-present, {said}"


@pytest.mark.parametrize("seed", ["abc", "-1", -1, "", True, "1" * 10])
def test_a_seed_that_no_run_can_have_is_refused(seed: Any) -> None:
    run = small_run()
    with pytest.raises(RecordError, match=r"the run, options: seed .*; accepted: a whole number from 0 to 999999999"):
        parse_run({**run.plain(), "options": {**run.options, "seed": seed}})
    assert parse_run({**run.plain(), "options": {**run.options, "seed": 7}}).options["seed"] == 7


def test_an_unknown_verdict_is_refused_with_the_record_and_the_accepted_ones() -> None:
    with pytest.raises(RecordError, match=r"^separation/natural-present: verdict 'maybe'; accepted: supported, refuted"):
        small_record(verdict="maybe")
    assert [small_record(verdict=verdict).verdict for verdict in VERDICTS] == list(VERDICTS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"schema": 2}, "schema 2; accepted: 1"), ({"extra": 1}, "extra"), ({"records": [{"claim": "x"}]}, "a record is incomplete")],
)
def test_a_run_of_another_shape_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(RecordError, match=reason):
        parse_run({**small_run().plain(), **change})


def test_a_blank_record_of_every_case_is_a_record_once_it_has_a_verdict() -> None:
    from fixtures.verdicts import blank_record

    for claim in load_claims().values():
        for case in claim.cases:
            found = parse_record({**blank_record(claim, case, version="v"), "verdict": "error"})
            assert found.id == f"{claim.family}/{case.name}"
            assert found.value is None


def test_without_git_the_state_of_the_checkout_is_unknown_rather_than_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_git(*arguments: Any, **options: Any) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    found = suite_version()
    assert (found["commit"], found["dirty"]) == (None, None)
    assert found["version"]


@pytest.mark.parametrize(("status", "dirty"), [("", False), (" M conftest.py\n", True)])
def test_a_changed_checkout_is_called_dirty(status: str, dirty: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, status if "status" in command else "abc\n", "")

    monkeypatch.setattr(subprocess, "run", git)
    assert suite_version() == {"version": suite_version()["version"], "commit": "abc", "dirty": dirty}


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package == "torch":
            raise metadata.PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    assert installed_versions()["torch"] is None
    assert installed_versions()["numpy"] == "1.0"
