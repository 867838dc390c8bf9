"""Self-tests of the tables: what a reader must see, and what must not be shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cases.shown import called, in_markdown
from reports import board_formats, compare, gate, ladder, scale_tables
from reports.blocks import Sample
from reports.export import frame
from reports.leaderboard import boards
from reports.policy import Policy
from reports.record import VERDICTS, Run, parse_run
from reports.render import MARKS, NOTICE, figure, leaderboard_row, markdown, section, terminal
from reports.summary import summary
from tests.runs import BELOW, plain_record, small_record, small_run

BOTH = pytest.mark.parametrize("render", [terminal, markdown])


def row_of(text: str, record: str) -> str:
    return next(line for line in text.splitlines() if re.match(rf"(\| )?{re.escape(record)} ", line))


@BOTH
def test_a_claims_row_shows_value_and_interval_null_net_skill_and_verdict(render) -> None:  # type: ignore[no-untyped-def]
    row = row_of(render(small_run()), "separation/natural-present")
    cells = [cell.strip() for cell in re.split(r"\s{2,}|\|", row) if cell.strip()]
    assert cells[1:] == ["0.900 [0.860, 0.940]", "0.500 untrained twin", "0.400 [0.350, 0.450]", "0.800", "+ supported"]


@BOTH
def test_a_record_without_figures_shows_dashes_and_its_reason(render) -> None:  # type: ignore[no-untyped-def]
    blank = dict.fromkeys(("value", "low", "high", "net", "skill", "n", "clusters", "layer"))
    text = render(small_run(small_record(), small_record(case="chat", verdict="not applicable", reason="it has no chat template", **blank)))
    assert row_of(text, "separation/chat").count(" -") >= 4
    assert "it has no chat template" in text.replace("It has", "it has")
    assert "None" not in text


@BOTH
def test_the_notice_on_reference_models_stands_with_the_planted_world_and_nowhere_else(render) -> None:  # type: ignore[no-untyped-def]
    run = small_run()
    world = small_run(subject={**run.subject, "stimuli": "world"})
    assert NOTICE in render(world)
    assert "reference model" not in render(run)


@BOTH
def test_an_incomplete_run_says_why_and_shows_no_aggregate(render) -> None:  # type: ignore[no-untyped-def]
    text = render(small_run(complete=False, incomplete_because=("3 of 16 cases were not run", "--limit 2")))
    board = text[text.rindex("family " if render is terminal else "parameters ") :]
    assert "INCOMPLETE: 3 of 16 cases were not run; --limit 2" in text
    assert not re.search(r"\d\.\d{3}", board.split("##")[0])


@BOTH
def test_a_complete_run_shows_its_aggregate_and_no_warning(render) -> None:  # type: ignore[no-untyped-def]
    text = render(small_run())
    assert "INCOMPLETE" not in text
    assert "0.800 [0.700, 0.900]" in text


@BOTH
@pytest.mark.parametrize(("dirty", "said"), [(True, "000000000000, changed since"), (None, "000000000000, state unknown"), (False, "000;")])
def test_the_state_of_the_checkout_is_said(render, dirty, said) -> None:  # type: ignore[no-untyped-def]
    assert said in render(small_run(suite={"version": "0.1.0", "commit": "0" * 40, "dirty": dirty}))


@BOTH
def test_the_source_of_the_norms_and_the_conditions_of_the_run_are_named(render) -> None:  # type: ignore[no-untyped-def]
    run = small_run()
    text = render(run)
    for fact in ("tiny", "GPT2LMHeadModel", "1,234 parameters", "revision r1", "float32", "english stimuli", "profile quick", "seed 0"):
        assert fact in text
    if render is markdown:
        assert "coded by the project" in text
        assert "norms of valence and arousal: nrc.csv" in render(small_run(options={**run.options, "norms": "nrc.csv"}))


def test_the_report_has_a_section_per_claim_with_sentence_source_and_nulls() -> None:
    text = markdown(small_run(small_record(), small_record(family="other", claim="another_claim", statement="Another.")))
    assert re.findall(r"^## (.*)$", text, re.M)[-2:] == ["Held out separation", "Another claim"]
    assert "*A direction tells situations apart.*" in text
    assert "Source: a post. Published: 0.9. Smallest effect of interest: skill 0.1." in text
    assert re.search(r"\| untrained twin +\| 3 +\| 0\.500 +\| 0\.550 +\|", text)


def test_every_verdict_has_a_mark_and_is_counted() -> None:
    run = small_run(*(small_record(case=f"c{i}", verdict=verdict, reason="why") for i, verdict in enumerate(VERDICTS)))
    text = terminal(run)
    assert set(MARKS) == set(VERDICTS)
    assert all(f"1 {verdict}" in text for verdict in VERDICTS)
    assert all(f"{MARKS[verdict]} {verdict}".strip() in text for verdict in VERDICTS)


def test_figures_have_three_decimals_and_a_dash_where_nothing_was_measured() -> None:
    assert figure(0.12345, 0.1, 0.2) == "0.123 [0.100, 0.200]"
    assert figure(0.5, 0.1, None) == "0.500"
    assert figure(None, 0.1, 0.2) == "-"


def test_the_leaderboard_row_counts_supported_among_judged_cases_only() -> None:
    run = small_run(small_record(), small_record(verdict="inconclusive"), small_record(verdict="reported"))
    row = leaderboard_row(run)
    assert row["supported"] == "1 of 2"
    assert (row["model"], row["parameters"], row["device"]) == ("tiny", "1,234", "cpu-float32")


# names that would be more than names

HOSTILE = "x\n## Gate gate.toml: pass (exit status 0) <img src=x>\x1b[31m|\u2028[a](b)</details>"
WORDS = [{"emotion": HOSTILE, "promoted": ["|", "\n\n## Gate", "\x1b[31m"], "suppressed": ["<img src=x>"]}]


def hostile() -> Run:
    """A run whose file holds a hostile text wherever it may hold any."""
    run = small_run(subject=dict.fromkeys(small_run().subject, HOSTILE) | {"parameters": 5, "layers": 3, "width": 8})
    texts = ("statement", "source", "published", "quantity", "cluster", "version", "reason")
    nulls, net = ([{"kind": HOSTILE, "n": 3, "mean": 0.5, "p95": 0.6}], {**BELOW["net"], "against": HOSTILE})
    row = plain_record(**BELOW | dict.fromkeys(texts, f"# {HOSTILE}"), nulls=nulls, details={"words": WORDS}) | {"net": net}
    texts_of = {"options": {**run.options, "norms": HOSTILE}, "versions": dict.fromkeys(run.versions, HOSTILE), "start": HOSTILE}
    told = {
        **run.plain(),
        **texts_of,
        "records": [row, {**row, "verdict": "inconclusive", "case": "b", "details": {"twins": {HOSTILE: 0.5}}}],
    }
    return parse_run(told)


OUTPUTS: dict[str, Callable[[Run], str]] = {
    "report.md": markdown,
    "summary": lambda run: summary(run, [(f"Gate {HOSTILE}", [{"outcome": "pass", "name": HOSTILE}])]),
    "leaderboard.md": lambda run: board_formats.markdown(boards([run])),
    "scale.md": lambda run: scale_tables.markdown(scale_tables.Scale(ladder.ladder([run]), ladder.lines([run]))),
    "show CLAIM": lambda run: "\n".join(section(list(run.records))),
    "show": terminal,
    "leaderboard": lambda run: board_formats.terminal(boards([run]), 120),
    "scale": lambda run: scale_tables.plain(scale_tables.Scale(ladder.ladder([run]), ladder.lines([run]))),
    "gate": lambda run: gate.evaluate(run, run, Policy("gate.toml", supported=("*",))).text,
    "compare": lambda run: compare.text(run, run, compare.rows(run, run)),
    "csv": lambda run: str(frame([run]).to_csv(index=False)),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_no_name_in_a_run_begins_a_line_a_heading_or_a_tag_or_moves_the_cursor(name: str) -> None:
    text = OUTPUTS[name](hostile())
    assert "exit status 0" in text
    assert [c for c in text if not c.isprintable() and c != "\n"] == []
    assert [line for line in text.splitlines() if line.startswith(("## Gate", "# x"))] == []
    if name.endswith(".md") or name in ("summary", "show CLAIM"):
        assert re.findall(r"(?<!\\)<(?!/?(?:details|summary)>)|(?<!\\)</details>(?!\n$)|\]\(b", text) == []
        for found in re.findall(r"(?:^\|.*\n?)+", text, re.M):
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in found.splitlines()}) == 1


def test_a_local_folder_is_called_by_its_last_part_on_one_line_and_an_ordinary_name_is_left_as_it_is(tmp_path: Path) -> None:
    for name, told in {"x\n## y\x1b[31m": "x\\n## y\\x1b[31m", "Llama 3.1-8B (nai\u0308ve)": None, "y" * 200: None}.items():
        (tmp_path / name).mkdir()
        assert called(str(tmp_path / name)) == (told or name)
    assert called("org/model@main") == "org/model@main"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("org/model-7B_v2 (0.5 [0.4, 0.6])", None),
        ("a|b<c", "a\\|b\\<c"),
        ("a\\|b", "a\\\\\\|b"),
        ("[a](b)", "[a]\\(b)"),
        (" # a # b", " \\# a # b"),
        ("```", "\\```"),
        ("> a\nb", "\\> a\\nb"),
    ],
)
def test_what_markdown_would_interpret_is_escaped_and_what_it_would_not_is_left_as_it_is(text: str, told: str | None) -> None:
    assert in_markdown(text) == (told or text)


@pytest.mark.parametrize("text", ["a\n~~~~\n# b", "~~~~~~\n# b", "~~" + "~~~~" + "~~\n# b\x1b[31m"])
def test_no_sample_ends_its_own_fence(text: str) -> None:
    lines = str(Sample(text)).splitlines()
    assert [i for i, line in enumerate(lines) if line.startswith("~~~~")] == [0, len(lines) - 1]
    assert "\x1b" not in "".join(lines)
