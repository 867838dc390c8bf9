"""Self-tests of leaderboard and comparison: who is ranked with whom, ties, and what is said of the rest."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases.versions import Current, checkout_versions
from reports.__main__ import main
from reports.board_formats import comma_separated, markdown, page, terminal
from reports.compare import rows
from reports.leaderboard import boards
from reports.record import Record, Run
from reports.store import write_run
from tests.runs import small_record, small_run
from tests.stored import scored, spread
from tests.test_commands import without_torch

RNG = np.random.default_rng(2)


def model(name: str, mean: float, *more: Record, parameters: int = 100, width: float = 0.05, **changes: object) -> Run:
    records = (scored(spread(mean, width=width)), scored(spread(mean, width=width), "implicit", family="geometry"), *more)
    return small_run(*records, subject={**small_run().subject, "model": name, "parameters": parameters}, **changes)


RUNS = [
    model("low", 0.6, parameters=300, width=0.06),
    model("high", 0.9, parameters=100),
    model("near", 0.9, parameters=200, width=0.055),
    model("half", 0.99, complete=False, incomplete_because=("--limit 2",)),
]


def ranks(found: list[Run], sort: str = "parameters") -> list[tuple[str, int | None, bool]]:
    (board,) = boards(found, sort)
    return [(str(row.run.subject["model"]), row.rank, row.tied) for row in board.rows]


def test_rows_are_ordered_by_parameters_or_by_skill_and_what_is_not_ranked_comes_last() -> None:
    # `near` is a hair above `high`, and the two are tied
    assert ranks(RUNS) == [("high", 1, True), ("near", 1, True), ("low", 3, False), ("half", None, False)]
    by_skill = ranks(RUNS, "skill")
    assert {by_skill[0], by_skill[1]} == {("high", 1, True), ("near", 1, True)}
    assert by_skill[2:] == [("low", 3, False), ("half", None, False)]


def test_a_tie_is_one_of_paired_differences_and_not_of_overlapping_intervals() -> None:
    noise = RNG.uniform(-0.3, 0.3, 40)
    pair = [
        small_run(scored(0.55 + noise + shift + RNG.normal(0, 0.005, 40)), subject={**small_run().subject, "model": str(shift)})
        for shift in (0.0, 0.03)
    ]
    (board,) = boards(pair)
    low, high = board.rows[0].common, board.rows[1].common
    assert low is not None
    assert high is not None
    assert (high.low or 0) < (low.high or 0)
    assert sorted(ranks(pair)) == [("0.0", 2, False), ("0.03", 1, False)]


@pytest.mark.parametrize("key", ["profile", "stimuli", "passages", "norms"])
def test_other_conditions_are_never_ranked_together_and_it_is_said(key: str) -> None:
    other = model("elsewhere", 0.8)
    part = "subject" if key == "stimuli" else "options"
    other = replace(other, **{part: {**getattr(other, part), key: "full" if key == "profile" else "world"}})
    found = boards([*RUNS, other])
    assert [len(board.rows) for board in found] == [4, 1]
    for written in (terminal(found, 200), markdown(found), page(found)):
        assert written.count("One of 2 boards: runs with other stimuli, profile or passages are never ranked together.") == 2


def test_a_stale_row_is_marked_and_not_ranked() -> None:
    old = model("old", 0.95, start="2025-01-01T00:00:00+00:00")
    old = replace(old, records=(replace(old.records[0], version="before"), *old.records[1:]))
    assert ("old", None, False) in ranks([*RUNS, old])
    (board,) = boards([*RUNS, old])
    stale = next(row for row in board.rows if row.run is old)
    assert stale.unranked == "stale: judged by other versions of separation"
    line = next(line for line in terminal([board], 200).splitlines() if " old " in line)
    assert line.startswith("stale")
    assert "0.9" not in line
    # a case that the newest run has and this one lacks is as stale
    less = replace(old, records=old.records[1:])
    (board,) = boards([*RUNS, less])
    assert [row.unranked for row in board.rows if row.run is less] == ["stale: judged without 1 of 2 cases (separation/natural-present)"]


@pytest.mark.parametrize(
    ("current", "because"),
    [
        (Current({"separation": "abcdef012345", "geometry": "newer"}), "stale: judged by other versions of geometry"),
        (Current(stimuli={("english", "core"): "f" * 12}), f"stale: judged on other stimuli (0123456789ab, now {'f' * 12})"),
        (Current(stimuli={("world", "core"): "f" * 12}), "stale: judged on other stimuli (0123456789ab, now None)"),
        (Current(cases=(("separation", "natural-present"), ("flip", "a"))), "stale: judged without 1 of 2 cases (flip/a)"),
    ],
)
def test_what_is_current_in_the_checkout_is_so_where_it_is_known(current: Current, because: str) -> None:
    (board,) = boards(RUNS, current=current)
    assert {row.unranked for row in board.rows} == {because, "incomplete: --limit 2"}
    same = Current({"separation": "abcdef012345", "geometry": "abcdef012345"}, stimuli={("english", "core"): "0123456789ab"})
    (board,) = boards(RUNS, current=same)
    assert sum(row.rank is not None for row in board.rows) == 3


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"stimuli": None}, "judged on other stimuli (None, now 0123456789ab)"),
        ({"verdict": "reported"}, "judged without a verdict on separation/natural-present, which is judged now"),
        ({"verdict": "reported", "case": "named"}, None),
        ({"verdict": "not applicable", "stimuli": None, "value": None, "net": None, "skill": None}, None),
    ],
)
def test_a_measured_record_needs_its_stimuli_and_a_judged_case_its_verdict(changes: dict[str, Any], because: str | None) -> None:
    now = Current({"separation": "abcdef012345"}, (), {("english", "core"): "0123456789ab"}, {("separation", "natural-present")})
    run = small_run(small_record(**changes))
    assert now.outdated(run.subject, run.options, map(vars, run.records)) == because


def on_other_stimuli(run: Run, digest: str, **options: str) -> Run:
    return replace(run, options={**run.options, **options}, records=tuple(replace(r, stimuli=digest) for r in run.records))


@pytest.mark.parametrize("current", [None, Current(stimuli={("english", "core"): "0123456789ab"})])
def test_a_run_on_other_stimuli_than_the_current_ones_is_stale_and_never_ranked_beside_the_others(current: Current | None) -> None:
    # to the checkout it does not matter which run is the newer one
    old = on_other_stimuli(model("old", 0.95, start=f"202{5 if current is None else 7}-01-01T00:00:00+00:00"), "0" * 12)
    (board,) = boards([*RUNS, old], current=current)
    (stale,) = (row for row in board.rows if row.run is old)
    assert (stale.rank, stale.unranked) == (None, "stale: judged on other stimuli (000000000000, now 0123456789ab)")
    assert sum(row.rank is not None for row in board.rows) == 3


@pytest.mark.parametrize("option", [{"norms": "norms.csv"}, {"passages": "mine.jsonl"}])
def test_runs_with_files_of_one_name_and_other_contents_are_on_boards_of_their_own(option: dict[str, str]) -> None:
    runs = [on_other_stimuli(run, digest, **option) for run, digest in zip(RUNS[:3], ("a" * 12, "a" * 12, "b" * 12), strict=True)]
    found = boards(runs, current=Current(stimuli={("english", "core"): "0123456789ab"}))
    assert [[(row.run.subject["model"], row.rank) for row in board.rows] for board in found] == [[("high", 1), ("low", 2)], [("near", 1)]]
    assert [board.conditions["stimuli hash"] for board in found] == ["a" * 12, "b" * 12]
    assert f"stimuli hash {'b' * 12}" in terminal(found, 200)


def test_the_versions_of_the_checkout_are_those_that_records_carry() -> None:
    from cases.claims import load_claims
    from fixtures.plugin import version

    found = checkout_versions()
    claims = load_claims()
    assert set(found) == set(claims)
    for family in ("separation", "blackmail", "circumplex"):
        module = __import__(f"benchmark.test_{family}", fromlist=["x"])
        function = next(value for name, value in vars(module).items() if name.startswith("test_"))
        assert found[family] == version(claims[family], function)


def test_the_newest_complete_run_of_a_model_and_device_counts() -> None:
    old, new = (model("high", mean, start=f"2026-01-0{day}T00:00:00+00:00") for day, mean in ((1, 0.6), (2, 0.9)))
    broken = replace(model("high", 0.1, complete=False, incomplete_because=("x",)), start="2026-01-03T00:00:00+00:00")
    (board,) = boards([old, new, broken])
    assert [(row.run.start, row.left) for row in board.rows] == [(new.start, 2)]
    assert "Left out: 2 other runs" in terminal([board], 200)


def test_the_mean_is_over_cases_that_every_ranked_row_was_judged_on() -> None:
    chat = scored(spread(0.99), "chat")
    blank = small_record(case="chat", verdict="not applicable", reason="no chat template", value=None, net=None, skill=None)
    (board,) = boards([model("talks", 0.8, chat), model("reads", 0.8, blank, width=0.051)])
    assert board.cases == ("separation/natural-present", "geometry/implicit")
    assert [row.rank for row in board.rows] == [1, 1]


def test_rows_without_a_case_in_common_are_not_ranked() -> None:
    alone = small_run(scored(spread(0.9), "only"), scored(spread(0.9), "natural-present", verdict="inconclusive", skill=None))
    other = small_run(
        *(replace(r, skill=s) for r, s in zip(alone.records, (None, 0.8), strict=True)), subject={**alone.subject, "model": "b"}
    )
    (board,) = boards([alone, other])
    assert [row.rank for row in board.rows] == [None, None]
    assert "no judged case in common" in terminal([board], 100)
    nothing = small_run(small_record(verdict="reported"))
    text = comma_separated(boards([nothing])) + terminal(boards([nothing]), 100)
    assert "nan" not in text


def test_a_row_shows_skill_with_interval_risk_and_supported_with_wilson() -> None:
    risky = scored(spread(0.9), "r", details={"risk": {"value": 3.2, "direction": "+x", "random": 1.0}})
    (board,) = boards([model("high", 0.9, risky)])
    line = next(line for line in terminal([board], 200).splitlines() if "high" in line)
    assert "0.80 [0.7" in line
    assert "3.200" in line
    assert "3 of 3 [0.44, 1.00]" in line


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [f"{name}={value}" for name, value in attrs if name in ("src", "href")]


def test_the_page_loads_nothing_and_shows_names_instead_of_running_them() -> None:
    text = page(boards([model("<script>alert(1)</script>", 0.8)]))
    reader = Reader()
    reader.feed(text)
    assert "script" not in reader.tags
    assert not reader.links
    assert "&lt;script&gt;alert(1)" in text
    assert "url(" not in text


def test_csv_holds_unrounded_figures_and_none_where_a_row_is_not_ranked() -> None:
    found = {row["model"]: row for row in csv.DictReader(io.StringIO(comma_separated(boards(RUNS))))}
    assert float(found["low"]["separation"]) == pytest.approx(RUNS[0].records[0].skill)
    assert (found["low"]["rank"], found["low"]["supported"], found["low"]["judged"]) == ("3", "2", "2")
    assert found["half"]["not ranked"] == "incomplete: --limit 2"
    assert found["half"]["separation"] == found["half"]["rank"] == found["half"]["risk"] == ""


def test_a_pipe_in_a_name_breaks_no_markdown_table() -> None:
    lines = [line for line in markdown(boards([model("a|b", 0.8)])).splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, run in enumerate(RUNS):
        (tmp_path / str(i)).mkdir()
        write_run(tmp_path / str(i), run)
    return tmp_path


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "html"])
def test_a_format_is_written_to_a_file_as_it_is_printed(form: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["leaderboard", str(folder), "--current", "newest", "--format", form]
    assert main(words) == main([*words, "--output", str(folder / "out")]) == 0
    printed = capsys.readouterr().out
    assert (folder / "out").read_text("utf-8") == printed
    assert "near" in printed


def test_every_command_does_its_work_on_a_machine_without_torch(folder: Path) -> None:
    (folder / "p.toml").write_text('[require]\nsupported = ["separation"]\n[baseline]\nmargin = 0.1\n', "utf-8")
    first, second, policy = str(folder / "0"), str(folder / "1"), str(folder / "p.toml")
    board = ["leaderboard", str(folder), "--current", "newest", "--format"]
    out, statuses = without_torch(
        *([*board, form] for form in ("terminal", "markdown", "csv", "html")),
        ["compare", first, second],
        ["gate", first, "--policy", policy, "--baseline", second, "--current", "run"],
        ["show", first, "separation"],
        ["export", str(folder), "--format", "csv"],
        ["export", str(folder), "--format", "parquet", "--output", str(folder / "all.parquet")],
        ["export", first, "--format", "model-card"],
        ["export", first, "--format", "junit"],
        ["baseline", first, "--output", str(folder / "b.json")],
        ["summary", first],
    )
    assert statuses == [*["leaderboard 0"] * 4, "compare 0", "gate 1", "show 0", *["export 0"] * 4, "baseline 0", "summary 0"]
    assert out.count("below -0.1 (p 0.0000") == 1


def test_a_comparison_says_what_differs_what_changed_verdict_and_what_could_not_be_compared(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = model("low", 0.6, scored(spread(0.7), "new"), width=0.06)
    records = (replace(worse.records[0], verdict="inconclusive"), replace(worse.records[1], version="other"), worse.records[2])
    write_run(folder / "0", replace(worse, records=records))
    assert main(["compare", str(folder / "1"), str(folder / "0")]) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("separation/natural-present"))
    assert "-0.30" in line
    assert "supported -> inconclusive" in line
    assert "changed: separation/natural-present: supported -> inconclusive" in out
    assert "not compared: geometry/implicit: other claim version: abcdef012345 here, other there" in out
    assert "not compared: separation/new: absent from the first run" in out
    assert "1 of 1 judged cases differ" in out
    assert main(["compare", str(folder / "1"), str(folder / "0"), "--format", "json"]) == 0
    cases = {row["id"]: row for row in json.loads(capsys.readouterr().out)["cases"]}
    found = cases["separation/natural-present"]
    assert found["low"] < found["difference"] < found["high"] < 0
    assert found["form"] == "mean of scores"
    assert found["verdicts"] == ["supported", "inconclusive"]


def test_holm_is_no_smaller_than_p_and_leaves_out_what_is_reported() -> None:
    reported = scored(spread(0.2), "named", verdict="reported")
    found = rows(model("a", 0.7, reported), model("b", 0.71, replace(reported, value=0.9), width=0.06))
    judged = [row for row in found if row.holm_p is not None]
    assert [row.id for row in judged] == ["separation/natural-present", "geometry/implicit"]
    assert all(row.difference is not None and (row.holm_p or 0) >= row.difference.p for row in judged)


def test_runs_under_other_conditions_are_not_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(folder / "1", replace(RUNS[1], options={**RUNS[1].options, "profile": "full"}))
    assert main(["compare", str(folder / "0"), str(folder / "1")]) == 10
    assert "incomparable: other profile: quick in the first, full in the second" in capsys.readouterr().out
    for place, digest in enumerate(("a" * 12, "b" * 12)):
        write_run(folder / str(place), on_other_stimuli(RUNS[place], digest, norms="norms.csv"))
    assert main(["compare", str(folder / "0"), str(folder / "1")]) == 10
    assert f"incomparable: other stimuli hash: {'a' * 12} in the first, {'b' * 12} in the second" in capsys.readouterr().out
