"""Self-tests of baselines and of the schema: small, complete, readable again, and refused in one line where they do not fit."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from reports import baseline
from reports.__main__ import main
from reports.baseline import baseline_path, baseline_text, find_baseline, write_baseline
from reports.command import CommandError
from reports.paired import difference
from reports.record import Record, RecordError, Run
from reports.render import markdown
from reports.schema import check_document, validator
from reports.store import find_runs, read_run, write_run
from tests.runs import small_record, small_run
from tests.stored import other_model, paired_sides, scored, spread

RUN = small_run(
    scored(spread(0.7), details={"risk": {"value": 1.23456789012, "direction": "+x", "random": 0.1}, "cosines": [[0.1] * 99] * 99}),
    paired_sides(spread(0.8, width=0.2), spread(0.4, width=0.2), case="sides"),
    scored(spread(0.7), "more-than-items", value=0.9),
    small_record(case="chat", verdict="not applicable", reason="no chat template", value=None, net=None, skill=None, items=[]),
)


def test_a_baseline_is_small_and_compares_as_the_run_itself_does(tmp_path: Path) -> None:
    path = write_baseline(RUN, tmp_path / "b.json")
    kept = read_run(path)
    assert [r.id for r in kept.records] == [r.id for r in RUN.records]
    assert path.stat().st_size < len(json.dumps(RUN.plain())) / 4
    assert (kept.records[0].details or {})["risk"]["value"] == pytest.approx(1.234568)
    assert [len(r.items) for r in kept.records] == [40, 40, 0, 0]
    assert set(kept.records[0].items[0]) == {"id", "score"}
    assert set(kept.records[1].items[0]) == {"id", "first", "second"}
    ours = scored(spread(0.6, width=0.07))
    full, slim = difference(ours, RUN.records[0]), difference(ours, kept.records[0])
    assert full is not None
    assert slim is not None
    assert (slim.value, slim.low, slim.high) == pytest.approx((full.value, full.low, full.high), abs=1e-6)


def test_a_baseline_keeps_the_width_of_windows_and_is_shown_without_what_it_lacks(tmp_path: Path) -> None:
    window = {"direction": "calm", "width": 1.25, "largest coherent effect": 2.5, "points": [{"strength": 0.1, "effect": 77.75}]}
    dose = small_record(case="dose", details={"windows": [window], "curve": [{"strength": 0.1, "effect": 66.25}]})
    text = markdown(read_run(write_baseline(small_run(dose), tmp_path / "b.json")))
    assert "1.250" in text
    assert "2.500" in text
    assert [absent for absent in ("77.75", "66.25", "\n**\n", "Source:", "Published:", "95th percentile") if absent in text] == []


def test_the_folder_of_a_baseline_stands_for_it_unless_it_holds_several(tmp_path: Path) -> None:
    write_baseline(RUN, tmp_path / "cpu-float32.json")
    assert read_run(tmp_path) == read_run(tmp_path / "cpu-float32.json")
    write_baseline(RUN, tmp_path / "cuda-bfloat16.json")
    with pytest.raises(RecordError, match=r"holds 2 baselines; accepted: one of them \(cpu-float32.json, cuda-bfloat16.json\)$"):
        read_run(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match=r"empty holds no run; accepted: a run.json, its folder, or a baseline$"):
        read_run(tmp_path / "empty")


def test_one_record_stands_on_one_line_so_that_a_change_shows_in_a_diff() -> None:
    changed = replace(RUN, records=(*RUN.records[:-1], scored(spread(0.9), "chat")))
    lines = [set(baseline_text(run).splitlines()) for run in (RUN, changed)]
    assert len(lines[0] ^ lines[1]) == 2


def test_an_incomplete_run_becomes_no_baseline_and_leaves_the_old_one(tmp_path: Path) -> None:
    path = write_baseline(RUN, tmp_path / "b.json")
    old = path.read_text("utf-8")
    with pytest.raises(CommandError, match="incomplete run: --limit 2"):
        write_baseline(replace(RUN, complete=False, incomplete_because=("--limit 2",)), path)
    assert path.read_text("utf-8") == old


def test_the_command_writes_where_the_gate_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(baseline, "BASELINES", tmp_path / "baselines")
    monkeypatch.setattr(baseline_path, "__defaults__", (tmp_path / "baselines",))
    write_run(tmp_path, RUN)
    assert find_baseline(RUN, None) is None
    assert main(["baseline", str(tmp_path)]) == 0
    assert (tmp_path / "baselines" / "tiny" / "cpu-float32.json").is_file()
    assert "baseline: " in capsys.readouterr().out
    found = find_baseline(RUN, None)
    assert found is not None
    assert found.subject == RUN.subject


def test_names_that_share_a_folder_share_no_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline_path, "__defaults__", (tmp_path,))
    one, other = (replace(RUN, subject={**RUN.subject, "model": name}) for name in ("модель", "模型"))
    path = write_baseline(one)
    assert path == baseline_path(other)
    assert find_baseline(other, None) is None
    with pytest.raises(CommandError, match=r"is the baseline of another model; accepted: --output FILE, beside it"):
        write_baseline(other)
    assert find_baseline(one, None) is not None
    assert write_baseline(one) == path


def test_of_several_baselines_of_a_model_that_of_its_device_and_dtype_is_taken_whatever_the_order() -> None:
    half = replace(RUN, subject={**RUN.subject, "dtype": "bfloat16"})
    assert [find_baseline(RUN, given) for given in ([half, RUN], [RUN, half], [half, other_model(RUN)])] == [RUN, RUN, half]


def test_given_baselines_are_matched_by_model_unless_run_and_baseline_are_alone() -> None:
    a, b = RUN, other_model(RUN)
    assert find_baseline(a, [b], alone=True) is b
    assert find_baseline(a, [b], alone=False) is None
    assert find_baseline(a, [b, a]) is a
    assert find_baseline(a, []) is None


def test_the_schema_names_every_entry_of_run_and_record_and_no_other() -> None:
    schema = validator().schema
    assert set(schema["properties"]) == {f.name for f in fields(Run)}
    assert set(schema["$defs"]["record"]["properties"]) == {f.name for f in fields(Record)}
    check_document(json.loads(json.dumps(RUN.plain())))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"duration": -1}, "duration: -1 is less than the minimum of 0"),
        ({"subject": {}}, "the run, subject: no entry 'model'"),
        ({"options": {**small_run().options, "profile": "fast"}}, "options.profile: 'fast' is not one of"),
        ({"complete": True, "incomplete_because": ["x"]}, "incomplete_because"),
        ({"complete": False}, "incomplete_because"),
        ({"start": "yesterday"}, "start: 'yesterday' does not match"),
        ({"records": [{**small_run().plain()["records"][0], "value": "0.9"}]}, "value '0.9'; accepted: a number"),
        ({"records": [{**small_run().plain()["records"][0], "items": [{"score": 1.0}]}]}, "items[0]: 'id' is a required property"),
        ({"records": [{**small_run().plain()["records"][0], "net": {"value": 1.0}}]}, ", net: no entry 'low'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_schema_is_one_line_with_the_place(
    change: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text(json.dumps({**small_run().plain(), **change}), "utf-8")
    assert main(["show", str(tmp_path)]) == 4
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert len(err) < 600
    assert f"{tmp_path / 'run.json'} is not a run: " in err
    assert said in err


def test_a_figure_that_is_no_number_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({**small_run().plain(), "duration": float("nan")}), "utf-8")
    with pytest.raises(RecordError, match="NaN is not JSON"):
        read_run(tmp_path)


def test_runs_are_found_at_any_depth_and_once(tmp_path: Path) -> None:
    folders = [tmp_path / "a" / "cpu-float32" / "1", tmp_path / "b" / "cpu-float32" / "2"]
    for folder in folders:
        folder.mkdir(parents=True)
        write_run(folder, small_run())
    files = [folder / "run.json" for folder in folders]
    assert find_runs([tmp_path]) == find_runs([tmp_path, files[0], folders[1]]) == files
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(RecordError, match="holds no run; accepted: "):
            find_runs([path])
