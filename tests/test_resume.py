"""Self-tests of resuming: nothing that stands is measured again, nothing that was cut short or changed counts, no folder is shared."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reports.resume import ASKED, ResumeError, Resumption, asked, begin, chosen, newest, resumed, settled, standing
from reports.store import BEGUN, RECORDS, SAMPLES, SUMS, append, append_record
from tests.runs import ROOT, plain_record, rows_of, suite, written

SUBJECT = {"model": "tiny", "revision": "r1", "device": "cpu", "dtype": "float32"}
CANNED = ("-p", "tests.canned", "--model", "tiny", "-q")
CHOSEN = ("-k", "separation or kinds")


def options(**changes: Any) -> Any:
    told = dict.fromkeys(ASKED) | {"seed": "0", "model": ["tiny"], "revision": None} | changes
    return SimpleNamespace(**told)


def row(case: str, **changes: Any) -> dict[str, Any]:
    return plain_record(case=case, **changes)


def begun(root: Path, *cases: str, stamp: str = "20260101T000000Z") -> Path:
    """A run that was killed after some cases; its lock went with its process."""
    run = begin(root, SUBJECT, stamp, "2026-01-01T00:00:00+00:00", asked(options(), "tiny"))
    for case in cases:
        append_record(run.folder, row(case))
    run.lock.release()
    return run.folder


def measured(done: subprocess.CompletedProcess[str]) -> list[str]:
    found = re.search(r"^measured: (.*)$", done.stderr, re.M)
    assert found, done.stdout + done.stderr
    return found[1].split()


def bare(report: str) -> str:
    """A report without the seconds that it took and the commit that made it."""
    return re.sub(r"^(- suite .*) at [0-9a-f]{12}(, changed since)?(; .*); \d+ s$", r"\1\3", report, flags=re.M)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("undisturbed")
    suite(*CANNED, *CHOSEN, "--output-path", str(root), "--log-samples")
    return written(root)["tiny"]


def same_as(undisturbed: Path, folder: Path) -> None:
    ours, theirs = (json.loads((f / "run.json").read_text("utf-8")) for f in (folder, undisturbed))
    assert ours["records"] == theirs["records"]
    assert ours["incomplete_because"] == theirs["incomplete_because"]
    assert rows_of(folder) == ours["records"]
    assert bare((folder / "report.md").read_text("utf-8")) == bare((undisturbed / "report.md").read_text("utf-8"))
    assert (folder / SAMPLES).read_text("utf-8") == (undisturbed / SAMPLES).read_text("utf-8")


@pytest.mark.parametrize("after", [1, 4])
def test_a_run_that_was_killed_ends_as_an_undisturbed_one_and_measures_no_case_twice(after: int, undisturbed: Path, tmp_path: Path) -> None:
    first = suite(*CANNED, *CHOSEN, "--output-path", str(tmp_path), "--log-samples", CANNED_KILLED_AFTER=str(after))
    assert first.returncode == -signal.SIGKILL
    second = suite(*CANNED, *CHOSEN, "--output-path", str(tmp_path), "--log-samples", "--resume")
    (folder,) = tmp_path.glob("*/*/*")
    every = [f"{r['family']}/{r['case']}" for r in rows_of(undisturbed)]
    assert measured(second) == every[after:]
    assert f"{after} records stood" in second.stdout
    same_as(undisturbed, folder)


def test_two_workers_go_on_with_the_same_run(undisturbed: Path, tmp_path: Path) -> None:
    suite(*CANNED, *CHOSEN, "--output-path", str(tmp_path), "--log-samples", CANNED_KILLED_AFTER="3")
    (folder,) = tmp_path.glob("*/*/*")
    before = rows_of(folder)
    suite(*CANNED, *CHOSEN, "--output-path", str(tmp_path), "--log-samples", f"--resume={folder}", "-p", "xdist", "-n", "2")
    assert [path.name for path in tmp_path.glob("*/*/*")] == [folder.name]
    assert rows_of(folder)[:3] == before
    ours, theirs = (json.loads((f / "run.json").read_text("utf-8"))["records"] for f in (folder, undisturbed))
    assert ours == theirs


def test_a_case_that_broke_is_measured_again_and_leaves_no_second_record(undisturbed: Path, tmp_path: Path) -> None:
    broke = json.dumps({"separation/natural-present": "error", "separation/matched-present": "not applicable"})
    suite(*CANNED, *CHOSEN, "--output-path", str(tmp_path), "--log-samples", CANNED=broke)
    second = suite(*CANNED, *CHOSEN, "--output-path", str(tmp_path), "--log-samples", "--resume")
    (folder,) = tmp_path.glob("*/*/*")
    assert measured(second) == ["separation/natural-present"]
    found = {r["case"]: r for r in rows_of(folder)}
    assert len(found) == len(rows_of(folder)) == len(rows_of(undisturbed))
    assert found["natural-present"]["verdict"] == "supported"
    assert (found["matched-present"]["verdict"], found["matched-present"]["reason"]) == ("not applicable", "it has no chat template")


def test_every_record_carries_the_hash_of_the_stimuli_and_on_other_stimuli_none_is_kept(undisturbed: Path, tmp_path: Path) -> None:
    told = json.dumps({"separation/natural-present": "error", "separation/matched-present": "not applicable"})
    first = suite(*CANNED, *CHOSEN, "--output-path", str(tmp_path), CANNED=told)
    (folder,) = tmp_path.glob("*/*/*")
    assert {r["stimuli"] for r in rows_of(folder)} == {"0123456789ab"}
    second = suite(*CANNED, *CHOSEN, "--output-path", str(tmp_path), "--resume", CANNED_STIMULI="ba9876543210")
    every = [f"{r['family']}/{r['case']}" for r in rows_of(undisturbed)]
    assert measured(first) == measured(second) == every
    assert [path.name for path in tmp_path.glob("*/*/*")] == [folder.name]
    records = json.loads((folder / "run.json").read_text("utf-8"))["records"]
    assert {(r["stimuli"], r["verdict"]) for r in records if r["case"] == "matched-present"} == {("ba9876543210", "supported")}
    assert {r["stimuli"] for r in records} == {"ba9876543210"}


def test_records_that_were_not_looked_at_again_are_kept_and_keep_the_run_incomplete(tmp_path: Path) -> None:
    suite(*CANNED, "-k", "kinds", "--output-path", str(tmp_path))
    second = suite(*CANNED, "-k", "natural-present", "--output-path", str(tmp_path), "--resume")
    (folder,) = tmp_path.glob("*/*/*")
    run = json.loads((folder / "run.json").read_text("utf-8"))
    assert measured(second) == ["separation/natural-present"]
    assert {r["family"] for r in run["records"]} == {"kinds", "separation"}
    assert any("records of an earlier session were not looked at again" in reason for reason in run["incomplete_because"])


@pytest.mark.parametrize("seed", range(20))
def test_a_file_cut_at_any_byte_gives_the_whole_records_before_the_cut_and_nothing_else(seed: int, tmp_path: Path) -> None:
    cases = [f"case-{i}" for i in range(6)]
    folder = begun(tmp_path, *cases)
    whole = (folder / RECORDS).read_bytes()
    cut = random.Random(seed).randrange(len(whole))
    (folder / RECORDS).write_bytes(whole[:cut])
    run = resumed(folder, asked(options(), "tiny"))
    # a line that lacks nothing but its line break is whole
    kept = (whole[:cut] + b"\n").count(b"}\n") if whole[:cut].endswith(b"}") and whole[cut : cut + 1] == b"\n" else whole[:cut].count(b"\n")
    assert list(run.rows.values()) == [row(case) for case in cases[:kept]]
    append_record(folder, row("next"))
    assert [r["case"] for r in rows_of(folder)] == [*cases[:kept], "next"]
    assert run.dropped == int(not (whole[:cut] + b"\n").endswith(b"}\n") and cut > 0 and not whole[:cut].endswith(b"\n"))


def test_a_record_whose_bits_were_flipped_does_not_count_though_it_parses(tmp_path: Path) -> None:
    folder = begun(tmp_path, "one", "two", "three")
    path = folder / RECORDS
    text = path.read_text("utf-8").split("\n")
    text[1] = text[1].replace('"value": 0.9', '"value": 0.1')
    path.write_text("\n".join(text), "utf-8")
    rows, bad = standing(folder)
    assert ([r["case"] for r in rows], bad) == (["one", "three"], 1)
    run = resumed(folder, asked(options(), "tiny"))
    assert list(run.rows) == [("separation", "one"), ("separation", "three")]
    assert [r["case"] for r in rows_of(folder)] == ["one", "three"]


def test_a_record_without_its_sum_does_not_count(tmp_path: Path) -> None:
    folder = begun(tmp_path, "one", "two")
    sums = (folder / SUMS).read_text("utf-8").splitlines(keepends=True)
    (folder / SUMS).write_text(sums[0] + sums[1][:5], "utf-8")
    assert [r["case"] for r in standing(folder)[0]] == ["one"]


def test_samples_of_records_that_do_not_stand_are_dropped(tmp_path: Path) -> None:
    folder = begun(tmp_path, "one")
    told = [{"claim": "held_out_separation", "case": case, "texts": [case]} for case in ("one", "two")]
    append(folder / SAMPLES, told)
    (folder / SAMPLES).write_bytes((folder / SAMPLES).read_bytes() + b'{"claim": "held_out')
    resumed(folder, asked(options(), "tiny"))
    assert [json.loads(line)["case"] for line in (folder / SAMPLES).read_text("utf-8").splitlines()] == ["one"]


def test_only_a_record_of_the_same_subject_version_and_stimuli_is_recalled(tmp_path: Path) -> None:
    recall = Resumption([resumed(begun(tmp_path, "one"), asked(options(), "tiny"))]).recall
    key, version, stimuli = ("separation", "one"), "abcdef012345", "0123456789ab"
    assert recall(SUBJECT, key, version, stimuli) == row("one")
    assert recall({**SUBJECT, "revision": "r2"}, key, version, stimuli) is None
    assert recall({**SUBJECT, "dtype": "bfloat16"}, key, version, stimuli) is None
    assert recall(SUBJECT, key, "other", stimuli) is None
    assert recall(SUBJECT, key, version, "other") is None
    assert recall(SUBJECT, ("separation", "two"), version, stimuli) is None


def test_a_record_that_does_not_say_on_which_stimuli_it_was_made_is_not_recalled(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    append_record(folder, row("chat", verdict="not applicable", reason="it has no chat template", stimuli=None))
    recall = Resumption([resumed(folder, asked(options(), "tiny"))]).recall
    assert recall(SUBJECT, ("separation", "chat"), "abcdef012345", "0123456789ab") is None


def test_the_newest_incomplete_run_of_the_same_options_that_nobody_writes_in_is_found(tmp_path: Path) -> None:
    asking = asked(options(), "tiny")
    old, mid, new, done = (begun(tmp_path, "one", stamp=f"2026010{i}T000000Z") for i in range(1, 5))
    (done / "run.json").write_text('{"complete": true}', "utf-8")
    (new / "run.json").write_text('{"complete": fal', "utf-8")
    first = newest(tmp_path, asking)
    assert first is not None
    assert first.folder == new
    second = newest(tmp_path, asking)
    assert second is not None
    assert second.folder == mid
    assert newest(tmp_path, {**asking, "seed": "1"}) is None
    first.lock.release()
    assert first.folder != old


def test_a_folder_in_which_another_run_writes_is_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path, "one")
    holder = resumed(folder, asked(options(), "tiny"))
    with pytest.raises(ResumeError, match="another run is writing in it"):
        resumed(folder, asked(options(), "tiny"))
    holder.lock.release()
    resumed(folder, asked(options(), "tiny"))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("nothing", "it has no begun.json"),
        ("torn", "its begun.json cannot be read"),
        ("seed", "it was begun with seed 0, not 1"),
        ("torch", "it was begun with torch 0.0, and"),
        ("two models", "that is one run, and 2 models are asked for"),
    ],
)
def test_a_folder_that_cannot_be_resumed_is_refused_in_one_line(fault: str, said: str, tmp_path: Path) -> None:
    folder = begun(tmp_path, "one")
    path = folder / BEGUN
    if fault == "nothing":
        path.unlink()
    elif fault == "torn":
        path.write_bytes(path.read_bytes()[:40])
    elif fault == "torch":
        document = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps({**document, "versions": {**document["versions"], "torch": "0.0"}}), "utf-8")
    given = options(seed="1" if fault == "seed" else "0", model=["tiny", "other"] if fault == "two models" else ["tiny"])
    with pytest.raises(ResumeError) as raised:
        chosen(str(folder), tmp_path, given)
    assert str(raised.value).startswith(f"--resume {folder}: {said}")
    assert "; accepted: " in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_wrong_folder_ends_the_run_with_status_4_and_one_line(tmp_path: Path) -> None:
    done = suite(*CANNED, "--resume", str(tmp_path))
    found = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR")]
    assert done.returncode == 4
    assert len(found) == 1
    assert found[0].startswith(f"ERROR: --resume {tmp_path}: it has no begun.json; accepted: ")
    assert "Traceback" not in done.stdout + done.stderr


def test_files_named_by_options_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    path = tmp_path / "norms.csv"
    path.write_text("a", "utf-8")
    first = asked(options(norms=str(path)), "tiny@main")
    path.write_text("b", "utf-8")
    assert first != asked(options(norms=str(path)), "tiny@main")
    assert (first["model"], first["revision"]) == ("tiny", "main")


def test_seconds_of_earlier_sessions_are_counted_up_to_their_last_record(tmp_path: Path) -> None:
    folder = begun(tmp_path, "one")
    document = json.loads((folder / BEGUN).read_text("utf-8"))
    (folder / BEGUN).write_text(json.dumps({**document, "session": time.time() - 100}), "utf-8")
    os.utime(folder / RECORDS, (time.time() - 40, time.time() - 40))
    run = resumed(folder, asked(options(), "tiny"))
    assert run.elapsed() == pytest.approx(60, abs=2)
    rows, reasons = settled([row("two")], run)
    assert {r["case"] for r in rows} == {"one", "two"}
    assert reasons == ("1 records of an earlier session were not looked at again",)


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begun(tmp_path, "one")
    before = (folder / RECORDS).read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        append_record(folder, row("two"))
    assert (folder / RECORDS).read_bytes() == before


def test_a_disk_that_fills_up_ends_the_run_in_one_line_and_it_can_be_gone_on_with(undisturbed: Path, tmp_path: Path) -> None:
    # the third record no longer fits
    size = (undisturbed / RECORDS).stat().st_size // 3
    first = suite(*CANNED, *CHOSEN, "--output-path", str(tmp_path), "--log-samples", CANNED_FILE_LIMIT=str(size))
    (folder,) = tmp_path.glob("*/*/*")
    assert first.returncode == 1
    assert "what was recorded is kept, and --resume goes on with it" in first.stdout + first.stderr
    assert "Traceback" not in first.stdout + first.stderr
    assert "INTERNALERROR" not in first.stdout + first.stderr
    assert 0 < len(rows_of(folder)) < len(rows_of(undisturbed))
    suite(*CANNED, *CHOSEN, "--output-path", str(tmp_path), "--log-samples", "--resume")
    same_as(undisturbed, folder)


@pytest.mark.slow
def test_killed_at_twenty_random_moments_it_still_ends_as_an_undisturbed_run(undisturbed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "CANNED_SECONDS": "0.3"}
    command = [sys.executable, "-m", "pytest", "benchmark", "-p", "no:cacheprovider", *CANNED, *CHOSEN, "--log-samples", "--resume"]
    draw, start = random.Random(0), time.monotonic()
    subprocess.run([*command, "--output-path", str(tmp_path / "timed")], cwd=ROOT, env=environment, capture_output=True, check=False)
    whole = time.monotonic() - start
    records = 0
    for number in range(20):
        root = tmp_path / str(number // 4)  # four kills in the life of each of five runs
        arguments = [*command, "--output-path", str(root)]
        process = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.4, 1.0) * whole)
        process.kill()
        process.wait()
        records += sum(len(path.read_bytes().split(b"\n")) - 1 for path in root.glob(f"*/*/*/{RECORDS}"))
    for run in range(5):
        suite(*CANNED, *CHOSEN, "--output-path", str(tmp_path / str(run)), "--log-samples", "--resume")
        done = [path for path in (tmp_path / str(run)).glob("*/*/*") if (path / "run.json").exists()]
        assert done
        for folder in done:
            same_as(undisturbed, folder)
    assert records  # some were killed after they had recorded something
