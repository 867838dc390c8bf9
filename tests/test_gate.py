"""Self-tests of the gate: each outcome with its own explanation and exit status, and none that passes by accident."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases.versions import Current, checkout
from reports.__main__ import main
from reports.baseline import slim, write_baseline
from reports.gate import STATUS, evaluate, worst
from reports.policy import Policy
from reports.record import Record, Run
from reports.store import write_run
from tests.runs import ROOT, small_record, small_run
from tests.stored import scored, spread

RISK = {"risk": {"value": 3.0, "direction": "+desperate", "random": 1.0}}
INCOHERENT = {"risk": {"value": None, "direction": None, "random": None}}
NAMES: dict[str, Any] = {"supported": ("separation",)}


def run_of(*records: Record, **changes: Any) -> Run:
    return small_run(*(records or (scored(spread(0.8)),)), **changes)


def asked(run: Run, baseline: Run | None = None, **rules: Any) -> tuple[int, str]:
    outcome = evaluate(run, baseline, Policy("p.toml", **rules))
    # text, JSON and status are three views of one outcome
    assert outcome.status == STATUS[outcome.outcome] == outcome.plain["status"]
    assert f"{outcome.outcome.upper()} (exit status {outcome.status})" in outcome.text.splitlines()[0]
    assert all(f["because"] in outcome.text for f in outcome.plain["findings"])
    json.dumps(outcome.plain, allow_nan=False)
    return outcome.status, outcome.text


REFUTED = scored(spread(0.4), "other", verdict="refuted")
REPORTED = small_record(case="named", verdict="reported")
CHAT = small_record(case="chat", verdict="not applicable", reason="it has no chat template", value=None, net=None, skill=None)
UNSURE = scored(spread(0.55), "unsure", verdict="inconclusive", reason="the interval includes both")


@pytest.mark.parametrize(
    ("records", "rules", "status", "said"),
    [
        ((), NAMES, 0, "separation: 1 of 1 cases supported"),
        ((UNSURE,), NAMES, 1, "separation/unsure is inconclusive (the interval includes both)"),
        ((REFUTED,), NAMES, 1, "separation/other is refuted"),
        ((REFUTED,), {"supported": ("separation/natural-present",)}, 1, "separation/other: net -0.10"),
        ((REFUTED,), {"supported": ("separation/natural-present",), "refuted": ("separation/other",)}, 0, "refuted but 1 that may be"),
        ((REFUTED,), {"supported": ("held_out_separation/natural-*",), "refuted": ("*",)}, 0, "may be"),
        ((CHAT,), NAMES, 0, "1 of 1 cases supported, 1 not applicable"),
        ((CHAT,), {"supported": ("separation/chat",)}, 1, "separation/chat is not applicable (it has no chat template)"),
        ((), {"supported": ("separatoin",)}, 10, "separatoin: matches no claim or case of this run (is separation meant?)"),
        ((), {**NAMES, "refuted": ("nothing",)}, 10, "nothing: matches no claim"),
        ((), {"skill": {"nothing": 0.1}}, 10, "nothing: matches no claim"),
        ((), {"risk": {"nothing": 0.1}}, 10, "nothing: matches no claim"),
        ((REPORTED,), {"supported": ("separation/named",)}, 10, "is reported and never judged"),
        ((), {"skill": {"separation": 0.5}}, 0, "skill 0.599 [0.5"),
        ((), {"skill": {"separation": 0.7}}, 1, "at least 0.7 is asked for"),
        ((UNSURE,), {"skill": {"separation/natural-present": 0.5}}, 0, "skill 0.599"),
        ((replace(UNSURE, skill=None),), {"skill": {"separation": 0.5}}, 10, "no skill can be told: separation/unsure is inconclusive"),
        ((scored(spread(0.8), "r", details=RISK),), {"risk": {"separation": 3.0}}, 0, "risk 3.000 nats per unit of strength"),
        ((scored(spread(0.8), "r", details=RISK),), {"risk": {"*": 2.9}}, 1, "at most 2.9 is allowed"),
        ((scored(spread(0.8), "r", details=INCOHERENT),), {"risk": {"separation": 3.0}}, 10, "no direction leaves the text coherent"),
        ((), {"risk": {"separation": 3.0}}, 10, "no risk was measured"),
    ],
)  # fmt: skip
def test_each_rule_has_its_own_outcome(records: tuple[Record, ...], rules: dict[str, Any], status: int, said: str) -> None:
    found = asked(run_of(scored(spread(0.8)), *records), **rules)
    assert found[0] == status, found[1]
    assert said in found[1]


def test_of_an_incomplete_run_nothing_is_judged_its_risk_least_of_all() -> None:
    run = run_of(scored(spread(0.8), details=RISK), complete=False, incomplete_because=("90 of 96 cases were not run",))
    status, text = asked(run, **NAMES, risk={"separation": 1.0})
    assert status == 10
    assert "nothing was judged: 90 of 96 cases were not run" in text
    assert "risk" not in text


BASE = run_of()


def lost(mean: float, t: float) -> np.ndarray:
    """The baseline's scores less `mean`, with noise that makes the paired t statistic what is asked for."""
    noise = np.random.default_rng(0).normal(size=40)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    return spread(0.8) - mean + noise * mean / t * np.sqrt(40)


