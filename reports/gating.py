"""`python -m reports gate`: a stored run held to policies, offline on any machine."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cases.versions import Current, checkout
from reports.baseline import find_baseline
from reports.command import target
from reports.gate import Outcome, evaluate, worst
from reports.policy import Policy, read_policy
from reports.record import Run
from reports.store import read_baselines, read_run, write_whole


def gate_runs(
    runs: Sequence[Run], policies: Sequence[Policy], baselines: Mapping[str, Run | None] | None, current: Current | None = None
) -> list[Outcome]:
    """Return what every policy says of every run, whose claims, cases and stimuli have to be the `current` ones.

    The committed baselines are only looked up for policies that want one; one that was named is wanted, whatever the policy says.
    """
    given = None if baselines is None else [baseline for baseline in baselines.values() if baseline]
    found = []
    for run in runs:
        for policy in policies:
            margin = 0.0 if policy.margin is None and baselines is not None else policy.margin
            baseline = None if margin is None else find_baseline(run, given, alone=len(runs) == 1)
            found.append(evaluate(run, baseline, replace(policy, margin=margin), current, tuple(baselines or ())))
    return found


def gate_json(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes with their common exit status as JSON."""
    return json.dumps({"status": worst(outcomes), "gates": [outcome.plain for outcome in outcomes]}, indent=1, allow_nan=False) + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `gate`."""
    parser.add_argument("run_path", metavar="RUN", type=Path, help="a run.json or the folder that holds one")
    parser.add_argument("--policy", metavar="FILE", action="append", required=True, help="a policy such as gate.toml; repeatable")
    parser.add_argument(
        "--baseline",
        metavar="FILE",
        action="append",
        help="what to hold against; repeatable (default, if a policy wants one: reports/baselines/<model>/<device>-<dtype>.json)",
    )
    parser.add_argument(
        "--current",
        choices=("checkout", "run"),
        default="checkout",
        help="whose claim versions, cases and stimuli count: the checkout's, of which an older run is none, or the run's own "
        "(default: checkout)",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what is printed (default: text)")
    parser.add_argument("--json", metavar="FILE", type=target, help="also write the outcome as JSON")
    parser.epilog = "Exit status: 0 pass, 1 fail, 10 incomparable, 11 no baseline, 4 a wrong option or file."


def run(arguments: argparse.Namespace) -> int:
    """Hold a run to policies; print the findings and return the exit status that they call for."""
    policies = [read_policy(path) for path in arguments.policy]
    current = checkout() if arguments.current == "checkout" else None
    outcomes = gate_runs([read_run(arguments.run_path)], policies, read_baselines(arguments.baseline), current)
    if arguments.json:
        write_whole(arguments.json, gate_json(outcomes))
    sys.stdout.write(gate_json(outcomes) if arguments.format == "json" else "\n\n".join(outcome.text for outcome in outcomes) + "\n")
    return worst(outcomes)
