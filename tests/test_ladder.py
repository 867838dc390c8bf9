"""Ladders of runs: like is compared with like, what is left out is named, and planted slopes are read from records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reports.baseline import slim
from reports.command import CommandError
from reports.ladder import AROUSAL, CHARACTER, SIZE, SKILL, TOKEN, WINDOW, Line, ladder, lines
from reports.record import Record, Run
from tests.runs import NET, small_record, small_run

SIZES = {"xs": 10**5, "s": 10**6, "m": 10**7, "l": 10**8, "xl": 10**9}


def net_record(family: str, case: str, value: float, **changes: Any) -> Record:
    net = {"value": value, "low": value - 0.1, "high": value + 0.1, "null": 0.2, "against": "untrained twin"}
    return small_record(claim=family, family=family, case=case, net=net, skill=value / 0.8, **changes)


def model(name: str, *, parameters: int | None = None, start: str = "2026-01-01T00:00:00+00:00", **changes: Any) -> Run:
    """A complete run in which everything grows by one tenth per factor of ten in size."""
    size = SIZES[name] if parameters is None else parameters
    step = len(str(size)) - 6
    windows = [{"direction": "happy", "width": 1.0 + 0.1 * step - 0.05}, {"direction": "sad", "width": 1.0 + 0.1 * step + 0.05}]
    records = (
        net_record("circumplex", "implicit-arousal-present", 0.3 + 0.1 * step),
        small_record(family="dose_response", case="implicit", details={"windows": windows}),
        small_record(family="side_effects", case="implicit", verdict="reported", details={"unsteered nats per token": 3.0 - 0.5 * step}),
        small_record(skill=0.1 * step + 0.2, net={**NET, "value": 0.05 * step + 0.1, "low": 0.01}),
    )
    subject = {**small_run().subject, "model": name, "revision": f"sha256:{name.encode().hex()}", "parameters": size}
    return replace(small_run(*records, subject=subject, start=start), **changes)


def with_record(run: Run, name: str, **changes: Any) -> Run:
    return replace(run, records=tuple(replace(r, **changes) if r.id == name else r for r in run.records))


def found(runs: list[Run], claim: str, against: str = SIZE, quantity: str = "") -> Line:
    return next(x for x in lines(ladder(runs).runs) if (x.claim, x.against) == (claim, against) and quantity in x.quantity and x.points)


ALL = [model(name) for name in SIZES]


def test_planted_slopes_are_read_from_the_records_against_size_and_quality() -> None:
    assert found(ALL, AROUSAL).slope.value == pytest.approx(0.1)
    assert found(ALL, WINDOW).slope.value == pytest.approx(0.1)
    assert found(ALL, WINDOW, TOKEN).slope.value == pytest.approx(-0.2)
    assert found(ALL, SKILL, quantity="separation").slope.value == pytest.approx(0.1)
    assert [p.x for p in found(ALL, AROUSAL).points] == pytest.approx([5, 6, 7, 8, 9])
    assert [(p.model, p.low, p.high) for p in found(ALL, AROUSAL).points][:1] == [("xs", pytest.approx(0.2), pytest.approx(0.4))]
    assert not [line for line in lines(ladder(ALL).runs) if line.against == CHARACTER]


def test_a_run_that_lacks_the_width_of_a_window_is_no_point() -> None:
    blank = with_record(ALL[0], "dose_response/implicit", details={"windows": [{"direction": "happy", "width": None}]})
    line = found([blank, *ALL[1:]], WINDOW)
    assert [name for name, _ in line.without] == ["xs"]


def test_baselines_give_the_slopes_of_their_runs() -> None:
    assert lines(ladder([slim(run) for run in ALL]).runs) == lines(ladder(ALL).runs)


def test_the_order_of_the_runs_decides_nothing() -> None:
    assert ladder(ALL[::-1]) == ladder(ALL)
    assert [run.subject["model"] for run in ladder(ALL[::-1]).runs] == list(SIZES)


def test_three_models_have_points_and_a_line_in_the_place_of_a_slope() -> None:
    three = found(ALL[:3], AROUSAL)
    assert len(three.points) == 3
    assert three.slope.value is None
    assert three.slope.reason == "3 models; a slope needs at least 4"


def test_incomplete_runs_are_named_and_left_out() -> None:
    broken = replace(ALL[4], complete=False, incomplete_because=("--limit 2",))
    kept = ladder([*ALL[:4], broken])
    assert len(kept.runs) == 4
    assert kept.left_out == (f"xl of {broken.start}: incomplete: --limit 2",)


def test_a_run_without_a_number_of_parameters_is_named_and_left_out() -> None:
    given = replace(ALL[4], subject={**ALL[4].subject, "parameters": None})
    assert ladder([*ALL[:4], given]).left_out == (f"xl of {given.start}: no number of parameters",)


def test_the_same_weights_count_once_by_the_later_run() -> None:
    later = replace(model("xs", start="2026-02-01T00:00:00+00:00"), subject={**ALL[0].subject, "model": "alias"})
    kept = ladder([later, *ALL])
    assert [run.subject["model"] for run in kept.runs] == ["alias", "s", "m", "l", "xl"]
    assert kept.left_out == (f"xs of {ALL[0].start}: alias of {later.start} has the same weights",)


def test_a_revision_that_names_no_weights_makes_no_two_models_the_same() -> None:
    both = [replace(run, subject={**run.subject, "revision": "main"}) for run in ALL[:2]]
    assert ladder([*both, *ALL[2:]]).left_out == ()
    commit = [replace(run, subject={**run.subject, "revision": "0a" * 20}) for run in ALL[:2]]
    assert len(ladder([*commit, *ALL[2:]]).left_out) == 1


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"options": {**ALL[0].options, "profile": "full"}}, "profile"),
        ({"options": {**ALL[0].options, "norms": "warriner.csv"}}, "norms"),
        ({"options": {**ALL[0].options, "layer": "3"}}, "layer"),
        ({"subject": {**ALL[0].subject, "stimuli": "world"}}, "stimuli set"),
        ({"records": tuple(replace(r, stimuli="ba9876543210") for r in ALL[0].records)}, "stimuli hash"),
    ],
)
def test_runs_that_were_not_made_alike_are_refused_in_one_line(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(CommandError) as refused:
        ladder([replace(ALL[0], **changes), *ALL[1:]])
    told = str(refused.value)
    assert told.startswith(f"RUN: {what} differs: ")
    assert "(xs)" in told
    assert "(s, m, l, xl)" in told
    assert told.endswith(f"accepted: runs with the same {what}")
    assert "\n" not in told


def test_an_incomplete_run_of_another_profile_is_left_out_and_refuses_nothing() -> None:
    broken = replace(ALL[4], complete=False, incomplete_because=("stopped",), options={**ALL[4].options, "profile": "full"})
    assert len(ladder([*ALL[:4], broken]).runs) == 4


def test_another_version_of_a_claim_is_no_point_of_that_claim_alone() -> None:
    old = with_record(ALL[0], "circumplex/implicit-arousal-present", version="000000000000")
    runs = [old, *(replace(run, start="2026-03-01T00:00:00+00:00") for run in ALL[1:])]
    line = found(runs, AROUSAL)
    assert [p.model for p in line.points] == ["s", "m", "l", "xl"]
    assert line.without == (("xs", "another version of the claim than in the latest run"),)
    assert len(found(runs, WINDOW).points) == 5


def test_what_a_model_could_not_be_asked_is_named_with_the_reason() -> None:
    blank = {"verdict": "not applicable", "reason": "its context is too short", "value": None, "net": None}
    runs = [with_record(ALL[0], "circumplex/implicit-arousal-present", **blank), *ALL[1:]]
    assert found(runs, AROUSAL).without == (("xs", "its context is too short"),)


def test_skill_is_over_the_cases_that_are_judged_in_every_run() -> None:
    chat = small_record(case="chat", skill=1.0)
    runs = [replace(run, records=(*run.records, chat if i else replace(chat, verdict="not applicable"))) for i, run in enumerate(ALL)]
    line = found(runs, SKILL, quantity="separation")
    assert line.quantity == "separation (1 of 2 cases)"
    assert line.slope.value == pytest.approx(0.1)
