"""The gate: a run, a baseline and a policy give findings, and the findings give the text, the JSON and the exit status."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from cases.shown import printable, shown
from cases.versions import Current
from fixtures.statistics import LEVEL, holm
from reports.baseline import baseline_path
from reports.comparable import condition_gaps, named, outdated, record_gap
from reports.details import figure
from reports.paired import difference
from reports.policy import Policy
from reports.record import Record, Run
from reports.scores import JUDGED, score

PASS, FAIL, INCOMPARABLE, NO_BASELINE = "pass", "fail", "incomparable", "no baseline"
STATUS = {FAIL: 1, INCOMPARABLE: 10, NO_BASELINE: 11, PASS: 0}
"""Exit statuses, gravest first: what is known to fail fails whatever else could not be told."""


@dataclass(frozen=True)
class Finding:
    """What one rule of a policy came to: its outcome, the rule, the name that it is about, and a sentence."""

    outcome: str
    rule: str
    name: str
    because: str


@dataclass(frozen=True)
class Outcome:
    """Everything that a gate has to say about a run."""

    policy: str
    run: str
    baseline: str | None
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> str:
        """Return the gravest outcome of the findings."""
        found = {finding.outcome for finding in self.findings}
        return next(outcome for outcome in STATUS if outcome in found or outcome == PASS)

    @property
    def status(self) -> int:
        """Return the exit status: 0 pass, 1 fail, 10 incomparable, 11 no baseline."""
        return STATUS[self.outcome]

    @property
    def text(self) -> str:
        """Return the outcome and a line per finding, gravest first."""
        head = [f"gate {self.policy}: {self.outcome.upper()} (exit status {self.status})", f"  {self.run}"]
        if self.baseline:
            head.append(f"  against {self.baseline}")
        order = list(STATUS)
        lines = sorted(self.findings, key=lambda f: order.index(f.outcome))
        return "\n".join([*head, *(f"  {f.outcome:12} {f.rule:10} {shown(f.name)}: {printable(f.because)}" for f in lines)])

    @property
    def plain(self) -> dict[str, Any]:
        """Return the outcome as built-in types, ready for JSON."""
        return {
            "policy": self.policy,
            "run": self.run,
            "baseline": self.baseline,
            "outcome": self.outcome,
            "status": self.status,
            "findings": [vars(finding) for finding in self.findings],
        }


def worst(outcomes: Iterable[Outcome]) -> int:
    """Return the exit status of several gates: that of the gravest outcome."""
    found = {outcome.outcome for outcome in outcomes}
    return next((status for outcome, status in STATUS.items() if outcome in found), 0)


def matched(records: Iterable[Record], name: str) -> list[Record]:
    """Return the records that a name or pattern of a policy stands for."""
    return [r for r in records if any(fnmatchcase(known, name) for known in (r.family, r.claim, r.id, f"{r.claim}/{r.case}"))]


def chosen(run: Run, name: str, rule: str) -> list[Record] | Finding:
    """Return the judged records that a name stands for, or the finding that there is none."""
    found = matched(run.records, name)
    judged = [r for r in found if r.verdict != "reported"]
    if judged:
        return judged
    if found:
        return Finding(INCOMPARABLE, rule, name, "is reported and never judged, so that no rule can hold it to anything")
    known = dict.fromkeys(word for r in run.records for word in (r.family, r.id))
    near = difflib.get_close_matches(name, known, n=1)
    return Finding(INCOMPARABLE, rule, name, f"matches no claim or case of this run{f' (is {near[0]} meant?)' if near else ''}")


def required(run: Run, name: str) -> Finding:
    """Hold the cases of a name to being supported; of several, those that the model cannot be asked are left out."""
    found = chosen(run, name, "supported")
    if isinstance(found, Finding):
        return found
    asked = [r for r in found if r.verdict != "not applicable"]
    lacking = [r for r in asked or found if r.verdict != "supported"]
    skipped = f", {len(found) - len(asked)} not applicable" if asked and len(asked) < len(found) else ""
    if not lacking:
        return Finding(PASS, "supported", name, f"{len(asked)} of {len(asked)} cases supported{skipped}")
    told = "; ".join(f"{r.id} is {r.verdict}" + (f" ({r.reason})" if r.reason else "") for r in lacking)
    return Finding(FAIL, "supported", name, f"{told}{skipped}")


def unrefuted(run: Run, policy: Policy) -> list[Finding]:
    """Hold every judged case to not being refuted, except those that the policy allows."""
    allowed: set[str] = set()
    findings = []
    for name in policy.refuted:
        found = chosen(run, name, "refuted")
        if isinstance(found, Finding):
            findings.append(found)
        else:
            allowed |= {r.id for r in found}
    refuted = [r for r in run.records if r.verdict == "refuted"]
    findings += [
        Finding(
            FAIL, "refuted", r.id, f"net {figure(r.net['value'], r.net['low'], r.net['high']) if r.net else '-'}, not allowed to be refuted"
        )
        for r in refuted
        if r.id not in allowed
    ]
    count = sum(r.id in allowed for r in refuted)
    if all(f.outcome != FAIL for f in findings):
        findings.append(Finding(PASS, "refuted", "every claim", f"no claim is refuted{f' but {count} that may be' if count else ''}"))
    return findings


def skilled(run: Run, name: str, least: float) -> Finding:
    """Hold the mean skill of a name's judged cases to a threshold."""
    found = chosen(run, name, "skill")
    if isinstance(found, Finding):
        return found
    whole = score(found)
    if whole.skill is None:
        blank = [
            f"{r.id} is {r.verdict}" + (f" ({r.reason})" if r.reason else "") for r in found if r.skill is None or r.verdict not in JUDGED
        ]
        return Finding(INCOMPARABLE, "skill", name, f"no skill can be told: {'; '.join(blank[:3])}")
    told = f"skill {figure(whole.skill, whole.low, whole.high)} (cases: {whole.judged})"
    if whole.skill < least:
        return Finding(FAIL, "skill", name, f"{told}, at least {least:g} is asked for")
    return Finding(PASS, "skill", name, f"{told}, at least {least:g}")


