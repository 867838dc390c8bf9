"""Figures and details of a report, and the risk of a run: drawn from records alone, the same for the same data, and plain text inside."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.acts import PHASES
from cases.claims import load_claims
from fixtures.nulls import Null, chance
from fixtures.verdicts import mean_measurement, record
from reports.details import SHOWN, detail
from reports.figures import ACCENT, DRAWN, INK, dose_response, figures, trajectory
from reports.figures.drawing import OTHER, styled
from reports.record import Record, parse_record
from reports.render import family_rows, leaderboard_row, markdown, terminal
from reports.scores import risk
from tests.runs import ROOT, small_record, small_run

SVG = "{http://www.w3.org/2000/svg}"
BOTH = pytest.mark.parametrize("render", [terminal, markdown])


def window(name: str = "fear", coherent: bool = True, beyond: bool = True) -> dict[str, Any]:
    points = [
        {"strength": s, "effect": 2 * s, "coherent": coherent, "beyond random": beyond and s != 0, "inside band": 0.9 - abs(s)}
        for s in (-0.5, -0.25, 0.25, 0.5)
    ]
    return {"direction": name, "width": 0.75, "largest coherent effect": 1.0, "points": points}


def dose(*windows: dict[str, Any], **changes: Any) -> Record:
    details = {"windows": list(windows) or [window()]}
    return small_record(**{"family": "dose_response", "case": "implicit", "details": details, **changes})


def course(name: str = "desperate", **changes: Any) -> Record:
    rows = [
        {"step": k, "phase": phase, name: 0.1 * k, "random, 5th percentile": -0.3, "random, 95th percentile": 0.3}
        for k, phase in enumerate(PHASES, 1)
    ]
    return small_record(**{"family": "trajectory", "case": "rising", "details": {"trajectory": rows}, **changes})


MAKERS: list[tuple[Callable[[Record], str | None], Callable[..., Record]]] = [(dose_response, dose), (trajectory, course)]
EITHER = pytest.mark.parametrize(("draw", "made"), MAKERS, ids=["dose_response", "trajectory"])


def drawn(draw: Callable[[Record], str | None], made: Record) -> str:
    found = draw(made)
    assert found is not None
    return found


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def markers(svg: str) -> list[tuple[str, str]]:
    """Return fill and edge of every marker of a figure."""
    used = [element.get("style", "") for element in ElementTree.fromstring(svg).iter(f"{SVG}use")]
    found = [re.search(r"fill: ([^;]+).*stroke: ([^;]+)", style) for style in used]
    return [(match[1], match[2]) for match in found if match]


# figures


@EITHER
def test_a_figure_is_well_formed_svg_with_words_as_words(draw: Callable[[Record], str | None], made: Callable[..., Record]) -> None:
    svg = drawn(draw, made())
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert len(texts(svg)) > 5
    assert not list(root.iter(f"{SVG}script")) + list(root.iter(f"{SVG}image")) + list(root.iter(f"{SVG}foreignObject"))


@EITHER
def test_the_same_data_gives_the_same_figure_and_other_data_another(
    draw: Callable[[Record], str | None], made: Callable[..., Record]
) -> None:
    first = drawn(draw, made())
    for other, record_of in MAKERS:  # what was drawn in between leaves no trace
        drawn(other, record_of())
    assert drawn(draw, made()) == first
    assert not re.search(r"\b20\d\d-\d\d-\d\d", first)
    changed = json.loads(json.dumps(made().details).replace("0.5", "0.75").replace("0.3", "0.35"))
    assert drawn(draw, made(details=changed)) != first


@EITHER
@pytest.mark.parametrize("details", [None, {}, {"windows": [], "trajectory": []}, {"layers": [{"layer": 0}]}])
def test_without_its_details_there_is_no_figure(
    draw: Callable[[Record], str | None], made: Callable[..., Record], details: dict[str, Any] | None
) -> None:
    assert draw(made(details=details)) is None


def test_the_course_over_a_session_is_drawn_once_and_not_for_every_statement_about_it() -> None:
    assert [trajectory(course(case=case)) is not None for case in ("rising", "peak", "subsiding")] == [True, False, False]


def test_a_dose_response_has_a_panel_for_every_direction_with_its_window() -> None:
    for count in (1, 4):
        svg = drawn(dose_response, dose(*(window(f"d{i}") for i in range(count))))
        assert [text for text in texts(svg) if "window" in text] == [f"d{i}: window 0.75" for i in range(count)]
        assert len(markers(svg)) >= 4 * count


@pytest.mark.parametrize(
    ("coherent", "beyond", "fill", "edge"),
    [(True, True, ACCENT, ACCENT), (True, False, INK, INK), (False, True, "#ffffff", INK), (False, False, "#ffffff", INK)],
)
def test_points_are_red_only_where_coherent_and_beyond_random_and_hollow_where_not_coherent(
    coherent: bool, beyond: bool, fill: str, edge: str
) -> None:
    own = [marker for marker in markers(drawn(dose_response, dose(window(coherent=coherent, beyond=beyond)))) if marker[0] != "none"]
    ticks = [marker for marker in own if marker != (fill, edge)]
    assert own.count((fill, edge)) == 4
    assert ACCENT not in {colour for marker in ticks for colour in marker}


def test_a_trajectory_names_its_emotion_and_what_happens_at_every_step() -> None:
    found = texts(drawn(trajectory, course("calm")))
    assert [text for text in found if text in PHASES] == list(PHASES)
    assert "calm, less other work" in found


INJECTED = "a</text><script>alert(1)</script><!-- ]]> & \"quoted\" 'so' <b>"


@EITHER
@pytest.mark.parametrize("name", [INJECTED, "&lt;b&gt; %s {0}"])
def test_a_name_is_drawn_as_it_is_and_never_as_markup(draw: Callable[[Record], str | None], made: Callable[..., Record], name: str) -> None:
    plain = made() if draw is trajectory else dose(window("plain"))
    svg = drawn(draw, course(name) if draw is trajectory else dose(window(name)))
    assert any(name in text for text in texts(svg))
    kinds = [{element.tag for element in ElementTree.fromstring(text).iter()} for text in (svg, drawn(draw, plain))]
    assert kinds[0] == kinds[1]
    assert "<script" not in svg


@pytest.mark.parametrize("name", ["$x$", r"$\frac{$"])
def test_a_name_is_never_taken_for_a_formula(name: str) -> None:
    assert f"{name}: window 0.75" in texts(drawn(dose_response, dose(window(name))))


@pytest.mark.parametrize("key", ["effect", "inside band"])
def test_a_strength_at_which_nothing_could_be_measured_leaves_a_gap(key: str) -> None:
    broken = window()
    broken["points"][1][key] = None
    assert ElementTree.fromstring(drawn(dose_response, dose(broken))).tag == f"{SVG}svg"


def spread(*scores: float, **changes: Any) -> Record:
    items = [{"id": f"t{i}", "cluster": f"t{i}", "score": score} for i, score in enumerate(scores)]
    return small_record(**{"family": "intensity", "items": items, "value": sum(scores) / len(scores), **changes})


def shown(family: str, made: Record) -> str:
    return drawn(styled(DRAWN[family][0].draw), made)


def test_a_value_is_drawn_beside_its_nulls_under_the_scores_that_it_is_the_mean_of() -> None:
    found = shown("intensity", spread(0.25, 0.5, 0.9))
    named = {null["kind"] for null in spread(0.5).nulls}
    assert named
    assert named | {"value", "each pair"} <= set(texts(found))
    assert [fill for fill, _ in markers(found)].count(ACCENT) == 1
    more = shown("intensity", spread(0.25, 0.5, 0.9, 0.55))
    assert more.count("<use") == found.count("<use") + 1


def test_scores_on_another_scale_than_the_value_are_left_out() -> None:
    found = shown("monitoring", spread(-20.0, 30.0, family="monitoring", value=0.6))
    assert "value" in texts(found)
    assert "each pair" not in texts(found)


def test_cases_with_the_same_items_and_other_nulls_have_figures_of_their_own() -> None:
    nulls = [{"kind": "text-only twin (TF-IDF)", "n": 1, "mean": 0.4, "p95": 0.4}]
    found = figures(small_run(spread(0.5, 0.7, case="present"), spread(0.5, 0.7, case="beyond-words", nulls=nulls)))
    assert "text-only twin (TF-IDF)" not in texts(found["intensity-present"])
    assert "text-only twin (TF-IDF)" in texts(found["intensity-beyond-words"])


def test_two_sides_are_drawn_beside_one_another_and_what_was_not_measured_leaves_a_gap() -> None:
    rows = [
        {"direction": "calm", "negative": 1.0, "positive": 3.0, "of": 4},
        {"direction": "angry", "negative": None, "positive": 2.0, "of": 4},
    ]
    found = shown("asymmetry", small_record(family="asymmetry", details={"reach": rows}))
    assert {"calm", "angry"} <= set(texts(found))
    assert sorted(fill for fill, _ in markers(found) if fill in (ACCENT, OTHER)) == sorted([ACCENT, OTHER, OTHER])
    asked = [{"emotion": "sad", "strength": 0.5, "steered": 1.0, "asked in words": 2.0}]
    assert "sad" in texts(shown("prompting", small_record(family="prompting", details={"beside words": asked})))
    assert DRAWN["prompting"][0].draw(small_record(family="prompting", details={})) is None


def test_read_outs_are_drawn_against_valence_with_the_names_of_the_ends_alone() -> None:
    rows = [{"emotion": f"e{i}", "valence": i / 10, "r": 0.5 if i % 2 else -0.5 - i / 100} for i in range(-5, 6)]
    found = shown("preferences", small_record(family="preferences", case="follow", details={"emotions": rows}))
    assert {text for text in texts(found) if re.fullmatch(r"e-?\d", text)} == {"e-5", "e5", "e4"}
    assert "valence of the emotion, by the norms" in texts(found)


def test_a_run_has_the_figures_of_its_records_by_family_and_case_and_none_of_others() -> None:
    run = small_run(dose(), dose(case="fear-contrast"), dose(case="empty", details={}), course(), course(case="peak"), small_record())
    found = figures(run)
    assert list(found) == ["dose_response-implicit", "dose_response-fear-contrast", "trajectory-rising"]
    assert found["trajectory-rising"] == trajectory(course())
    assert set(DRAWN) <= set(load_claims())
    assert figures(small_run()) == {}


def test_the_report_shows_the_figures_that_were_drawn_in_the_section_of_their_case_and_no_other() -> None:
    run = small_run(dose(), dose(case="fear-contrast"), small_record())
    text = markdown(run, ["dose_response-implicit"])
    assert re.findall(r"!\[.*?\]\((.*?)\)", text) == ["figures/dose_response-implicit.svg"]
    assert text.index("### dose_response/implicit") < text.index("![") < text.index("### dose_response/fear-contrast")
    assert "![" not in markdown(run)


def test_figures_are_drawn_without_torch_and_are_the_same_in_another_process() -> None:
    program = (
        "import json, sys\n"
        "from reports.figures import figures\n"
        "from reports.record import parse_run\n"
        "found = figures(parse_run(json.load(sys.stdin)))\n"
        "heavy = {'torch', 'transformers', 'fixtures'} & set(sys.modules)\n"
        "print(json.dumps([sorted(heavy), 'matplotlib.pyplot' in sys.modules, found]))\n"
    )
    run = small_run(dose(), course())
    told = json.dumps(run.plain())
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, input=told, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout) == [[], False, figures(run)]


def test_nothing_is_drawn_with_is_imported_before_a_figure_is_wanted() -> None:
    program = "import sys, reports.plugin, reports.figures; print('matplotlib' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["False", "False"]


# details of behaviour, as they are told


def said(**details: Any) -> str:
    return "\n".join(detail({name.replace("_", " "): value for name, value in details.items()}))


def cells(text: str) -> list[list[str]]:
    """Return the cells of a Markdown table, its head first."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if not set(row) <= set("|-: ")]


