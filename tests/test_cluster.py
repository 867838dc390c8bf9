"""Self-tests of judging many models on many machines, as far as they need neither Ray nor a model."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster import session as sessions
from cluster.__main__ import main
from cluster.board import Board, Show
from cluster.driver import complaint
from cluster.home import JOB, RunError, at_home, land, missing
from cluster.job import Job, Settings, identity, jobs
from cluster.parcel import code_hash, pack
from cluster.session import ACCEPTED, ClusterError, environment, session
from reports import record
from tests.runs import ROOT, plain_record, small_record, small_run

CODE = "c0de"
SETTINGS = Settings()


def job(model: str = "tiny", **changes: Any) -> Job:
    return replace(Job(model, model, None, "cpu", "auto", SETTINGS), **changes)


def files(folder: str = "tiny/cpu-float32/20260101T000000Z", **changes: Any) -> dict[str, bytes]:
    """The files of a small run as a worker sends them."""
    run = small_run(small_record(), small_record(case="other"), **changes)
    rows = [plain_record(case=r.case) for r in run.records]
    return {
        f"{folder}/run.json": json.dumps(run.plain()).encode(),
        f"{folder}/records.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode(),
        f"{folder}/report.md": b"# report\n",
        f"{folder}/figures/one.svg": b"<svg/>",
    }


def everything(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


# jobs


def test_there_is_one_job_per_model_device_and_dtype_and_each_once() -> None:
    found = jobs(["a", "b@v2", "a"], ["cpu", "cuda"], ["float32", "bfloat16"], Settings(gpus=1))
    assert [j.label for j in found] == [
        *("a cpu-float32", "a cpu-bfloat16", "a cuda-float32", "a cuda-bfloat16"),
        *("b@v2 cpu-float32", "b@v2 cpu-bfloat16", "b@v2 cuda-float32", "b@v2 cuda-bfloat16"),
    ]
    assert [(j.model, j.revision, j.given) for j in found[4:5]] == [("b", "v2", "b@v2")]
    assert [j.gpus for j in found[:4]] == [0, 0, 1, 1]


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (2, "cuda")])
def test_device_auto_follows_the_gpus_that_are_asked_for(gpus: float, device: str) -> None:
    assert jobs(["a"], ["auto"], ["auto"], Settings(gpus=gpus))[0].device == device


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "other"},
        {"revision": "r2"},
        {"device": "cuda"},
        {"dtype": "float16"},
        *[{"settings": replace(SETTINGS, **change)} for change in ({"profile": "full"}, {"seed": "1"}, {"chosen": "fear"}, {"limit": "2"})],
        {"settings": replace(SETTINGS, more=("--layer", "1"))},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_key_differs_with_all_that_may_move_a_figure(changes: dict[str, Any]) -> None:
    assert job(**changes).key(CODE) != job().key(CODE)
    assert job().key("other code") != job().key(CODE)


def test_a_key_does_not_differ_with_the_cpus_and_survives_json() -> None:
    assert job(settings=replace(SETTINGS, cpus=4.0)).key(CODE) == job().key(CODE)
    key = job(settings=replace(SETTINGS, more=("--layer=1",))).key(CODE)
    assert json.loads(json.dumps(key)) == key


def test_a_local_folder_is_known_by_its_name_and_weights_never_by_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"one")
    name, first, given = identity(os.path.relpath(folder))
    (folder / "model.safetensors").write_bytes(b"two")
    (found,) = jobs([str(folder)], ["cpu"], ["auto"], SETTINGS)
    assert (name, given) == ("mine", str(folder))
    assert first != found.revision
    assert str(tmp_path) not in json.dumps(found.key(CODE)) + found.label
    assert found.arguments()[0] == f"--model={folder}"


def test_a_job_is_judged_with_the_suites_own_options() -> None:
    settings = Settings("full", "3", "fear or flip", "2", ("--layer=1",))
    assert job("gpt2", dtype="bfloat16", settings=settings).arguments() == [
        *("--model=gpt2", "--device=cpu", "--dtype=bfloat16", "--profile=full", "--seed=3", "--limit=2"),
        *("-k", "fear or flip", "--layer=1"),
    ]


# the parcel


def test_the_parcel_is_the_suite_and_its_hash_follows_the_content(tmp_path: Path) -> None:
    code = pack(tmp_path / "one")
    assert code == pack(tmp_path / "two")
    assert (tmp_path / "one/fixtures/reference/weights/reference-xs/model.safetensors").is_file()
    assert (tmp_path / "one/cases/separation.toml").is_file()
    left = [name for name in everything(tmp_path / "one") if "__pycache__" in name or name.startswith((".git", "tests", "reports/runs"))]
    assert left == []
    (tmp_path / "two" / record.STAMP).unlink()
    assert code_hash(tmp_path / "two") == code
    with (tmp_path / "two/cases/separation.toml").open("a") as file:
        file.write("\n")
    assert code_hash(tmp_path / "two") != code


def test_a_parcel_knows_the_version_and_commit_that_it_was_made_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = record.suite_version()
    pack(tmp_path / "suite")
    monkeypatch.setattr(record, "ROOT", tmp_path / "suite")
    assert record.suite_version() == here


# coming home


def test_a_run_lands_whole_with_the_job_that_it_answers(tmp_path: Path) -> None:
    landed = land(tmp_path, files(), job(), code=CODE, status=1, attempts=2)
    assert landed.folder == tmp_path / "tiny/cpu-float32/20260101T000000Z"
    assert {f"{landed.folder.relative_to(tmp_path)}/{name}" for name in ("run.json", "report.md", "figures/one.svg", JOB)} <= set(
        everything(tmp_path)
    )
    assert len(everything(tmp_path)) == 5
    assert (landed.folder / "report.md").read_bytes() == b"# report\n"
    assert json.loads((landed.folder / JOB).read_text("utf-8")) == {"key": job().key(CODE), "status": 1, "attempts": 2}
    assert at_home(tmp_path, job().key(CODE)) == landed


def test_a_second_run_of_the_same_second_replaces_nothing(tmp_path: Path) -> None:
    first = land(tmp_path, files(), job(), code=CODE, status=0, attempts=1)
    second = land(tmp_path, files(), job(), code="other", status=1, attempts=1)
    assert second.folder.name == first.folder.name + "-2"
    assert at_home(tmp_path, job().key(CODE)) == first


@pytest.mark.parametrize("after", range(5))
def test_where_the_disk_is_full_after_any_file_nothing_is_there(after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))

    def full(descriptor: int) -> None:
        if next(calls) == after:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        land(tmp_path, files(), job(), code=CODE, status=0, attempts=1)
    assert list(tmp_path.iterdir()) == []


def renamed(old: str, new: str) -> dict[str, bytes]:
    return {name.replace(old, new): content for name, content in files().items()}


RECORDS = "tiny/cpu-float32/20260101T000000Z/records.jsonl"
ROWS = files()[RECORDS]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (renamed("figures/", "../../../../"), "the worker sent tiny"),
        (renamed("tiny/", "/etc/"), "the worker sent /etc"),
        (renamed("tiny/", "../"), "the worker sent .."),
        (files() | files("tiny/cpu-float32/20260101T000001Z"), "the worker sent 2 run folders"),
        ({}, "the worker sent 0 run folders"),
        ({name: content for name, content in files().items() if "report.md" not in name}, "the worker's run lacks report.md"),
        (files() | {RECORDS.replace("records.jsonl", "run.json"): b"{"}, "the worker's run cannot be read"),
        (files() | {RECORDS: ROWS + ROWS.splitlines(keepends=True)[0]}, "or one was made twice"),
        (files() | {RECORDS: ROWS.splitlines(keepends=True)[0]}, "the worker's run and its records differ"),
        (files(subject={"model": "other"}), "the worker's run is of other"),
    ],
)
def test_files_that_are_not_one_run_of_the_job_are_refused_and_nothing_is_written(
    sent: dict[str, bytes], said: str, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=said):
        land(tmp_path / "home", sent, job(), code=CODE, status=0, attempts=1)
    assert everything(tmp_path) == []


# what is missing


def test_what_is_at_home_is_not_judged_again(tmp_path: Path) -> None:
    landed = land(tmp_path, files(), job(), code=CODE, status=1, attempts=1)
    there, rest = missing(tmp_path, [job(), job("b"), job(dtype="float16")], CODE)
    assert there == {job(): landed}
    assert rest == [job("b"), job(dtype="float16")]
    assert missing(tmp_path, [job()], "new code") == ({}, [job()])
    assert missing(tmp_path / "nowhere", [job()], CODE) == ({}, [job()])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "run.json").write_text("{"),
        lambda folder: (folder / "run.json").unlink(),
        lambda folder: (folder / JOB).write_text("[]"),
        lambda folder: (folder / JOB).write_text('{"key": 1}'),
        lambda folder: (folder / JOB).write_bytes(b"\xff"),
    ],
)
def test_a_run_that_cannot_be_read_is_judged_again(spoil: Any, tmp_path: Path) -> None:
    spoil(land(tmp_path, files(), job(), code=CODE, status=0, attempts=1).folder)
    assert missing(tmp_path, [job()], CODE) == ({}, [job()])


def test_a_run_in_which_a_case_broke_or_was_left_out_is_judged_again(tmp_path: Path) -> None:
    part = job(settings=replace(SETTINGS, chosen="separation"))
    for wanted in (job(), part):
        land(tmp_path, files(complete=False, incomplete_because=("-k separation",)), wanted, code=CODE, status=0, attempts=1)
    assert missing(tmp_path, [job(), part], CODE)[1] == [job()]
    broken = small_run(small_record(verdict="error"), complete=False, incomplete_because=("-k separation",))
    path = at_home(tmp_path, part.key(CODE)).folder / "run.json"  # type: ignore[union-attr]
    path.write_text(json.dumps(broken.plain()), "utf-8")
    assert missing(tmp_path, [part], CODE)[1] == [part]


# the terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def a_lost_worker(out: io.StringIO) -> str:
    board, show = Board(), Show(out, ["a cpu-auto", "b cpu-auto"], 4, 3)
    board.tell(0, board.begin(0, "0123456789", 11)[0], 2, "separation", [("m/d/t/records.jsonl", 0, b"{}\n")])
    show.update(board.read(), set())
    board.tell(0, board.begin(0, "abcdef0123", 12)[0], -1, "")
    show.update(board.read(), set())
    board.tell(0, 1, 3, "fear")
    show.update(board.read(), {1})
    show.clear()
    return out.getvalue()


def test_a_log_has_a_line_per_event_and_no_more() -> None:
    assert a_lost_worker(io.StringIO()).splitlines() == [
        "a cpu-auto: judging on node 012345, process 11",
        "a cpu-auto: worker lost after 2 of 4 records; going on with 1 of them on node abcdef, process 12 (retry 1 of 3)",
    ]


def test_a_terminal_shows_which_model_which_claim_and_how_many_records() -> None:
    text = a_lost_worker(Terminal())
    assert "0 of 2 judged | a cpu-auto: separation, 2 of 4 records" in text
    assert "1 of 2 judged | a cpu-auto: fear, 3 of 4 records" in text
    assert text.endswith("\r\033[K")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("ERROR: --dtype int8: accepted: auto\n\n", "--dtype int8: accepted: auto"),
        (
            "ERROR: usage: x [options]\n__main__.py: error: unrecognized arguments: --nonsense\n  inifile: x\n",
            "unrecognized arguments: --nonsense",
        ),
        ("something\nlast words\n\n", "last words"),
        ("", "pytest said nothing"),
    ],
)
def test_the_suites_complaint_is_found_in_what_it_said(output: str, said: str) -> None:
    assert complaint(output) == said


# the command


def called(words: Sequence[str]) -> int:
    try:
        return main(words)
    except SystemExit as end:
        return int(str(end.code))


ONE = ("--model", "tiny")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "arguments are required: --model"),
        ((*ONE, "--gpus", "-1"), "--gpus -1: accepted: a number of 0 or more"),
        ((*ONE, "--cpus", "half"), "--cpus half: accepted: a number of 1 or more"),
        ((*ONE, "--cpus", "0"), "--cpus 0: accepted: a number of 1 or more"),
        ((*ONE, "--retries", "1.5"), "--retries 1.5: accepted: 0 or more"),
        ((*ONE, "--address", "somewhere"), "--address somewhere: accepted: auto, HOST:PORT, or none"),
        ((*ONE, "--device", "gpu"), "invalid choice: 'gpu'"),
        ((*ONE, "--device", "cuda"), "--device cuda with --gpus 0"),
        ((*ONE, "--device", "cpu", "--gpus", "1"), "--gpus 1 with --device cpu"),
        ((*ONE, "--output-path", str(ROOT / "pyproject.toml")), "pyproject.toml: that is a file; accepted: a folder"),
        (("--model", "/nowhere/model"), "--model /nowhere/model: no such folder; accepted: "),
        (("--model", ""), "--model : no such folder; accepted: "),
        ((*ONE, "--", "--output-path=x"), "-- --output-path=x: accepted after --"),
        ((*ONE, "--profile", "fast"), "--profile fast: accepted: quick|standard|full"),
        ((*ONE, "--dtype", "float32", "--dtype", "int8"), "--dtype int8: accepted: auto|float32|bfloat16|float16"),
        ((*ONE, "--", "--nonsense"), "unrecognized arguments: --nonsense"),
        ((*ONE, "-k", "nothing_of_the_kind"), "-k nothing_of_the_kind: no case of any claim matches; accepted: "),
    ],
)
def test_wrong_use_is_one_line_and_status_4(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = called(words)
    out, err = capsys.readouterr()
    assert (status, out) == (4, ""), err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def test_help_states_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert called(["--help"]) == 0
    text = capsys.readouterr().out
    assert "Exit status: the worst, that is the highest, of the runs' own" in text
    for option in (
        "--model",
        "--address",
        "--gpus",
        "--cpus",
        "--device",
        "--dtype",
        "--profile",
        "--seed",
        "--output-path",
        "--limit",
        "--retries",
    ):
        assert option in text


def test_with_every_run_at_home_nothing_is_started_and_the_worst_status_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code = pack(tmp_path / "suite")
    for model, status in (("tiny", 1), ("small", 0)):
        run = files(f"{model}/cpu-float32/20260101T000000Z", subject={**small_run().subject, "model": model})
        land(tmp_path / "home", run, job(model), code=code, status=status, attempts=1)
    before = everything(tmp_path / "home")
    assert main(["--model", "small", "--model", "tiny", "--output-path", str(tmp_path / "home")]) == 1
    out = capsys.readouterr().out
    assert f"tiny cpu-auto: judged already: {tmp_path / 'home' / 'tiny'}" in out
    assert "separation" in out
    assert everything(tmp_path / "home") == before
    assert main(["--model", "small", "--output-path", str(tmp_path / "home")]) == 0


def test_where_ray_is_not_installed_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sessions, "find_spec", lambda name: None)
    assert main([*ONE, "-k", "separation", "--output-path", str(tmp_path / "home")]) == 4
    assert capsys.readouterr().err == "error: Ray is not installed; accepted: pip install '.[cluster]' first\n"
    assert not (tmp_path / "home").exists()


def test_ray_reports_to_nobody_and_a_cluster_of_this_machine_stays_on_it() -> None:
    alone, far = environment(None, 3), environment("10.0.0.1:6379", 3)
    assert alone["RAY_USAGE_STATS_ENABLED"] == far["RAY_USAGE_STATS_ENABLED"] == "0"
    assert alone["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert len(alone["RAY_AUTH_TOKEN"]) == 64
    assert alone["RAY_AUTH_TOKEN"] != environment(None, 3)["RAY_AUTH_TOKEN"]
    assert not {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_AUTH_TOKEN"} & set(far)


@pytest.mark.skipif(sessions.find_spec("ray") is None, reason="Ray is not installed: pip install '.[cluster]'")
def test_an_address_where_nothing_answers_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment("127.0.0.1:1", 0):
        monkeypatch.setenv(name, "")
    with (
        pytest.raises(ClusterError, match="nothing answers there") as told,
        session("127.0.0.1:1", tmp_path, retries=0),
    ):
        pass
    assert str(told.value) == f"--address 127.0.0.1:1: nothing answers there; accepted: {ACCEPTED}"


def test_nothing_of_the_suite_but_this_command_knows_ray() -> None:
    found = [
        path
        for room in ("benchmark", "cases", "fixtures", "reports")
        for path in (ROOT / room).rglob("*.py")
        if "import ray" in path.read_text("utf-8")
    ]
    assert found == []
