"""The README and its pages say what is so: the report shown is the committed baseline's run, and what they link to and name is there."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
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


def test_the_counts_shown_are_the_baselines() -> None:
    counts = Counter(record["verdict"] for record in BASELINE["records"])
    told = (counts["supported"], counts["refuted"], counts["inconclusive"], counts["not applicable"])
    assert "| `reference` | {:,} | world | {} | {} | {} | {} |".format(BASELINE["subject"]["parameters"], *told) in README
    assert f"model reference (MistralForCausalLM, {BASELINE['subject']['parameters']:,} parameters" in README
    assert BASELINE["subject"]["revision"] in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link.split("#")[0]).exists()] == []


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE)) | set(re.findall(r"`make ([a-z-]+)", README)))
)
def test_every_make_target_named_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