RATE = {
    "arm": "+0.25 calm",
    "misdeeds": 3,
    "readable": 128,
    "rate": 0.0234,
    "low": 0.008,
    "high": 0.0666,
    "difference": -0.1,
    "difference low": -0.2,
    "difference high": 0.0,
}


def test_a_rate_is_told_with_its_counts_its_interval_and_its_difference() -> None:
    blank = {**RATE, "arm": "random", "readable": 0, "misdeeds": 0, **dict.fromkeys([k for k in RATE if "low" in k or "high" in k])}
    head, row, empty = cells(said(rates=[RATE, {**blank, "rate": None, "difference": None}]))
    assert head == ["arm", "misdeeds", "rate (Wilson)", "less unsteered (Newcombe)"]
    assert row == ["+0.25 calm", "3 of 128", "0.023 [0.008, 0.067]", "-0.100 [-0.200, 0.000]"]
    assert empty == ["random", "0 of 0", "-", "-"]


def test_a_plan_is_one_sentence_with_whole_numbers_as_such() -> None:
    text = said(plan={"scenarios": 16, "answers per arm": 128, "power, 22% against 40%": 0.8765})
    assert text.strip() == "Planned: scenarios 16, answers per arm 128, power, 22% against 40% 0.876."


def test_conditions_are_told_by_direction_and_strength_and_what_random_directions_lack_is_a_dash() -> None:
    own = {"direction": "calm", "strength": -0.1, "act": 0.5, "control": 0.25, "net": 0.25, "coherent": 0.95}
    other = {"direction": "random, 5th percentile", "strength": 0.1, "net": -0.4}
    head, *rows = cells(said(conditions=[own, other]))
    assert head == ["direction", "strength", "act", "control", "net", "coherent"]
    assert rows == [
        ["calm", "-0.100", "0.500", "0.250", "0.250", "0.950"],
        ["random, 5th percentile", "0.100", "-", "-", "-0.400", "-"],
    ]


