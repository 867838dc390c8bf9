"""Self-tests of what records come to: means over judged cases, never over whatever happens to exist."""

from __future__ import annotations

import pytest

from reports.scores import Score, exit_status, families, score, skill_interval, verdict_counts
from tests.runs import small_record, small_run


def net(value: float, low: float, high: float, null: float = 0.5) -> dict[str, object]:
    return {"value": value, "low": low, "high": high, "null": null, "against": "chance"}


def test_the_interval_of_skill_is_that_of_net_over_the_room_above_the_null() -> None:
    record = small_record(best=1.0, skill=0.5, net=net(0.1, 0.05, 0.15, null=0.8))
    assert skill_interval(record) == pytest.approx((0.5, 0.25, 0.75))


def test_the_mean_skill_takes_every_judged_case_and_no_other() -> None:
    records = [
        small_record(skill=0.8, net=net(0.4, 0.3, 0.5)),
        small_record(skill=0.2, net=net(0.1, 0.0, 0.2), verdict="inconclusive"),
        small_record(skill=1.0, net=net(0.5, 0.5, 0.5), verdict="reported"),
        small_record(skill=None, net=None, verdict="not applicable"),
    ]
    found = score(records)
    assert (found.skill, found.low, found.high) == pytest.approx((0.5, 0.3, 0.7))
    assert (found.supported, found.judged) == (1, 2)


@pytest.mark.parametrize("verdict", ["error", "inconclusive"])
def test_a_judged_case_without_skill_leaves_the_mean_undefined(verdict: str) -> None:
    assert score([small_record(), small_record(skill=None, net=None, verdict=verdict)]) == Score(None, None, None, 1, 2)


def test_no_judged_case_at_all_has_no_skill_rather_than_0() -> None:
    assert score([small_record(verdict="reported")]) == score([]) == Score(None, None, None, 0, 0)


def test_families_are_scored_apart_and_in_order_of_appearance() -> None:
    run = small_run(small_record(family="b", skill=0.4), small_record(family="a"), small_record(family="b", skill=0.6))
    assert {name: found.skill for name, found in families(run).items()} == pytest.approx({"b": 0.5, "a": 0.8})
    assert list(families(run)) == ["b", "a"]


def test_counts_name_the_verdicts_that_occur() -> None:
    run = small_run(small_record(verdict="reported"), small_record(), small_record())
    assert verdict_counts(run) == {"supported": 2, "reported": 1}


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        (["supported"], 0),
        (["supported", "inconclusive", "not applicable", "reported"], 0),
        (["supported", "refuted"], 1),
        (["supported", "error"], 1),
        (["inconclusive", "reported"], 1),
        (["not applicable"], 1),
        ([], 1),
    ],
)
def test_the_exit_status_is_0_only_if_something_is_supported_and_nothing_refuted_or_broken(verdicts: list[str], status: int) -> None:
    assert exit_status([small_record(verdict=verdict) for verdict in verdicts]) == status
