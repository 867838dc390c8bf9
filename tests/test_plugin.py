"""Self-tests of a run of the benchmark: its options, refusals, outcomes, exit status and files."""

from __future__ import annotations

import json
import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from cases.claims import load_claims
from fixtures.reference import FOLDER
from tests.runs import ROOT, judged_cases, rows_of, suite, written

FOUR = ("separation/natural-present", "separation/natural-beyond-words", "separation/matched-present", "separation/matched-beyond-words")
VERDICTS = dict(zip(FOUR, ("refuted", "inconclusive", "not applicable", "error"), strict=True))
CANNED = ("-p", "tests.canned")


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines in which pytest reports a usage error."""
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR")]


@pytest.mark.parametrize(
    ("option", "value", "accepted"),
    [
        ("--device", "gpu", "auto|cpu|cuda[:N]|mps"),
        ("--dtype", "int8", "auto|float32|bfloat16|float16"),
        ("--batch-size", "0", "N|auto"),
        ("--seed", "-1", "N"),
        ("--profile", "fast", "quick|standard|full"),
        ("--layer", "last", "auto|N"),
        ("--limit", "0", "N>=2|none"),
        ("--norms", "nowhere.csv", "a path of a CSV or TSV file"),
        ("--output-path", "README-or-pyproject", "a folder, made where it does not exist"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_that_names_option_value_and_what_is_accepted(option: str, value: str, accepted: str) -> None:
    value = str(ROOT / "pyproject.toml") if option == "--output-path" else value
    done = suite(f"{option}={value}", "--collect-only", "-q")
    found = errors(done)
    assert done.returncode == 4
    assert len(found) == 1
    assert f"{option} {value}" in found[0]
    assert found[0].endswith(f"accepted: {accepted}")
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("option", "name"), [("--passages", "shipped"), ("--passages", "self"), ("--norms", "None"), ("--vectors", "None")]
)
def test_a_file_whose_name_in_a_record_would_stand_for_no_file_is_refused(option: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    done = suite(f"{option}={tmp_path / name}", "--collect-only", "-q")
    assert done.returncode == 4
    (found,) = errors(done)
    assert f"{option} {tmp_path / name}: a run would record it as if no file was given; accepted: " in found


def test_vectors_of_a_limited_run_are_not_exported(tmp_path: Path) -> None:
    done = suite("--limit=2", f"--export-vectors={tmp_path / 'out'}", "--collect-only", "-q")
    assert done.returncode == 4
    (found,) = errors(done)
    assert f"--limit 2 with --export-vectors {tmp_path / 'out'}: accepted: one of the two" in found
    assert not (tmp_path / "out").exists()


def test_help_lists_every_option_and_imports_no_torch() -> None:
    done = suite("--help", *CANNED)
    assert done.returncode == 0
    for option in ("--model", "--revision", "--device", "--dtype", "--batch-size", "--profile", "--layer", "--limit", "--norms"):
        assert option in done.stdout
    assert "heavy modules: none" in done.stdout


def test_collection_imports_no_torch_and_a_repeated_model_counts_once() -> None:
    done = suite("--collect-only", "-q", "--model", "reference", "--model", "gpt2", "--model", "reference", *CANNED)
    ids = [line for line in done.stdout.splitlines() if "::" in line]
    assert done.returncode == 0
    assert "heavy modules: none" in done.stdout
    assert len(ids) == len(set(ids)) == 2 * sum(path.read_text("utf-8").count("[[case]]") for path in (ROOT / "cases").glob("*.toml"))
    # one model is alive at a time
    assert ["gpt2" in line for line in ids] == sorted("gpt2" in line for line in ids)


def test_a_folder_counts_once_however_it_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    spelled = [f"{tmp_path}/model", f"{tmp_path}/model/", f"{tmp_path}/model/../model"]
    done = suite("--collect-only", "-q", *(f"--model={name}" for name in spelled), *CANNED)
    ids = [line for line in done.stdout.splitlines() if "::" in line]
    assert len(ids) == len(set(ids)) == sum(path.read_text("utf-8").count("[[case]]") for path in (ROOT / "cases").glob("*.toml"))


def test_hypothesis_is_not_imported_to_say_that_it_has_nothing_to_say() -> None:
    done = suite("--collect-only", "-q", *CANNED, PYTEST_DISABLE_PLUGIN_AUTOLOAD="")
    assert done.returncode == 0
    assert "heavy modules: none" in done.stdout


@pytest.fixture(scope="module")
def all_supported(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    root = tmp_path_factory.mktemp("complete")
    return suite(*CANNED, "--model", "tiny", "--output-path", str(root)), written(root)["tiny"]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    root = tmp_path_factory.mktemp("mixed")
    arguments = ("-k", "separation", "--model", "tiny", "--output-path", str(root), "--junit-xml", str(root / "junit.xml"), "--log-samples")
    return suite(*CANNED, *arguments, "-v", "-rA", CANNED=json.dumps(VERDICTS)), written(root)["tiny"]


def test_a_complete_run_with_every_judged_claim_supported_exits_with_0(all_supported: Any) -> None:
    done, folder = all_supported
    run = json.loads((folder / "run.json").read_text("utf-8"))
    assert done.returncode == 0, done.stdout
    assert run["complete"]
    assert run["incomplete_because"] == []
    assert {f"{r['family']}/{r['case']}" for r in run["records"] if r["verdict"] == "supported"} == set(judged_cases())
    assert {r["verdict"] for r in run["records"]} == {"supported", "reported"}
    assert "INCOMPLETE" not in done.stdout + (folder / "report.md").read_text("utf-8")


def test_each_verdict_has_its_outcome(mixed: Any) -> None:
    done, _ = mixed
    outcome = {m[2]: m[1] for m in re.finditer(r"^(PASSED|FAILED|XFAIL|SKIPPED|ERROR) .*?\[(?:tiny-)?([\w-]+)\]", done.stdout, re.M)}
    lines = done.stdout.splitlines()
    assert outcome["natural-present"] == "FAILED"
    assert outcome["natural-beyond-words"] == "XFAIL"
    assert outcome["matched-beyond-words"] == "FAILED"
    assert "1 skipped" in lines[-3] + lines[-2] + lines[-1]
    assert any(line.startswith("SKIPPED") and line.endswith("it has no chat template") for line in lines)


def test_a_refuted_claim_says_why_in_one_line_of_the_fixed_grammar(mixed: Any) -> None:
    done, _ = mixed
    line = r"^AUROC = 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\], claim needs > 0\.500 \(untrained twin\) \(n=40, clusters=40\) "
    assert len(re.findall(line + r"\[held_out_separation/natural-present on tiny\]$", done.stdout, re.M)) == 1


def test_the_records_say_what_the_outcomes_say(mixed: Any) -> None:
    _, folder = mixed
    rows = {f"{r['family']}/{r['case']}": r for r in rows_of(folder)}
    assert {key: row["verdict"] for key, row in rows.items()} == VERDICTS
    assert rows["separation/matched-present"]["reason"] == "it has no chat template"
    assert rows["separation/matched-beyond-words"]["reason"] == "RuntimeError: it broke"
    assert rows["separation/matched-beyond-words"]["value"] is None


def test_a_broken_or_refuted_case_makes_the_exit_status_1_and_a_broken_one_the_run_incomplete(mixed: Any) -> None:
    done, folder = mixed
    reasons = json.loads((folder / "run.json").read_text("utf-8"))["incomplete_because"]
    assert done.returncode == 1
    assert "1 cases broke: separation/matched-beyond-words" in reasons
    assert any(reason.endswith("cases were not run") for reason in reasons)


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "1")], ids=["alone", "with xdist"])
def test_a_record_that_breaks_the_rules_is_an_error_of_its_case_and_the_run_goes_on(workers: tuple[str, ...], tmp_path: Path) -> None:
    words = (*workers, "-k", "separation", "--model", "tiny", "--output-path", str(tmp_path), "--log-samples")
    done = suite(*CANNED, *words, CANNED='{"separation/natural-present": "unsound"}')
    rows = {f"{r['family']}/{r['case']}": r for r in rows_of(written(tmp_path)["tiny"])}
    broken = rows["separation/natural-present"]
    assert done.returncode == 1
    assert "INTERNALERROR" not in done.stdout + done.stderr
    assert "1 failed, 3 passed" in done.stdout
    assert {key: row["verdict"] for key, row in rows.items()} == {**dict.fromkeys(FOUR, "supported"), "separation/natural-present": "error"}
    assert broken["reason"] == "RecordError: separation/natural-present: layer 'the first'; accepted: a whole number"
    assert (broken["value"], broken["net"], broken["items"]) == (None, None, [])
    assert "separation/natural-present: layer 'the first'; accepted: a whole number" in done.stdout


def test_numpy_values_cross_to_the_record_as_built_in_ones_and_not_a_number_as_null(mixed: Any) -> None:
    _, folder = mixed
    row = next(r for r in rows_of(folder) if r["verdict"] == "refuted")
    assert row["items"][3]["rank"] == 3
    assert row["items"][3]["hit"] is True
    assert row["details"] == {"matrix": [[1.0, 0.0], [0.0, 1.0]], "nothing": None, "count": 3, "pooling": "none"}


def test_junit_has_short_properties_and_neither_items_nor_texts(mixed: Any) -> None:
    _, folder = mixed
    path = folder.parents[2] / "junit.xml"
    found = {}
    for test in ET.parse(path).getroot().iter("testcase"):
        found[test.get("name", "")] = {p.get("name"): p.get("value") for p in test.iter("property")}
    refuted = next(p for name, p in found.items() if "natural-present" in name)
    assert refuted["verdict"] == "refuted"
    assert refuted["claim"] == "held_out_separation"
    assert all(properties["verdict"] == VERDICTS[f"separation/{properties['case']}"] for properties in found.values())
    assert max(len(str(v)) for properties in found.values() for v in properties.values()) < 200
    assert not {"record", "subject", "samples"} & {key for properties in found.values() for key in properties}


def test_logged_samples_hold_a_text_for_every_item_that_was_measured(mixed: Any) -> None:
    _, folder = mixed
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text("utf-8").splitlines()]
    assert len(samples) == sum(len(row["items"]) for row in rows_of(folder)) > 0
    assert all(sample["texts"] == [f"the text of {sample['id']}"] for sample in samples)


def test_nothing_supported_exits_with_1_though_no_test_failed(tmp_path: Path) -> None:
    done = suite(*CANNED, "-k", "natural-present", "--output-path", str(tmp_path), CANNED='{"separation/natural-present": "inconclusive"}')
    assert "1 xfailed" in done.stdout
    assert done.returncode == 1


def test_of_processes_that_share_a_model_one_reports_and_the_others_end_well_in_silence(tmp_path: Path) -> None:
    refuted = '{"separation/natural-present": "refuted"}'
    chosen = ("-k", "natural-present", "--output-path", str(tmp_path / "out"))
    other = suite(*CANNED, *chosen, CANNED=refuted, RANK="1", WORLD_SIZE="2")
    assert other.returncode == 0
    assert other.stdout.strip() == "heavy modules: none"  # the canned plugin's own word
    assert not (tmp_path / "out").exists()
    first = suite(*CANNED, *chosen, CANNED=refuted, RANK="0", WORLD_SIZE="2")
    assert first.returncode == 1
    assert "natural-present" in first.stdout
    assert written(tmp_path / "out")


def test_a_model_that_cannot_be_built_gives_error_records_under_its_name(tmp_path: Path) -> None:
    done = suite(*CANNED, "-k", "separation", "--model", "breaks", "--output-path", str(tmp_path))
    rows = rows_of(written(tmp_path)["breaks"])
    assert done.returncode == 1
    assert {row["reason"] for row in rows} == {"RuntimeError: it cannot be built"}
    assert sorted(f"separation/{row['case']}" for row in rows) == sorted(FOUR)


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "1")], ids=["alone", "with xdist"])
def test_a_refused_model_ends_the_run_before_anything_is_recorded(workers: tuple[str, ...], tmp_path: Path) -> None:
    done = suite(*CANNED, *workers, "--model", "missing", "--output-path", str(tmp_path))
    assert done.returncode == 4, done.stdout
    assert errors(done) == ["ERROR: --model missing: no such folder; accepted: a folder"]
    assert not list(tmp_path.iterdir())


def test_a_table_of_norms_that_cannot_be_used_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    norms = tmp_path / "norms.csv"
    norms.write_text("Word,Valence\nhappy,0.9\n", "utf-8")
    done = suite(*CANNED, "--norms", str(norms))
    assert done.returncode == 4
    assert len(errors(done)) == 1
    assert errors(done)[0].startswith(f"ERROR: --norms {norms}: norms.csv has columns ['Word', 'Valence']; wants Word and ")


def test_a_model_that_is_not_there_is_refused_in_one_line_without_traceback(tmp_path: Path) -> None:
    done = suite("--model", str(tmp_path / "nowhere"), "-q")
    found = errors(done)
    assert done.returncode == 4
    assert len(found) == 1
    assert f"--model {tmp_path / 'nowhere'}: no such folder" in found[0]
    assert "reference" in found[0].split("accepted: ")[1]
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path, str]:
    root = tmp_path_factory.mktemp("limited")
    name = "reference-xs" if (FOLDER / "reference-xs" / "model.safetensors").is_file() else "reference-untrained"
    done = suite("--model", name, "--model", name, "--limit", "2", "-k", "separation", "--output-path", str(root), "-q")
    return done, written(root)[name], name


def test_a_limited_run_on_a_reference_model_writes_its_files_and_is_marked_incomplete(limited: Any) -> None:
    done, folder, name = limited
    run = json.loads((folder / "run.json").read_text("utf-8"))
    report = (folder / "report.md").read_text("utf-8")
    assert len(rows_of(folder)) == len(run["records"]) == 4
    assert run["subject"]["model"] == name
    assert not run["complete"]
    assert "--limit 2" in run["incomplete_because"]
    cases = sum(len(claim.cases) for claim in load_claims().values())
    assert f"INCOMPLETE: {cases - 4} of {cases} cases were not run; --limit 2" in done.stdout
    assert "INCOMPLETE" in report
    assert str(folder / "report.md") in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock",
        "begun.json",
        "figures",
        "records.jsonl",
        "records.sums",
        "report.html",
        "report.md",
        "run.json",
    ]


def test_two_workers_make_the_same_records_as_one_process(limited: Any, tmp_path: Path) -> None:
    _, folder, name = limited
    chosen = ("-k", "separation and beyond", "--limit", "2", "--model", name)
    done = suite(*chosen, "--output-path", str(tmp_path), "-q", "-p", "xdist", "-n", "2")
    assert "2 xfailed" in done.stdout, done.stdout
    alone, together = ({row["case"]: row for row in rows_of(f)} for f in (folder, written(tmp_path)[name]))
    assert together == {case: row for case, row in alone.items() if "beyond" in case}


def test_every_option_is_described() -> None:
    options = re.findall(r'^\s+(?:group\.add)?option\(\s*"(--[a-z-]+)"', (ROOT / "conftest.py").read_text("utf-8"), re.M)
    text = (ROOT / "docs" / "running.md").read_text("utf-8")
    assert len(options) >= 13
    assert [option for option in options if option not in text] == []