def test_a_risk_names_its_direction_and_what_random_directions_reach_and_says_if_there_is_none() -> None:
    known = said(risk={"value": 2.5, "direction": "-calm", "random": 0.75, "slopes": {"-calm": 2.5}})
    assert "2.500 nats per unit of strength under -calm" in known
    assert "random directions 0.750" in known
    assert "0.000 nats" in said(risk={"value": 0.0, "direction": "+calm", "random": 0.1})
    none = said(risk={"value": None, "direction": None, "random": 0.75})
    assert "no direction leaves the text coherent" in none
    assert "None" not in none


def test_the_read_out_of_every_step_is_a_row_with_its_phase() -> None:
    head, *rows = cells(said(trajectory=course().details["trajectory"]))  # type: ignore[index]
    assert head == ["step", "phase", "desperate", "random, 5th percentile", "random, 95th percentile"]
    assert rows[1] == ["2", "failing", "0.200", "-0.300", "0.300"]
    assert len(rows) == len(PHASES)


def test_single_figures_are_named_and_rows_of_emotions_are_a_table_and_names_alone_are_not_shown() -> None:
    assert said(r={"act": 0.5, "net of the control choice": None}).strip() == "act 0.500, net of the control choice -."
    assert said(elo={"mean": 12.3456}).strip() == "mean 12.346."
    assert cells(said(emotions=[{"emotion": "calm", "r": -0.5, "shift": 0.25}])) == [["emotion", "r", "shift"], ["calm", "-0.500", "0.250"]]
    assert said(emotions=["calm", "sad"]) == ""


