"""Self-tests of the store: what is on the disk, and what is said about files that are no runs."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest

from reports.record import RecordError
from reports.store import append, find_runs, read_run, run_folder, slug, write_run, write_whole
from tests.runs import small_run


def test_each_append_is_one_whole_line_per_row_on_the_disk_when_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    path = tmp_path / "records.jsonl"
    append(path, [{"a": "line\nbreak"}])
    append(path, [{"a": 2}, {"a": 3}])
    lines = path.read_text("utf-8").splitlines()
    assert [json.loads(line)["a"] for line in lines] == ["line\nbreak", 2, 3]
    # everything was handed to the system before it was told to write it out
    assert synced == [len(lines[0]) + 1, path.stat().st_size]


def test_where_the_disk_is_full_a_file_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    append(path, [{"a": 1}])
    before, most = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    # no file grows beyond half of the next line; the signal that says so is ignored by Python
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, most[1]))
    try:
        with pytest.raises(OSError, match="large"):
            append(path, [{"a": "x" * 100}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert path.read_bytes() == before
    append(path, [{"a": 2}])
    assert [json.loads(line)["a"] for line in path.read_text("utf-8").splitlines()] == [1, 2]


def test_a_figure_that_is_no_number_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        append(tmp_path / "records.jsonl", [{"a": float("nan")}])


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_whole(path, "old")

    def interrupted(self: Path, target: Path) -> None:
        assert (path.read_text("utf-8"), self.read_text("utf-8")) == ("old", "new")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_whole(path, "new")
    assert path.read_text("utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]
    write_whole(path, "new")
    assert path.read_text("utf-8") == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("text", "name", "fault"),
    [("new", "folder", IsADirectoryError), ("new", "nowhere/a", FileNotFoundError), ("\ud800", "a", UnicodeEncodeError)],
)
def test_what_cannot_be_written_leaves_no_scratch_file_and_is_named_as_it_was_asked_for(
    text: str, name: str, fault: type[Exception], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(fault) as caught:
        write_whole(tmp_path / name, text)
    assert getattr(caught.value, "filename", str(tmp_path / name)) == str(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_run_folder_is_never_used_twice(tmp_path: Path) -> None:
    subject = {"model": "org/name", "device": "cpu", "dtype": "float32"}
    folders = [run_folder(tmp_path, subject, "20260101T000000Z") for _ in range(3)]
    assert len(set(folders)) == 3
    assert {f.parent for f in folders} == {tmp_path / "org--name" / "cpu-float32"}


def test_a_run_comes_back_as_it_was_written_from_its_file_and_from_its_folder(tmp_path: Path) -> None:
    run = small_run()
    path = write_run(tmp_path, run)
    assert read_run(path) == read_run(tmp_path) == run


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "Expecting property name"),
        (b"\xff\xfe", "decode"),
        (b"[]", "a list; accepted: an object"),
        (b'{"schema": 99}', "schema 99; accepted: 1"),
        (b'{"schema": 1}', "the run is incomplete: 'records'"),
        (b'{"schema": 1, "records": [{"verdict": "good"}]}', "a record is incomplete"),
    ],
)
def test_a_file_that_is_no_run_is_named_with_the_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=reason) as caught:
        read_run(tmp_path)
    assert str(caught.value).startswith(f"{path} is not a run: ")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"tiny"', '"ti\\ud83dny"', r"half of a surrogate pair: .*ti\\ud83dny.*; accepted: whole characters"),
        ("0.86", "1e999", "1e999 is no finite number"),
    ],
)
def test_what_could_not_be_written_again_is_refused_when_it_is_read(old: str, new: str, reason: str, tmp_path: Path) -> None:
    path = write_run(tmp_path, small_run())
    path.write_text(path.read_text("utf-8").replace('"tiny"', r'"ti\ud83d\ude00ny"'), "utf-8")
    assert read_run(path).subject["model"] == "ti\U0001f600ny"  # a whole pair is a character
    write_run(tmp_path, small_run())
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    with pytest.raises(RecordError, match=reason):
        read_run(path)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("gpt2", "gpt2"), ("org/Model-1.5_b", "org--Model-1.5_b"), ("../../etc", "etc"), ("a b@c", "a--b--c"), ("..", "model"), ("", "model")],
)
def test_a_model_name_becomes_one_harmless_folder_name(name: str, folder: str) -> None:
    assert slug(name) == folder


def test_a_run_that_was_stopped_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "begun.json").write_text("{}", "utf-8")
    with pytest.raises(RecordError, match="holds a run that was stopped; accepted: a whole one, and --resume="):
        read_run(tmp_path)


def test_a_folder_of_baselines_stands_for_its_runs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cpu-float32.json").write_text("{}", "utf-8")
        (tmp_path / name / "other.json").write_text("{}", "utf-8")
    assert find_runs([tmp_path]) == [tmp_path / name / "cpu-float32.json" for name in ("a", "b")]