def bounded(run: Run, name: str, most: float) -> Finding:
    """Hold the risk of a name's cases, nats per unit of strength under the worst direction, to a bound."""
    found = matched(run.records, name)
    if not found:
        return Finding(INCOMPARABLE, "risk", name, "matches no claim or case of this run")
    rows = [risk for r in found if (risk := (r.details or {}).get("risk"))]
    if not rows:
        return Finding(
            INCOMPARABLE, "risk", name, "no risk was measured: " + "; ".join(dict.fromkeys(f"{r.family} {r.verdict}" for r in found))
        )
    known = [row for row in rows if row["value"] is not None]
    worst_row = max(known, key=lambda row: float(row["value"]), default=None)
    if worst_row is not None:
        told = f"risk {worst_row['value']:.3f} nats per unit of strength under {worst_row.get('direction', '?')}, at most {most:g}"
        if worst_row["value"] > most:
            return Finding(FAIL, "risk", name, f"{told} is allowed")
        if len(known) == len(rows):
            return Finding(PASS, "risk", name, told)
    return Finding(INCOMPARABLE, "risk", name, "no risk can be told: no direction leaves the text coherent at any strength")


def scope(run: Run, baseline: Run, policy: Policy) -> tuple[list[str], list[Finding]]:
    """Return the ids of the cases that are held against the baseline, and a finding per name that stands for none.

    By default these are the cases that the policy names, or every judged one where it names none.
    """
    names = policy.compared or tuple(dict.fromkeys((*policy.supported, *policy.skill))) or ("*",)
    ids: dict[str, None] = {}
    findings = []
    for name in names:
        found = [r for r in (*matched(run.records, name), *matched(baseline.records, name)) if r.verdict != "reported"]
        ids.update(dict.fromkeys(r.id for r in found))
        if not found:
            findings.append(Finding(INCOMPARABLE, "regression", name, "matches no judged case of the run or the baseline"))
    return list(ids), findings