def test_consistency_is_a_percentage() -> None:
    assert said(consistency=0.756).strip() == "Both orders prefer the same activity in 76% of pairs."


@pytest.mark.parametrize(("name", "value"), [("consistency", 0.0), ("peak", 0)])
def test_a_detail_that_is_0_is_told(name: str, value: float) -> None:
    assert said(**{name: value}) != ""


def test_a_second_reader_and_executed_solutions_are_told() -> None:
    text = said(second_reader={"judge": "tiny", "agreement": 0.9, "kappa": None, "n": 40})
    assert text.strip() == "Second reader tiny: agrees on 0.900 of 40 replies, kappa -."
    head, first, second = cells(said(executed=[{"arm": "none", "passed": 3}, {"arm": "random", "failed": 2, "passed": 1}]))
    assert head == ["arm", "failed", "passed"]
    assert (first, second) == (["none", "0", "3"], ["random", "2", "1"])


@pytest.mark.parametrize("name", ["plan", "rates", "conditions", "risk", "r", "elo", "emotions", "trajectory", "consistency"])
def test_every_detail_of_behaviour_has_a_writer_and_absent_or_empty_ones_are_silent(name: str) -> None:
    assert name in SHOWN
    for nothing in (None, {}, []):
        assert detail({name: nothing}) == []


