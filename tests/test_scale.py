"""The command `scale`: the same figures in every format, one line for what cannot be compared, and pages without a stranger's markup."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.__main__ import main
from reports.ladder import AROUSAL, SIZE
from reports.scale import FORMATS
from reports.store import write_run
from tests.test_ladder import ALL, model
from tests.test_shift import BASE, LEVELS, PLACED, read_at


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    found = []
    for run in ALL:
        folder = tmp_path / str(run.subject["model"])
        folder.mkdir()
        found.append(str(write_run(folder, run)))
    return found


def transfer_file(folder: Path, **changes: Any) -> Path:
    nulls = [{"kind": "permuted emotions", "n": 20, "mean": 0.1, "p95": 0.2}, {"kind": "untrained twin", "n": 1, "mean": 0.3, "p95": 0.3}]
    net = {"value": 0.6, "low": 0.5, "high": 0.7, "against": "untrained twin"}
    way = {"source": "a", "target": "b", "rank": 8, "emotions": 30, "value": 0.9, "low": 0.8, "high": 0.95, "p": 0.048, "nulls": nulls}
    path = folder / "transfer.json"
    document = {"schema": "transfer/1", "stimuli": "world", "profile": "quick", "directions": [{**way, "net": net, "items": []}]}
    path.write_text(json.dumps({**document, **changes}), "utf-8")
    return path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["scale", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["scale", *words]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_every_format_has_the_planted_slope(paths: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(told(capsys, *paths, "--format", "json"))
    line = next(x for x in document["lines"] if (x["claim"], x["against"]) == (AROUSAL, SIZE))
    assert line["slope"]["value"] == pytest.approx(0.1)
    assert [point["model"] for point in line["points"]] == ["xs", "s", "m", "l", "xl"]
    rows = list(csv.DictReader(io.StringIO(told(capsys, *paths, "--format", "csv"))))
    assert [float(r["value"]) for r in rows if r["claim"] == AROUSAL] == pytest.approx([0.3, 0.4, 0.5, 0.6, 0.7])
    for style in ("text", "markdown", "html"):
        shown = told(capsys, *paths, "--format", style)
        assert "0.100 [0.100, 0.100]" in shown
        assert "Nothing here is a verdict." in shown


def test_a_models_name_is_no_formula_in_the_table(paths: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd").mkdir()
    first = ALL[0]
    odd = replace(first, subject={**first.subject, "model": "=1+1"})
    rows = list(csv.DictReader(io.StringIO(told(capsys, str(write_run(tmp_path / "odd", odd)), *paths[1:], "--format", "csv"))))
    assert "'=1+1" in {row["model"] for row in rows}
    assert "=1+1" not in {row["model"] for row in rows}


def test_three_models_are_refused_with_what_was_left_out(paths: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = model("xl", complete=False, incomplete_because=("--limit 2",))
    (tmp_path / "broken").mkdir()
    err = refused(capsys, *paths[:3], str(write_run(tmp_path / "broken", broken)))
    assert err.startswith("error: RUN: 3 models (xs, s, m), left out: xl of ")
    assert "incomplete: --limit 2; accepted: complete runs of at least 4 models" in err


def test_the_page_is_one_file_without_requests_and_its_figures_are_whole(paths: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shown = told(capsys, *paths, "--format", "html")
    figures = [part.split("</svg>")[0] + "</svg>" for part in shown.split("<figure>")[1:]]
    assert len(figures) == 2
    for figure in figures:
        assert ET.fromstring(figure).attrib["role"] == "img"
        assert "currentColor" in figure
        assert "#010203" not in figure
    for sign in ("<script", "<link", "src=", "@import", 'href="http'):
        assert sign not in shown.replace('xmlns:xlink="http', "")


def test_a_name_that_is_markup_is_shown_and_not_run(paths: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "<script>alert(1)</script>"
    (tmp_path / "odd").mkdir()
    odd = write_run(tmp_path / "odd", model(name, parameters=10**10))
    shown = told(capsys, *paths, str(odd), "--format", "html")
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown


def test_a_pair_is_named_by_model_or_by_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for run in (BASE, read_at("instruct", LEVELS - PLACED[:, 1])):
        (tmp_path / str(run.subject["model"])).mkdir()
        files.append(str(write_run(tmp_path / str(run.subject["model"]), run)))
    by_path = told(capsys, "--pair", *files)
    assert "Post-training shift" in by_path
    assert "-1.000 [-1.000, -1.000]" in by_path
    rows = [[x["r"] for x in json.loads(told(capsys, *words, "--format", "json"))["shifts"]] for words in (
        ("--pair", *files), (*files, "--pair", "base", "instruct")
    )]  # fmt: skip
    assert rows[0] == rows[1]
    assert "error: --pair nobody: no such run; accepted: a path of a run, or a model among RUN (base)" in refused(
        capsys, files[0], "--pair", "base", "nobody"
    )


def test_a_transfer_is_shown_with_its_nulls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = told(capsys, "--transfer", str(transfer_file(tmp_path)))
    assert "0.900 [0.800, 0.950]" in shown
    assert "0.600 [0.500, 0.700] against untrained twin" in shown
    assert "no evidence about language models" in shown


@pytest.mark.parametrize(
    "changes", [{"schema": "transfer/0"}, {"directions": [{}]}, {"directions": 3}, {"stimuli": None, "directions": None}]
)
def test_a_file_that_is_no_transfer_is_refused(changes: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "accepted: a file of python -m fixtures.transfer" in refused(capsys, "--transfer", str(transfer_file(tmp_path, **changes)))


def test_output_goes_to_a_file_or_is_refused(paths: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = told(capsys, *paths)
    assert told(capsys, *paths, "--output", str(tmp_path / "scale.txt")) == ""
    assert (tmp_path / "scale.txt").read_text("utf-8") == shown
    err = refused(capsys, *paths, "--output", str(tmp_path / "nowhere" / "scale.txt"))
    assert "accepted: a file in a folder that exists" in err


def test_nothing_at_all_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "0 models" in refused(capsys)


def test_formats_are_those_that_are_tested() -> None:
    assert set(FORMATS) == {"text", "markdown", "csv", "json", "html"}
