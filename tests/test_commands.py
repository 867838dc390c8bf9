"""Self-tests of `python -m reports`: wrong input in one line, and no torch anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reports.__main__ import COMMANDS, guarded, main
from reports.store import write_run
from tests.runs import ROOT, small_record, small_run

WITHOUT_TORCH = """
import sys
from importlib.abc import MetaPathFinder


class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
import json
from reports.__main__ import main

for words in json.loads(sys.argv[1]):
    try:
        status = main(words)
    except SystemExit as end:
        status = end.code
    print(f"<<< {words[0]} {status}")
"""


def without_torch(*commands: Sequence[str]) -> tuple[str, list[str]]:
    """What `python -m reports` prints for each of the commands, and each one's name and status, on a machine without torch."""
    words = [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, json.dumps(commands)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout, [line.removeprefix("<<< ") for line in done.stdout.splitlines() if line.startswith("<<< ")]


def test_the_machine_without_torch_has_none() -> None:
    code = WITHOUT_TORCH.split("import json")[0] + "import torch"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "No module named 'torch'" in done.stderr


def test_every_command_helps_itself_without_torch() -> None:
    out, statuses = without_torch(*([name, "--help"] for name in COMMANDS))
    assert statuses == [f"{name} 0" for name in COMMANDS]
    assert all(f"usage: python -m reports {name}" in out for name in COMMANDS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "arguments are required: COMMAND"),
        (("shout",), "invalid choice: 'shout'"),
        (("show",), "arguments are required: RUN"),
        (("show", "nowhere"), "nowhere is not a run"),
    ],
)
def test_wrong_use_is_one_line_and_status_4(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(words)
    except SystemExit as end:
        status = int(str(end.code))
    out, err = capsys.readouterr()
    assert (status, out) == (4, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def test_a_file_that_cannot_be_written_is_one_line_and_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, small_run())
    for words in (["export", "--format", "junit"], ["export", "--format", "parquet"], ["leaderboard"]):
        assert main([*words[:1], str(tmp_path), *words[1:], "--output", str(tmp_path / "nowhere" / "out")]) == 4
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert "nowhere" in err
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


WRITERS = [
    (["export", "{run}", "--format", "csv"], "--output"),
    (["export", "{run}", "--format", "parquet"], "--output"),
    (["leaderboard", "{run}"], "--output"),
    (["compare", "{run}", "{run}"], "--output"),
    (["baseline", "{run}"], "--output"),
    (["html", "{run}"], "--output"),
    (["scale", "{run}"], "--output"),
    (["gate", "{run}", "--policy", str(ROOT / "gate.toml")], "--json"),
]
"""Every command that writes a file, and the option that says where."""


@pytest.mark.parametrize(("words", "option"), WRITERS, ids=[" ".join(words[:1] + words[3:4]) for words, _ in WRITERS])
@pytest.mark.parametrize(
    ("name", "said"),
    [("", "'': no path"), (" ", "' ': no path"), ("a\0b", r"'a\x00b': no path"), ("{folder}", "folder': that is a folder")],
    ids=["empty", "blank", "null", "folder"],
)
def test_a_path_that_no_file_can_be_written_to_is_one_line_with_the_option(
    words: list[str], option: str, name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, small_run())
    (tmp_path / "folder").mkdir()
    with pytest.raises(SystemExit) as end:
        main([*(word.format(run=tmp_path) for word in words), option, name.format(folder=tmp_path / "folder")])
    err = capsys.readouterr().err
    assert end.value.code == 4
    assert err.count("\n") == 1
    assert err.startswith(f"error: argument {option}: ")
    assert f"{said}; accepted: a file" in err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "run.json"]


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000], ids=["null", "long"])
@pytest.mark.parametrize("words", [["show"], ["export", "--format", "csv"], ["leaderboard"], ["html"]], ids=lambda words: words[0])
def test_a_path_that_the_system_does_not_take_is_one_short_line(words: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([words[0], name, *words[1:]]) == 4
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err[:-1].isprintable()
    assert len(err) < 600


RISK = {"value": 1.0, "random": 0.1}


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({"risk": RISK}, "KeyError: 'direction'"),
        ({"windows": [{"width": 1.0}]}, "KeyError: 'direction'"),
        ({"layers": 5}, "TypeError: 'int' object is not subscriptable"),
        ({"consistency": 10**400}, "OverflowError: "),
    ],
)
@pytest.mark.parametrize("command", ["show", "html"])
def test_details_that_cannot_be_shown_are_one_line_with_file_and_case(
    command: str, details: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, small_run(small_record(details=details)))
    assert main([command, str(tmp_path), *(["separation/natural-present"] if command == "show" else [])]) == 4
    err = capsys.readouterr().err
    assert err.startswith(f"error: {tmp_path}: the details ")
    assert f"of separation/natural-present cannot be shown ({said}" in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_fault_of_the_commands_own_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("reports.show.read_run", lambda path: 1 / 0)
    assert guarded(["show", str(tmp_path)]) == 3
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_show_prints_the_run_a_claim_or_a_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, small_run(small_record(), small_record(case="other"), small_record(family="fear", claim="fear_not_arousal")))
    shown = {}
    for chosen in (None, "separation", "separation/other", "held_out_separation/other"):
        assert main(["show", str(tmp_path), *([chosen] if chosen else [])]) == 0
        shown[chosen] = capsys.readouterr().out
    assert "fear/natural-present" in shown[None]
    assert "### separation/natural-present" in shown["separation"]
    assert "fear" not in shown["separation"]
    assert "### separation/natural-present" not in shown["separation/other"]
    assert shown["separation/other"] == shown["held_out_separation/other"]


def test_a_claim_that_the_run_does_not_hold_is_refused_with_those_it_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, small_run())
    assert main(["show", str(tmp_path), "separation/nothing"]) == 4
    assert capsys.readouterr().err == "error: CLAIM separation/nothing: not in this run; accepted: separation/natural-present\n"