# risk


def harmful(value: float | None, family: str = "blackmail", **changes: Any) -> Record:
    details = {"risk": {"value": value, "direction": "+desperate", "random": 0.1, "slopes": {}}}
    return small_record(**{"family": family, "details": details, **changes})


def test_the_risk_of_records_is_the_largest_that_is_known() -> None:
    assert risk([harmful(0.5), harmful(2.0), harmful(None), small_record(), small_record(details=None)]) == 2.0
    assert risk([harmful(-1.0), harmful(-3.0)]) == -1.0
    assert risk([harmful(0.0), harmful(-3.0)]) == 0.0


def test_records_without_a_risk_have_none_rather_than_0() -> None:
    assert risk([]) is None
    assert risk([small_record(), harmful(None)]) is None
    assert type(risk([harmful(1)])) is float


@settings(max_examples=20, deadline=None)
@given(st.lists(st.none() | st.floats(-50, 50), max_size=6))
def test_the_order_of_records_changes_no_risk_and_another_record_never_lowers_it(values: list[float | None]) -> None:
    records = [harmful(value) for value in values]
    assert risk(records[::-1]) == risk(records)
    known = [value for value in values if value is not None]
    assert risk(records) == (max(known) if known else None)
    assert risk([*records, harmful(60.0)]) == 60.0


def test_the_tables_show_each_familys_own_risk_and_the_largest_for_the_model() -> None:
    run = small_run(harmful(0.5), harmful(1.25, "reward_hacking"), small_record())
    assert {row["family"]: row["risk"] for row in family_rows(run)} == {
        "blackmail": "0.500",
        "reward_hacking": "1.250",
        "separation": "-",
        "all": "1.250",
    }
    assert leaderboard_row(run)["risk"] == "1.250"
    assert leaderboard_row(small_run())["risk"] == "-"


@BOTH
def test_risk_is_a_column_of_its_own_beside_skill(render: Callable[..., str]) -> None:
    text = render(small_run(harmful(1.25)))
    head = next(line for line in text.splitlines() if re.search(r"\brisk\b", line) and "supported" in line)
    row = text.splitlines()[text.splitlines().index(head) + 2]
    columns = [[cell.strip() for cell in re.split(r"\s{2,}|\|", line) if cell.strip()] for line in (head, row)]
    assert dict(zip(*columns, strict=True))["risk"] == "1.250"


def test_an_incomplete_run_shows_no_risk() -> None:
    run = small_run(harmful(1.25), complete=False, incomplete_because=("--limit 2",))
    assert leaderboard_row(run)["risk"] == "-"
    assert {row["risk"] for row in family_rows(run)} == {"-"}


# a null that is not a number


@BOTH
def test_a_case_whose_null_is_not_a_number_does_not_cost_the_run_its_report(render: Callable[..., str]) -> None:
    claim = load_claims()["monitoring"]
    case = claim.case("sampled-desperate")
    ids = [f"m{i}" for i in range(16)]
    nulls = [Null("permuted replies", np.array([np.nan])), chance(0.0)]
    m = mean_measurement(np.full(16, np.nan), ids, nulls, items=tuple({"id": i, "cluster": i} for i in ids))
    row = record(m, claim, case, version="0", seed=0)
    assert row["verdict"] == "inconclusive"
    assert "inconclusive" in render(small_run(parse_record(row)))
