"""Self-tests of exports: nothing is lost, nothing invented, and what others read they can read."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from cases.shown import in_csv
from reports.__main__ import main
from reports.export import frame
from reports.junit import junit
from reports.model_card import model_card
from reports.store import write_run
from tests.runs import small_record, small_run
from tests.stored import scored, spread

BLANK = small_record(
    case="chat", verdict="not applicable", reason="no chat template", value=None, net=None, skill=None, low=None, high=None, n=None
)
RISKY = scored(spread(0.8), "risky", family="blackmail", details={"risk": {"value": 3.0, "direction": "+x", "random": 1.0}})
REFUTED = scored(spread(0.4), "refuted", verdict="refuted", reason="reversed")
BROKEN = replace(BLANK, case="broken", verdict="error", reason="RuntimeError: <it> & \x00 broke")
RUN = small_run(scored(spread(0.8)), BLANK, RISKY, REFUTED)


def test_a_table_has_a_row_per_record_with_absent_figures_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, RUN)
    assert main(["export", str(tmp_path), "--format", "csv"]) == 0
    text = capsys.readouterr().out
    assert main(["export", str(tmp_path), "--format", "parquet", "--output", str(tmp_path / "out.parquet")]) == 0
    for found in (pd.read_csv(io.StringIO(text)), pd.read_parquet(tmp_path / "out.parquet")):
        rows = found.set_index("case")
        assert len(found) == len(RUN.records)
        assert rows.loc["natural-present", "net_value"] == pytest.approx(0.3, abs=0.01)
        assert rows.loc["risky", "risk"] == 3.0
        assert rows.loc["chat", ["value", "skill", "net_value", "risk", "n"]].isna().all()
        assert set(found["model"]) == {"tiny"}
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")]


def test_no_cell_of_a_csv_file_is_a_formula(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = '=HYPERLINK("http://x")'
    run = replace(RUN, subject={**RUN.subject, "model": odd})
    for name in ("odd", "plain"):
        (tmp_path / name).mkdir()
    runs = [write_run(tmp_path / "odd", run), write_run(tmp_path / "plain", RUN)]
    for words in (["export", *map(str, runs), "--format", "csv"], ["leaderboard", *map(str, runs), "--format", "csv"]):
        main(words)
        found = pd.read_csv(io.StringIO(capsys.readouterr().out))
        assert set(found["model"]) == {f"'{odd}", "tiny"}, words
        assert not [c for c in found if found[c].astype(str).str.startswith(("=", "+", "@", "\t")).any()]
    assert [in_csv(cell) for cell in ("-1+1", -1.5, "+x", "a=b", None)] == ["'-1+1", -1.5, "'+x", "a=b", None]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_no_table_is_made_of_runs_without_records(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, replace(RUN, records=()))
    assert main(["export", str(tmp_path), "--format", form, "--output", str(tmp_path / "out")]) == 4
    assert capsys.readouterr().err == f"error: --format {form}: no run holds a record; accepted: runs with at least one\n"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_column_of_nothing_keeps_its_type_so_that_files_can_be_joined() -> None:
    assert frame([RUN]).dtypes.to_dict() == frame([small_run(BLANK)]).dtypes.to_dict()


def test_the_model_cards_block_is_what_the_hub_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard import metadata_eval_result

    write_run(tmp_path, RUN)
    assert main(["export", str(tmp_path), "--format", "model-card"]) == 0
    text = capsys.readouterr().out
    results = ModelCard(text + "\n# A model\n").data.eval_results  # type: ignore[attr-defined]
    found = {(r.dataset_config, r.metric_type): r.metric_value for r in results}
    assert found["separation", "supported"] == 0.5
    assert found["separation", "skill"] == pytest.approx(0.2, abs=0.01)
    assert found["blackmail", "risk"] == 3.0
    assert "english stimuli" in results[0].dataset_name
    # the same form as the hub's own maker of such blocks gives
    own = metadata_eval_result(
        model_pretty_name="tiny", task_pretty_name="", task_id="text-generation", metrics_pretty_name="", metrics_id="skill",
        metrics_value=1.0, dataset_pretty_name="x", dataset_id="y",
    )["model-index"][0]  # fmt: skip
    ours = yaml.safe_load(text.split("---")[1])["model-index"][0]
    assert set(ours) == set(own)
    assert set(own["results"][0]) == set(ours["results"][0])


def test_no_block_is_made_of_an_incomplete_run_or_of_one_without_a_judged_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run, said in (
        (replace(RUN, complete=False, incomplete_because=("--limit 2",)), "the run is incomplete (--limit 2)"),
        (small_run(BLANK), "no case of this run was judged"),
    ):
        write_run(tmp_path, run)
        assert main(["export", str(tmp_path), "--format", "model-card"]) == 4
        assert said in capsys.readouterr().err


def test_a_world_of_a_reference_model_is_named_as_no_language() -> None:
    run = replace(RUN, subject={**RUN.subject, "stimuli": "world"})
    names = yaml.safe_load(model_card(run).split("---")[1])["model-index"][0]["results"]
    assert all("no language" in result["dataset"]["name"] for result in names)


def test_junit_has_the_verdicts_that_pytest_gives_and_survives_any_text() -> None:
    suites = ET.fromstring(junit(small_run(*RUN.records, BROKEN)))
    suite = suites[0]
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5", "failures": "1", "errors": "1", "skipped": "1",
    }  # fmt: skip
    cases = {case.get("name"): case for case in suite}
    failure = cases["test_held_out_separation[tiny-refuted]"].find("failure")
    assert failure is not None
    assert str(failure.get("message")).startswith("AUROC = 0.4")
    assert str(failure.get("message")).endswith("[held_out_separation/refuted on tiny]")
    error = cases["test_held_out_separation[tiny-broken]"].find("error")
    assert error is not None
    assert error.text == "RuntimeError: <it> & ? broke"
    skipped = cases["test_held_out_separation[tiny-chat]"].find("skipped")
    assert skipped is not None
    assert (skipped.get("type"), skipped.get("message")) == ("not applicable", "no chat template")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "parquet"), "--format parquet: not for a terminal; accepted: with --output FILE"),
        (("--format", "xml"), "invalid choice: 'xml'"),
        (("{more}", "--format", "junit"), "--format junit: 2 runs were named; accepted: one"),
    ],
)
def test_a_wrong_export_is_one_line(words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_run(tmp_path / name, RUN)
    try:
        status = main(["export", str(tmp_path / "a"), *(str(tmp_path / "b") if word == "{more}" else word for word in words)])
    except SystemExit as end:
        status = int(str(end.code))
    err = capsys.readouterr().err
    assert status == 4
    assert err.count("\n") == 1
    assert said in err