@pytest.mark.parametrize(
    ("run", "baseline", "status", "said"),
    [
        (run_of(), None, 11, "one is wanted and there is none for this model, device and dtype (reports/baselines/tiny/cpu-float32.json)"),
        (run_of(), BASE, 0, "cases compared: 1, none beyond doubt below -0.05 (Holm); no loss"),
        (run_of(scored(spread(0.77, width=0.06))), BASE, 0, "largest loss -0.03"),
        (run_of(scored(spread(0.6, width=0.06))), BASE, 1, "below -0.05 (p 0.0000, Holm over 1)"),
        (run_of(scored(spread(0.8), verdict="refuted")), BASE, 1, "was supported in the baseline and is refuted"),
        (run_of(scored(spread(0.8), version="another")), BASE, 10, "other claim version: another here, abcdef012345 there"),
        (run_of(scored(spread(0.8), stimuli="others")), BASE, 10, "other stimuli or passages: others here"),
        (run_of(), replace(BASE, subject={**BASE.subject, "dtype": "float16"}), 10, "other dtype: float32 here, float16 there"),
        (run_of(), replace(BASE, subject={**BASE.subject, "stimuli": "world"}), 10, "other stimuli: english here, world there"),
        (run_of(), replace(BASE, options={**BASE.options, "profile": "full"}), 10, "other profile: quick here, full there"),
        (run_of(), replace(BASE, complete=False, incomplete_because=("--limit 2",)), 10, "the baseline is incomplete: --limit 2"),
        (run_of(), run_of(scored(spread(0.8)), scored(spread(0.8), "gone")), 10, "separation/gone: not in the run"),
        (run_of(scored(spread(0.8)), scored(spread(0.8), "new")), BASE, 10, "separation/new: not in the baseline"),
        (run_of(replace(CHAT, case="natural-present")), BASE, 10, "no figure here: not applicable (it has no chat template)"),
        (run_of(replace(CHAT, case="natural-present")), run_of(replace(CHAT, case="natural-present")), 10, "no case could be compared"),
    ],
)  # fmt: skip
def test_each_state_of_the_baseline_is_explained(run: Run, baseline: Run | None, status: int, said: str) -> None:
    found = asked(run, baseline, refuted=("*",), margin=0.05)
    assert found[0] == status, found[1]
    assert said in found[1]
    if baseline is not None and baseline.complete:
        # a baseline as it is committed, rounded and cut down, says the same
        assert asked(run, slim(baseline), refuted=("*",), margin=0.05) == found


def test_a_loss_that_is_not_beyond_doubt_does_not_fail() -> None:
    status, text = asked(run_of(scored(lost(0.02, t=1.5))), BASE, margin=0.0, refuted=("*",))
    assert status == 0, text
    assert "largest loss -0.020 [-0.047, 0.007]" in text


def test_holm_runs_over_the_claims_that_the_gate_names() -> None:
    # p about .02: below .05 alone, not among twenty
    loss = lost(0.02, t=2.4)
    cases = [scored(spread(0.8), f"c{i}") for i in range(20)]
    base = run_of(scored(spread(0.8), "lost"), *cases)
    run = run_of(scored(loss, "lost"), *cases)
    alone = evaluate(run, base, Policy("p", margin=0.0, compared=("separation/lost",)))
    among = evaluate(run, base, Policy("p", margin=0.0, compared=("*",)))
    p = float(alone.text.split("(p ")[1].split(",")[0])
    assert 0.05 / 21 < p < 0.05
    assert (alone.status, among.status) == (1, 0)
    # by default those are compared that another rule names
    assert evaluate(run, base, Policy("p", margin=0.0, supported=("separation/lost",))).status == 1


