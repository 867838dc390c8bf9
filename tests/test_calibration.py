"""Calibration: rates and goals, power of a known effect, controls, earlier tables and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases.stimuli import load_stimuli
from cases.versions import Current
from fixtures.calibration import controls
from fixtures.calibration.__main__ import MARKS, main
from fixtures.calibration.controls import code_hash, complete, kept, place_of, untrained
from fixtures.calibration.draws import Draw
from fixtures.calibration.power import guards, smallest
from fixtures.calibration.tables import Calibration, Rate, drawn_before
from fixtures.models import load
from fixtures.reference import load_reference
from reports.baseline import write_baseline
from tests.runs import small_record, small_run

PRESENT = load_stimuli("english").hash
NOW = Current({"separation": small_record().version}, (("separation", "natural-present"),), {("english", "core"): PRESENT})


def test_rates_have_wilsons_interval_and_count_judged_verdicts_alone() -> None:
    some = [Draw("m", "a/b", i, v) for i, v in enumerate(["supported", "refuted", "inconclusive", "not applicable", "error", "reported"])]
    rate = Rate.of(some)
    assert (rate.k, rate.n) == (1, 3)
    assert rate.told() == "1 of 3, 0.333 [0.061, 0.792]"  # Wilson 1927
    assert Rate.of([]).told() == "-"


def test_what_misses_a_goal_is_said() -> None:
    bad = [Draw("m", "a/b", i, "supported" if i < 12 else "refuted") for i in range(100)]
    good = [Draw("m", "a/c", i, "supported" if i < 5 else "refuted") for i in range(100)]
    found = Calibration([Draw("p", "a/c", 0, "inconclusive")], [], [*bad, *good], [])
    assert found.misses() == [
        "a/b: false positives 12 of 100, 0.120 [0.070, 0.198] with permuted labels",
        "a/c: supported on 0 of 1 positive controls",
        "all cases: false positives 17 of 200, 0.085 [0.054, 0.132] on labels permuted or vectors at random",
    ]
    assert all(line in found.markdown() for line in found.misses())


def test_cases_that_are_few_each_miss_a_goal_as_a_family() -> None:
    cases = [Draw("m", f"a/{case}", seed, "supported" if seed < 1 else "refuted") for case in "bcd" for seed in range(7)]
    assert Calibration([], cases, [], []).misses() == [
        "a: false positives 3 of 21, 0.143 [0.050, 0.346] on negative controls",
        "all cases: false positives 3 of 21, 0.143 [0.050, 0.346] on negative controls",
    ]
    assert Calibration([], [d for d in cases if d.case != "a/d"], [], []).misses()[0].startswith("all cases: ")  # 2 of 14 say little


def test_what_broke_and_controls_without_a_run_are_never_hidden() -> None:
    found = Calibration(
        [], [], [Draw("m", "a/b", 1, "error", reason="KeyError: 'x'")], [], ["reference-m-seed8: no complete run came of it"]
    )
    assert found.misses() == ["reference-m-seed8: no complete run came of it", "a/b: broke 1 times (KeyError: 'x')"]


def test_what_is_only_reported_has_no_row() -> None:
    found = Calibration(
        [], [Draw("m", "a/told", 0, "reported"), Draw("m", "a/b", 0, "refuted")], [Draw("m", "c/d", 1, "not applicable")], []
    )
    assert found.cases == ["a/b"]
    assert "`c`" not in found.families()


def test_a_hash_of_code_leaves_out_what_only_tells_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = ["benchmark/test_a.py", "cases/a.toml", "fixtures/a.py", "fixtures/calibration/draws.py", "fixtures/calibration/tables.py"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a", "utf-8")
    monkeypatch.setattr(controls, "ROOT", tmp_path)
    before = code_hash()
    for name in files:
        (tmp_path / name).write_text("b", "utf-8")
        changed = code_hash() != before
        assert changed == (name != "fixtures/calibration/tables.py"), name
        before = code_hash()


def test_only_complete_runs_count(tmp_path: Path) -> None:
    for name, whole in (("a", True), ("b", False)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"complete": whole}), "utf-8")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text('{"complete": tr', "utf-8")
    assert complete(tmp_path) == [tmp_path / "a" / "run.json"]


def record(scores: np.ndarray, null: float = 0.5, bar: float = 0.5) -> dict[str, Any]:
    value, error = float(scores.mean()), float(scores.std(ddof=1) / np.sqrt(len(scores)))
    return {
        "family": "a", "case": "b", "verdict": "supported", "best": 1.0, "value": value, "nulls": [{"kind": "permuted labels", "p95": bar}],
        "net": {"value": value - null, "low": value - null - 1.96 * error, "high": value - null + 1.96 * error, "null": null},
        "items": [{"id": str(i), "cluster": str(i), "score": float(s)} for i, s in enumerate(scores)],
    }  # fmt: skip


def test_the_smallest_effect_is_that_of_the_t_test_at_80_per_cent() -> None:
    scores = 0.5 + 0.3 + 0.25 * np.random.default_rng(1).standard_normal(60)
    found = smallest(record(scores), np.random.default_rng(0))
    expected = (2.001 + 0.848) * scores.std(ddof=1) / np.sqrt(60)  # t quantiles with 59 degrees of freedom
    assert found is not None
    assert found.how == "resampled"
    assert found.net == pytest.approx(expected, rel=0.12)


def test_a_guarding_null_raises_the_smallest_effect_and_one_out_of_reach_leaves_none() -> None:
    scores = 0.8 + 0.1 * np.random.default_rng(2).standard_normal(60)
    free, guarded, beyond = (smallest(record(scores, bar=bar), np.random.default_rng(0)) for bar in (0.5, 0.7, 0.99))
    assert free is not None
    assert guarded is not None
    assert beyond is not None
    assert free.net < 0.1 < 0.2 < guarded.net  # type: ignore[operator]
    assert beyond.net is None


def test_random_directions_guard_where_they_were_ranked_and_nowhere_else() -> None:
    scores = 0.8 + 0.1 * np.random.default_rng(2).standard_normal(60)
    random, chance = {"kind": "random directions", "p95": 0.7}, {"kind": "chance", "p95": 0.9}
    permuted = {"kind": "permuted labels", "p95": 0.5}
    single = {**record(scores), "nulls": [random, chance], "rank_p": 0.01}
    assert guards(single) == [random]
    assert guards({**single, "nulls": [random, chance, permuted]}) == [permuted]
    assert guards({**single, "rank_p": None}) == []
    free, guarded = (smallest({**single, "rank_p": p}, np.random.default_rng(0)) for p in (None, 0.01))
    assert free is not None
    assert guarded is not None
    assert free.net < 0.1 < 0.2 < guarded.net  # type: ignore[operator]


def test_the_runs_of_two_folders_of_one_name_or_of_other_weights_are_kept_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "final").mkdir(parents=True)
        (tmp_path / name / "final" / "model.safetensors").write_bytes(name.encode())
    first, second = (place_of(str(tmp_path / name / "final")) for name in ("a", "b"))
    assert first != second
    (tmp_path / "a" / "final" / "model.safetensors").write_bytes(b"c")
    assert place_of(str(tmp_path / "a" / "final")) not in (first, second)
    assert (place_of("reference"), place_of("org/name")) == ("reference", "org--name")


def test_a_folder_of_the_worlds_words_is_judged_on_the_world(tmp_path: Path) -> None:
    kept(tmp_path / "xxs", lambda: load_reference("reference-xxs")[0])
    found = load(str(tmp_path / "xxs"))
    assert (found.stimuli, found.name) == ("world", "xxs")
    assert [p.name for p in tmp_path.iterdir()] == ["xxs"]


def test_random_weights_of_a_seed_are_kept_and_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = Path(untrained(12))
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert untrained(12) == str(folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--model", "gpt2"], "--model gpt2: accepted: reference, "),
        (["--draws", "-1"], "--draws -1 --first-seed"),
        (["--cases", "nothing/*"], "--cases nothing/*: accepted: family/case"),
    ],
)
def test_a_wrong_option_is_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 4
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


SOURCE = {"model": "m", "weights": "sha256:0", "profile": "quick", "first_seed": 5, "draws": 10}


def test_draws_of_an_earlier_table_stand_if_weights_versions_and_numbers_are_the_same() -> None:
    drawn = [Draw("m", f"a/{case}", seed, "supported" if seed < 7 else "refuted") for case in "bc" for seed in range(5, 15)]
    table = Calibration(
        [], [], [*drawn, *[Draw("m", "d/e", s, "refuted") for s in range(5, 14)]], [], (), SOURCE, {"a/b": "1", "a/c": "1", "d/e": "1"}
    )
    told = json.loads(json.dumps(table.plain()))
    now = {"a/b": "1", "a/c": "1", "d/e": "1"}
    assert drawn_before(told, SOURCE, now) == {"a/b": Rate(2, 10), "a/c": Rate(2, 10)}  # of d/e there are nine draws
    assert drawn_before(told, SOURCE, {**now, "a/b": "2"}) == {"a/c": Rate(2, 10)}
    assert drawn_before(told, {**SOURCE, "weights": "sha256:1"}, now) == {}
    assert drawn_before({**told, "cases": {name: {**row, "version": None} for name, row in told["cases"].items()}}, SOURCE, {}) == {}


def test_a_case_that_applies_to_no_draw_is_not_drawn_again_and_stays_out_of_the_table() -> None:
    none = [Draw("m", "a/b", seed, "not applicable") for seed in range(5, 15)]
    some = [Draw("m", "c/d", seed, "not applicable" if seed < 14 else "refuted") for seed in range(5, 15)]
    short = [Draw("m", "e/f", seed, "not applicable") for seed in range(5, 14)]
    now = {"a/b": "1", "c/d": "1", "e/f": "1"}
    table = Calibration([], [], [*none, *some, *short], [], (), SOURCE, now)
    told = json.loads(json.dumps(table.plain()))
    assert drawn_before(told, SOURCE, now) == {"a/b": Rate(0, 0)}
    assert drawn_before(told, SOURCE, {**now, "a/b": "2"}) == {}
    joined = Calibration([], [], [*some, *short], [], (), SOURCE, now, {"a/b": Rate(0, 0)})
    assert (joined.plain(), joined.markdown(), joined.families()) == (table.plain(), table.markdown(), table.families())
    assert joined.cases == ["c/d"]


def test_draws_of_an_earlier_table_count_as_its_own() -> None:
    some = [Draw("m", "a/b", seed, "supported" if seed < 7 else "refuted") for seed in range(5, 15)]
    more = [Draw("m", "c/d", seed, "refuted") for seed in range(5, 15)]
    whole = Calibration([], [], [*some, *more], [], (), SOURCE)
    joined = Calibration([], [], more, [], (), SOURCE, {}, {"a/b": Rate(2, 10)})
    assert (joined.plain(), joined.markdown(), joined.families()) == (whole.plain(), whole.markdown(), whole.families())
    assert "m with its labels permuted" in whole.markdown()
    assert "10 of each case (seeds 5 to 14)" in whole.markdown()


def test_the_command_writes_both_files_and_draws_nothing_that_an_earlier_table_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ["--draws", "2", "--model", "reference-xxs", "--cases", "separation/natural-present", "--seeds", "--output"]
    status = main([*words, str(tmp_path / "one")])
    told = json.loads((tmp_path / "one" / "calibration.json").read_text("utf-8"))
    assert told["cases"]["separation/natural-present"]["false_positives_drawn"]["n"] == 2
    assert "separation/natural-present" in (tmp_path / "one" / "calibration.md").read_text("utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr("fixtures.bench.build", lambda *_: pytest.fail("a model was loaded to be measured"))
    again = [*words, str(tmp_path / "two"), f"--earlier={tmp_path / 'one' / 'calibration.json'}"]
    assert main(again) == status
    assert "1 of 1 cases have their draws in the earlier table" in capsys.readouterr().out
    first, second = ((tmp_path / name / "calibration.json").read_text("utf-8") for name in ("one", "two"))
    assert first == second


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"source": {}}', '{"source": {}, "cases": {"a/b": 1}}'])
def test_an_earlier_table_that_cannot_be_read_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text, "utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["--draws", "0", "--seeds", f"--earlier={path}"])
    assert stopped.value.code == 4
    said = capsys.readouterr().err
    assert "calibration.json: not a calibration.json that says what its draws were made from" in said
    assert said.count("\n") == 1


def test_a_stored_run_is_a_control_unless_it_is_incomplete_or_of_other_claim_versions_stimuli_or_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("fixtures.calibration.__main__.checkout", lambda: NOW)
    unmeasured: dict[str, Any] = {"verdict": "not applicable", "stimuli": None, "value": None, "net": None, "skill": None}
    runs = {
        "one": small_run(small_record(stimuli=PRESENT), small_record(case="unmeasured", **unmeasured)),
        "old": small_run(small_record(version="0" * 12, stimuli=PRESENT)),
        "read": small_run(small_record(stimuli="0" * 12)),
        "less": small_run(small_record(case="other", stimuli=PRESENT)),
        "part": small_run(small_record(stimuli=PRESENT), complete=False),
    }
    for name, run in runs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(run.plain()), "utf-8")
    words = ["--draws", "0", "--seeds", "--output", str(tmp_path), *(f"--negative={tmp_path / name}" for name in (*runs, "one"))]
    (tmp_path / "broken.json").write_text("{", "utf-8")
    words.append(f"--negative={tmp_path / 'broken.json'}")
    assert main(words) == 1
    told = json.loads((tmp_path / "calibration.json").read_text("utf-8"))
    assert told["cases"]["separation/natural-present"]["false_positives_runs"]["n"] == 1
    assert told["missed"] == [
        "tiny: judged by other versions of separation",
        f"tiny: judged on other stimuli (000000000000, now {PRESENT})",
        "tiny: judged without 1 of 1 cases (separation/natural-present)",
        "part: no complete run came of it",
        "broken.json: no complete run came of it",
        "all cases: false positives 1 of 1, 1.000 [0.207, 1.000] on negative controls",
    ]
    assert "whole runs: tiny (quick)." in capsys.readouterr().out


def test_the_file_of_a_baseline_is_a_control_as_its_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.calibration.__main__.checkout", lambda: NOW)
    run = small_run(small_record(stimuli=PRESENT))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(run.plain()), "utf-8")
    tables = []
    for control in (tmp_path / "run", write_baseline(run, tmp_path / "baseline.json")):
        main(["--draws", "0", "--seeds", "--output", str(tmp_path), f"--negative={control}"])
        tables.append(json.loads((tmp_path / "calibration.json").read_text("utf-8")))
    assert tables[0]["cases"] == tables[1]["cases"]
    assert tables[0]["cases"]["separation/natural-present"]["false_positives_runs"]["n"] == 1


def test_negative_controls_may_be_of_other_seeds_than_the_positive_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "trained", lambda name, seed, say: f"{name} {seed}")
    monkeypatch.setattr(controls, "untrained", lambda seed: f"untrained {seed}")
    found = [(one.model, one.positive) for one in controls.controls([7, 10], [8], print)]
    assert found == [("reference 7", True), ("reference 10", True), ("reference-scrambled 8", False), ("untrained 8", False)]


def test_a_readmes_table_is_replaced_between_its_marks_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    text = tmp_path / "README.md"
    text.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n", "utf-8")
    words = ["--draws", "0", "--seeds", "--output", str(tmp_path / "out"), "--readme", str(text)]
    assert main(words) == 0
    written = text.read_text("utf-8")
    assert written.startswith(f"before\n{MARKS[0]}\n| family")
    assert written.endswith(f"{MARKS[1]}\nafter\n")
    assert "old" not in written
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["README.md"]


@pytest.mark.parametrize("text", ["no marks", f"{MARKS[1]} {MARKS[0]}", f"{MARKS[0]}{MARKS[0]}{MARKS[1]}", MARKS[0]])
def test_a_readme_without_its_marks_is_refused_before_anything_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = tmp_path / "README.md"
    path.write_text(text, "utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["--draws", "0", "--seeds", "--readme", str(path)])
    assert stopped.value.code == 4
    assert "it needs one <!-- calibration -->" in capsys.readouterr().err
    assert path.read_text("utf-8") == text


def test_the_table_by_family_adds_the_cases_and_names_the_worst() -> None:
    drawn = [
        Draw("m", f"blackmail/{case}", i, "supported" if i < k else "refuted") for case, k in (("calm", 3), ("sad", 1)) for i in range(10)
    ]
    found = Calibration([Draw("p", "blackmail/calm", 0, "supported")], [], drawn, [])
    row = next(line for line in found.families().splitlines() if "`blackmail`" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "`blackmail`"
    assert cells[1].startswith("1 of 1, 1.000")
    assert cells[3].startswith("4 of 20, 0.200")
    assert cells[4:] == ["random vectors", "calm 0.300"]
