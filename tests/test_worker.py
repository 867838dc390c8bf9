"""A worker judges in a process of its own, sends what it has, goes on with what a lost one had, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cases.claims import load_claims
from cluster.board import Board
from cluster.driver import complaint
from cluster.home import land
from cluster.worker import Killed, added, judge
from tests.runs import ROOT, rows_of
from tests.test_cluster import CODE, SETTINGS, job

# workers


def test_a_worker_judges_with_the_suite_and_sends_the_files_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANNED", '{"separation/natural-present": "refuted"}')
    told: list[tuple[int, str]] = []
    words = job("tiny", settings=replace(SETTINGS, chosen="separation")).arguments()
    harvest = judge([*words, "-p", "tests.canned"], lambda records, claim, parts: told.append((records, claim)), ROOT)
    assert harvest["status"] == 1, harvest["output"]
    assert told
    assert told == sorted(told)
    landed = land(tmp_path, harvest["files"], job(), code=CODE, status=1, attempts=1)
    assert len((landed.folder / "records.jsonl").read_text("utf-8").splitlines()) == 4
    assert all(isinstance(content, bytes) for content in harvest["files"].values())


def test_a_worker_that_cannot_judge_sends_no_files_and_what_pytest_said() -> None:
    harvest = judge(["--model=missing", "-p", "tests.canned"], lambda *told: None, ROOT)
    assert (harvest["status"], harvest["files"]) == (4, {})
    assert complaint(harvest["output"]) == "--model missing: no such folder; accepted: a folder"


def test_a_suite_that_is_killed_by_a_signal_is_a_reason_to_try_again(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster/tether.py").write_text("import os\nos.kill(os.getpid(), 9)\n", "utf-8")
    with pytest.raises(Killed, match="signal 9"):
        judge([], lambda *told: None, tmp_path)


def test_another_worker_goes_on_with_what_a_lost_one_had_told_and_measures_nothing_twice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    board, words = Board(), [*job("tiny", settings=replace(SETTINGS, chosen="separation")).arguments(), "-p", "tests.canned"]
    monkeypatch.setenv("CANNED_SECONDS", "0.8")
    monkeypatch.setenv("CANNED_KILLED_AFTER", "3")
    first, begun = board.begin(0, "a", 1)
    assert (first, begun) == (0, {})
    with pytest.raises(Killed):
        judge(words, lambda *told: board.tell(0, first, *told))
    second, begun = board.begin(0, "b", 2)
    kept = board.read()[0][1].kept
    assert kept in (2, 3)  # what was recorded in the last half second may not have been told
    monkeypatch.delenv("CANNED_KILLED_AFTER")
    harvest = judge(words, lambda *told: board.tell(0, second, *told), begun=begun)
    cases = [case.name for case in load_claims()["separation"].cases]
    assert re.findall(r"separation/([\w-]+)", harvest["output"].split("measured: ")[1]) == cases[kept:]
    landed = land(tmp_path, harvest["files"], job(), code=CODE, status=harvest["status"], attempts=2)
    assert [row["case"] for row in rows_of(landed.folder)] == cases
    # a worker that was thought lost and still speaks changes nothing any more
    board.begin(0, "c", 3)
    before = board.begin(0, "d", 4)[1]
    board.tell(0, second, 9, "fear", [(name, 0, b"") for name in before])
    assert board.begin(0, "e", 5)[1] == before
    board.end(0)
    board.tell(0, 4, 9, "fear", [("m/d/t/records.jsonl", 0, b"{}\n")])


def test_a_run_that_could_not_be_gone_on_with_stays_behind_and_the_new_one_comes_home(tmp_path: Path) -> None:
    words = [*job("tiny", settings=replace(SETTINGS, chosen="separation")).arguments(), "-p", "tests.canned"]
    told: list[tuple[str, int, bytes]] = []
    judge(words, lambda records, claim, parts: told.extend(parts))
    begun = {name: b"".join(content for other, _, content in told if other == name) for name, _, _ in told}
    (place,) = {name.rsplit("/", 1)[0] for name in begun}
    document = json.loads(begun[f"{place}/begun.json"])
    document["subject"]["cuda"] = "of another GPU"
    harvest = judge(words, lambda *told: None, begun={**begun, f"{place}/begun.json": json.dumps(document).encode()})
    landed = land(tmp_path, harvest["files"], job(), code=CODE, status=harvest["status"], attempts=2)
    assert [row["case"] for row in rows_of(landed.folder)] == [case.name for case in load_claims()["separation"].cases]
    assert "not gone on with, its weights, device or packages are other ones; measured anew in" in harvest["output"]


def test_files_in_the_making_are_sent_from_where_the_last_sending_ended_and_shorter_ones_anew(tmp_path: Path) -> None:
    folder, sent = tmp_path / "m" / "d" / "t", dict[str, int]()
    folder.mkdir(parents=True)
    (folder / "records.jsonl").write_bytes(b"one\n")
    (folder / "report.md").write_bytes(b"not needed")
    assert added(tmp_path, sent) == [("m/d/t/records.jsonl", 0, b"one\n")]
    assert added(tmp_path, sent) == []
    (folder / "records.jsonl").write_bytes(b"one\ntwo\n")
    (folder / "begun.json").write_bytes(b"{}")
    assert added(tmp_path, sent) == [("m/d/t/begun.json", 0, b"{}"), ("m/d/t/records.jsonl", 4, b"two\n")]
    (folder / "records.jsonl").write_bytes(b"two\n")
    assert added(tmp_path, sent) == [("m/d/t/records.jsonl", 0, b"two\n")]


WORKER = """
import subprocess, sys, time
process = subprocess.Popen([sys.executable, "-m", "cluster.tether", *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
print(process.pid, flush=True)
process.wait()
"""


def test_when_a_worker_is_killed_its_suite_ends_and_its_folder_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    slow = tmp_path / "test_slow.py"
    slow.write_text(f"import pathlib, time\ndef test_it():\n    pathlib.Path({str(folder / 'begun')!r}).touch()\n    time.sleep(300)\n")
    words = [str(folder), str(slow), "--rootdir", str(tmp_path), "-c", os.devnull, "-p", "no:cacheprovider"]
    with subprocess.Popen([sys.executable, "-c", WORKER, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        suite = int(worker.stdout.readline())
        assert until(lambda: (folder / "begun").exists())
        assert alive(suite)
        worker.send_signal(signal.SIGKILL)
        assert until(lambda: not alive(suite))
    assert not folder.exists()


def until(condition: Any, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(condition())


def alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