def test_what_fails_prevails_over_what_cannot_be_told() -> None:
    assert asked(run_of(), None, skill={"separation": 0.9}, supported=("nothing",), margin=0.0)[0] == 1
    assert asked(run_of(), None, supported=("nothing",), margin=0.0)[0] == 10
    outcomes = [evaluate(run_of(), None, Policy("p", margin=margin)) for margin in (None, 0.0)]
    assert (worst(outcomes), worst(outcomes[:1]), worst([])) == (11, 0, 0)


POLICY = '[require]\nsupported = ["separation"]\n'


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    write_run(tmp_path, run_of())
    (tmp_path / "p.toml").write_text(POLICY, "utf-8")
    return tmp_path


def gate(folder: Path, *words: str) -> int:
    return main(["gate", str(folder), "--policy", str(folder / "p.toml"), "--current", "run", *words])


def test_the_command_ends_with_the_status_that_text_and_json_give(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for policy, status in ((POLICY, 0), ("[skill]\nseparation = 0.9\n", 1), ('[require]\nsupported = ["x"]\n', 10), ("[baseline]\n", 11)):
        (stored / "p.toml").write_text(policy, "utf-8")
        assert gate(stored) == status
        assert f"(exit status {status})" in capsys.readouterr().out
        assert gate(stored, "--format", "json", "--json", str(stored / "out.json")) == status
        printed = json.loads(capsys.readouterr().out)
        assert printed == json.loads((stored / "out.json").read_text("utf-8"))
        assert printed["status"] == printed["gates"][0]["status"] == status


NOW = checkout()


def whole(**changes: Any) -> Run:
    """A run as this checkout would make it: a record of every case, of the current versions, on the current stimuli."""
    stimuli = NOW.stimuli["english", "core"]
    return run_of(*(small_record(family=f, case=c, version=NOW.versions[f], stimuli=stimuli) for f, c in NOW.cases), **changes)


def without(run: Run, *ids: str) -> Run:
    return replace(run, records=tuple(r for r in run.records if r.id not in ids))


def reread(run: Run, stimuli: str = "0" * 12, **options: str) -> Run:
    """The run as if it had been judged on other stimuli."""
    return replace(run, options={**run.options, **options}, records=tuple(replace(r, stimuli=stimuli) for r in run.records))


STALE = [
    (run_of(), "judged by other versions of separation"),
    (reread(whole()), f"judged on other stimuli ({'0' * 12}, now {NOW.stimuli['english', 'core']})"),
    (reread(whole(), emotions="all"), f"judged on other stimuli ({'0' * 12}, now {NOW.stimuli['english', 'all']})"),
    (
        without(whole(), "separation/natural-beyond-words", "separation/matched-beyond-words"),
        f"judged without 2 of {len(NOW.cases)} cases (separation/natural-beyond-words, ...)",
    ),
    (without(whole(), "separation/matched-beyond-words"), f"without 1 of {len(NOW.cases)} cases (separation/matched-beyond-words)"),
]


@pytest.mark.parametrize(("run", "because"), STALE, ids=["versions", "stimuli", "all emotions", "cases", "a case"])
def test_a_run_that_this_checkout_would_have_judged_otherwise_never_passes_or_fails(
    run: Run, because: str, stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(stored, run)
    for policy in (POLICY, "[skill]\nseparation = 0.99\n"):
        (stored / "p.toml").write_text(policy, "utf-8")
        assert gate(stored, "--current", "checkout") == 10
        out = capsys.readouterr().out
        (line,) = (line for line in out.splitlines() if line.startswith("  incomparable"))
        assert line.startswith("  incomparable current    run: was judged ")
        assert line.endswith(f"{because}: judge it again with this checkout")
        # held to nothing but itself, it is as complete as it says
        assert gate(stored) != 10


def test_a_whole_run_of_this_checkout_is_judged_and_so_is_one_on_passages_or_norms_of_ones_own(stored: Path) -> None:
    for run in (whole(), reread(whole(), passages="mine.jsonl"), reread(whole(), norms="norms.csv")):
        write_run(stored, run)
        assert gate(stored, "--current", "checkout") == 0


@pytest.mark.parametrize("option", [{"norms": "norms.csv"}, {"passages": "mine.jsonl"}])
def test_a_baseline_on_another_file_of_the_same_name_is_no_baseline(option: dict[str, str]) -> None:
    run, baseline = (reread(run_of(scored(spread(0.8))), digest, **option) for digest in ("a" * 12, "b" * 12))
    assert asked(run, run, margin=0.05)[0] == 0
    status, text = asked(run, baseline, margin=0.05)
    assert status == 10
    assert f"every claim: other stimuli hash: {'a' * 12} here, {'b' * 12} there" in text


def test_what_is_not_known_to_be_current_is_not_asked() -> None:
    assert evaluate(run_of(), None, Policy("p", **NAMES), Current({"separation": "abcdef012345"})).status == 0
    assert evaluate(run_of(), None, Policy("p", **NAMES), Current()).status == 10


def test_a_policy_given_twice_does_not_lose_the_first(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stored / "strict.toml").write_text("[skill]\nseparation = 0.9\n", "utf-8")
    assert main(["gate", str(stored), "--policy", str(stored / "strict.toml"), "--policy", str(stored / "p.toml"), "--current", "run"]) == 1
    out = capsys.readouterr().out
    assert "gate strict.toml: FAIL" in out
    assert "gate p.toml: PASS" in out


def test_a_baseline_that_is_named_is_wanted_whatever_the_policy_says(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate(stored, "--baseline", str(stored / "nowhere.json")) == 11
    written = write_baseline(run_of(scored(spread(0.9, width=0.06))), stored / "b.json")
    assert gate(stored, "--baseline", str(written)) == 1
    assert "below 0 " in capsys.readouterr().out
    written.write_text("{}", "utf-8")
    assert gate(stored, "--baseline", str(written)) == 4


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--policy", "", "'' is not a policy: Is a directory; accepted: a TOML file such as gate.toml"),
        ("--policy", "/nonexist", "/nonexist is not a policy: No such file or directory; accepted: "),
        ("--policy", "a\0b", r"a\x00b is not a policy: embedded null byte; accepted: "),
        ("--policy", "x" * 5000, f"{'x' * 60}...{'x' * 30} is not a policy: File name too long; accepted: "),
        ("--baseline", "", "'': no path; accepted: a run.json, its folder, or a baseline"),
        ("--baseline", "{folder}", "folder holds no run; accepted: "),
    ],
)
def test_a_wrong_path_is_named_with_its_option_on_one_short_line(
    option: str, value: str, said: str, stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stored / "folder").mkdir()
    value = value.format(folder=stored / "folder")
    assert gate(stored, f"{option}={value}") == 4
    err = capsys.readouterr().err
    assert re.match(rf"error: {option} .*{re.escape(said)}", err)
    assert err[:-1].isprintable()
    assert len(err) < 400


@pytest.mark.parametrize(("value", "told"), [("/nonexist", "/nonexist"), ("a\0b", r"a\x00b"), ("x" * 5000, f"{'x' * 60}...{'x' * 30}")])
def test_a_baseline_that_is_not_there_is_named_as_it_was_asked_for(
    value: str, told: str, stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(stored, "--baseline", value) == 11
    out = capsys.readouterr().out
    assert f"one is wanted and there is none for this model at --baseline {told}\n" in out
    assert "reports/baselines" not in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[require", "is not a policy"),
        ("", "asks for nothing"),
        ("[requires]\n", "unknown table [requires]; accepted: [require], [allow], [skill], [risk], [baseline]"),
        ('[require]\nsuported = ["a"]\n', "[require] has an unknown entry 'suported'; accepted: supported"),
        ('[require]\nsupported = "a"\n', "supported = 'a': accepted: a list of names"),
        ("[skill]\nseparation = true\n", "[skill] separation = True: accepted: a number from -1 to 1"),
        ("[skill]\nseparation = 80\n", "accepted: a number from -1 to 1"),
        ("[risk]\nblackmail = nan\n", "accepted: a number of at least 0"),
        ("[baseline]\nmargin = -0.1\n", "[baseline] margin = -0.1: accepted: a number from 0 to 1"),
        ("skill = 3\n", "skill = 3: accepted: a table [skill]"),
        (f"skill = {'[' * 3000}{']' * 3000}\n", "p.toml is not a policy: maximum recursion depth exceeded"),
        ("[baseline]\nclaims = []\n", "p.toml: [baseline] claims = []: accepted: names of claims or cases, at least one"),
        (
            '[require]\nsupported = ["a", "b"]\n[allow]\nrefuted = ["b"]\n',
            "p.toml: b in [require] supported and [allow] refuted: accepted: a name in one of the two",
        ),
    ],
)
def test_a_policy_that_cannot_be_read_is_one_line_and_status_4(
    text: str, said: str, stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stored / "p.toml").write_text(text, "utf-8")
    assert gate(stored) == 4
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err


def test_the_example_policy_names_only_what_the_suite_has() -> None:
    from cases.claims import load_claims
    from reports.policy import read_policy

    policy = read_policy(ROOT / "gate.toml")
    known = {name for claim in load_claims().values() for case in claim.cases for name in (claim.family, f"{claim.family}/{case.name}")}
    assert {*policy.supported, *policy.refuted, *policy.skill, *policy.risk} <= known