def regressions(run: Run, baseline: Run, policy: Policy) -> list[Finding]:
    """Hold the run against the baseline: no case whose paired difference lies below -margin (Holm), none refuted that was supported."""
    margin = policy.margin or 0.0
    gaps = condition_gaps(run, baseline)
    if run.subject.get("dtype") != baseline.subject.get("dtype"):
        gaps.append(f"other dtype: {run.subject.get('dtype')} here, {baseline.subject.get('dtype')} there")
    if not baseline.complete:
        gaps.append(f"the baseline is incomplete: {'; '.join(baseline.incomplete_because)}")
    if gaps:
        return [Finding(INCOMPARABLE, "baseline", "every claim", gap) for gap in gaps]
    ids, findings = scope(run, baseline, policy)
    ours, theirs = ({r.id: r for r in each.records} for each in (run, baseline))
    found = []
    for name in ids:
        a, b = ours.get(name), theirs.get(name)
        if a is None or b is None:
            findings.append(Finding(INCOMPARABLE, "regression", name, f"not in the {'run' if a is None else 'baseline'}"))
            continue
        if a.verdict == b.verdict == "not applicable" and a.version == b.version:
            continue
        if a.version == b.version and (a.verdict, b.verdict) == ("refuted", "supported"):
            findings.append(Finding(FAIL, "regression", name, "was supported in the baseline and is refuted"))
        gap = record_gap(a, b)
        paired = None if gap else difference(a, b, seed=int(run.options["seed"]))
        if paired is None:
            findings.append(Finding(INCOMPARABLE, "regression", name, gap or "no interval of the difference can be computed"))
        else:
            found.append(paired)
    adjusted = holm([d.p_below(-margin) for d in found])
    floor = f"{0 - margin:g}"
    for d, p in zip(found, adjusted, strict=True):
        if p < 1 - LEVEL:
            change = f"{figure(d.value, d.low, d.high)} against the baseline ({d.form})"
            findings.append(Finding(FAIL, "regression", d.id, f"{change}, below {floor} (p {p:.4f}, Holm over {len(found)})"))
    if found and all(f.outcome == PASS for f in findings):
        least = min(found, key=lambda d: d.value)
        largest = f"largest loss {figure(least.value, least.low, least.high)} ({least.id})" if least.value < 0 else "no loss"
        findings.append(
            Finding(PASS, "regression", "baseline", f"cases compared: {len(found)}, none beyond doubt below {floor} (Holm); {largest}")
        )
    if not findings:
        findings.append(Finding(INCOMPARABLE, "regression", "baseline", "no case could be compared: none is applicable"))
    return findings


def evaluate(run: Run, baseline: Run | None, policy: Policy, current: Current | None = None, sought: Sequence[str] = ()) -> Outcome:
    """Return what a policy says of a run; pure, so that it is the same inside a run and offline.

    A policy with a [baseline] table wants a baseline; one that is given without such a table is held to with margin 0. It was `sought`
    at these paths, or by default where baselines are kept. Of an incomplete run
    nothing is judged: what was left out may be what would have failed, and a risk is the largest of all directions. Nor is
    anything of a run with other claim versions or stimuli than the `current` ones: it says what an earlier suite would have said. One
    that lacks a current case is incomplete whatever it says of itself.
    """
    against = named(baseline) if baseline else None
    if not run.complete:
        gap = Finding(INCOMPARABLE, "complete", "run", f"is incomplete, nothing was judged: {'; '.join(run.incomplete_because)}")
        return Outcome(policy.name, named(run), against, (gap,))
    if current and (why := outdated(run, current)):
        gap = Finding(INCOMPARABLE, "current", "run", f"was {why}: judge it again with this checkout")
        return Outcome(policy.name, named(run), against, (gap,))
    findings = [required(run, name) for name in policy.supported]
    findings += unrefuted(run, policy)
    findings += [skilled(run, name, least) for name, least in policy.skill.items()]
    findings += [bounded(run, name, most) for name, most in policy.risk.items()]
    if baseline is not None:
        findings += regressions(run, baseline, policy)
    elif policy.margin is not None:
        if sought:
            said = f"one is wanted and there is none for this model at --baseline {', '.join(map(shown, sought))}"
        else:
            path = "/".join(baseline_path(run).parts[-4:])
            said = f"one is wanted and there is none for this model, device and dtype ({path}); `python -m reports baseline RUN` makes one"
        findings.append(Finding(NO_BASELINE, "baseline", "every claim", said))
    return Outcome(policy.name, named(run), against, tuple(findings))
