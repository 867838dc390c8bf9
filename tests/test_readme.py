"""The README and its pages say what is so: the report shown is the committed baseline's run, and what they link to and name is there."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from fixtures.calibration.__main__ import MARKS

ROOT = Path(__file__).parents[1]
RATE = re.compile(r"(\d+) of (\d+),")
README = (ROOT / "README.md").read_text("utf-8")
BASELINE = json.loads((ROOT / "reports" / "baselines" / "reference" / "cpu-float32.json").read_text("utf-8"))
RECORDS = {f"{record['family']}/{record['case']}": record for record in BASELINE["records"]}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.findall(r"^([a-z_]+/[a-z-]+) +(-?\d\.\d{3}) .*?(supported|refuted|inconclusive|reported)$", README, re.MULTILINE)


def test_the_report_shown_has_many_rows() -> None:
    assert len(SHOWN) > 15


@pytest.mark.parametrize(("case", "value", "verdict"), SHOWN)
def test_every_row_of_the_report_shown_is_the_baselines(case: str, value: str, verdict: str) -> None:
    assert RECORDS[case]["value"] == pytest.approx(float(value), abs=0.001)
    assert RECORDS[case]["verdict"] == verdict


def test_the_rows_left_out_are_counted() -> None:
    assert f"... ({len(BASELINE['records']) - len(SHOWN)} more rows)" in README


@pytest.mark.parametrize("path", sorted((ROOT / "reports" / "baselines").glob("*/*.json")), ids=lambda path: path.parent.name)
def test_the_counts_shown_are_the_baselines(path: Path) -> None:
    run = json.loads(path.read_text("utf-8"))
    counts = Counter(record["verdict"] for record in run["records"])
    told = (counts["supported"], counts["refuted"], counts["inconclusive"], counts["not applicable"])
    assert "| {:,} | {} | {} | {} | {} | {} |\n".format(run["subject"]["parameters"], run["subject"]["stimuli"], *told) in README


def test_the_model_shown_is_the_baselines() -> None:
    assert f"model reference (MistralForCausalLM, {BASELINE['subject']['parameters']:,} parameters" in README
    assert BASELINE["subject"]["revision"] in README


def test_the_table_of_calibration_is_that_of_the_file() -> None:
    """The rates by family are sums over its cases in calibration.json."""
    told = json.loads((ROOT / "reports" / "calibration.json").read_text("utf-8"))
    table = README.split(MARKS[0])[1].split(MARKS[1])[0]
    shown = {row[1]: [RATE.match(cell.strip()) for cell in row[0].split("|")[2:5]] for row in re.findall(r"^(\| `(\w+)` .*)$", table, re.M)}
    assert set(shown) == {case.split("/")[0] for case in told["cases"]}
    for family, cells in shown.items():
        own = [rates for case, rates in told["cases"].items() if case.split("/")[0] == family]
        for kind, cell in zip(("sensitivity", "false_positives_runs", "false_positives_drawn"), cells, strict=True):
            sums = [sum(rates[kind][part] for rates in own) for part in ("k", "n")]
            assert [int(part) for part in cell.groups()] == sums if cell else sums[1] == 0, (family, kind)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link.split("#")[0]).exists()] == []


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE)) | set(re.findall(r"`make ([a-z-]+)", README)))
)
def test_every_make_target_named_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
